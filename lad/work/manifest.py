"""The manifest: what every item of every stage came to, in one SQLite file with one writer.

Beside it stands its journal (`journal.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lad.files import LEFTOVER_SECONDS, file_sha256, sweep_leftovers
from lad.ours import CONFIG, DATABASE, DATASET, JOURNAL, LOCK, NAMES, UNHELD, foreign_names
from lad.work.contents import Contents, storable
from lad.work.database import COLUMNS, TO_FORMAT_2, check_tables, connect, explained, make_tables, tables
from lad.work.journal import (
    FIRST_FORMAT,
    JOURNAL_SLACK,
    Item,
    Journal,
    ManifestError,
    Output,
    damaged,
    item_of,
    journal_format,
    journal_line,
    parse_journal_line,
    write_journal,
)
from lad.work.lock import hold

SYNCHRONOUS = "PRAGMA synchronous = FULL"  # else it could fall behind its journal when the power fails


class Manifest:
    """The items of a work directory. Open it with `open_manifest` (to work) or `read_manifest` (to look)."""

    def __init__(self, work: Path, connection: sqlite3.Connection, journal: Journal | None = None) -> None:
        self.work = work
        self._db = connection
        self._journal = journal
        self._unwritten: list[str] | None = None  # journal lines of a transaction that is not committed yet
        self._last_sequence: int | None = None
        self.contents = Contents(connection)

    def items(self, stage: str | None = None) -> dict[tuple[str, str], Item]:
        """All items, or a stage's, by (stage, item)."""
        query = "SELECT * FROM items" + (" WHERE stage = ?" if stage else "")
        rows = self._db.execute(query, (stage,) if stage else ())
        return {(row["stage"], row["item"]): self._item(row) for row in rows}

    def telling(self, stage: str, key: str) -> list[Item]:
        """The items of a stage that are done and whose info has a key; of the others nothing is parsed."""
        query = "SELECT * FROM items WHERE stage = ? AND status = 'done' AND instr(info, ?)"
        found = [self._item(row) for row in self._db.execute(query, (stage, json.dumps(key)))]
        return [item for item in found if key in item.info]

    def failed(self, stage: str) -> list[Item]:
        """The items of a stage that failed; of the others nothing is parsed."""
        query = "SELECT * FROM items WHERE stage = ? AND status = 'failed'"
        return [self._item(row) for row in self._db.execute(query, (stage,))]

    def states(self) -> Iterator[sqlite3.Row]:
        """Stage, item, status, failure, attempt, started, error of every item; the rest takes long to parse."""
        columns = "stage, item, status, failure, attempt, started, error"
        return self._db.execute(f"SELECT {columns} FROM items ORDER BY stage, item")

    def get(self, stage: str, item: str) -> Item | None:
        row = self._db.execute("SELECT * FROM items WHERE stage = ? AND item = ?", (stage, item)).fetchone()
        return self._item(row) if row else None

    def _item(self, row: sqlite3.Row) -> Item:
        try:
            return item_of(dict(row), json.loads(row["outputs"]), json.loads(row["info"]))
        except (ValueError, TypeError) as error:
            raise damaged(self.work / DATABASE, f"the row {row['stage']} {row['item']!r} is unreadable") from error

    def start(self, stage: str, item: str, fingerprint: str) -> None:
        """Say that work on an item begins; the attempt counts up while the fingerprint stays the same.

        So do its repairs where it was done and its files are others now: to be called while they are there.
        """
        before = self.get(stage, item)
        same = before is not None and before.fingerprint == fingerprint
        attempt = before.attempt + 1 if before and same else 1
        repairs = before.repairs + self._is_altered(before) if before and same else 0
        self._db.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, 'running', NULL, ?, ?, NULL, '[]', '{}', NULL, ?, ?)",
            (stage, item, fingerprint, attempt, time.time(), self._next_sequence(), repairs),
        )

    def _is_altered(self, item: Item) -> bool:
        """Whether files of an item that is done are there, but not as they were made."""
        there = [output for output in item.outputs if item.status == "done" and (self.work / output.path).exists()]
        return not all(self.is_intact(output, verify=True) for output in there)

    def _next_sequence(self) -> int:
        if self._last_sequence is None:
            self._last_sequence = self._db.execute("SELECT coalesce(max(sequence), 0) FROM items").fetchone()[0]
        self._last_sequence += 1
        return self._last_sequence

    def finish(self, stage: str, item: str, outputs: Sequence[Path], info: dict[str, Any]) -> None:
        """Record a started item as done with the files that it made, or those of somebody else that it is made of."""
        with self._all_at_once():
            made = [self._record(path) for path in outputs]
            self._end(stage, item, "status = 'done', outputs = ?, info = ?", json.dumps(made), json.dumps(info))
        self._note(stage, item)

    def _record(self, path: Path) -> dict[str, Any]:
        inside = path.is_relative_to(self.work)
        return {
            "path": self._name(path),
            "bytes": path.stat().st_size,
            "sha256": self.contents.record(path) if inside else self.content_sha256(path),
        }

    def _name(self, path: Path) -> str:
        """How outputs are called: relative to the work directory, absolute outside of it."""
        return str(path.relative_to(self.work) if path.is_relative_to(self.work) else path.absolute())

    def fail(self, stage: str, item: str, failure: str, error: str) -> None:
        """Record a started item as failed: `failure` is its kind, `error` one line."""
        self._end(stage, item, "status = 'failed', failure = ?, error = ?", failure, storable(error))
        self._note(stage, item)

    def adopt(self, item: Item) -> None:
        """Take over a finished item of another work directory, whose files are at the same places here by now."""
        row = {**asdict(item), "outputs": json.dumps([asdict(output) for output in item.outputs])}
        row |= {"info": json.dumps(item.info), "sequence": self._next_sequence()}
        places = ", ".join(f":{name}" for name in COLUMNS["items"])
        self._db.execute(f"INSERT OR REPLACE INTO items ({', '.join(COLUMNS['items'])}) VALUES ({places})", row)
        self._note(item.stage, item.item)

    def _end(self, stage: str, item: str, change: str, *values: str) -> None:
        self._db.execute(
            # A clock may have been set back meanwhile.
            f"UPDATE items SET {change}, seconds = max(0, ? - started), sequence = ? WHERE stage = ? AND item = ?",
            (*values, time.time(), self._next_sequence(), stage, item),
        )

    @contextmanager
    def _all_at_once(self) -> Iterator[None]:
        """A transaction, unless one is open already."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        with self._db:
            yield

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
        """Whether an item's result is today's and its files are there as they were made (`verify`: hashed anew)."""
        if item is None or item.status != "done" or item.fingerprint != fingerprint:
            return False
        return all(self.is_intact(output, verify=verify) for output in item.outputs)

    def is_intact(self, output: Output, *, verify: bool = False) -> bool:
        """Whether a file is as it was made; without `verify`, one of the same size and time is believed to be."""
        path = self.work / output.path
        try:
            return path.stat().st_size == output.bytes and self.content_sha256(path, verify=verify) == output.sha256
        except OSError:
            return False

    def learn_outputs(self, items: Iterable[Item | None]) -> None:
        """Hash those files of items that look new here, several at a time: a moved work directory's."""
        self.contents.learn([self.work / output.path for item in items if item for output in item.outputs])

    def is_own(self, path: Path, *, altered: bool = False) -> bool:
        """Whether a file that belongs to no item is not there at all, or as `lad` wrote it from here (or `altered`)."""
        if not path.exists() and not path.is_symlink():
            return True
        rows = self._db.execute("SELECT sha256 FROM files WHERE path = ?", (storable(self._name(path)),))
        written = [row["sha256"] for row in rows]
        is_file = path.is_file() and not path.is_symlink()
        return is_file and bool(written) and (altered or file_sha256(path) in written)

    def record_own(self, path: Path, content: bytes) -> None:
        """Remember that `lad` is about to write a file that belongs to no item."""
        row = storable(self._name(path)), hashlib.sha256(content).hexdigest()
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", row)

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

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """For rows that may be lost when the power fails, as they are easily had again: nobody waits for the disk.

        They are there for good when the next one outside of this is. A killed process loses none of them.
        """
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._db.execute(SYNCHRONOUS)

    def content_sha256(self, path: Path, *, verify: bool = False) -> str:
        """Hash of a file's or frame folder's content: `Contents.sha256`."""
        return self.contents.sha256(path, verify=verify)


def adopt_files(manifest: Manifest) -> None:
    """Take what lies in a work directory where `lad` kept no record of it for its own, as it always was."""
    for path in [manifest.work / CONFIG, *manifest.work.glob(DATASET), *manifest.work.glob(f"splits/*/{DATASET}")]:
        if path.is_file() and not path.is_symlink():
            manifest.record_own(path, path.read_bytes())


@contextmanager
def open_manifest(work: Path, *, force: bool = False) -> Iterator[Manifest]:
    """Open a work directory for work: it is made if need be, and no second process may hold it.

    Args:
        work: its folder.
        force: begin even in a folder where somebody else's files have the names that `lad` would write.

    Raises:
        ManifestError: another process works there, the manifest is damaged or of another format, or somebody else's
            files are in the way.
    """
    if not force and (names := foreign_names(work)):
        are = "is" if len(names) == 1 else "are"
        raise ManifestError(
            f"{work}: {', '.join(names)} {are} there already and not made by lad, which would replace "
            f"{'it' if len(names) == 1 else 'them'}: choose another --work, or give --force"
        )
    with hold(work), open_held(work) as manifest:
        yield manifest


@contextmanager
def open_held(work: Path) -> Iterator[Manifest]:
    """`open_manifest` for whoever holds the directory already."""
    path = work / DATABASE
    with explained(path):
        connection = connect(path)
        journal = None
        try:
            _sweep(work)
            _prepare(work, connection)
            journal = Journal(work / JOURNAL)
            yield Manifest(work, connection, journal)
        finally:
            if journal:
                journal.close()
            connection.close()


def _sweep(work: Path) -> None:
    """Remove what killed writers left, but for links, which may lead elsewhere.

    Nobody else writes here but `lad report` and `lad review`, which hold nothing: what they left is removed later.
    """
    began = (work / LOCK).stat().st_mtime
    sweep_leftovers(work, began)
    for name in NAMES:
        for folder, _, _ in os.walk(work / name):
            unheld = not UNHELD.isdisjoint(Path(folder).relative_to(work).parts)
            sweep_leftovers(Path(folder), began - LEFTOVER_SECONDS if unheld else began)


def _prepare(work: Path, connection: sqlite3.Connection) -> None:
    """Check the manifest against itself and its journal, and bring it to the state that work begins in."""
    path, journal = work / DATABASE, work / JOURNAL
    content = journal.read_bytes() if journal.exists() else b""
    journal_is = journal_format(journal, content)
    last = _last_item(content)
    if not tables(connection):
        if last:
            raise damaged(path, f"it is empty, and {JOURNAL} says that items were finished")
        connection.execute("PRAGMA journal_mode = WAL")
        make_tables(connection)
        adopt_files(Manifest(work, connection))  # of a manifest that was lost, or moved away; a new place has none
    manifest_is = check_tables(connection, path)
    if (problem := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise damaged(path, " ".join(problem.split()))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(SYNCHRONOUS)
    manifest = Manifest(work, connection)
    if manifest_is == FIRST_FORMAT:
        make_tables(connection, TO_FORMAT_2)
        adopt_files(manifest)
    row = manifest.get(last.stage, last.item) if last else None
    if last and (row is None or row.sequence < last.sequence):
        raise damaged(path, f"it lacks {last.stage} {last.item}, which {JOURNAL} has (was {DATABASE}-wal removed?)")
    # Nobody else holds the lock, so whoever was running is dead.
    connection.execute("UPDATE items SET status = 'pending' WHERE status = 'running'")
    finished = connection.execute("SELECT count(*) FROM items WHERE status IN ('done', 'failed')").fetchone()[0]
    lines = content.count(b"\n") - 1
    torn = not content.endswith(b"\n") or (last is None and lines > 0)
    if torn or journal_is == FIRST_FORMAT or not finished <= lines <= 2 * finished + JOURNAL_SLACK:
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
    with explained(path):
        connection = connect(path)
        try:
            check_tables(connection, path)
            yield Manifest(work, connection)
        finally:
            connection.close()
