"""The notices that wait for one sink: on the disk, in order, bounded."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lad.errors import LadError

MEMORY_BYTES = 4_000_000  # of what a full disk does not take, and of what needs no disk
TABLE = """
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    line TEXT NOT NULL
)
"""
OLDEST = "SELECT number, type, line FROM notices WHERE number > ? ORDER BY number LIMIT 1"
SIZES = "SELECT COUNT(*), COALESCE(SUM(LENGTH(line)), 0) FROM notices"


class WaitingError(LadError):
    """What waits cannot be kept in that file."""


@dataclass(frozen=True)
class Waiting:
    """A notice that waits.

    Attributes:
        number: its own on the disk; 0: it is in memory.
        type: `new`, `update` or `end`.
        line: as `Notice.to_json` made it: ASCII, so that its length is its bytes.
    """

    number: int
    type: str
    line: str


class WaitingNotices:
    """The notices that wait for one sink, the oldest first.

    With a file they are on the disk when `add` returns, and there after a kill. What a full or failing disk does not
    take waits in memory until it does. Beyond `max_bytes` the oldest go. Any thread may call.
    """

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        """Open the file, with what an earlier run left in it.

        Args:
            path: of the file; None: what waits is kept in memory, at most 4 MB.
            max_bytes: of all that waits.

        Raises:
            WaitingError: the file cannot be written, is none of lad's, or another program has it open.
        """
        self._lock = threading.Lock()
        self._max_bytes = max_bytes
        self._memory: deque[Waiting] = deque()  # newer than all on the disk
        self._memory_bytes = self._disk_count = self._disk_bytes = 0
        self._delivered = 0  # the newest number that was removed, also where the disk does not let go of it
        self._in_hand: Waiting | None = None  # what `first` gave: it is delivered just now, and not dropped
        self.problem = ""  # why the disk took no notice the last time; empty: it did
        self._file = _open(path) if path else None
        if self._file:
            self._disk_count, self._disk_bytes = self._file.execute(SIZES).fetchone()

    def __len__(self) -> int:
        with self._lock:
            return self._disk_count + len(self._memory)

    def add(self, notice_type: str, line: str) -> int:
        """Put a notice behind the others; how many of the oldest had to go for it."""
        with self._lock:
            self._memory.append(Waiting(0, notice_type, line))
            self._memory_bytes += len(line)
            self._to_disk()
            before = self._disk_count + len(self._memory)
            while self._disk_bytes + self._memory_bytes > self._max_bytes and self._drop_oldest():
                pass
            while self._memory_bytes > MEMORY_BYTES and self._drop_from_memory():
                pass
            return before - self._disk_count - len(self._memory)

    def first(self) -> Waiting | None:
        """The oldest notice, which stays until it is removed; None: nothing waits that can be read."""
        with self._lock:
            self._in_hand = self._on_disk_after(self._delivered) or (self._memory[0] if self._memory else None)
            return self._in_hand

    def remove(self, notice: Waiting) -> None:
        """Forget what `first` gave."""
        with self._lock:
            self._in_hand = None
            if notice.number:
                self._delivered = notice.number
                self._forget(notice)
            elif self._memory and self._memory[0] is notice:  # else it was closed meanwhile, and is on the disk
                self._memory.popleft()
                self._memory_bytes -= len(notice.line)
                self._to_disk()

    def close(self) -> None:
        """Leave on the disk what waits, as far as that takes it."""
        with self._lock:
            self._in_hand = None
            self._to_disk()
            if self._file:
                self._file.close()
            self._file = None

    # What follows is called with the lock held.

    def _to_disk(self) -> None:
        """Move what is in memory to the disk, wholly or not at all; what is delivered just now stays where it is."""
        if not self._file or not self._memory or self._in_hand is self._memory[0]:
            return
        try:
            self._file.execute("BEGIN IMMEDIATE")
            rows = [(one.type, one.line) for one in self._memory]
            self._file.executemany("INSERT INTO notices (type, line) VALUES (?, ?)", rows)
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            self.problem = str(error)
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            return
        self.problem = ""
        self._disk_count += len(self._memory)
        self._disk_bytes += self._memory_bytes
        self._memory.clear()
        self._memory_bytes = 0

    def _on_disk_after(self, number: int) -> Waiting | None:
        if not self._file or not self._disk_count:
            return None
        try:
            row = self._file.execute(OLDEST, (number,)).fetchone()
        except sqlite3.Error as error:
            self.problem = str(error)
            return None
        return Waiting(*row) if row else None

    def _forget(self, notice: Waiting) -> bool:
        """Take a notice from the disk, and what it did not let go of before; whether it lets go."""
        self._disk_count -= 1
        self._disk_bytes -= len(notice.line)
        if not self._file:  # closed meanwhile: the next run delivers it again
            return False
        try:
            self._file.execute("DELETE FROM notices WHERE number = ? OR number <= ?", (notice.number, self._delivered))
        except sqlite3.Error as error:
            self.problem = str(error)
            return False
        return True

    def _drop_oldest(self) -> bool:
        held = self._in_hand.number if self._in_hand else 0
        oldest = self._on_disk_after(max(self._delivered, held))
        return self._forget(oldest) if oldest else self._drop_from_memory()

    def _drop_from_memory(self) -> bool:
        oldest = 1 if self._memory and self._in_hand is self._memory[0] else 0
        if len(self._memory) <= oldest:
            return False
        self._memory_bytes -= len(self._memory[oldest].line)
        del self._memory[oldest]
        return True


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():  # which SQLite would follow
        raise WaitingError(f"{path}: is a link: nothing is written through it, remove it")
    file = None
    try:
        file = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
        file.execute("PRAGMA locking_mode = EXCLUSIVE")  # held until the process ends: nobody else delivers the same
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")  # on the disk when a statement returns
        file.execute(TABLE)
        file.execute("BEGIN IMMEDIATE")
        file.execute("ROLLBACK")
        file.execute(SIZES)
    except sqlite3.DatabaseError as error:
        if file:
            file.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise WaitingError(f"{path}: another lad watch has it open: end that, or name another folder") from error
        raise WaitingError(f"{path}: {error}: make room, or move the file away if it is damaged") from error
    return file
