"""The manifest: what every item of every stage came to, in one SQLite file with one writer.

Beside it stands its journal (`journal.py`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import stat
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from lad.files import READERS, file_sha256, frame_files, why_not_written
from lad.work.journal import (
    FORMAT,
    JOURNAL,
    JOURNAL_SLACK,
    Item,
    Journal,
    ManifestError,
    Output,
    check_journal_format,
    damaged,
    item_of,
    journal_line,
    other_format,
    parse_journal_line,
    write_journal,
)
from lad.work.lock import hold

DATABASE = "manifest.sqlite"
SQLITE_PATH_BYTES = 500  # of 512, which the names of its own files beside it must fit in too
BUSY_SECONDS = 10.0  # to wait for another program that has the database open

TABLES = """
CREATE TABLE IF NOT EXISTS items (
    stage TEXT NOT NULL,
    item TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
    failure TEXT,              -- content | limit | io | worker
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


class Manifest:
    """The items of a work directory. Open it with `open_manifest` (to work) or `read_manifest` (to look)."""

    def __init__(self, work: Path, connection: sqlite3.Connection, journal: Journal | None = None) -> None:
        self.work = work
        self._db = connection
        self._journal = journal
        self._unwritten: list[str] | None = None  # journal lines of a transaction that is not committed yet

    def items(self, stage: str | None = None) -> dict[tuple[str, str], Item]:
        """All items, or a stage's, by (stage, item)."""
        query = "SELECT * FROM items" + (" WHERE stage = ?" if stage else "")
        rows = self._db.execute(query, (stage,) if stage else ())
        return {(row["stage"], row["item"]): self._item(row) for row in rows}

    def states(self) -> Iterator[sqlite3.Row]:
        """Stage, item, status, failure, attempt, error of every item, without the rest, which takes long to parse."""
        return self._db.execute("SELECT stage, item, status, failure, attempt, error FROM items ORDER BY stage, item")

    def get(self, stage: str, item: str) -> Item | None:
        row = self._db.execute("SELECT * FROM items WHERE stage = ? AND item = ?", (stage, item)).fetchone()
        return self._item(row) if row else None

    def _item(self, row: sqlite3.Row) -> Item:
        try:
            return item_of(dict(row), json.loads(row["outputs"]), json.loads(row["info"]))
        except (ValueError, TypeError) as error:
            raise damaged(self.work / DATABASE, f"the row {row['stage']} {row['item']!r} is unreadable") from error

    def start(self, stage: str, item: str, fingerprint: str) -> None:
        """Say that work on an item begins; the attempt counts up while the fingerprint stays the same."""
        before = self.get(stage, item)
        attempt = before.attempt + 1 if before and before.fingerprint == fingerprint else 1
        self._db.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, 'running', NULL, ?, ?, NULL, '[]', '{}', NULL)",
            (stage, item, fingerprint, attempt, time.time()),
        )

    def finish(self, stage: str, item: str, outputs: Sequence[Path], info: dict[str, Any]) -> None:
        """Record a started item as done with the files that it made, or those of somebody else that it is made of."""
        made = [self._record(path) for path in outputs]
        self._db.execute(
            "UPDATE items SET status = 'done', seconds = ? - started, outputs = ?, info = ?"
            " WHERE stage = ? AND item = ?",
            (time.time(), json.dumps(made), json.dumps(info), stage, item),
        )
        self._note(stage, item)

    def _record(self, path: Path) -> dict[str, Any]:
        inside = path.is_relative_to(self.work)
        return {
            "path": str(path.relative_to(self.work) if inside else path.absolute()),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path) if inside else self.content_sha256(path),
        }

    def fail(self, stage: str, item: str, failure: str, error: str) -> None:
        """Record a started item as failed: `failure` is its kind, `error` one line."""
        self._db.execute(
            "UPDATE items SET status = 'failed', seconds = ? - started, failure = ?, error = ?"
            " WHERE stage = ? AND item = ?",
            (time.time(), failure, _storable(error), stage, item),
        )
        self._note(stage, item)

    def _note(self, stage: str, item: str) -> None:
        """Write a finished item to the journal, once its row is there for good."""
        row = self.get(stage, item)
        if row is None or self._journal is None:
            return
        if self._unwritten is None:
            self._journal.append([journal_line(row)])
        else:
            self._unwritten.append(journal_line(row))

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
        self._unwritten = []
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled back by itself, as it does on a full disk
                self._db.execute("ROLLBACK")
            raise
        else:
            if self._journal and self._unwritten:
                self._journal.append(self._unwritten)
        finally:
            self._unwritten = None

    def learn_contents(self, paths: Sequence[Path]) -> None:
        """Hash, several at a time, those files whose hash is not known: a disk is rarely busy with one."""
        with ThreadPoolExecutor(READERS) as readers, self.transaction():
            hashes: list[tuple[str, str, Future[str]]] = []
            for path in paths:
                with suppress(OSError):  # said when the content is asked for
                    key, stamp, _ = self._stamp(path)
                    if path.is_file() and self._known_sha256(key, stamp) is None:
                        hashes.append((key, stamp, readers.submit(file_sha256, path)))
            for key, stamp, content in hashes:
                with suppress(OSError):
                    self._db.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (key, stamp, content.result()))

    def content_sha256(self, path: Path, *, verify: bool = False) -> str:
        """Hash of a file's or frame folder's content, taken once and trusted while size and mtime are unchanged.

        Raises:
            OSError: it cannot be read.
        """
        key, stamp, files = self._stamp(path)
        known = self._known_sha256(key, stamp)
        if known is not None and not verify:
            return known
        if path.is_dir():
            parts = [(file.name, file_sha256(file)) for file in files]
            content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        else:
            content = file_sha256(path)
        self._db.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (key, stamp, content))
        return content

    def _stamp(self, path: Path) -> tuple[str, str, list[Path]]:
        """How the table calls a path, what changes when its content does, and its files."""
        files = frame_files(path) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
        if not all(stat.S_ISREG(found.st_mode) for found in stats):  # a device has no end, a pipe no beginning
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        listing = [(file.name, found.st_size, found.st_mtime_ns) for file, found in zip(files, stats, strict=True)]
        return _storable(str(path.absolute())), hashlib.sha256(json.dumps(listing).encode()).hexdigest(), files

    def _known_sha256(self, key: str, stamp: str) -> str | None:
        row = self._db.execute("SELECT stamp, sha256 FROM contents WHERE path = ?", (key,)).fetchone()
        return row["sha256"] if row and row["stamp"] == stamp else None


def _storable(text: str) -> str:
    """SQLite takes UTF-8 only, and a file's name may be anything."""
    return text.encode(errors="backslashreplace").decode()


def _connect(path: Path) -> sqlite3.Connection:
    name, uri = str(path), False
    if path.exists() and not os.access(path.parent, os.W_OK):  # then SQLite cannot put its files beside it
        wal = path.with_name(f"{path.name}-wal")
        how = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
        name, uri = f"file:{urllib.parse.quote(os.fsencode(path.absolute()))}?{how}", True
    connection = sqlite3.connect(name, isolation_level=None, timeout=BUSY_SECONDS, uri=uri)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of what SQLite complains about whether the file is damaged, or the disk, or another program is in the way."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ManifestError(f"{path}: another program has it open ({error}): close that and try again") from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            if len(os.fsencode(path.absolute())) > SQLITE_PATH_BYTES:
                raise ManifestError(f"{path}: too long a path for SQLite: choose a shorter work directory") from error
            probe = path.with_name(".probe.tmp")
            known = os.strerror(errno.ENOSPC) if code == sqlite3.SQLITE_FULL else str(error)
            reason = why_not_written(probe)
            with suppress(OSError):
                probe.unlink(missing_ok=True)
            raise ManifestError(f"{path}: {reason.strerror if reason else known}") from error
        raise damaged(path, error) from error


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    if not _tables(connection):
        raise damaged(path, "it is empty")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT:
        raise other_format(path, found)
    known = {"items": [one.name for one in fields(Item)], "contents": ["path", "stamp", "sha256"]}
    for table, columns in known.items():
        if [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")] != columns:
            raise damaged(path, f"its table {table} is not as lad makes it")


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM sqlite_master")]


def make_tables(connection: sqlite3.Connection) -> None:
    """Make an empty database a manifest, wholly or not at all."""
    connection.executescript(f"BEGIN; PRAGMA user_version = {FORMAT}; {TABLES} COMMIT;")


@contextmanager
def open_manifest(work: Path) -> Iterator[Manifest]:
    """Open a work directory for work: it is made if need be, and no second process may hold it.

    Raises:
        ManifestError: another process works there, or the manifest is damaged or of another format.
    """
    with hold(work), open_held(work) as manifest:
        yield manifest


@contextmanager
def open_held(work: Path) -> Iterator[Manifest]:
    """`open_manifest` for whoever holds the directory already."""
    path = work / DATABASE
    with _explained(path):
        connection = _connect(path)
        journal = None
        try:
            _prepare(work, connection)
            journal = Journal(work / JOURNAL)
            yield Manifest(work, connection, journal)
        finally:
            if journal:
                journal.close()
            connection.close()


def _prepare(work: Path, connection: sqlite3.Connection) -> None:
    """Check the manifest against itself and its journal, and bring it to the state that work begins in."""
    path, journal = work / DATABASE, work / JOURNAL
    content = journal.read_bytes() if journal.exists() else b""
    check_journal_format(journal, content)
    last = _last_item(content)
    if not _tables(connection):
        if last:
            raise damaged(path, f"it is empty, and {JOURNAL} says that items were finished")
        connection.execute("PRAGMA journal_mode = WAL")
        make_tables(connection)
    _check_tables(connection, path)
    if (problem := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise damaged(path, " ".join(problem.split()))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # else it could fall behind its journal when the power fails
    manifest = Manifest(work, connection)
    row = manifest.get(last.stage, last.item) if last else None
    if last and (row is None or (row.started or 0) < (last.started or 0)):
        raise damaged(path, f"it lacks {last.stage} {last.item}, which {JOURNAL} has (was {DATABASE}-wal removed?)")
    # Nobody else holds the lock, so whoever was running is dead.
    connection.execute("UPDATE items SET status = 'pending' WHERE status = 'running'")
    finished = connection.execute("SELECT count(*) FROM items WHERE status IN ('done', 'failed')").fetchone()[0]
    lines = content.count(b"\n") - 1
    torn = not content.endswith(b"\n") or (last is None and lines > 0)
    if torn or not finished <= lines <= 2 * finished + JOURNAL_SLACK:
        write_journal(journal, manifest.items().values())


def _last_item(journal: bytes) -> Item | None:
    """The last whole line."""
    lines = journal[: journal.rfind(b"\n") + 1]
    try:
        return parse_journal_line(lines[lines.rfind(b"\n", 0, -1) + 1 :])
    except ValueError:
        return None


@contextmanager
def read_manifest(work: Path) -> Iterator[Manifest]:
    """Open a work directory to look at it, also while another process works there.

    Raises:
        ManifestError: there is none, or it is damaged or of another format.
    """
    path = work / DATABASE
    if not path.exists():
        raise ManifestError(f"{work}: nothing was done here yet (no {DATABASE})")
    with _explained(path):
        connection = _connect(path)
        try:
            _check_tables(connection, path)
            yield Manifest(work, connection)
        finally:
            connection.close()
