"""Hashes of what files hold, taken once: trusted while size and time of change stay the same.

Of a file at a URL it is a hash of what its server says of it: `lad.remote.facts`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lad.files import READERS, file_sha256, frame_files, why_no_file
from lad.remote.facts import Facts
from lad.remote.fetch import looked_up
from lad.remote.url import Location, Url

KEEP_SECONDS = 30.0  # hashes of so long may be lost where the machine goes down
ASKED_AT_A_TIME = 16  # servers' answers
AT_URL = "url"  # stands for the stamp of what lies at one


@dataclass(frozen=True)
class Stamp:
    """What a file or frame folder looks like without being read.

    Attributes:
        key: how the table calls its path.
        value: changes when the content does.
        files: the file, or the folder's images.
    """

    key: str
    value: str
    files: list[Path]


class Contents:
    """The table of hashes in a manifest."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._inputs: dict[str, str] = {}  # key -> hash, of what this command has looked at
        self._facts: dict[Url, Facts | OSError] = {}  # what this command was told

    def learn(self, paths: Sequence[Path], look: Callable[[Path], None] = lambda path: None) -> None:
        """Hash, several at a time, those files whose hash is not known: a disk is rarely busy with one.

        `look` is called with each of them once it is hashed, in a thread, while memory still holds what was read.
        """

        def hash_and_look(path: Path) -> tuple[Stamp, str]:
            found = _hash(path)
            look(path)
            return found

        hashes: list[Future[tuple[Stamp, str]]] = []
        readers, kept = ThreadPoolExecutor(READERS), time.monotonic()
        self._db.execute("BEGIN")
        try:
            for path in paths:
                with suppress(OSError):  # said when the content is asked for
                    stamp = take_stamp(path)
                    if path.is_file() and self._known(stamp) is None:
                        hashes.append(readers.submit(hash_and_look, path))
            for content in hashes:
                with suppress(OSError):
                    self._keep(*content.result())
                if time.monotonic() - kept > KEEP_SECONDS:
                    self._db.execute("COMMIT")
                    self._db.execute("BEGIN")
                    kept = time.monotonic()
        finally:  # what was hashed is kept, also where it is interrupted
            readers.shutdown(cancel_futures=True)
            self._db.execute("COMMIT")

    def sha256(self, path: Path, *, verify: bool = False) -> str:
        """Hash of a file's or frame folder's content; `verify`: hashed anew.

        Raises:
            OSError: it cannot be read, is no file with an end, or changes while it is read.
        """
        stamp = take_stamp(path)
        known = self._known(stamp)
        if known is not None and not verify:
            return known
        return self.record(path)

    def ask(self, urls: Sequence[Url], most_bytes: int, told: Callable[[], None]) -> None:
        """Ask the servers of those URLs that were not asked yet, several at a time; `told` is called for each.

        Args:
            urls: of videos.
            most_bytes: that one may have which has to be downloaded to be known.
            told: what to do when one is known.
        """

        unknown = [url for url in dict.fromkeys(urls) if url not in self._facts]
        waiting, stop = deque(unknown), threading.Event()
        answers: queue.SimpleQueue[tuple[Url, Facts | Exception]] = queue.SimpleQueue()

        def ask_on() -> None:
            while not stop.is_set():
                try:
                    url = waiting.popleft()
                except IndexError:
                    return
                try:
                    answers.put((url, looked_up(url, most_bytes, stop)))
                except Exception as error:
                    answers.put((url, error))

        # Threads of an executor would be waited for at Ctrl-C, as long as a server is silent.
        for _ in range(min(ASKED_AT_A_TIME, len(unknown))):
            threading.Thread(target=ask_on, name="asker", daemon=True).start()
        try:
            for _ in unknown:
                url, facts = answers.get()
                if isinstance(facts, Exception) and not isinstance(facts, OSError):
                    raise facts
                self._facts[url] = facts  # an OSError is said when the content is asked for
                told()
        finally:
            stop.set()

    def had_to_be_hashed(self, url: Url) -> bool:
        """Whether its server told too little of a file, so that it was downloaded to be known."""
        facts = self._facts.get(url)
        return isinstance(facts, Facts) and bool(facts.sha256)

    def facts(self, url: Url) -> Facts:
        """What its server said of a file, which was asked before.

        Raises:
            OSError: it did not say, or was not asked.
        """
        facts = self._facts.get(url) or OSError("its server was not asked")
        if isinstance(facts, OSError):
            raise facts
        return facts

    def of_input(self, path: Location, *, verify: bool = False) -> str:
        """`sha256`, as it was when it was first asked for: what a command does begins and ends with the same content.

        A file that grows meanwhile is the next command's. Whether what was read is that content, `is_unchanged` says.
        """
        if isinstance(path, Url):
            content = self.facts(path).identity(path.key)
            assert content is not None  # else it was hashed
            self._keep(Stamp(path.key, AT_URL, []), content)
            return content
        key = storable(str(path.absolute()))
        if key not in self._inputs:
            self._inputs[key] = self.sha256(path, verify=verify)
        return self._inputs[key]

    def is_unchanged(self, path: Path) -> bool:
        """Whether a path looks as it did when its hash was taken."""
        return self.known(path) is not None

    def known(self, path: Location) -> str | None:
        """The hash of a path that looks as it did when that was taken; else None. Nothing is read.

        Of a URL it is what the last command was told: nobody is asked.
        """
        if isinstance(path, Url):
            return self._known(Stamp(path.key, AT_URL, []))
        try:
            return self._known(take_stamp(path))
        except OSError:
            return None

    def record(self, path: Path) -> str:
        """Hash what may be new, and remember it."""
        stamp, content = _hash(path)
        self._keep(stamp, content)
        return content

    def rows(self) -> list[tuple[str, str, str]]:
        """All that is known, for `adopt`."""
        return [tuple(row) for row in self._db.execute("SELECT path, stamp, sha256 FROM contents")]

    def adopt(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Take over what another manifest knows, of paths of which nothing is known here."""
        self._db.execute("BEGIN")
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?, ?)", rows)

    def _known(self, stamp: Stamp) -> str | None:
        row = self._db.execute("SELECT stamp, sha256 FROM contents WHERE path = ?", (stamp.key,)).fetchone()
        return row["sha256"] if row and row["stamp"] == stamp.value else None

    def _keep(self, stamp: Stamp, content: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (stamp.key, stamp.value, content))


def take_stamp(path: Path) -> Stamp:
    """Look at a path without reading it.

    Raises:
        OSError: it is not there, or is no file with an end.
    """
    files = frame_files(path) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    for file, found in zip(files, stats, strict=True):
        if reason := why_no_file(file, found):
            raise OSError(errno.EINVAL, reason, str(path))
    listing = [(file.name, found.st_size, found.st_mtime_ns) for file, found in zip(files, stats, strict=True)]
    return Stamp(storable(str(path.absolute())), hashlib.sha256(json.dumps(listing).encode()).hexdigest(), files)


def _hash(path: Path) -> tuple[Stamp, str]:
    stamp = take_stamp(path)
    if path.is_dir():
        parts = [(file.name, file_sha256(file)) for file in stamp.files]
        content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    else:
        content = file_sha256(path)
    if take_stamp(path) != stamp:
        raise OSError(errno.EBUSY, "it changed while it was read: run again when it is complete", str(path))
    return stamp, content


def storable(text: str) -> str:
    """SQLite takes UTF-8 only, and a file's name may be anything."""
    return text.encode(errors="backslashreplace").decode()
