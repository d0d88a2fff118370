"""Any tree of videos whose folders are the categories, for footage that comes without a `dataset.csv`.

The layout is `<category>/video` or `<split>/<category>/video`. A split is `train`, `val` or `test`, or their long
forms `training`, `validation` and `testing`. Nothing is known about a video but its name, so an abnormal one is
labelled as a whole. A video outside all categories' folders has the category `abnormal` or `normal`. Case does not
matter: `test/fire` and `train/Fire` are one category.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lad.dataset import DatasetError, Video
from lad.datasets.common import Listing, Options, Stratum
from lad.events import WHOLE_VIDEO
from lad.finding import find_videos
from lad.footage import Passed
from lad.remote.url import Location, Url

TRAIN_FRACTION = 0.7
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test", "testing": "test"}


def read_folder(root: Location, options: Options) -> Listing:
    """Read a tree of videos and frame folders, on a disk or in a bucket.

    A video is normal if its file's name, or the name of a folder around it below `root`, matches `options.normal`. The
    word "abnormal" does not count as "normal". The category of a video is the name of its folder.

    If folders right below `root` name splits, these are the splits, and a video outside them has none. Otherwise the
    split is random: 70 % of each category's normal videos train, and 70 % of its abnormal ones. Of two or more videos
    at least one is on each side.

    Raises:
        DatasetError: there is no such folder, there is no video in it, or one is in two splits.
    """
    if isinstance(root, Path) and not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    passed = Passed()
    below = find_videos([str(root)], root, passed)
    for pair in passed.twice:
        taken, other = (_below(root, path) for path in pair)
        if _split(taken) and _split(other) and _split(taken) != _split(other):
            raise DatasetError(f"{root}: {taken} and {other} are one file in two splits: leave one of them out")
    found = [(video, _below(root, video.path)) for video in below]
    has_splits = any(_split(relative) for _, relative in found)
    videos: list[Video] = []
    spellings: dict[str, str] = {}
    for video, relative in found:
        split = _split(relative)
        folders = relative.parts[1 if split else 0 : -1]
        normal = any(_matches(part, options.normal) for part in (*relative.parts, relative.stem))
        label = folders[-1].strip() if folders else "normal" if normal else "abnormal"
        label = spellings.setdefault(label.casefold(), label)  # as the first folder has it
        events = () if normal else WHOLE_VIDEO
        path = video.path if isinstance(root, Url) else root / relative
        videos.append(Video(id=video.id, path=path, split=split, label=label, events=events))
    videos.sort(key=lambda video: video.id)
    return Listing(videos, strata=[] if has_splits else _strata(videos), passed=passed)


def _below(root: Location, path: Location) -> Path:
    """A video's place below the root."""
    if isinstance(root, Url) and isinstance(path, Url):
        return Path(path.below(root) or path.name)
    assert isinstance(root, Path) and isinstance(path, Path)
    return path.relative_to(root.absolute())


def _split(relative: Path) -> str:
    """The split that the first folder names, or an empty string."""
    return SPLITS.get(relative.parts[0].lower(), "") if len(relative.parts) > 1 else ""


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower().replace("abnormal", ""), pattern.lower())


def _strata(videos: Sequence[Video]) -> list[Stratum]:
    """The normal and the abnormal videos of each category."""
    groups: dict[tuple[str, bool], list[Location]] = {}
    for video in videos:
        groups.setdefault((video.label, video.is_abnormal), []).append(video.path)
    # A single video trains. Of two or more, at least one tests.
    return [Stratum(tuple(paths), round(TRAIN_FRACTION * len(paths))) for paths in groups.values()]
