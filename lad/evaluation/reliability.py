"""How far scores are from being probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 10


def reliability(labels: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]] | None:
    """How many of the frames that score so much are anomalous; None where scores are no probabilities.

    Args:
        labels: `(frames,)` bool, true for anomalous.
        scores: `(frames,)` float.

    Returns:
        `{"score": s, "anomalous": a, "frames": n}` for each of ten bins of equal width that holds frames: their mean
        score, the share of them that is anomalous, and how many they are.
    """
    if ((scores < 0) | (scores > 1)).any():
        return None
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    frames = np.bincount(place, minlength=BINS)
    held = np.flatnonzero(frames)
    mean = np.bincount(place, scores, BINS)[held] / frames[held]
    share = np.bincount(place, labels, BINS)[held] / frames[held]
    return [
        {"score": float(s), "anomalous": float(a), "frames": int(n)}
        for s, a, n in zip(mean, share, frames[held], strict=True)
    ]


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """The expected calibration error: how far score and share of the bins of `reliability` are apart, by frames.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    apart = [abs(one["score"] - one["anomalous"]) for one in bins]
    return float(np.average(apart, weights=[one["frames"] for one in bins]))
