"""How far frame AUC and AP would move with other test videos: the bootstrap over their sources.

Sources are drawn with replacement, and each draw takes all frames of all videos of its source. Two runs of the same
sources get the same draws, so that their difference is a paired one. Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 1000
SEED = 0
PERCENTILES = (2.5, 97.5)
LEVELS = 2000  # of scores that are told apart; with more distinct ones, neighbours count as equal
CHUNK = 100  # resamplings at a time: what they take is (CHUNK, LEVELS)
NUMBERS = ("auc", "ap")


@dataclass(frozen=True)
class Measured:
    """A test video.

    Attributes:
        id: of the video.
        source: what it must not be torn from: its camera, or itself.
        truth: `(frames,)` bool.
        scores: `(frames,)` float.
    """

    id: str
    source: str
    truth: np.ndarray
    scores: np.ndarray


def resampled(splits: Sequence[Sequence[Measured]]) -> dict[str, np.ndarray]:
    """Frame AUC and AP, the mean over the splits, of each resampling of the sources.

    Args:
        splits: the test videos of each random split, or of the only one. A source that several splits test is drawn
            once for all of them.

    Returns:
        `(RESAMPLINGS,)` float64 of each of `NUMBERS`: NaN where it is undefined in every split, all where there is
        only one source.
    """
    sources = sorted({one.source for split in splits for one in split})
    if len(sources) < 2:
        return {name: np.full(RESAMPLINGS, np.nan) for name in NUMBERS}
    random = np.random.default_rng(SEED)
    draws = random.multinomial(len(sources), np.full(len(sources), 1 / len(sources)), RESAMPLINGS).astype(np.float32)
    place = {source: index for index, source in enumerate(sources)}
    total = np.zeros((len(NUMBERS), RESAMPLINGS))
    defined = np.zeros((len(NUMBERS), RESAMPLINGS))
    for split in splits:
        numbers = _of_split(split, place, draws)
        total += np.nan_to_num(numbers)
        defined += ~np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        return dict(zip(NUMBERS, total / defined, strict=True))


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of resampled numbers; None where all are undefined."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)


def rate_interval(counts: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of a rate, by drawing sources; None where there is only one.

    Where nothing was counted, its upper end is 3 over the time: what a Poisson process with that rate leaves empty with
    a probability of 5 %.

    Args:
        counts: `(sources, 2)` how much was counted in each, and in how much time.
    """
    if not counts[:, 0].any():
        return 0.0, float(3 / counts[:, 1].sum())
    if len(counts) < 2:
        return None
    drawn = np.random.default_rng(SEED).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLINGS)
    totals = drawn @ counts
    return interval(totals[totals[:, 1] > 0, 0] / totals[totals[:, 1] > 0, 1])


def share_above_zero(differences: np.ndarray) -> float | None:
    """In what share of the resamplings a difference is above 0; None where all are undefined."""
    known = differences[~np.isnan(differences)]
    return float((known > 0).mean()) if len(known) else None


def _of_split(split: Sequence[Measured], place: dict[str, int], draws: np.ndarray) -> np.ndarray:
    """`(NUMBERS, RESAMPLINGS)` of one split.

    The work grows with frames and with sources, not with their product: frames are counted once by source and score.
    """
    own = sorted({place[one.source] for one in split})
    row = {source: index for index, source in enumerate(own)}
    levels = _levels(np.concatenate([one.truth for one in split]), np.concatenate([one.scores for one in split]))
    counts = np.zeros((2, len(own), len(levels)), dtype=np.float32)  # normal and anomalous, by falling score
    for one in split:
        level = np.searchsorted(levels, one.scores, side="right") - 1
        for kind, chosen in enumerate((level[~one.truth], level[one.truth])):
            counts[kind, row[place[one.source]]] += np.bincount(chosen, minlength=len(levels))[::-1]
    parts = [draws[start : start + CHUNK, own] for start in range(0, RESAMPLINGS, CHUNK)]
    return np.hstack([_auc_and_ap(part @ counts[0], part @ counts[1]) for part in parts])


def _levels(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rising lower ends of at most `LEVELS` pieces.

    One half of them divides the frames evenly, the other the anomalous frames, which may be few: AP is about them.
    """
    levels = np.unique(scores)
    if len(levels) > LEVELS:
        shares = np.linspace(0, 1, LEVELS // 2, endpoint=False)
        of_each = [np.quantile(some, shares, method="lower") for some in (scores, scores[truth]) if len(some)]
        levels = np.unique(np.concatenate(of_each))
    return levels


def _auc_and_ap(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """`(2, n)` AUC and AP of frames that are counted by falling score, `(n, levels)`; NaN where undefined.

    As scikit-learn has them: frames of equal score win half against each other, and are found together.
    """
    normal, anomalous = normal.astype(np.float64), anomalous.astype(np.float64)
    alarms, found = normal.cumsum(axis=1), anomalous.cumsum(axis=1)
    n_normal, n_anomalous = alarms[:, -1], found[:, -1]
    wins = (anomalous * (n_normal[:, None] - alarms + normal / 2)).sum(axis=1)
    precision = found / np.maximum(found + alarms, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([wins / (n_normal * n_anomalous), (anomalous * precision).sum(axis=1) / n_anomalous])
