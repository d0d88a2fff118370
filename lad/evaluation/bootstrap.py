"""How far numbers would move with other test videos: the bootstrap over their sources.

Sources are drawn with replacement, and each draw takes all frames of all videos of its source. Two runs of the same
sources get the same draws, so that their difference is a paired one. Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lad.evaluation.metrics import macro_auc

RESAMPLINGS = 1000
SEED = 0
PERCENTILES = (2.5, 97.5)
LEVELS = 2000  # of scores that are told apart; with more distinct ones, neighbours count as equal
CHUNK = 100  # resamplings at a time: what they take is (CHUNK, LEVELS)
NUMBERS = ("auc", "auc_macro", "ap", "latency")


@dataclass(frozen=True)
class Measured:
    """A test video.

    Attributes:
        id: of the video.
        source: what it must not be torn from: its camera, or itself.
        truth: `(frames,)` bool.
        scores: `(frames,)` float.
        latencies: `(events,)` float, as `metrics.latencies` has them; none where nothing is judged at a threshold.
        categories: what its events are.
    """

    id: str
    source: str
    truth: np.ndarray
    scores: np.ndarray
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    categories: tuple[str, ...] = ()


def resampled(splits: Sequence[Sequence[Measured]]) -> dict[str, np.ndarray]:
    """Each of `NUMBERS`, the mean over the splits, of each resampling of the sources.

    Args:
        splits: the test videos of each random split, or of the only one. A source that several splits test is drawn
            once for all of them.

    Returns:
        `(RESAMPLINGS,)` float64 of each of `NUMBERS`: NaN where it is undefined in every split, all where there is
        only one source.
    """
    return dict(zip(NUMBERS, _over_splits(splits, len(NUMBERS), _numbers), strict=True))


def resampled_categories(splits: Sequence[Sequence[Measured]]) -> dict[str, np.ndarray]:
    """The AUC of each category's events against all normal frames, as `resampled` has numbers."""
    names = sorted({name for split in splits for one in split for name in one.categories if one.truth.any()})

    def of_split(split: Sequence[Measured], draws: np.ndarray, row: dict[str, int]) -> np.ndarray:
        levels = _levels(split)
        normal = _counts(split, levels, row, anomalous=False)
        own = [[one for one in split if name in one.categories] for name in names]
        return np.stack([_auc_and_ap(draws, normal, _counts(some, levels, row, anomalous=True))[0] for some in own])

    return dict(zip(names, _over_splits(splits, len(names), of_split), strict=True)) if names else {}


def _over_splits(
    splits: Sequence[Sequence[Measured]],
    numbers: int,
    of_split: Callable[[Sequence[Measured], np.ndarray, dict[str, int]], np.ndarray],
) -> np.ndarray:
    """`(numbers, RESAMPLINGS)`: the mean over the splits, in which `of_split` has how often its sources are drawn.

    Args:
        splits: as `resampled` has them.
        numbers: how many `of_split` gives.
        of_split: of a split's videos, `(RESAMPLINGS, its sources)` float32 draws, and the column of each source there.
    """
    sources = sorted({one.source for split in splits for one in split})
    if len(sources) < 2:
        return np.full((numbers, RESAMPLINGS), np.nan)
    random = np.random.default_rng(SEED)
    draws = random.multinomial(len(sources), np.full(len(sources), 1 / len(sources)), RESAMPLINGS).astype(np.float32)
    total, defined = np.zeros((2, numbers, RESAMPLINGS))
    for split in splits:
        tested = {one.source for one in split}
        own = [place for place, source in enumerate(sources) if source in tested]
        found = of_split(split, draws[:, own], {sources[place]: column for column, place in enumerate(own)})
        total += np.nan_to_num(found)
        defined += ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return total / defined


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


def _numbers(split: Sequence[Measured], draws: np.ndarray, row: dict[str, int]) -> np.ndarray:
    """`(NUMBERS, RESAMPLINGS)` of one split.

    The work grows with frames and with sources, not with their product: frames are counted once by source and score.
    """
    levels = _levels(split)
    normal, anomalous = (_counts(split, levels, row, anomalous=kind) for kind in (False, True))
    auc, ap = _auc_and_ap(draws, normal, anomalous)
    return np.stack([auc, _macro(split, draws, row), ap, _latency(split, draws, row)])


def _macro(split: Sequence[Measured], draws: np.ndarray, row: dict[str, int]) -> np.ndarray:
    """`(RESAMPLINGS,)` macro AUC: the mean over the videos of the sources that are drawn."""
    sums = np.zeros((2, draws.shape[1]))  # of each source: AUC and videos
    for one in split:
        auc = macro_auc([(one.truth, one.scores)])
        if auc is not None:
            sums[:, row[one.source]] += auc, 1
    auc, videos = sums @ draws.T
    with np.errstate(invalid="ignore"):
        return auc / videos


def _latency(split: Sequence[Measured], draws: np.ndarray, row: dict[str, int]) -> np.ndarray:
    """`(RESAMPLINGS,)` median latency of the alarmed events of the sources that are drawn."""
    late = np.concatenate([one.latencies for one in split])
    column = np.repeat([row[one.source] for one in split], [len(one.latencies) for one in split])
    order = np.argsort(late, kind="stable")[: np.isfinite(late).sum()]
    median = np.full(len(draws), np.nan)
    if not len(order):
        return median
    for start in range(0, len(draws), CHUNK):
        so_far = draws[start : start + CHUNK, column[order]].cumsum(axis=1, dtype=np.float64)
        events = so_far[:, -1:]
        middle = [np.argmax(so_far > place, axis=1) for place in ((events - 1) // 2, events // 2)]
        found = late[order][np.stack(middle)].mean(axis=0)
        median[start : start + CHUNK] = np.where(events[:, 0] > 0, found, np.nan)
    return median


def _counts(videos: Sequence[Measured], levels: np.ndarray, row: dict[str, int], *, anomalous: bool) -> np.ndarray:
    """`(sources, levels)` float32: how many such frames of each source score so high, the highest level first."""
    counts = np.zeros((len(row), len(levels)), dtype=np.float32)
    for one in videos:
        level = np.searchsorted(levels, one.scores[one.truth == anomalous], side="right") - 1
        counts[row[one.source]] += np.bincount(level, minlength=len(levels))[::-1]
    return counts


def _levels(split: Sequence[Measured]) -> np.ndarray:
    """Rising lower ends of at most `LEVELS` pieces of the scores.

    One half of them divides the frames evenly, the other the anomalous frames, which may be few: AP is about them.
    """
    truth, scores = np.concatenate([one.truth for one in split]), np.concatenate([one.scores for one in split])
    levels = np.unique(scores)
    if len(levels) > LEVELS:
        shares = np.linspace(0, 1, LEVELS // 2, endpoint=False)
        of_each = [np.quantile(some, shares, method="lower") for some in (scores, scores[truth]) if len(some)]
        levels = np.unique(np.concatenate(of_each))
    return levels


def _auc_and_ap(draws: np.ndarray, normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """`(2, RESAMPLINGS)` AUC and AP of frames that are counted by source and falling score; NaN where undefined."""
    parts = [draws[start : start + CHUNK] for start in range(0, len(draws), CHUNK)]
    return np.hstack([_auc_and_ap_of(part @ normal, part @ anomalous) for part in parts])


def _auc_and_ap_of(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
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
