"""The manifest: what every item of every stage came to, in one SQLite file with one writer."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lad.files import file_sha256, frame_files

FORMAT = 1  # of the tables; another one is refused, not guessed at

TABLES = """
CREATE TABLE IF NOT EXISTS items (
    stage TEXT NOT NULL,
    item TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
    failure TEXT,              -- content | io | worker
    attempt INTEGER NOT NULL,
    started REAL,              -- seconds since 1970
    seconds REAL,
    outputs TEXT NOT NULL,     -- [{path, bytes, sha256}], paths relative to the work directory
    info TEXT NOT NULL,        -- {frames, fps, reader, warnings, ...}
    error TEXT,
    PRIMARY KEY (stage, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (
    path TEXT PRIMARY KEY,
    stamp TEXT NOT NULL,       -- size and mtime; unchanged means that the hash still holds
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""


class ManifestError(Exception):
    """The work directory's manifest cannot be used."""


@dataclass(frozen=True)
class Output:
    """A file that an item made: path relative to the work directory, size, SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Item:
    """One row: a unit of work of a stage and what came of it."""

    stage: str
    item: str
    fingerprint: str
    status: str
    failure: str | None = None
    attempt: int = 0
    started: float | None = None
    seconds: float | None = None
    outputs: list[Output] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class Manifest:
    """The items of a work directory. Open it with `open_manifest` (to work) or `read_manifest` (to look)."""

    def __init__(self, work: Path, connection: sqlite3.Connection) -> None:
        self.work = work
        self._db = connection

    def items(self, stage: str | None = None) -> dict[tuple[str, str], Item]:
        """All items, or a stage's, by (stage, item)."""
        query = "SELECT * FROM items" + (" WHERE stage = ?" if stage else "")
        rows = self._db.execute(query, (stage,) if stage else ())
        return {(row["stage"], row["item"]): _item(row) for row in rows}

    def get(self, stage: str, item: str) -> Item | None:
        row = self._db.execute("SELECT * FROM items WHERE stage = ? AND item = ?", (stage, item)).fetchone()
        return _item(row) if row else None

    def start(self, stage: str, item: str, fingerprint: str) -> None:
        """Say that work on an item begins; the attempt counts up while the fingerprint stays the same."""
        before = self.get(stage, item)
        attempt = before.attempt + 1 if before and before.fingerprint == fingerprint else 1
        self._db.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, 'running', NULL, ?, ?, NULL, '[]', '{}', NULL)",
            (stage, item, fingerprint, attempt, time.time()),
        )

    def finish(self, stage: str, item: str, outputs: Sequence[Path], info: dict[str, Any]) -> None:
        """Record a started item as done with the files that it made."""
        made = [
            {"path": str(p.relative_to(self.work)), "bytes": p.stat().st_size, "sha256": file_sha256(p)}
            for p in outputs
        ]
        self._db.execute(
            "UPDATE items SET status = 'done', seconds = ? - started, outputs = ?, info = ?"
            " WHERE stage = ? AND item = ?",
            (time.time(), json.dumps(made), json.dumps(info), stage, item),
        )

    def fail(self, stage: str, item: str, failure: str, error: str) -> None:
        """Record a started item as failed: `failure` is its kind, `error` one line."""
        self._db.execute(
            "UPDATE items SET status = 'failed', seconds = ? - started, failure = ?, error = ?"
            " WHERE stage = ? AND item = ?",
            (time.time(), failure, _storable(error), stage, item),
        )

    def is_done(self, item: Item | None, fingerprint: str, *, verify: bool = False) -> bool:
        """Whether an item's result is today's and its files are there with the recorded size (`verify`: content)."""
        if item is None or item.status != "done" or item.fingerprint != fingerprint:
            return False
        return all(self.is_intact(output, verify=verify) for output in item.outputs)

    def is_intact(self, output: Output, *, verify: bool = False) -> bool:
        path = self.work / output.path
        try:
            size = path.stat().st_size
        except OSError:
            return False
        return size == output.bytes and (not verify or file_sha256(path) == output.sha256)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write many rows at once."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def content_sha256(self, path: Path, *, verify: bool = False) -> str:
        """Hash of a file's or frame folder's content, taken once and trusted while size and mtime are unchanged.

        Raises:
            OSError: it cannot be read.
        """
        files = frame_files(path) if path.is_dir() else [path]
        listing = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        stamp = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
        key = _storable(str(path.absolute()))
        row = self._db.execute("SELECT stamp, sha256 FROM contents WHERE path = ?", (key,)).fetchone()
        if row and row["stamp"] == stamp and not verify:
            return row["sha256"]
        if path.is_dir():
            parts = [(file.name, file_sha256(file)) for file in files]
            content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        else:
            content = file_sha256(path)
        self._db.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (key, stamp, content))
        return content


def _item(row: sqlite3.Row) -> Item:
    values = dict(row)
    values["outputs"] = [Output(**output) for output in json.loads(values["outputs"])]
    values["info"] = json.loads(values["info"])
    return Item(**values)


def _storable(text: str) -> str:
    """SQLite takes UTF-8 only, and a file's name may be anything."""
    return text.encode(errors="backslashreplace").decode()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT:
        raise ManifestError(f"{path}: its format is {found}, this lad reads {FORMAT}: use another --work directory")


@contextmanager
def open_manifest(work: Path) -> Iterator[Manifest]:
    """Open a work directory for work: it is made if need be, and no second process may hold it.

    Raises:
        ManifestError: another process works there, or the manifest is damaged or of another format.
    """
    path = work / "manifest.sqlite"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("a+")
    except OSError as error:
        raise ManifestError(f"{work}: cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise ManifestError(f"{work}: another lad works here ({lock.read().strip() or 'unknown'})") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        lock.flush()
        try:
            connection = _connect(path)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                if not connection.execute("SELECT name FROM sqlite_master").fetchone():
                    connection.execute(f"PRAGMA user_version = {FORMAT}")
                _check_format(connection, path)
                connection.executescript(TABLES)
                # Nobody else holds the lock, so whoever was running is dead.
                connection.execute("UPDATE items SET status = 'pending' WHERE status = 'running'")
                yield Manifest(work, connection)
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise ManifestError(f"{path}: the manifest cannot be used: {error}") from error


@contextmanager
def read_manifest(work: Path) -> Iterator[Manifest]:
    """Open a work directory to look at it, also while another process works there.

    Raises:
        ManifestError: there is none, or it is damaged or of another format.
    """
    path = work / "manifest.sqlite"
    if not path.exists():
        raise ManifestError(f"{work}: nothing was done here yet (no manifest.sqlite)")
    try:
        connection = _connect(path)
        try:
            _check_format(connection, path)
            yield Manifest(work, connection)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise ManifestError(f"{path}: the manifest cannot be used: {error}") from error


def is_held(work: Path) -> bool:
    """Whether some process works in this directory now."""
    path = work / ".lock"
    if not path.exists():
        return False
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
