"""CUHK Avenue (Lu, Shi, Jia, "Abnormal Event Detection at 150 FPS in MATLAB", ICCV 2013), split at random.

The official split has no anomaly in its training half. The LAD2000 paper re-splits all 37 videos at random, 19 to train
and 18 to test. Its code trains on 11 of the 21 official test videos, which all have anomalies, and on 8 of the 16
training videos, which count as normal. It is not published which ones these are, so here a seed draws them.

What is read may lie anywhere at or below the root:

- the videos: `Avenue Dataset/{training_videos,testing_videos}/NN.avi`, or `{training,testing}/frames/NN/*.jpg` in a
  folder whose name ends in `avenue` or that holds labels of Avenue. Where both are there, the video is read, as it is
  the official form.
- the labels: `ground_truth_demo/testing_label_mask/N_label.mat`, which is a separate download. Key `volLabel` holds one
  mask per frame, and a frame is abnormal if any pixel of its mask is set. Without that folder, `avenue.mat` is read
  (`halves.read_pairs`).

The two kinds of labels disagree: of the 15,324 test frames the masks mark 3,712, and the frame labels that are passed
around mark 3,867. The masks are the official ones and win. Reading them all takes 15 seconds and half a GB of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lad.dataset import DatasetError
from lad.datasets.common import Listing, Options
from lad.datasets.downloads import find_below, folders_below, name_below
from lad.datasets.halves import Half, Truth, list_halves, numbered_clips, read_pairs
from lad.datasets.mat import read_mat
from lad.events import events_of

FPS = 25.0
TRAINING, TESTING = 16, 21  # the official halves
TRAIN_NORMAL, TRAIN_ABNORMAL = 8, 11
MASKS = Path("ground_truth_demo", "testing_label_mask")
PAIRS = "avenue.mat"


def read_avenue(root: Path, options: Options) -> Listing:
    """Read Avenue: 16 normal and 21 abnormal videos.

    Raises:
        DatasetError: the folder holds no video of Avenue, or its labels cannot be understood.
    """
    folders = folders_below(root)
    masks, pairs = find_below(folders, MASKS.name), find_below(folders, PAIRS)
    places = {half: _places(folders, half) for half in ("training", "testing")}
    training, testing = (_clips(folders) for folders in places.values())
    if not training and not testing:
        raise DatasetError(
            f"{root}: no Avenue here: there is neither Avenue Dataset/{{training_videos,testing_videos}}/NN.avi "
            f"nor {{training,testing}}/frames/NN with {PAIRS} or {MASKS.as_posix()}"
        )
    truths: list[Truth | None] = [None] * TESTING
    missing: list[str] = []
    if masks is not None:
        for number in range(1, TESTING + 1):
            mask = masks / f"{number}_label.mat"
            if not mask.is_file():
                missing.append(name_below(root, mask))
            elif number in testing:
                truths[number - 1] = _read_masks(mask)
    elif pairs is not None:
        events = read_pairs(pairs, TESTING)
        truths[: len(events)] = [Truth(clip) for clip in events]
        if len(events) < TESTING:
            missing.append(f"{name_below(root, pairs)}: the labels of the last {TESTING - len(events)} test videos")
    else:
        missing.append(f"{MASKS.as_posix()}: the labels of the test videos, which are a separate download")
    halves = [
        Half(*_expected(root, "training", places), training, [Truth()] * TRAINING, TRAIN_NORMAL),
        Half(*_expected(root, "testing", places), testing, truths, TRAIN_ABNORMAL),
    ]
    listing = list_halves(root, halves, FPS)
    listing.missing += missing
    return listing


def _places(folders: Iterable[Path], half: str) -> list[Path]:
    """The folders that hold clips of a half: those of videos, then those of frames."""
    labels = (PAIRS, MASKS.name, MASKS)
    # Other benchmarks have folders of frames too, and may lie beside this one.
    ours = [f for f in folders if f.absolute().name.lower().endswith("avenue") or any((f / x).exists() for x in labels)]
    places = [folder / f"{half}_videos" for folder in folders] + [folder / half / "frames" for folder in ours]
    return [place for place in places if place.is_dir()]


def _clips(places: list[Path]) -> dict[int, Path]:
    """The clips of a half by number. If one is there several times, the first counts."""
    clips: dict[int, Path] = {}
    for place in places:
        clips = {**numbered_clips(place, r"(\d+)", videos=place.name != "frames"), **clips}
    return clips


def _expected(root: Path, half: str, places: dict[str, list[Path]]) -> tuple[Path, str]:
    """Where the clips of a half should be, and the format of their names there."""
    if places[half]:
        place = places[half][0]
    else:  # beside the other half, in its form
        other = next(place for found in places.values() for place in found)
        frames = other.name == "frames"
        place = other.parent.parent / half / "frames" if frames else other.parent / f"{half}_videos"
    return place, "{:02}" if place.name == "frames" else "{:02}.avi"


def _read_masks(path: Path) -> Truth:
    """The masks of one video, up to half a GB of them, reduced to its events."""
    try:
        labels = read_mat(path, "volLabel", _frame_labels)
    except ValueError as error:
        raise DatasetError(f"{path}: not Avenue's masks: {error}") from error
    return Truth(events_of(labels), len(labels))


def _frame_labels(cells: np.ndarray) -> np.ndarray:
    """One cell with a mask per frame -> `(frames,)` bool."""
    if cells.dtype != object or cells.size == 0 or not all(_is_mask(mask) for mask in cells.flat):
        raise ValueError("`volLabel` is not one mask per frame")
    return np.array([bool((mask != 0).any()) for mask in cells.flat])


def _is_mask(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "biuf"
