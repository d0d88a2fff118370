"""Videos, their labels, and `dataset.csv` in and out."""

from __future__ import annotations

import csv
import errno
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from lad.errors import LadError
from lad.events import AnyEvent, Click, Event, Reviewed, Somewhere, parse_events
from lad.files import check_readable, write_bytes
from lad.footage import identity
from lad.remote.url import Location, Url, location_of
from lad.text import did_you_mean, from_cell, nearest, not_utf8, to_cell

SPLITS = ("train", "val", "test")
RESERVED_IDS = ("summary", "events")  # the scores of such a video would be scores/summary.csv, which is another file
COLUMNS = ("video", "path", "split", "label", "events", "n_frames", "fps", "source")
REQUIRED = ("video", "path")
SEPARATORS = {";": "semicolons", "\t": "tabs"}  # of spreadsheets, which are not read
FEATURES_SUFFIX = ".npy"
RESULT_SUFFIXES = (".npy", ".csv", ".png")  # of files named after a video, so the names of folders must not end so
MIN_FPS = 1e-6  # a frame every 11 days; with far less, times become infinite
MAX_PROBLEMS = 20  # listed in one error
MAX_TABLE_BYTES = 1 << 30  # of a dataset.csv: several million videos
MAX_NAME_BYTES = 255  # of a file or folder, on all usual filesystems
MAX_ID_BYTES = 2048  # leaves room for the work directory in the 4095 bytes of a whole path

Number = TypeVar("Number", int, float)


class DatasetError(LadError):
    """What is wrong with a dataset, one line per problem."""


@dataclass(frozen=True)
class Video:
    """One file or one folder of numbered frames; or one file at a URL.

    Attributes:
        id: path relative to the data root, without suffix, `/`-separated.
        path: where it lies, on a disk or at a URL. If it ends in `.npy`, it holds features instead of pictures.
            `{stream}` in it stands for the stream, if each stream has a file.
        split: `train`, `val`, `test`, or empty.
        label: its category, or empty. Several categories are joined by `|`, the foremost first.
        events: its anomalous intervals, of frames or of seconds; or one frame of each; or only that there is one. A
            video without any is normal.
        n_frames: the number of its frames, if the dataset says.
        fps: frames a second, if the dataset says. Only the times of a frame folder need it.
        source: videos with the same source are never split apart. If empty, the video is its own source.
        line: of the dataset.csv that describes it; 0: none does.
        reviewed: what `lad review` was told of it; `lad.features.labels` makes labels of that.
        unlabelled: frames of which nobody knows what they show: they count for nothing.
    """

    id: str
    path: Location
    split: str = ""
    label: str = ""
    events: tuple[AnyEvent, ...] = ()
    n_frames: int | None = None
    fps: float | None = None
    source: str = ""
    line: int = field(default=0, compare=False)
    reviewed: Reviewed | None = None
    unlabelled: tuple[Event, ...] = ()

    @property
    def is_abnormal(self) -> bool:
        return bool(self.events)

    @property
    def is_weak(self) -> bool:
        """Whether it has events of which nobody said where they begin and end."""
        return any(isinstance(event, Click | Somewhere) for event in self.events)

    @property
    def group(self) -> str:
        """Videos of one group stay together when videos are divided."""
        return self.source or self.id

    @property
    def categories(self) -> tuple[str, ...]:
        """Its categories one by one. The first is what a detector learns."""
        return tuple(filter(None, self.label.split("|")))

    @property
    def is_features(self) -> bool:
        """Whether it comes as features instead of pictures."""
        return self.path.suffix == FEATURES_SUFFIX

    @property
    def file(self) -> Path:
        """Its path, of one that lies on a disk as every video of a benchmark's download does."""
        assert isinstance(self.path, Path)
        return self.path

    def frame_labels(self, n_frames: int) -> np.ndarray:
        """`(n_frames,)` bool, true for the frames of events.

        Raises:
            ValueError: the events are in seconds, and `lad.features.labels` makes frames of them; or the video is weak.
        """
        labels = np.zeros(n_frames, dtype=bool)
        for event in self.events:
            if not isinstance(event, Event):
                raise ValueError(f"{self.id}: of the event {event} nobody knows yet which frames it has")
            labels[event.start : event.end] = True
        return labels

    def known_frames(self, n_frames: int) -> np.ndarray:
        """`(n_frames,)` bool, false for the frames of which nobody knows what they show: all of a weak video."""
        labelled = np.full(n_frames, not self.is_weak)
        for stretch in self.unlabelled:
            labelled[stretch.start : stretch.end] = False
        return labelled


def class_names(videos: Iterable[Video]) -> list[str]:
    """The categories of `videos`, in alphabetical order."""
    return sorted({category for video in videos for category in video.categories})


def is_safe_id(video_id: str) -> bool:
    """Whether an id can name files in the work directory, and none outside of it."""
    parts = video_id.split("/")
    forbidden = {"\0", "\\", "\n", "\r"} & set(video_id)
    if not_utf8(video_id):  # a file's name may be anything
        return False
    if video_id != video_id.strip():  # blanks around a cell of `dataset.csv` are not read
        return False
    # The video `a` has its features in the file a.npy, so `a.npy/b` could not have its own in a folder a.npy.
    if any(part.endswith(RESULT_SUFFIXES) for part in parts[:-1]) or len(video_id.encode()) > MAX_ID_BYTES:
        return False
    # Its files have the name of the video and a suffix of four characters.
    too_long = any(len(part.encode()) > MAX_NAME_BYTES for part in f"{video_id}{FEATURES_SUFFIX}".split("/"))
    return video_id not in ("", *RESERVED_IDS) and not forbidden and not too_long and not {"", ".", ".."} & set(parts)


def read_dataset(path: Path, root: Location | None = None) -> list[Video]:
    """Read a `dataset.csv`.

    Args:
        path: the file. Its columns are `video,path,split,label,events,n_frames,fps,source`, and only the first two are
            required.
        root: the folder, or the URL, that its paths are relative to. The default is the file's own folder.

    Raises:
        DatasetError: all problems of the file, each with its line.
        OSError: the file cannot be read.
    """
    root = path.parent if root is None else root
    text = _read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    reader.fieldnames = _columns(path, reader)
    problems: list[tuple[int, str]] = []
    splits: dict[str, list[int]] = {}
    videos: list[Video] = []
    seen: dict[str, int] = {}
    try:
        for row in reader:
            line = reader.line_num
            if None in row:  # DictReader's key for fields beyond the header's columns
                problems.append((line, f"more fields than the {len(reader.fieldnames)} of line 1: quote commas"))
                continue
            cells = {key: from_cell((cell or "").strip()) for key, cell in row.items()}
            if cells.get("split") and cells["split"] not in SPLITS:
                splits.setdefault(cells.pop("split"), []).append(line)
            try:
                if any(not_utf8(cell) for name, cell in cells.items() if name != "path"):
                    raise ValueError("not a UTF-8 text file: save it as UTF-8")
                video = parse_row(cells, root, line)
            except ValueError as error:
                problems.append((line, str(error)))
                continue
            if video.id in seen:
                problems.append((line, f"video {video.id!r} is already on line {seen[video.id]}"))
            seen[video.id] = line
            videos.append(video)
    except csv.Error as error:
        problems.append((reader.line_num, str(error)))
    problems += [(lines[0], _wrong_split(split, len(lines))) for split, lines in splits.items()]
    problems += _in_two_splits(videos, seen)
    if not videos and not problems:
        raise DatasetError(f"{path}: it lists no videos")
    if problems:
        shown = [f"{path}:{line}: {text}" for line, text in sorted(problems, key=lambda one: one[0])[:MAX_PROBLEMS]]
        more = [f"... and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
        raise DatasetError("\n".join(shown + more))
    return videos


def _columns(path: Path, reader: csv.DictReader[str]) -> list[str]:
    """The names of a file's columns; those without a name are called by their number.

    Raises:
        DatasetError: a name is missing, unknown or there twice: what stands below it would be passed over.
    """
    try:
        header = [name.strip().lower() for name in reader.fieldnames or []]
    except csv.Error as error:
        raise DatasetError(f"{path}:1: {error}") from error
    first_line = f"its first line must be: {','.join(COLUMNS)}"
    for separator, name in SEPARATORS.items():
        if len(header) == 1 and "path" in header[0].split(separator):
            raise DatasetError(f"{path}: its columns are separated by {name}: save it with commas; {first_line}")
    if missing := [name for name in REQUIRED if name not in header]:
        raise DatasetError(
            f"{path}: no column {', '.join(missing)} (video is any name of yours, path its file); {first_line}, of "
            "which only these two are required"
        )
    problems = [
        f"{path}:1: unknown column {name!r}{did_you_mean(name, COLUMNS)}; known are {', '.join(COLUMNS)}"
        for name in dict.fromkeys(header)
        if name and name not in COLUMNS
    ]
    problems += [f"{path}:1: column {name!r} is there twice" for name, n in Counter(header).items() if name and n > 1]
    if problems:
        raise DatasetError("\n".join(problems[:MAX_PROBLEMS]))
    return [name or f"column {number}" for number, name in enumerate(header, start=1)]


def _wrong_split(split: str, lines: int) -> str:
    meant = nearest(split, SPLITS)
    advice = f"write {meant}" if meant else f"write one of {', '.join(SPLITS)}, or nothing"
    return f"{f'{lines} lines have ' if lines > 1 else ''}split {split!r}: {advice}"


def _in_two_splits(videos: Sequence[Video], lines: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Line and what is to be said of files that are in one split by one name and in another by another."""
    first: dict[object, Video] = {}
    for video in videos:
        if not video.split:
            continue
        known = identity(video.path) if isinstance(video.path, Path) else None
        other = first.setdefault(known or video.path, video)
        if video.split != other.split:
            said = f"{video.id!r} is the same file as {other.id!r} on line {lines[other.id]}, "
            yield lines[video.id], f"{said}which is in the split {other.split}: leave one of them out"


def _read_text(path: Path) -> str:
    """The text of a `dataset.csv`. What is not UTF-8 in it becomes surrogates: a file's name may be anything.

    Raises:
        DatasetError: it is no table of text.
    """
    try:
        check_readable(path, MAX_TABLE_BYTES)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DatasetError(f"{path}: {error.strerror}") from error
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    if not_utf8(text.partition("\n")[0]):
        raise DatasetError(f"{path}: not a UTF-8 text file")
    return text


def parse_row(row: dict[str, str], root: Location, line: int = 0) -> Video:
    """A line of a `dataset.csv`, its cells by column; paths are relative to `root`. A split is not looked at.

    Raises:
        ValueError: a cell cannot be understood.
    """
    if nameless := [key for key, cell in row.items() if cell and key not in COLUMNS]:
        raise ValueError(f"{nameless[0]} has no name in line 1, and {row[nameless[0]]!r} stands in it")
    if not is_safe_id(row["video"]):
        raise ValueError(
            f"video {row['video']!r} must be a relative path of at most {MAX_ID_BYTES} bytes, "
            f"without '..', empty parts, backslashes, line breaks, folders that end in {', '.join(RESULT_SUFFIXES)}, "
            f"or names of more than {MAX_NAME_BYTES - len(FEATURES_SUFFIX)} bytes, "
            f"and not {' or '.join(map(repr, RESERVED_IDS))}"
        )
    if not row["path"] or "\0" in row["path"]:
        raise ValueError("path is empty" if not row["path"] else "path has a NUL character")
    path = location_of(row["path"], root)
    if isinstance(path, Url) and path.suffix == FEATURES_SUFFIX:
        raise ValueError(f"{path}: features at a URL are not read: download them")
    n_frames = _number(row, "n_frames", int, 1)
    fps = _number(row, "fps", float, MIN_FPS)
    return Video(
        id=row["video"],
        path=path,
        split=row.get("split", ""),
        label=row.get("label", ""),
        events=parse_events(row.get("events", ""), n_frames),
        n_frames=n_frames,
        fps=fps,
        source=row.get("source", ""),
        line=line,
    )


def _number(row: dict[str, str], column: str, kind: Callable[[str], Number], least: Number) -> Number | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{column} {text!r} is not a number") from None
    if not least <= value < 1e9:
        raise ValueError(f"{column} {text!r} is out of range")
    return value


def write_dataset(path: Path, videos: Sequence[Video], root: Location) -> None:
    """Write a `dataset.csv`. Paths below `root` are written relative to it."""
    write_bytes(path, dataset_text(videos, root))


def dataset_text(videos: Sequence[Video], root: Location) -> bytes:
    """What a `dataset.csv` holds. A path may be any that a file can have: one that is not UTF-8 is written as it is.

    A URL is written without what is secret in it.
    """
    out = io.StringIO(newline="")
    writer, quoting = csv.writer(out, lineterminator="\n"), csv.writer(out, csv.unix_dialect)
    writer.writerow(COLUMNS)
    for v in videos:
        events, text = ";".join(map(str, v.events)), _written(v.path, root)
        named = [to_cell(v.id), to_cell(text), v.split, to_cell(v.label)]
        row = [*named, events, v.n_frames, v.fps, to_cell(v.source)]
        # Before Python 3.13 a carriage return is not quoted by itself, and would be read as the line's end.
        (quoting if any("\r" in cell for cell in (*named, v.source)) else writer).writerow(row)
    return out.getvalue().encode(errors="surrogateescape")


def _written(path: Location, root: Location) -> str:
    """A place as it is written in a table: relative to `root` where it lies below."""
    if isinstance(path, Url):
        return str(path)
    is_below = isinstance(root, Path) and path.is_relative_to(root)
    place = path.relative_to(str(root)) if is_below else path.absolute()
    text = place.as_posix()
    if text != text.strip():  # blanks around a cell are not read, but a file's name may have them
        text = f"{'' if place.is_absolute() else './'}{text}{'/' if text != text.rstrip() else ''}"
    return text
