"""RBDC and TBDC: how well anomalous regions of frames are found, and tracks of them.

Ramachandra and Jones, "Street Scene: A new dataset and evaluation protocol for video anomaly detection", WACV 2020: the
region-based and the track-based detection criterion.

- A true region is found where a detection of its frame overlaps it with an intersection over union of `MIN_IOU`.
- A track is found where the share `MIN_SHARE` of its regions is found.
- A detection is false where it overlaps no true region of its frame so much.

Each criterion is an area, as ever lower scores count as a detection: below the share of regions, or of tracks, that is
found, over the false detections a frame, from 0 to 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lad.files import check_readable

MIN_IOU = 0.1  # beta in the paper
MIN_SHARE = 0.1  # alpha there
ROUNDING = 1e-9  # 0.1 * 3 is not quite 0.3
DETECTIONS_AT_ONCE = 1 << 17
MAX_BYTES = 4 << 30  # of a file of one video

NO_TRACK = "there is no true region"


@dataclass(frozen=True)
class TrueRegions:
    """Where something anomalous is in a video.

    Attributes:
        frames: `(n,)` int64, from 0.
        boxes: `(n, 4)` float64: left, top, right and bottom pixel, all of which belong to the box.
        tracks: `(n,)` int64: which regions are one thing that moves.
    """

    frames: np.ndarray
    boxes: np.ndarray
    tracks: np.ndarray


@dataclass(frozen=True)
class FoundRegions:
    """What was detected in a video.

    Attributes:
        frames, boxes: as `TrueRegions` has them.
        scores: `(n,)` float64, higher for more anomalous.
    """

    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def region_metrics(videos: Sequence[tuple[TrueRegions, FoundRegions]], frames: int) -> dict[str, Any]:
    """RBDC and TBDC over all videos together.

    Detections of equal score count together, so their order does not matter. Where even all detections have less than
    one false one a frame, the share that they find holds until 1. The work grows with the regions, and with the pairs
    that share a frame.

    Args:
        videos: of each, what is true and what was found.
        frames: how many all videos have.

    Returns:
        `rbdc` and `tbdc`, None without a true region; how many `tracks`, `regions` and `detections` there are.
    """
    regions, tracks, false, scores = ([np.zeros(0)] for _ in range(4))
    for true, found in videos:
        highest, overlaps = match_regions(true, found)
        regions.append(highest)
        tracks.append(_scores_of_tracks(true.tracks, highest))
        false.append(found.scores[~overlaps])
        scores.append(found.scores)
    levels = np.unique(np.concatenate(scores))[::-1]
    false_a_frame = _at_least(np.concatenate(false), levels) / frames
    counts = {"tracks": tracks, "regions": regions, "detections": scores}
    return {
        **{
            name: area_up_to_one(false_a_frame, _at_least(of, levels) / len(of)) if len(of) else None
            for name, of in (("rbdc", np.concatenate(regions)), ("tbdc", np.concatenate(tracks)))
        },
        **{name: sum(map(len, parts)) for name, parts in counts.items()},
    }


def match_regions(true: TrueRegions, found: FoundRegions) -> tuple[np.ndarray, np.ndarray]:
    """What of one video is found.

    Returns:
        `(true regions,)` float64, the highest score of a detection that overlaps each one enough, -inf without; and
        `(detections,)` bool, whether each overlaps a true region enough.
    """
    order = np.argsort(true.frames, kind="stable")
    frames, boxes = true.frames[order], true.boxes[order]
    first, last = (np.searchsorted(frames, found.frames, side=side) for side in ("left", "right"))
    highest = np.full(len(frames), -np.inf)
    overlaps = np.zeros(len(found.frames), dtype=bool)
    for start in range(0, len(found.frames), DETECTIONS_AT_ONCE):
        chunk = slice(start, start + DETECTIONS_AT_ONCE)
        each = last[chunk] - first[chunk]  # true regions in the frame of each detection
        one = start + np.repeat(np.arange(len(each)), each)
        other = np.arange(len(one)) - np.repeat(each.cumsum() - each - first[chunk], each)
        enough = _overlap(found.boxes[one], boxes[other]) >= MIN_IOU
        overlaps[one[enough]] = True
        np.maximum.at(highest, other[enough], found.scores[one[enough]])
    by_region = np.empty_like(highest)
    by_region[order] = highest
    return by_region, overlaps


def area_up_to_one(x: np.ndarray, y: np.ndarray) -> float:
    """The area from 0 to 1 below straight lines from (0, 0) through points with rising `x`; the last `y` holds on.

    Args:
        x, y: `(n,)` float.
    """
    x, y = np.append(0.0, x), np.append(0.0, y)
    within = int(np.searchsorted(x, 1.0, side="right"))
    end = y[within - 1]
    if within < len(x):
        end += (y[within] - end) * (1 - x[within - 1]) / (x[within] - x[within - 1])
    x, y = np.append(x[:within], 1.0), np.append(y[:within], end)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _scores_of_tracks(tracks: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """`(tracks,)` float64: down to which score enough regions of each track are found; -inf: never."""
    order = np.lexsort((-highest, tracks))
    _, first, regions = np.unique(tracks[order], return_index=True, return_counts=True)
    enough = np.maximum(np.ceil(MIN_SHARE * regions - ROUNDING).astype(int), 1)
    return highest[order][first + enough - 1]


def _at_least(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How many of the scores are as high as each level."""
    return len(scores) - np.searchsorted(np.sort(scores), levels, side="left")


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`(n,)` intersection over union of `(n, 4)` boxes, pair by pair."""
    shared = _area(np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:]))
    return shared / (_area(one[:, :2], one[:, 2:]) + _area(other[:, :2], other[:, 2:]) - shared)


def _area(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(last - first + 1, 0), axis=1)


# Files --------------------------------------------------------------------------------------------------------------


def read_detections(path: Path) -> FoundRegions:
    """The detections of a video: `frame, x_min, y_min, x_max, y_max, score` on each line; none in an empty file.

    The format of github.com/lilygeorgescu/AED (`evaluation/readme.md`).

    Raises:
        OSError, ValueError: it cannot be read so; names it.
    """
    table = _read_numbers(path)
    _check(path, table[:, :1], table[:, 1:5])
    return FoundRegions(table[:, 0].astype(np.int64), table[:, 1:5], table[:, 5])


def read_tracks(path: Path) -> tuple[TrueRegions, int]:
    """The tracks of a video, and how many of its lines a later one of the same track and frame replaces.

    Two formats are told apart by whether the first line has a comma:

    - `track, frame, x_min, y_min, x_max, y_max`: those of ShanghaiTech in github.com/lilygeorgescu/AED
      (`annotations/`). Frames count from 0.
    - `file track x y width height`, apart by blanks: those of Street Scene, and of Ped1, Ped2 and Avenue by its authors
      (`Test001_gt.txt`). The file is a picture's, `001.jpg` the first one; x and y are the middle of the box.

    Raises:
        OSError, ValueError: it is neither; names it.
    """
    check_readable(path, MAX_BYTES)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        commas = "," in file.readline()
    if commas:
        table = _read_numbers(path)
        tracks, frames, boxes = table[:, 0], table[:, 1], table[:, 2:]
    else:
        table = _read_numbers(path, {0: _picture_number}, delimiter=None)
        frames, tracks = table[:, 0] - 1, table[:, 1]
        first = table[:, 2:4] - table[:, 4:] / 2
        boxes = np.hstack([first, first + table[:, 4:] - 1])
    _check(path, np.stack([frames, tracks], axis=1), boxes)
    key = np.stack([tracks, frames], axis=1)[::-1].astype(np.int64)
    _, last = np.unique(key, axis=0, return_index=True)
    kept = np.sort(len(frames) - 1 - last)
    true = TrueRegions(frames[kept].astype(np.int64), boxes[kept], tracks[kept].astype(np.int64))
    return true, len(frames) - len(kept)


def _picture_number(name: str) -> int:
    """`Test001/012.jpg` -> 12."""
    return int(Path(name.replace("\\", "/")).stem)


def _read_numbers(path: Path, converters: Any = None, delimiter: str | None = ",") -> np.ndarray:
    """`(lines, 6)` float64.

    Raises:
        OSError, ValueError: it cannot be read so; names it.
    """
    check_readable(path, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no numbers at all, as where nothing was detected
            table = np.loadtxt(path, delimiter=delimiter, converters=converters, ndmin=2, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file") from error
    except ValueError as error:
        raise ValueError(f"{path}: not as a file of regions is: {error}") from error
    if not table.size:
        return np.zeros((0, 6))
    if table.shape[1] != 6:
        raise ValueError(f"{path}: {table.shape[1]} numbers on a line: a region has six")
    if not np.isfinite(table).all():
        raise ValueError(f"{path}: a number is not finite")
    return table


def _check(path: Path, whole: np.ndarray, boxes: np.ndarray) -> None:
    """See that frames and tracks are counted in whole numbers, and that boxes have pixels.

    Raises:
        ValueError: they do not; names the first line.
    """
    odd = ((whole < 0) | (whole % 1 != 0)).any(axis=1)
    if odd.any():
        raise ValueError(f"{path}: region {odd.argmax() + 1}: a frame or track is no whole number from 0")
    empty = (boxes[:, 2:] - boxes[:, :2] <= -1).any(axis=1)
    if empty.any():
        raise ValueError(f"{path}: region {empty.argmax() + 1}: the box ends before it begins")
