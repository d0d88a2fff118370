"""`labels.csv`: what people said in `lad review`, a line for each verdict, which is only ever added to.

A line is there once `append` returns, whatever dies after. It ends with the verdict's own number, so that one that was
cut short can be told, and is no verdict. Several processes may add at once.
"""

from __future__ import annotations

import csv
import fcntl
import getpass
import heapq
import io
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from lad.dataset import is_safe_id
from lad.errors import LadError
from lad.events import Event, Reviewed
from lad.files import check_readable, open_kept, write_all
from lad.ours import VERDICTS
from lad.text import from_cell, not_utf8, shortened, to_cell

Kind = Literal["event", "normal", "undo"]
COLUMNS = ("time", "who", "video", "kind", "start", "end", "label", "replaces", "verdict")
HEADER = ",".join(COLUMNS) + "\n"
NUMBER = re.compile(r"[0-9a-f]{12}")
FRAME = re.compile(r"[0-9]{1,9}")
MAX_BYTES = 256 << 20  # of a labels.csv: two million verdicts
MAX_TEXT = 200  # characters of a name or a label
TAIL_BYTES = 1 << 16  # of the file's end that are looked at for its last line: a line is shorter


class VerdictsError(LadError):
    """A `labels.csv` that is not as `lad review` writes it, or a verdict that makes no sense."""


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def user() -> str:
    """Whose account it is."""
    with suppress(OSError, KeyError):  # a container may have a user without a name
        return getpass.getuser()
    return str(os.getuid())


def _new_number() -> str:
    """Random, and with a letter in front: a spreadsheet takes `3400000e1123` for a number, and writes it otherwise."""
    return secrets.choice("abcdef") + secrets.token_hex(6)[1:]


@dataclass(frozen=True)
class Verdict:
    """What somebody said of a stretch of a video, and when.

    Attributes:
        video: id of the video.
        kind: `event`: something happens in these frames; `normal`: nothing does; `undo`: what `replaces` names is
            taken back, and there are no frames.
        start, end: frames, half-open.
        label: the event's category, or empty.
        replaces: number of an earlier verdict that this one takes back; empty: none.
        who: who said it.
        time: when, ISO 8601 with the offset from UTC.
        number: 12 hexadecimal digits, its own.
    """

    video: str
    kind: Kind
    start: int = 0
    end: int = 0
    label: str = ""
    replaces: str = ""
    who: str = field(default_factory=user)
    time: str = field(default_factory=_now)
    number: str = field(default_factory=_new_number)

    def problem(self) -> str | None:
        """Why it makes no sense; None: it does."""
        if not is_safe_id(self.video):
            return f"video {self.video!r} is no id of a video"
        if self.kind not in get_args(Kind):
            return f"kind {self.kind!r} is not one of {', '.join(get_args(Kind))}"
        if self.kind == "undo":
            if self.start or self.end or self.label:
                return "an undo has no frames and no label"
        elif not 0 <= self.start < self.end < 10**9:
            return f"frames {self.start} to {self.end} are no interval: the end is the first frame after it"
        if self.label and self.kind != "event":
            return f"label {self.label!r}: only an event has one"
        if "|" in self.label:
            return f"label {self.label!r}: an event has one category, without '|'"
        for name, text in (("who", self.who), ("label", self.label)):
            if len(text) > MAX_TEXT or not text.isprintable() or not_utf8(text) or text != text.strip():
                return f"{name} {text!r} is not printable, has blanks around it, or is longer than {MAX_TEXT}"
        if (self.replaces or self.kind == "undo") and not NUMBER.fullmatch(self.replaces):
            return f"replaces {self.replaces!r} is no number of a verdict"
        if not NUMBER.fullmatch(self.number):
            return f"verdict {self.number!r} is no number of a verdict: 12 hexadecimal digits"
        with suppress(ValueError):
            if datetime.fromisoformat(self.time).tzinfo is not None:
                return None
        return f"time {self.time!r} is not as 2026-11-29T09:14:02+01:00"

    def line(self) -> str:
        """Its line of the file."""
        frames = ("", "") if self.kind == "undo" else (str(self.start), str(self.end))
        text = [to_cell(self.who), to_cell(self.video), self.kind, *frames, to_cell(self.label)]
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerow([self.time, *text, self.replaces, self.number])
        return out.getvalue()


def append(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Add verdicts to a `labels.csv`, all of them or none, and wait until the disk has them.

    A line that somebody's death cut short is removed first. The file is made where it is not there.

    Raises:
        VerdictsError: a verdict makes no sense, or the file is not one of `lad review`.
        OSError: it cannot be written; nothing of the verdicts is in it.
    """
    for verdict in verdicts:
        if problem := verdict.problem():
            raise VerdictsError(f"{path}: not written: {problem}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_kept(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # for as long as a line takes; let go of when the file is closed
        size = _whole_bytes(path, file)
        known = {one.number for one in read(path)} if any(one.replaces for one in verdicts) else set()
        for verdict in verdicts:
            if verdict.replaces and verdict.replaces not in known:
                raise VerdictsError(f"{path}: not written: there is no verdict {verdict.replaces} to take back")
            known.add(verdict.number)
        lines = "".join([*([] if size else [HEADER]), *(verdict.line() for verdict in verdicts)])
        if size < os.fstat(file.fileno()).st_size:
            file.truncate(size)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # an editor left its last line without an end
            lines = f"\n{lines}"
        try:
            write_all(file, lines.encode())
            os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                file.truncate(size)
            raise OSError(error.errno, error.strerror, str(path)) from error
        if not size:
            _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Wait until the disk knows the name of a new file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # of network disks that cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole_bytes(path: Path, file: io.FileIO) -> int:
    """How many bytes of an open file are whole lines.

    Raises:
        VerdictsError: it does not begin as a `labels.csv`.
    """
    size = os.fstat(file.fileno()).st_size
    begin = os.pread(file.fileno(), len(HEADER) + 8, 0)
    if HEADER.encode().startswith(begin) and len(begin) < len(HEADER):
        return 0  # its first writer died
    _check_header(path, begin.partition(b"\n")[0])
    tail = os.pread(file.fileno(), TAIL_BYTES, max(size - TAIL_BYTES, 0))
    torn = tail[tail.rfind(b"\n") + 1 :]
    return size - len(torn) if torn and _parse(torn) is None else size


def _check_header(path: Path, line: bytes) -> None:
    if line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r") != HEADER.rstrip().encode():
        raise VerdictsError(f"{path}:1: not a labels.csv of lad review, whose first line is: {HEADER.rstrip()}")


def read(path: Path) -> list[Verdict]:
    """The verdicts of a `labels.csv`, in order; none where the file is not there.

    Raises:
        VerdictsError: it is not as `lad review` writes it; names the line.
        OSError: it cannot be read.
    """
    try:
        check_readable(path, MAX_BYTES)
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    if len(content) < len(HEADER) and HEADER.encode().startswith(content):
        return []
    first, *lines = content.split(b"\n")
    _check_header(path, first)
    found: dict[str, Verdict] = {}
    for number, line in enumerate(lines, start=2):
        if not line.rstrip(b"\r"):
            continue
        verdict = _parse(line)
        if verdict is None and number == len(lines) + 1:
            break  # cut short: whoever wrote it never said that it is there
        problem = verdict.problem() if verdict else f"not a verdict: {_shown(line)}"
        if verdict and verdict.number in found:
            problem = f"verdict {verdict.number} is there twice"
        if verdict and verdict.replaces and verdict.replaces not in found:
            problem = problem or f"replaces {verdict.replaces}, which is no verdict before it"
        if verdict is None or problem:
            raise VerdictsError(f"{path}:{number}: {problem}: mend or remove the line")
        found[verdict.number] = verdict
    return list(found.values())


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip("\r")
    return repr(shortened(text[:80]))


def _parse(line: bytes) -> Verdict | None:
    """A whole line as a verdict, sensible or not; None: it is none."""
    try:
        (row,) = csv.reader([line.decode().rstrip("\r")], strict=True)
    except (ValueError, csv.Error):
        return None
    if len(row) != len(COLUMNS) or not NUMBER.fullmatch(row[-1]):
        return None
    time, who, video, kind, start, end, label, replaces, number = map(from_cell, row)
    if not all(FRAME.fullmatch(text) or (kind == "undo" and not text) for text in (start, end)):
        return None
    return Verdict(video, kind, int(start or 0), int(end or 0), label, replaces, who, time, number)  # type: ignore[arg-type]


def in_force(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those with frames that nobody took back, in order.

    One that was undone is as if never said: what it replaced counts again. One that was replaced stays gone, and so
    does what it replaced. An undo can be undone.
    """
    undone: set[str] = set()
    replaced: set[str] = set()
    kept: list[Verdict] = []
    for verdict in reversed(verdicts):  # who speaks later is heard first
        if verdict.number in undone:
            continue
        if verdict.kind == "undo":
            undone.add(verdict.replaces)
            continue
        if verdict.number not in replaced:
            kept.append(verdict)
        replaced.add(verdict.replaces)
    return kept[::-1]


def fold(verdicts: Sequence[Verdict]) -> dict[str, Reviewed]:
    """What is said of each video: where verdicts overlap, the later one counts."""
    by_video: dict[str, list[Verdict]] = {}
    for verdict in in_force(verdicts):
        by_video.setdefault(verdict.video, []).append(verdict)
    return {video: _painted(said) for video, said in by_video.items()}


def reviews_in(home: Path) -> dict[str, Reviewed]:
    """What is said of each video in the `labels.csv` of a work directory.

    Raises:
        VerdictsError: it is not as `lad review` writes it.
        OSError: it cannot be read.
    """
    return fold(read(home / VERDICTS))


def _painted(verdicts: Sequence[Verdict]) -> Reviewed:
    """One over the other, the later ones on top: a sweep over their ends, n log n."""
    edges: dict[int, list[int]] = {}
    for index, verdict in enumerate(verdicts):
        edges.setdefault(verdict.start, []).append(index)
        edges.setdefault(verdict.end, [])
    pieces: list[tuple[int, Verdict]] = []  # index of the verdict on top, and its frames
    open_now: list[int] = []
    places = sorted(edges)
    for place, following in zip(places, [*places[1:], places[-1]], strict=True):
        for index in edges[place]:
            heapq.heappush(open_now, -index)
        while open_now and verdicts[-open_now[0]].end <= place:
            heapq.heappop(open_now)
        if not open_now:
            continue
        top = -open_now[0]
        if pieces and pieces[-1][0] == top and pieces[-1][1].end == place:
            pieces[-1] = top, replace(pieces[-1][1], end=following)
        else:
            pieces.append((top, replace(verdicts[top], start=place, end=following)))
    said = [verdict for _, verdict in pieces]
    return Reviewed(
        tuple((Event(v.start, v.end), v.label) for v in said if v.kind == "event"),
        tuple(Event(v.start, v.end) for v in said if v.kind == "normal"),
        len(verdicts),
    )


def counted(reviewed: Iterable[Reviewed]) -> str:
    """`12 verdicts on 5 videos`."""
    numbers = [one.verdicts for one in reviewed]
    total = sum(numbers)
    return f"{total} verdict{'s' if total != 1 else ''} on {len(numbers)} video{'s' if len(numbers) != 1 else ''}"
