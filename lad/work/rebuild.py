"""`lad status --rebuild`: a damaged manifest anew, from its journal and the files that are there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from lad.files import file_sha256, leftover_name, open_new
from lad.ours import DATABASE, JOURNAL
from lad.work.database import COLUMNS, make_tables
from lad.work.journal import (
    Item,
    ManifestError,
    Output,
    journal_format,
    parse_journal_line,
    write_journal,
)
from lad.work.lock import hold
from lad.work.manifest import Manifest, adopt_files, open_held


@dataclass
class Rebuilt:
    """What a new manifest was made of.

    Attributes:
        verified: items whose outputs are all there with the recorded size and SHA-256.
        failures: items that are recorded as failed, which nothing on disk can prove.
        dropped: items whose outputs are missing or others: they will be done again.
        unreadable: lines of the journal that say nothing.
        old: where the old manifest is kept; None: there was none.
    """

    verified: int = 0
    failures: int = 0
    dropped: list[str] = field(default_factory=list)
    unreadable: int = 0
    old: Path | None = None


def rebuild_manifest(work: Path, on_item: Callable[[int, int], None] = lambda done, total: None) -> Rebuilt:
    """Make a work directory's manifest anew from its journal, every output verified by its size and SHA-256.

    The hashes of the videos are not in the journal: they are taken again by the next run. The old manifest is kept.

    Raises:
        ManifestError: somebody works there, or there is nothing to rebuild from.
    """
    if not any((work / name).exists() for name in (DATABASE, JOURNAL)):
        raise ManifestError(f"{work}: nothing was done here yet (no {DATABASE})")
    with hold(work):
        if not (work / JOURNAL).exists():
            _begin_journal(work)
        content = (work / JOURNAL).read_bytes()
        has_format = journal_format(work / JOURNAL, content) is not None
        rebuilt = Rebuilt()
        found = _last_of_each(content.splitlines()[has_format:], rebuilt)
        check = cache(lambda output: _is_intact(work, output))
        for number, item in enumerate(found, start=1):
            if item.status == "failed":
                rebuilt.failures += 1
            elif all(check(output) for output in item.outputs):
                rebuilt.verified += 1
            else:
                rebuilt.dropped.append(f"{item.stage} {item.item}")
            on_item(number, len(found))
        dropped = set(rebuilt.dropped)
        rows = [_to_be_done(work, item) if f"{item.stage} {item.item}" in dropped else item for item in found]
        rebuilt.old = _replace(work, rows)
        write_journal(work / JOURNAL, rows)
    return rebuilt


def _to_be_done(work: Path, item: Item) -> Item:
    """An item that was done and has lost a file. One that is there, but another, may have been read: that counts."""
    altered = any((work / output.path).exists() and not _is_intact(work, output) for output in item.outputs)
    return replace(item, status="pending", seconds=None, outputs=[], info={}, repairs=item.repairs + altered)


def _begin_journal(work: Path) -> None:
    """Older versions kept none; a manifest that is whole gets one by being opened."""
    try:
        with open_held(work):
            pass
    except ManifestError as error:
        raise ManifestError(
            f"{work}: nothing to rebuild from: there is no {JOURNAL} (older versions of lad wrote none). Move "
            f"{DATABASE} away and run again, and everything is done again; or use another --work. ({error})"
        ) from error


def _last_of_each(lines: list[bytes], rebuilt: Rebuilt) -> list[Item]:
    found: dict[tuple[str, str], Item] = {}
    for line in lines:
        try:
            item = parse_journal_line(line)
        except ValueError:
            rebuilt.unreadable += 1
            continue
        found[item.stage, item.item] = item
    return list(found.values())


def _is_intact(work: Path, output: Output) -> bool:
    try:
        path = work / output.path
        return path.stat().st_size == output.bytes and file_sha256(path) == output.sha256
    except (OSError, ValueError, TypeError):  # also of what can be no path
        return False


def _replace(work: Path, items: list[Item]) -> Path | None:
    """Put a manifest of `items` in place of the one that is there; returns where that is now."""
    new, path = work / leftover_name(), work / DATABASE
    open_new(new).close()
    try:
        connection = sqlite3.connect(new, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            make_tables(connection)
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO items VALUES ({', '.join('?' for _ in COLUMNS['items'])})",
                map(_row, items),
            )
            adopt_files(Manifest(work, connection))
            connection.execute("COMMIT")
        finally:
            connection.close()
        old = _put_aside(path)
        new.replace(path)
    except sqlite3.DatabaseError as error:
        raise ManifestError(f"{new}: a new manifest cannot be written: {error}") from error
    finally:
        new.unlink(missing_ok=True)
        new.with_name(f"{new.name}-journal").unlink(missing_ok=True)
    return old


def _row(item: Item) -> list[object]:
    return [json.dumps(value) if isinstance(value, list | dict) else value for value in asdict(item).values()]


def _put_aside(path: Path) -> Path | None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    had_one = path.exists()
    for suffix in ("", "-wal", "-shm"):  # which belong together
        one = path.with_name(path.name + suffix)
        if one.exists():
            one.replace(aside.with_name(aside.name + suffix))
    return aside if had_one else None
