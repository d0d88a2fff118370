"""Videos, their labels, and `dataset.csv` in and out."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from lad.errors import LadError
from lad.files import write_text
from lad.footage import Passed, videos_below
from lad.intervals import intervals

SPLITS = ("train", "val", "test")
SUMMARY_ID = "summary"  # a video of that name would have its scores in scores/summary.csv, which is another file
COLUMNS = ("video", "path", "split", "label", "events", "n_frames", "fps", "source")
FEATURES_SUFFIX = ".npy"
RESULT_SUFFIXES = (".npy", ".csv", ".png")  # of files named after a video, so the names of folders must not end so
MIN_FPS = 1e-6  # a frame every 11 days; with far less, times become infinite
MAX_PROBLEMS = 20  # listed in one error
MAX_NAME_BYTES = 255  # of a file or folder, on all usual filesystems
MAX_ID_BYTES = 2048  # leaves room for the work directory in the 4095 bytes of a whole path

Number = TypeVar("Number", int, float)


class DatasetError(LadError):
    """What is wrong with a dataset, one line per problem."""


@dataclass(frozen=True)
class Event:
    """An anomalous interval of frames, half-open: `[start, end)`. Without an end it lasts until the video ends."""

    start: int
    end: int | None = None


WHOLE_VIDEO = (Event(0),)  # the events of an abnormal video about which no more is known


@dataclass(frozen=True)
class Video:
    """One file or one folder of numbered frames.

    Attributes:
        id: path relative to the data root, without suffix, `/`-separated.
        path: where it lies. If it ends in `.npy`, it holds features instead of pictures. `{stream}` in it stands for
            the stream, if each stream has a file.
        split: `train`, `val`, `test`, or empty.
        label: its category, or empty. Several categories are joined by `|`, the foremost first.
        events: its anomalous intervals. A video without any is normal.
        n_frames: the number of its frames, if the dataset says.
        fps: frames a second, if the dataset says. Only the times of a frame folder need it.
        source: videos with the same source are never split apart. If empty, the video is its own source.
    """

    id: str
    path: Path
    split: str = ""
    label: str = ""
    events: tuple[Event, ...] = ()
    n_frames: int | None = None
    fps: float | None = None
    source: str = ""

    @property
    def is_abnormal(self) -> bool:
        return bool(self.events)

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

    def frame_labels(self, n_frames: int) -> np.ndarray:
        """`(n_frames,)` bool, true for the frames of events."""
        labels = np.zeros(n_frames, dtype=bool)
        for event in self.events:
            labels[event.start : event.end] = True
        return labels


def events_of(frame_labels: np.ndarray) -> tuple[Event, ...]:
    """The events in `(frames,)` labels: the runs of frames that are not zero."""
    return tuple(Event(start, end) for start, end in intervals(np.asarray(frame_labels) != 0))


def class_names(videos: Iterable[Video]) -> list[str]:
    """The categories of `videos`, in alphabetical order."""
    return sorted({category for video in videos for category in video.categories})


def is_safe_id(video_id: str) -> bool:
    """Whether an id can name files in the work directory, and none outside of it."""
    parts = video_id.split("/")
    forbidden = {"\0", "\\", "\n", "\r"} & set(video_id)
    if any("\ud800" <= character <= "\udfff" for character in video_id):  # a file name that is not UTF-8
        return False
    if video_id != video_id.strip():  # blanks around a cell of `dataset.csv` are not read
        return False
    # The video `a` has its features in the file a.npy, so `a.npy/b` could not have its own in a folder a.npy.
    if any(part.endswith(RESULT_SUFFIXES) for part in parts[:-1]) or len(video_id.encode()) > MAX_ID_BYTES:
        return False
    # Its files have the name of the video and a suffix of four characters.
    too_long = any(len(part.encode()) > MAX_NAME_BYTES for part in f"{video_id}{FEATURES_SUFFIX}".split("/"))
    return video_id not in ("", SUMMARY_ID) and not forbidden and not too_long and not {"", ".", ".."} & set(parts)


def read_dataset(path: Path, root: Path | None = None) -> list[Video]:
    """Read a `dataset.csv`.

    Args:
        path: the file. Its columns are `video,path,split,label,events,n_frames,fps,source`, and only the first two are
            required.
        root: the folder that its paths are relative to. The default is the file's own folder.

    Raises:
        DatasetError: all problems of the file, each with its line.
        OSError: the file cannot be read.
    """
    root = path.parent if root is None else root
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = list(reader.fieldnames or [])
    except csv.Error as error:
        raise DatasetError(f"{path}:1: {error}") from error
    if missing := [name for name in ("video", "path") if name not in header]:
        raise DatasetError(f"{path}: no column {', '.join(missing)}; its first line must be: {','.join(COLUMNS)}")
    problems: list[str] = []
    videos: list[Video] = []
    seen: dict[str, int] = {}
    try:
        for row in reader:
            line = reader.line_num
            if None in row:  # DictReader's key for fields beyond the header's columns
                problems.append(f"{path}:{line}: more fields than the {len(header)} of the first line: quote commas")
                continue
            try:
                video = _parse_row({k: (v or "").strip() for k, v in row.items()}, root)
            except ValueError as error:
                problems.append(f"{path}:{line}: {error}")
                continue
            if video.id in seen:
                problems.append(f"{path}:{line}: video {video.id!r} is already on line {seen[video.id]}")
            seen[video.id] = line
            videos.append(video)
    except csv.Error as error:
        problems.append(f"{path}:{reader.line_num}: {error}")
    if not videos and not problems:
        problems.append(f"{path}: it lists no videos")
    if problems:
        more = [f"... and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
        raise DatasetError("\n".join(problems[:MAX_PROBLEMS] + more))
    return videos


def _parse_row(row: dict[str, str], root: Path) -> Video:
    if not is_safe_id(row["video"]):
        raise ValueError(
            f"video {row['video']!r} must be a relative path of at most {MAX_ID_BYTES} bytes, "
            f"without '..', empty parts, backslashes, line breaks, folders that end in {', '.join(RESULT_SUFFIXES)}, "
            f"or names of more than {MAX_NAME_BYTES - len(FEATURES_SUFFIX)} bytes, and not {SUMMARY_ID!r}"
        )
    if not row["path"] or "\0" in row["path"]:
        raise ValueError("path is empty" if not row["path"] else "path has a NUL character")
    split = row.get("split", "")
    if split and split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    n_frames = _number(row, "n_frames", int, 1)
    fps = _number(row, "fps", float, MIN_FPS)
    return Video(
        id=row["video"],
        path=root / row["path"],
        split=split,
        label=row.get("label", ""),
        events=parse_events(row.get("events", ""), n_frames),
        n_frames=n_frames,
        fps=fps,
        source=row.get("source", ""),
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


def parse_events(text: str, n_frames: int | None = None) -> tuple[Event, ...]:
    """`start-end;start-end`, 0-based and half-open -> events in order. `start-` lasts until the video ends.

    Raises:
        ValueError: an interval is malformed, empty, or reaches beyond `n_frames`.
    """
    events = []
    for part in filter(None, text.split(";")):
        start, dash, end = part.strip().partition("-")
        if not (dash and start.isascii() and start.isdigit() and (end == "" or (end.isascii() and end.isdigit()))):
            raise ValueError(f"event {part!r} is not start-end, such as 61-180, or start-")
        event = Event(int(start), int(end) if end else None)
        if event.end is not None and event.start >= event.end:
            raise ValueError(f"event {part!r} is empty: its end is the first frame after it")
        if n_frames is not None and (event.end or event.start + 1) > n_frames:
            raise ValueError(f"event {part!r} reaches beyond the video's {n_frames} frames")
        events.append(event)
    return tuple(sorted(events, key=lambda event: event.start))


def write_dataset(path: Path, videos: Sequence[Video], root: Path) -> None:
    """Write a `dataset.csv`. Paths below `root` are written relative to it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for v in videos:
        place = v.path.relative_to(root) if v.path.is_relative_to(root) else v.path.absolute()
        events = ";".join(f"{event.start}-{'' if event.end is None else event.end}" for event in v.events)
        text = place.as_posix()
        if text != text.strip():  # blanks around a cell are not read, but a file's name may have them
            text = f"{'' if place.is_absolute() else './'}{text}{'/' if text != text.rstrip() else ''}"
        writer.writerow([v.id, text, v.split, v.label, events, v.n_frames, v.fps, v.source])
    write_text(path, out.getvalue())


def find_videos(arguments: Sequence[str], root: Path | None = None, passed: Passed | None = None) -> list[Video]:
    """The videos that command-line arguments name: files, folders of frames, folders of both, globs.

    Args:
        arguments: as a user has typed them.
        root: the folder that ids are relative to.
        passed: gets the files of folders that are no videos.

    Raises:
        DatasetError: an argument names nothing.
    """
    paths: list[Path] = []
    problems: list[str] = []
    passed = Passed() if passed is None else passed
    for argument in arguments:
        path = Path(argument)
        here = Passed()
        try:
            matches = [argument] if path.exists() else sorted(glob.glob(argument, recursive=True))  # noqa: PTH207  (absolute patterns too)
            found = [video for match in matches for video in videos_below(Path(match), here)]
        except RecursionError:
            problems.append(f"{argument}: holds folders in folders without end")
            continue
        if not found:
            what = "holds no video" if path.is_dir() else "no such file, folder or match"
            problems.append(f"{argument}: {what}{f'; {here.line()}' if here.count else ''}")
        paths += found
        passed.update(here)
    if problems:
        raise DatasetError("\n".join(problems))
    unique = list(dict.fromkeys(p.absolute() for p in paths))
    return [Video(id=name, path=p) for name, p in zip(video_ids(unique, root), unique, strict=True)]


def video_ids(paths: Sequence[Path], root: Path | None) -> list[str]:
    """The ids of absolute paths: for each the first of these names that no other path has.

    A path is called by its place below `root` without suffix, by the same with suffix, or by its name and a hash.
    """
    names = [_name(path, root, with_suffix=False) for path in paths]
    for place in (root, None):
        # A name that was unique may be taken later: a.mp4.mkv is a.mp4 at first, and then a.mp4 beside a.avi is too.
        counts = Counter(names)
        names = [name if counts[name] == 1 else _name(path, place) for name, path in zip(names, paths, strict=True)]
    return names


def _name(path: Path, root: Path | None, with_suffix: bool = True) -> str:
    """The place of a path below `root` if that is a safe id. Otherwise its name, cut if it is long, and a hash."""
    bare = path if with_suffix or path.is_dir() else path.with_suffix("")
    if root is not None and path != root.absolute() and path.is_relative_to(root.absolute()):
        relative = PurePosixPath(bare.relative_to(root.absolute())).as_posix()
        if is_safe_id(relative):
            return relative
    readable = os.fsencode(bare.name).decode(errors="replace")
    for character in "\\\n\r":
        readable = readable.replace(character, "_")
    ending = f"-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    room = MAX_NAME_BYTES - len(ending) - len(FEATURES_SUFFIX)
    return readable.strip().encode()[:room].decode(errors="ignore") + ending
