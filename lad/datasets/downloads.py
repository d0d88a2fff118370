"""What lies in a download, wherever its archives put it: it is listed once, found by name, and read."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lad.dataset import FEATURES_SUFFIX, MAX_PROBLEMS, DatasetError, Video
from lad.files import check_readable
from lad.finding import video_ids
from lad.footage import VIDEO_SUFFIXES
from lad.names import CROP_SUFFIX, plain_names, video_of_features
from lad.ours import is_work_directory

Folders = dict[Path, list[str]]  # a folder -> the names of its files
FileIndex = dict[str, list[Path]]  # a name without suffix, in lower case -> the files of that name
MAX_LIST_BYTES = 256 << 20  # of a list of labels: many times the longest
CROP_FILE = re.compile(rf"(.+)__[0-9]\{FEATURES_SUFFIX}")
NOT_DATA = (".", "__MACOSX")  # names that begin so are hidden files, or what macOS leaves in archives


def folders_below(root: Path) -> Folders:
    """`root` and every folder below it, the nearest first. Links are followed, and hidden folders are left out.

    Raises:
        DatasetError: `root` is not a folder.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    found: Folders = {}
    seen: set[tuple[int, int]] = set()
    for folder, children, names in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link in a circle
            children.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if Path(folder) != root and is_work_directory(Path(folder)):  # what lad wrote is no download
            children.clear()
            continue
        children[:] = sorted(child for child in children if not child.startswith(NOT_DATA))
        found[Path(folder)] = sorted(name for name in names if not name.startswith(NOT_DATA))
    return dict(sorted(found.items(), key=lambda item: len(item[0].parts)))


def find_below(folders: Iterable[Path], name: str) -> Path | None:
    """The file or folder of that name, such as `SH_Train.txt` or `testing/frames`, that is nearest to the root."""
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def by_stem(folders: Folders, suffixes: Collection[str] = VIDEO_SUFFIXES) -> FileIndex:
    """The files with one of the suffixes, by their names without it."""
    index: FileIndex = {}
    for folder, names in folders.items():
        for name in names:
            bare, suffix = os.path.splitext(name)  # noqa: PTH122  (there may be many)
            if suffix.lower() in suffixes:
                index.setdefault(bare.lower(), []).append(folder / name)
    return index


def footage_by_stem(folders: Folders) -> FileIndex:
    """The videos by their names without suffix; for a name that has none, the features that others made of it.

    These are recognised by what the field writes behind a video's name: `Abuse001_x264_i3d.npy`, `a_rgb.npy` beside
    `a_flow.npy`, `a__0.npy` beside `a__1.npy`. Of the latter the first may be called `a.npy`.
    """
    features: FileIndex = {}
    for folder, names in folders.items():
        apart = {crop[1] for crop in map(CROP_FILE.fullmatch, names) if crop}
        for name in names:
            bare, suffix = os.path.splitext(name)  # noqa: PTH122  (there may be many)
            if crop := CROP_FILE.fullmatch(name):
                bare = f"{crop[1]}{CROP_SUFFIX}"
            called = plain_names(bare)
            if suffix != FEATURES_SUFFIX or len(called) == 1 or bare in apart:
                continue
            stream = bare.rpartition("_")[2]
            path = folder / f"{bare}{suffix}"
            if stream in ("rgb", "flow"):
                path = folder / f"{video_of_features(bare)}_{{stream}}{suffix}"
            for one in called:
                there = features.setdefault(one.lower(), [])
                there += [] if path in there else [path]
    return {**features, **by_stem(folders)}


def find_by_stem(index: FileIndex, name: str) -> Path | None:
    """The file that a list calls `name` or `folder/name`. Case does not matter.

    Folders may have other names than in the list. Of several files the one whose folders agree best is meant, and of
    those the one nearest to the root.
    """
    *folders, file = PurePosixPath(name.lower()).parts or ("",)

    def agreement(path: Path) -> int:
        shared = 0
        for ours, theirs in zip(reversed(folders), reversed(path.parts[:-1]), strict=False):
            if ours != theirs.lower():
                break
            shared += 1
        return shared

    return max(index.get(file, []), key=agreement, default=None)


def stem(name: str) -> str:
    """A name in a list, without a video's suffix. Names may hold other dots, as in `Bad.Boys.1995`."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path)


def video_name(path: Path) -> str:
    """What the video is called whose file this is, or whose features it holds."""
    return video_of_features(path.stem) if path.suffix == FEATURES_SUFFIX else path.stem


def name_below(root: Path, path: Path) -> str:
    """A path as it is shown in messages: relative to the root, `/`-separated."""
    return path.relative_to(root).as_posix()


def with_ids(videos: Iterable[Video], root: Path) -> list[Video]:
    """The videos in their order, with ids made of their paths below `root`."""
    found = list(videos)
    paths = [video.file.absolute() for video in found]
    named = [path.with_name(f"{video_name(path)}{path.suffix}") for path in paths]
    ids = video_ids(named if len(set(named)) == len(named) else paths, root)
    return [replace(video, id=name) for video, name in zip(found, ids, strict=True)]


def lines_of(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, stripped. Each comes with its number, from 1.

    Raises:
        DatasetError: the file cannot be read or is not UTF-8.
    """
    try:
        check_readable(path, MAX_LIST_BYTES)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: it cannot be read: {error}") from error
    numbered = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip()]


def refuse(problems: Sequence[str]) -> None:
    """Raise the problems of a download, if there are any.

    Raises:
        DatasetError: one line per problem, up to `MAX_PROBLEMS` of them.
    """
    if problems:
        more = [f"... and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
        raise DatasetError("\n".join([*problems[:MAX_PROBLEMS], *more]))
