"""The SQLite file of a manifest: its tables and their format, and what its errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from lad.files import leftover_name, why_not_written
from lad.work.journal import FIRST_FORMAT, FORMAT, SINCE_2, Item, ManifestError, damaged, other_format

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
    sequence INTEGER NOT NULL DEFAULT 0,
    repairs INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (stage, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (
    path TEXT PRIMARY KEY,
    stamp TEXT NOT NULL,       -- size and mtime; unchanged means that the hash still holds
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT NOT NULL,        -- as in outputs; of files that belong to no item and may be somebody else's
    sha256 TEXT NOT NULL,      -- of all that lad ever wrote there: a process may be killed before or after it writes
    PRIMARY KEY (path, sha256)
) WITHOUT ROWID;
"""
TO_FORMAT_2 = """
ALTER TABLE items ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN repairs INTEGER NOT NULL DEFAULT 0;
"""
COLUMNS = {
    "items": [one.name for one in fields(Item)],
    "contents": ["path", "stamp", "sha256"],
    "files": ["path", "sha256"],
}
FIRST_COLUMNS = {"items": [name for name in COLUMNS["items"] if name not in SINCE_2], "contents": COLUMNS["contents"]}


def connect(path: Path) -> sqlite3.Connection:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
        if path.with_name(name).is_symlink():  # which SQLite would follow
            raise ManifestError(f"{path.with_name(name)}: is a link: nothing is written through it, remove it")
    name, uri = str(path), False
    if path.exists() and not os.access(path.parent, os.W_OK):  # then SQLite cannot put its files beside it
        wal = path.with_name(f"{path.name}-wal")
        how = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
        name, uri = f"file:{urllib.parse.quote(os.fsencode(path.absolute()))}?{how}", True
    connection = sqlite3.connect(name, isolation_level=None, timeout=BUSY_SECONDS, uri=uri)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
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
            probe = path.with_name(leftover_name())
            known = os.strerror(errno.ENOSPC) if code == sqlite3.SQLITE_FULL else str(error)
            reason = why_not_written(probe)
            with suppress(OSError):
                probe.unlink(missing_ok=True)
            raise ManifestError(f"{path}: {reason.strerror if reason else known}") from error
        raise damaged(path, error) from error


def check_tables(connection: sqlite3.Connection, path: Path) -> int:
    """The format of a manifest.

    Raises:
        ManifestError: it is of another lad, or not as lad makes it.
    """
    if not tables(connection):
        raise damaged(path, "it is empty")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (FIRST_FORMAT, FORMAT):
        raise other_format(path, found)
    for table, columns in (COLUMNS if found == FORMAT else FIRST_COLUMNS).items():
        if [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")] != columns:
            raise damaged(path, f"its table {table} is not as lad makes it")
    return int(found)


def tables(connection: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM sqlite_master")]


def make_tables(connection: sqlite3.Connection, changes: str = "") -> None:
    """Make an empty database a manifest, or by `changes` an older format today's, wholly or not at all."""
    connection.executescript(f"BEGIN; PRAGMA user_version = {FORMAT}; {changes} {TABLES} COMMIT;")
