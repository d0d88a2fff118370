"""The score curve of a video, as the page gets it: numbers packed into base64, which a browser reads at once."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.files import read_npy
from lad.names import is_normal
from lad.pipeline.reporter import StageError
from lad.text import from_cell

SCORE_STEPS, SHARE_STEPS = 65535, 255  # a score is kept to 2 bytes, a probability and a block's peak to one
SAME_TIME = 5e-4  # seconds; as near as that to an even rate, times are that rate
TICKS = 1_000_000  # of a second, in which uneven times are told


@dataclass(frozen=True)
class Curve:
    """What `scores/<video id>.csv` says.

    Attributes:
        scores: `(frames,)` float64.
        times: `(frames,)` float64, seconds since the first frame.
        classes: names of the categories; none where the scores came without.
        probabilities: `(ceil(frames / 16), categories)` float64, of every 16th frame.
    """

    scores: np.ndarray
    times: np.ndarray
    classes: list[str]
    probabilities: np.ndarray


def read_curve(path: Path, times_path: Path) -> Curve:
    """Read a video's scores.

    Args:
        path: its CSV.
        times_path: the exact times of its frames; the CSV has them in milliseconds.

    Raises:
        StageError: it is not as `lad score` wrote it.
        OSError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            classes = [from_cell(name) for name in next(csv.reader(file))[3:]]  # names may be of several lines
            times, scores = np.loadtxt(file, delimiter=",", usecols=(1, 2), ndmin=2).T
        with path.open(encoding="utf-8", newline="") as file:
            next(csv.reader(file))
            columns = range(3, 3 + len(classes))
            lines = islice(file, 0, None, CLIP_FRAMES)
            blocks = -(-len(scores) // CLIP_FRAMES)
            shares = np.loadtxt(lines, delimiter=",", usecols=columns, ndmin=2) if classes else np.zeros((blocks, 0))
    except (ValueError, StopIteration, csv.Error) as error:
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first") from error
    if not (len(scores) and np.isfinite(scores).all() and np.isfinite(times).all()):
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first")
    if times_path.is_file():
        exact = read_npy(times_path)
        times = exact if exact.shape == times.shape else times
    return Curve(scores, times, classes, shares)


def block_peaks(scores: np.ndarray, block: int) -> np.ndarray:
    """`(ceil(frames / block),)` uint8: the highest score of each block of frames, in steps of 1/255, rounded up."""
    peaks = np.maximum.reduceat(scores, np.arange(0, len(scores), block))
    return np.ceil(np.clip(peaks, 0, 1) * SHARE_STEPS).astype(np.uint8)


def block_categories(curve: Curve, block: int) -> np.ndarray:
    """`(ceil(frames / block),)` int64: an event's category where each block begins; `block` is a multiple of 16.

    It is the likeliest of those that are none of normal videos, as `lad.detector.scoring.event_category` has it.
    """
    if not curve.classes:
        return np.zeros(-(-len(curve.scores) // block), np.int64)
    every = range(len(curve.classes))
    of_events = [place for place in every if not is_normal(curve.classes[place])] or [*every]
    return np.array(of_events)[curve.probabilities[:: block // CLIP_FRAMES, of_events].argmax(axis=1)]


def curve_data(curve: Curve) -> dict[str, Any]:
    """A curve as plain data: `scores` are uint16, little-endian; `probabilities` uint8, a row every 16 frames."""
    scores = np.round(np.clip(curve.scores, 0, 1) * SCORE_STEPS).astype("<u2")
    shares = np.round(np.clip(curve.probabilities, 0, 1) * SHARE_STEPS).astype(np.uint8)
    return {"scores": packed(scores), "probabilities": packed(shares), **times_data(curve.times)}


def times_data(times: np.ndarray) -> dict[str, Any]:
    """Times as plain data: `step` seconds a frame, or `gaps`: uint32 microseconds from each frame to the next."""
    step = float(times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0
    if np.abs(times - step * np.arange(len(times))).max() < SAME_TIME:
        return {"step": step}
    ticks = np.round(times * TICKS).astype(np.int64)
    return {"gaps": packed(np.clip(np.diff(ticks), 0, 2**32 - 1).astype("<u4"))}


def packed(array: np.ndarray) -> str:
    """The bytes of an array in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
