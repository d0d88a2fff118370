"""LAD2000 (Wan, Jiang, Fang, Luo, Ding, "Anomaly detection in video sequences: A benchmark and computational model",
IET Image Processing 15:3454-3465, 2021).

The download holds:

- 2,000 videos in folders named after 14 categories, at 25 frames a second. `v_a_*` are abnormal, `v_n_*` are normal.
- one `.mat` of frame labels per video: key `gt`, `[1, frames]`, 0 or 1. In the authors' tree the labels of `v_a_*` are
  `gt_a_*.mat` below `GT/GT_mat`. `v_a_*.mat` is read too.
- `train_split.txt` and `test_split.txt`, one video name per line: 1,440 videos train (958 normal, 482 abnormal) and 560
  test (280 normal, 280 abnormal).

There is no normal category: a normal video has the category of its scene.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from lad.dataset import DatasetError, Video
from lad.datasets import downloads
from lad.datasets.common import Listing, Options
from lad.datasets.mat import read_mat
from lad.events import Event, events_of

CLASSES: tuple[str, ...] = (
    *("Crash", "Crowd", "Destroy", "Drop", "FallIntoWater", "Falling", "Fighting", "Fire", "Hurt", "Loitering"),
    *("Panic", "Thiefing", "Trampled", "Violence"),
)
FPS = 25.0
SPLITS = {"train": "train_split.txt", "test": "test_split.txt"}
COUNTS = {("train", "normal"): 958, ("train", "abnormal"): 482, ("test", "normal"): 280, ("test", "abnormal"): 280}
NAME = re.compile(r"v_([an])_")  # in lower case
SPELLINGS = {name.lower(): name for name in CLASSES}


def read_lad2000(root: Path, options: Options) -> Listing:
    """Read LAD2000 as downloaded. The folders of categories may lie at any depth and be spelled `fall into water`.

    Missing split files, listed videos and labels are listed by name, and so are counts that differ from the official
    ones. An abnormal video without its `.mat` is left out, and so is a video whose labels contradict its name, or one
    in no category's folder. A normal video needs no `.mat`. A video that no split file lists has no split.

    Raises:
        DatasetError: there is no video named `v_a_*` or `v_n_*`; a `.mat` or a split file cannot be understood.
    """
    folders = downloads.folders_below(root)
    mats = downloads.by_stem(folders, {".mat"})
    here = {name: paths for name, paths in downloads.by_stem(folders).items() if NAME.match(name)}
    if not here:
        raise DatasetError(f"{root}: no LAD2000 here: no video named v_a_* or v_n_*")
    lists = {split: downloads.find_below(folders, name) for split, name in SPLITS.items()}
    missing = [name for split, name in SPLITS.items() if lists[split] is None]
    splits = _read_splits(lists, here, missing)
    videos: list[Video] = []
    problems: list[str] = []
    for path in (path for paths in here.values() for path in paths):
        relative = downloads.name_below(root, path)
        label = _category(path.relative_to(root))
        if label is None:
            missing.append(f"{relative}: a folder around it named after one of the {len(CLASSES)} categories")
            continue
        abnormal = path.stem.lower().startswith("v_a_")
        truth = _ground_truth(path, mats)
        if truth is None and abnormal:
            missing.append(f"{Path(relative).with_suffix('.mat')}: its labels")
            continue
        events: tuple[Event, ...] = ()
        n_frames = None
        if truth is not None:
            try:
                labels = read_mat(truth, "gt", _frame_labels)
            except ValueError as error:
                problems.append(f"{truth}: not frame labels of LAD2000: {error}")
                continue
            if labels.any() != abnormal:
                marked = "no frame of an abnormal video" if abnormal else "frames of a normal video"
                missing.append(f"{downloads.name_below(root, truth)}: correct labels: these mark {marked}")
                continue
            events, n_frames = events_of(labels), len(labels)
        if path not in splits and all(lists.values()):
            missing.append(f"{relative}: a line in {' or '.join(SPLITS.values())}")
        split = splits.get(path, "")
        videos.append(Video(id="", path=path, split=split, label=label, events=events, n_frames=n_frames, fps=FPS))
    downloads.refuse(problems)
    counts = Counter((video.split, "abnormal" if video.is_abnormal else "normal") for video in videos)
    short = [
        f"{kind} videos of the split {split}: {counts[split, kind]} of {expected} are here"
        for (split, kind), expected in COUNTS.items()
        if lists[split] is not None and counts[split, kind] != expected
    ]
    return Listing(downloads.with_ids(videos, root), short + missing)


def _read_splits(lists: dict[str, Path | None], here: downloads.FileIndex, missing: list[str]) -> dict[Path, str]:
    """Video -> split. A line is a name, with or without folder and suffix. What follows a blank is not read."""
    splits: dict[Path, str] = {}
    for split, path in lists.items():
        for number, line in [] if path is None else downloads.lines_of(path):
            folder, slash, rest = line.replace("\\", "/").rpartition("/")
            video = downloads.find_by_stem(here, downloads.stem(folder + slash + rest.split()[0])) if rest else None
            if video is None:
                missing.append(f"{line}: a video that {SPLITS[split]} lists")
            elif splits.setdefault(video, split) != split:
                raise DatasetError(f"{path}:{number}: {line} is in {SPLITS[splits[video]]} too")
    return splits


def _category(relative: Path) -> str | None:
    for folder in reversed(relative.parts[:-1]):
        if category := SPELLINGS.get(re.sub(r"[\s_-]", "", folder).lower()):
            return category
    return None


def _ground_truth(video: Path, mats: downloads.FileIndex) -> Path | None:
    """Its `.mat`. If several have that name, the one in the folder of its category."""
    for name in (f"gt{video.stem[1:]}", video.stem):
        if found := downloads.find_by_stem(mats, f"{video.parent.name}/{name}"):
            return found
    return None


def _frame_labels(labels: np.ndarray) -> np.ndarray:
    """`[1, frames]` of 0 and 1 -> `(frames,)` bool."""
    sound = labels.dtype.kind in "biuf" and labels.ndim == 2 and 1 in labels.shape and labels.size > 0
    if not sound or not np.isin(labels, (0, 1)).all():
        raise ValueError("`gt` is not [1, frames] of 0 and 1")
    return labels.reshape(-1) != 0
