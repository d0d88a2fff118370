"""UCSD Ped2 (Mahadevan et al., "Anomaly Detection in Crowded Scenes", CVPR 2010), with the LAD2000 paper's split.

The official split has no anomaly in its training half. The paper re-splits all 28 clips at random; its code trains on
6 of the 12 abnormal and 8 of the 16 normal ones and tests on the others. Which ones is not published: here a seed says.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

from lad.dataset import DatasetError, Event, Video
from lad.files import frame_files, numeric_order

FPS = 10.0  # of the official frames
TRAIN_ABNORMAL, TRAIN_NORMAL = 6, 8
CLIPS = {"Train": 16, "Test": 12}
MATLAB_RANGES = re.compile(r"gt_frame\s*=\s*\[([^\]]*)\]")


def read_ped2(root: Path, seed: int = 0) -> list[Video]:
    """Read Ped2 as downloaded from UCSD, or in the layout of the frame-prediction code bases.

    Official: `UCSDped2/{Train,Test}/{Train,Test}NNN/NNN.tif` and `UCSDped2/Test/UCSDped2.m`.
    The other: `{training,testing}/frames/NN/NNN.jpg` and `ped2.mat`, key `gt`, a `[start; end]` pair of 1-based,
    inclusive frame numbers a test clip.

    Args:
        root: the folder of the download.
        seed: of the random split.

    Raises:
        DatasetError: what is missing, a line each.
    """
    for read in (_read_official, _read_frames_layout):
        found = read(root)
        if found is not None:
            normal, abnormal = found
            return _split(normal, seed, TRAIN_NORMAL) + _split(abnormal, seed, TRAIN_ABNORMAL)
    raise DatasetError(
        f"{root}: no UCSD Ped2 here: neither UCSDped2/Test/UCSDped2.m with UCSDped2/{{Train,Test}}, "
        "nor ped2.mat with {training,testing}/frames"
    )


def _split(clips: list[Video], seed: int, train: int) -> list[Video]:
    chosen = {clip.id for clip in random.Random(seed).sample(clips, train)}
    return [replace(clip, split="train" if clip.id in chosen else "test") for clip in clips]


def _read_official(root: Path) -> tuple[list[Video], list[Video]] | None:
    for base in (root, root / "UCSDped2", root / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped2"):
        truth = base / "Test" / "UCSDped2.m"
        if truth.exists():
            events = [_matlab_events(found) for found in MATLAB_RANGES.findall(truth.read_text(errors="replace"))]
            folders = {half: _clip_folders(base / half, rf"{half}\d+") for half in CLIPS}
            return _clips(root, folders["Train"], folders["Test"], events)
    return None


def _matlab_events(ranges: str) -> list[Event]:
    """`61:180, 200:210`, 1-based and inclusive -> half-open events."""
    return [Event(int(start) - 1, int(end)) for start, end in re.findall(r"(\d+)\s*:\s*(\d+)", ranges)]


def _read_frames_layout(root: Path) -> tuple[list[Video], list[Video]] | None:
    from scipy.io import loadmat

    truth = root / "ped2.mat"
    if not truth.exists():
        return None
    try:
        pairs = loadmat(truth)["gt"][0]
        events = [[Event(int(s) - 1, int(e)) for s, e in zip(pair[0], pair[1], strict=True)] for pair in pairs]
    except Exception as error:  # of a damaged file scipy raises whatever it stumbles over
        raise DatasetError(f"{truth}: not Ped2's ground truth: {error}") from error
    training, testing = (_clip_folders(root / half / "frames", r"\d+") for half in ("training", "testing"))
    return _clips(root, training, testing, events)


def _clip_folders(parent: Path, pattern: str) -> list[Path]:
    if not parent.is_dir():
        return []
    folders = (folder for folder in parent.iterdir() if folder.is_dir() and re.fullmatch(pattern, folder.name))
    return sorted(folders, key=lambda folder: numeric_order(folder.name))


def _clips(
    root: Path, training: list[Path], testing: list[Path], events: list[list[Event]]
) -> tuple[list[Video], list[Video]]:
    problems = [
        f"{root}: Ped2 has {expected} {half} clips, {len(found)} are here"
        for half, expected, found in (
            ("training", CLIPS["Train"], training),
            ("test", CLIPS["Test"], testing),
            ("labelled test", CLIPS["Test"], events),
        )
        if len(found) != expected
    ]
    if problems:
        raise DatasetError("\n".join(problems))
    normal = [_video(root, folder, []) for folder in training]
    abnormal = [_video(root, folder, intervals) for folder, intervals in zip(testing, events, strict=True)]
    for clip in normal + abnormal:
        needed = max((event.end for event in clip.events), default=1)
        if (clip.n_frames or 0) < needed:
            problems.append(f"{clip.path}: it has {clip.n_frames} images, the clip at least {needed}")
    if problems:
        raise DatasetError("\n".join(problems))
    return normal, abnormal


def _video(root: Path, folder: Path, events: list[Event]) -> Video:
    return Video(
        id=folder.relative_to(root).as_posix(),
        path=folder,
        label="abnormal" if events else "normal",
        events=tuple(events),
        n_frames=len(frame_files(folder)),
        fps=FPS,
    )
