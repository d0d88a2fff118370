"""What the manifest holds, and its journal: `manifest.jsonl`, a line for every item when it is finished.

From it `lad status --rebuild` makes a damaged manifest anew (`rebuild.py`).
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lad.errors import LadError
from lad.files import open_kept, write_all, write_text
from lad.ours import JOURNAL

FORMAT = 2  # of the manifest's tables and of the journal; another one is refused, not guessed at
FIRST_FORMAT = 1  # is read too, and brought to today's when work begins
SINCE_2 = ("sequence", "repairs")  # fields of an item that format 1 lacks
JOURNAL_SLACK = 100  # lines that it may have beyond twice those that are needed


class ManifestError(LadError):
    """The work directory's manifest cannot be used."""


def damaged(path: Path, reason: object) -> ManifestError:
    """The error for a manifest that is not as lad leaves it."""
    mend = f"`lad status --rebuild --work {shlex.quote(str(path.parent))}` makes it anew from what is on disk"
    return ManifestError(f"{path}: the manifest cannot be used: {reason}; {mend}")


def other_format(path: Path, found: object) -> ManifestError:
    """The error for a manifest or journal of another version of lad."""
    by = "a newer lad" if isinstance(found, int) and found > FORMAT else "another lad"
    return ManifestError(f"{path}: made by {by}: its format is {found}, this lad reads {FORMAT}: use another --work")


@dataclass(frozen=True)
class Output:
    """A file that an item made: path relative to the work directory (absolute outside it), size, SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Item:
    """One row: a unit of work of a stage and what came of it.

    Attributes:
        sequence: counts up with whatever happens in a work directory: rows have an order whatever the clock says.
        repairs: how often its files were found altered and made anew. What was made from it in between is not to be
            trusted, so what is made from it depends on this too.
    """

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
    sequence: int = 0
    repairs: int = 0


class Journal:
    """`manifest.jsonl`, open to be written to: first its format, then a JSON line an item, the last one counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_kept(path)

    def append(self, lines: Sequence[str]) -> None:
        """Write lines; where that fails the journal is marked as torn, and made anew when it is opened again."""
        data = "".join(lines).encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            write_all(self._file, data)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(size - 1)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        self._file.close()


def journal_line(item: Item) -> str:
    # `asdict` would copy all that is in it, at a third of what a video costs its driver.
    return json.dumps({**vars(item), "outputs": [vars(output) for output in item.outputs]}) + "\n"


def parse_journal_line(line: bytes) -> Item:
    """A line of the journal.

    Raises:
        ValueError: it is none.
    """
    values = _parse(line)
    if not isinstance(values, dict) or {*values, *SINCE_2} != {one.name for one in fields(Item)}:
        raise ValueError("not an item")
    if values["status"] not in ("done", "failed") or not isinstance(values["info"], dict):
        raise ValueError("not a finished item")
    try:
        return item_of(values, values["outputs"], values["info"])
    except TypeError as error:
        raise ValueError(str(error)) from error


def finished_items(work: Path) -> dict[tuple[str, str], Item]:
    """What the journal of a work directory says was finished, by (stage, item); empty where there is none.

    It is read without the manifest, which another machine may have open.
    """
    try:
        lines = (work / JOURNAL).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        with suppress(ValueError):  # its format, or a line that is being written
            item = parse_journal_line(line)
            found[item.stage, item.item] = item
    return found


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError as error:  # of brackets without end
        raise ValueError("nested too deep") from error


def journal_format(path: Path, content: bytes) -> int | None:
    """The format of a journal; None: its first line is damaged.

    Raises:
        ManifestError: it is of another lad.
    """
    try:
        first = _parse(content.partition(b"\n")[0])
    except ValueError:
        return None
    if not isinstance(first, dict) or "format" not in first:
        return None
    if first["format"] not in (FIRST_FORMAT, FORMAT):
        raise other_format(path, first["format"])
    return int(first["format"])


def write_journal(path: Path, items: Iterable[Item]) -> None:
    """Write a journal anew, of the finished ones of `items`."""
    finished = (item for item in items if item.status in ("done", "failed"))
    in_order = sorted(finished, key=lambda item: item.sequence)  # the last line tells how far the manifest must be
    write_text(path, "".join([json.dumps({"format": FORMAT}) + "\n", *map(journal_line, in_order)]))


def item_of(values: dict[str, Any], outputs: list[dict[str, Any]], info: dict[str, Any]) -> Item:
    """An item from the values of its fields, as JSON has them.

    Raises:
        TypeError: it is none.
    """
    made = [Output(**output) for output in outputs]
    if not isinstance(info, dict) or not all(isinstance(output.path, str) for output in made):
        raise TypeError("not an item")
    return Item(**{**values, "outputs": made, "info": info})
