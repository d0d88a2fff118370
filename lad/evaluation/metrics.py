"""Frame-level and category metrics: arrays in, numbers out. An undefined number is `None`, never NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Interval = tuple[int, int]  # frames, half-open


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve over frames; `None` where all frames are alike.

    Args:
        labels: `(frames,)` bool, true for anomalous.
        scores: `(frames,)` float, higher for more anomalous.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if _has_both(labels) else None


def macro_auc(videos: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """The mean of the AUC of each video that has both kinds of frames; `None` where none has.

    Whether one video scores higher than another counts for nothing here, and for much in the AUC over all frames, the
    micro AUC. Georgescu et al., "A background-agnostic framework with adversarial training for abnormal event detection
    in video", TPAMI 44:4505-4523, 2022.

    Args:
        videos: labels and scores of each, as `roc_auc` takes them.
    """
    known = [auc for labels, scores in videos if (auc := auc_against(scores[labels], np.sort(scores[~labels])))
             is not None]  # fmt: skip
    return float(np.mean(known)) if known else None


def auc_against(anomalous: np.ndarray, normal: np.ndarray) -> float | None:
    """The share of pairs in which the anomalous frame scores higher, equals half: the AUC; `None` without a pair.

    Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other", Annals
    of Mathematical Statistics 18:50-60, 1947. Since `normal` is in order, many sets are held against it at little cost.

    Args:
        anomalous: `(n,)` float scores, in any order.
        normal: `(m,)` float scores, rising.
    """
    if not len(anomalous) or not len(normal):
        return None
    below, up_to = (np.searchsorted(normal, anomalous, side=side) for side in ("left", "right"))
    return float((below.mean() + up_to.mean()) / 2 / len(normal))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Average precision over frames; `None` without an anomalous frame."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if labels.any() else None


def false_alarm_rate(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float | None:
    """Share of the normal frames that score above `threshold`; `None` without a normal frame."""
    normal = ~labels.astype(bool)
    return float((scores[normal] > threshold).mean()) if normal.any() else None


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """The threshold with the highest Youden's J, true minus false positive rate, over frames that score above it.

    It lies halfway between two neighbouring distinct scores, so that `>` and `>=` agree; of equally good ones it is the
    highest (fewest alarms). Where no threshold beats alarming at nothing (J = 0), it is the highest score. `None` where
    all frames are alike. J: Youden, "Index for rating diagnostic tests", Cancer 3:32-35, 1950.

    Args:
        labels: `(frames,)` bool, true for anomalous.
        scores: `(frames,)` float, higher for more anomalous.
    """
    if not _has_both(labels):
        return None
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    anomalous = labels.astype(bool)
    levels, level = np.unique(scores, return_inverse=True)
    # Frames above each level; whole numbers, so that ties are exact: J times both counts.
    hits = anomalous.sum() - np.bincount(level[anomalous], minlength=len(levels)).cumsum()
    alarms = (~anomalous).sum() - np.bincount(level[~anomalous], minlength=len(levels)).cumsum()
    youden = hits * (~anomalous).sum() - alarms * anomalous.sum()
    best = len(levels) - 1 - int(youden[::-1].argmax())
    lower = levels[best]
    if best == len(levels) - 1:
        return float(lower)
    upper = levels[best + 1]
    middle = lower / 2 + upper / 2  # in the scores' own precision, in which they are compared with it
    return float(middle if lower < middle < upper else lower)


def accuracy(truth: Sequence[Sequence[int]], predicted: Sequence[int] | np.ndarray) -> float | None:
    """Share of videos whose predicted category is one of their own; `None` of nothing.

    Args:
        truth: `(videos,)`, each all categories of a video; one without any is never right.
        predicted: `(videos,)` int.
    """
    right = [category in categories for categories, category in zip(truth, predicted, strict=True)]
    return float(np.mean(right)) if right else None


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """`(classes, classes)` int64 counts, a row a true category, over the full label set whatever occurs in it."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(truth, dtype=int), np.asarray(predicted, dtype=int)), 1)
    return matrix


def match_events(
    true: Sequence[Interval], found: Sequence[Interval], confidence: Sequence[float], ious: Sequence[float]
) -> list[int]:
    """Numbers of found events that match a true event, one to one, as in temporal action detection, for each of `ious`.

    By falling confidence (equals: in the order given), each found event takes the free true event with which it has the
    highest temporal intersection over union (equals: the earliest), if that is at least `iou` and they overlap at all.
    Caba Heilbron et al., "ActivityNet", CVPR 2015; Idrees et al., "The THUMOS challenge", CVIU 155:1-23, 2017.
    Near linear where the true events are disjoint.

    Args:
        true: `(n,)` half-open intervals of one video, in any order.
        found: `(m,)` half-open intervals, in any order.
        confidence: `(m,)` float, higher for surer.
        ious: the least intersections over union of a match, each in (0, 1].

    Raises:
        ValueError: there is not one confidence for each found event.
    """
    if len(found) != len(confidence):
        raise ValueError(f"{len(found)} events, {len(confidence)} confidences")
    starts, ends = _sorted_intervals(true)
    order = np.argsort(-np.asarray(confidence, dtype=np.float64), kind="stable")
    spans = np.asarray(found, dtype=np.int64).reshape(-1, 2)[order]
    first, last = _neighbours(starts, ends, spans)
    near = first < last
    free = np.ones((len(ious), len(starts)), dtype=bool)
    matched = [0] * len(ious)
    for (start, end), low, high in zip(spans[near].tolist(), first[near].tolist(), last[near].tolist(), strict=True):
        shared = np.minimum(ends[low:high], end) - np.maximum(starts[low:high], start)
        overlap = shared / (ends[low:high] - starts[low:high] + (end - start) - shared)  # <= 0: none
        highest = overlap.max()
        for k, iou in enumerate(ious):
            if highest < iou:
                continue
            candidates = np.where(free[k, low:high], overlap, 0)
            best = int(candidates.argmax())
            if candidates[best] > 0 and candidates[best] >= iou:
                free[k, low + best] = False
                matched[k] += 1
    return matched


def event_detection(
    videos: Sequence[tuple[Sequence[Interval], Sequence[Interval], Sequence[float]]],
    ious: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
) -> dict[str, Any]:
    """Precision and recall of events over all videos together, at each least intersection over union.

    Args:
        videos: `(true, found, confidence)` each, as `match_events` takes them.
        ious: the thresholds.

    Returns:
        `{"true": n, "found": m, "precision": {"0.1": p, ...}, "recall": {"0.1": r, ...}}`; every precision is `None`
        where nothing was found, every recall `None` where there is no true event.
    """
    n_true = sum(len(true) for true, _, _ in videos)
    n_found = sum(len(found) for _, found, _ in videos)
    matched = [0] * len(ious)
    for true, found, confidence in videos:
        matched = [a + b for a, b in zip(matched, match_events(true, found, confidence, ious), strict=True)]
    names = [f"{iou:g}" for iou in ious]
    return {
        "true": n_true,
        "found": n_found,
        "precision": {name: n / n_found if n_found else None for name, n in zip(names, matched, strict=True)},
        "recall": {name: n / n_true if n_true else None for name, n in zip(names, matched, strict=True)},
    }


def latencies(true: Sequence[Interval], found: Sequence[Interval], times: np.ndarray) -> np.ndarray:
    """How long each true event goes on before it is alarmed.

    Args:
        true: `(n,)` half-open intervals of one video, in any order.
        found: `(m,)` half-open intervals, in any order.
        times: `(frames,)` float64, seconds of each frame since the first.

    Returns:
        `(n,)` float64, by the events' order in time: seconds from the first frame of the event to the first one of it
        that lies in a found event; 0 where one was found before and goes on; infinite where none does.
    """
    spans = np.stack(_sorted_intervals(true), axis=1)
    starts, ends = _sorted_intervals(found)
    first, last = _neighbours(starts, ends, spans)
    alarmed = first < last
    begun = spans[alarmed, 0]
    seconds = np.full(len(spans), np.inf)
    seconds[alarmed] = times[np.maximum(starts[first[alarmed]], begun)] - times[begun]
    return seconds


def false_alarms(true: Sequence[Interval], found: Sequence[Interval]) -> int:
    """Number of found events that share not one frame with a true event.

    Args:
        true: `(n,)` half-open intervals of one video, in any order.
        found: `(m,)` half-open intervals, in any order.
    """
    starts, ends = _sorted_intervals(true)
    spans = np.asarray(found, dtype=np.int64).reshape(-1, 2)
    first, last = _neighbours(starts, ends, spans)
    return int((first >= last).sum())


def false_alarms_an_hour(count: int, seconds: float) -> float | None:
    """`count` false alarms in `seconds` of video, as a rate an hour; `None` without any video."""
    return count * 3600 / seconds if seconds > 0 else None


def _sorted_intervals(events: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """`(n,)` starts and `(n,)` ends, int64, in order; without the events that have no frame."""
    bounds = np.asarray(events, dtype=np.int64).reshape(-1, 2)
    bounds = bounds[bounds[:, 0] < bounds[:, 1]]
    starts, ends = bounds[np.lexsort((bounds[:, 1], bounds[:, 0]))].T
    return starts, ends


def _neighbours(starts: np.ndarray, ends: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `(m, 2)` spans the range `[first, last)` of sorted events in which all that overlap it lie.

    The range is empty just where no event overlaps the span.
    """
    reach = np.maximum.accumulate(ends)  # of the events up to each
    first = np.searchsorted(reach, spans[:, 0], side="right")
    last = np.searchsorted(starts, spans[:, 1], side="left")
    return first, np.where(spans[:, 0] < spans[:, 1], last, first)


def _has_both(labels: np.ndarray) -> bool:
    return bool(labels.any()) and not bool(labels.all())
