"""Any tree of videos whose folders are the categories; for footage that comes without a `dataset.csv`.

`<category>/video`, or `<split>/<category>/video`, a split being `train`, `val` or `test` (`training`, `validation`,
`testing`). Only names are known of the videos, so an abnormal one is labelled as a whole. Videos in no
category's folder have the category `abnormal` or `normal`. `test/fire` is the category of `train/Fire`.
"""

from __future__ import annotations

import random
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from lad.dataset import WHOLE_VIDEO, DatasetError, Video, find_videos
from lad.datasets.common import Listing, Options

CLASSES: tuple[str, ...] = ()  # those that are found, in alphabetical order
TRAIN_FRACTION = 0.7
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test", "testing": "test"}


def read_folder(root: Path, options: Options) -> Listing:
    """Read a tree of videos and frame folders.

    A video is normal where its file's name or that of a folder around it, below `root`, matches `options.normal`; the
    word "abnormal" does not count as "normal". Its category is the name of its folder. Where the first folders name
    splits, they are the splits, and a video outside them gets none; else 70 % of each category's normal and 70 % of its
    abnormal videos, drawn by `options.seed`, train and the others test, at least one on each side where there are two.

    Args:
        root: the folder.
        options: the seed of the split, and the pattern (`fnmatch`, upper and lower case alike) of normal names.

    Raises:
        DatasetError: it holds no video, or is no folder.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    found = [(video.id, video.path.relative_to(root.absolute())) for video in find_videos([str(root)], root)]
    has_splits = any(_split(relative) for _, relative in found)
    videos: list[Video] = []
    groups: dict[tuple[str, bool], list[str]] = {}
    spellings: dict[str, str] = {}
    for name, relative in found:
        split = _split(relative)
        folders = relative.parts[1 if split else 0 : -1]
        normal = any(_matches(part, options.normal) for part in (*relative.parts, relative.stem))
        label = folders[-1].strip() if folders else "normal" if normal else "abnormal"
        label = spellings.setdefault(label.casefold(), label)  # as the first folder has it
        events = () if normal else WHOLE_VIDEO
        videos.append(Video(id=name, path=root / relative, split=split, label=label, events=events))
        groups.setdefault((label, normal), []).append(name)
    if not has_splits:
        train = {name for names in groups.values() for name in _draw(names, options.seed)}
        videos = [replace(video, split="train" if video.id in train else "test") for video in videos]
    return Listing(sorted(videos, key=lambda video: video.id))


def _split(relative: Path) -> str:
    """The split that the first folder names, or nothing."""
    return SPLITS.get(relative.parts[0].lower(), "") if len(relative.parts) > 1 else ""


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower().replace("abnormal", ""), pattern.lower())


def _draw(names: list[str], seed: int) -> list[str]:
    """Those that train."""
    count = round(TRAIN_FRACTION * len(names))  # of one 1, of two or more never all
    return random.Random(seed).sample(sorted(names), count)
