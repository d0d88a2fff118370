"""ShanghaiTech Campus (Luo, Liu, Gao, "A Revisit of Sparse Coding Based Anomaly Detection in Stacked RNN Framework",
ICCV 2017), with the weakly-supervised split of Zhong et al. ("Graph Convolutional Label Noise Cleaner", CVPR 2019).

What is read may lie anywhere at or below the root:

- the videos: `training/videos/01_001.avi` (330, all normal), `testing/frames/01_0014/*.jpg` (107, all with anomalies).
  `training/frames` and `testing/videos` are read too. Where a video is there in both forms, the official one is read,
  from which somebody made the other: the file of a training video, the frames of a test video. Where neither is there,
  features that somebody made of it are (`01_0014_i3d.npy`).
- the labels: `testing/test_frame_mask/01_0014.npy`, one number per frame, not zero if the frame is abnormal.
- the split: `SH_Train.txt` (238 names) and `SH_Test.txt` (199). They are not in the official download but in
  `ShanghaiTech_new_split` of the public repository `jx-zhong-for-academic-purpose/GCN-Anomaly-Detection`.

The official protocol of this split says of an abnormal training video only that it is one. With `paper` it has the
events of its mask, as in the LAD2000 paper.

The first number in a name is the scene, which is the camera. It is the `source` of the video, so validation within the
training half is on cameras that were not learned from. That half can be divided so: 12 of its 13 scenes have anomalies
(scene 01 in 18 videos, five others in 5 to 7). The official split itself has all 13 scenes in both halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lad.dataset import FEATURES_SUFFIX, DatasetError, Video
from lad.datasets.common import Listing, Options
from lad.datasets.downloads import (
    find_below,
    folders_below,
    footage_by_stem,
    lines_of,
    name_below,
    stem,
    with_ids,
)
from lad.events import WEAK, AnyEvent, events_of
from lad.files import frame_files, read_npy
from lad.footage import VIDEO_SUFFIXES

FPS = 24.0  # of the frames; a video file knows its own, and a few have 25
LISTS = {"train": ("SH_Train.txt", 238), "test": ("SH_Test.txt", 199)}
NAME = re.compile(r"(\d\d)_(\d{3,4})")  # three digits: a training video of the official split; four: a test video
FOLDERS = ("training/videos", "testing/frames", "training/frames", "testing/videos")  # the official ones first


def read_shanghaitech(root: Path, options: Options) -> Listing:
    """Read ShanghaiTech: 437 videos.

    A test video without its mask, or with more or fewer images than the mask has numbers, is listed without split and
    label: it can be scored, but nothing is learned from it or measured on it. A video in neither list has no split.

    Raises:
        DatasetError: the folder holds no video of ShanghaiTech, or its masks or lists cannot be understood.
    """
    found = folders_below(root)
    paths: dict[str, Path] = {}
    for folder in (place / name for name in FOLDERS for place in found):
        for child in sorted(folder.iterdir()) if folder.is_dir() else []:
            is_video = child.suffix.lower() in VIDEO_SUFFIXES
            if NAME.fullmatch(child.stem) and (is_video if folder.name == "videos" else child.is_dir()):
                paths.setdefault(child.stem, child)
    for name, files in footage_by_stem(found).items():
        if NAME.fullmatch(name) and files[0].suffix == FEATURES_SUFFIX:
            paths.setdefault(name, files[0])
    if not paths:
        raise DatasetError(
            f"{root}: no ShanghaiTech here: there is neither training/videos/01_001.avi nor testing/frames/01_0014, "
            "nor any other video named like these"
        )
    videos: list[Video] = []
    missing: list[str] = []
    splits = _read_lists(root, found, missing)
    masks = find_below(found, "test_frame_mask")
    if masks is None:
        missing.append("testing/test_frame_mask: the labels of the test videos, a folder of the official download")
    for name in sorted(splits.keys() | paths.keys()):
        path = paths.get(name)
        images = len(frame_files(path)) if path is not None and path.is_dir() else None
        if path is None or images == 0:
            official = "testing/frames/{}" if _is_test(name) else "training/videos/{}.avi"
            missing.append(f"{name_below(root, path)}: it has no images" if path else official.format(name))
            continue
        mask = None if masks is None else masks / f"{name}.npy"
        labels = _read_mask(mask) if mask is not None and mask.is_file() else None
        known = labels is not None or not _is_test(name)
        if not known and mask is not None:
            missing.append(name_below(root, mask))
        if labels is not None and images not in (None, len(labels)):
            missing.append(f"{name_below(root, path)}: it has {images} images, but should have {len(labels)}")
            known = False
        events: tuple[AnyEvent, ...] = events_of(labels) if labels is not None and known else ()
        if events and splits.get(name) == "train" and options.protocol == "official":
            events = WEAK
        video = Video(
            id="",
            path=path,
            split=splits.get(name, "") if known else "",
            label=("abnormal" if events else "normal") if known else "",
            events=events,
            n_frames=images or (None if labels is None else len(labels)),
            fps=FPS if images or path.suffix == FEATURES_SUFFIX else None,
            source=f"scene-{name[:2]}",
        )
        videos.append(video)
    return Listing(with_ids(videos, root), missing)


def _is_test(name: str) -> bool:
    return len(name.partition("_")[2]) == 4


def _read_mask(path: Path) -> np.ndarray:
    try:
        mask = read_npy(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"not a frame mask: {error}") from error
    if mask.ndim != 1 or not mask.size or mask.dtype.kind not in "biuf":
        raise DatasetError(f"{path}: not a frame mask: it must be one number per frame")
    return mask


def _read_lists(root: Path, folders: Iterable[Path], missing: list[str]) -> dict[str, str]:
    """The split of every video in a list."""
    splits: dict[str, str] = {}
    for split, (name, count) in LISTS.items():
        path = find_below(folders, name)
        if path is None:
            missing.append(
                f"{name}: the weakly-supervised split, {count} names, from the repository "
                "jx-zhong-for-academic-purpose/GCN-Anomaly-Detection"
            )
            continue
        names = [(line, stem(re.split(r"[\s,]", text)[0]).rpartition("/")[2]) for line, text in lines_of(path)]
        for line, video in names:
            if not NAME.fullmatch(video):
                raise DatasetError(f"{path}:{line}: {video!r} is not the name of a video, such as 01_0014")
            if video in splits:
                raise DatasetError(f"{path}:{line}: {video} is already in the split {splits[video]!r}")
            splits[video] = split
        if len(names) < count:
            missing.append(f"{name_below(root, path)}: {count - len(names)} of its {count} names")
    return splits
