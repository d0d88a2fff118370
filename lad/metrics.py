"""Frame-level and category metrics: arrays in, numbers out. An undefined number is `None`, never NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve over frames; `None` where all frames are alike.

    Args:
        labels: `(frames,)` bool, true for anomalous.
        scores: `(frames,)` float, higher for more anomalous.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if _has_both(labels) else None


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Average precision over frames; `None` without an anomalous frame."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if labels.any() else None


def false_alarm_rate(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float | None:
    """Share of the normal frames that score above `threshold`; `None` without a normal frame."""
    normal = ~labels.astype(bool)
    return float((scores[normal] > threshold).mean()) if normal.any() else None


def accuracy(truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray) -> float | None:
    """Share of right categories; `None` of nothing."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted))) if len(truth) else None


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """`(classes, classes)` int64 counts, a row a true category, over the full label set whatever occurs in it."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(truth, dtype=int), np.asarray(predicted, dtype=int)), 1)
    return matrix


def events_above(scores: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Half-open intervals of consecutive frames that score above `threshold`."""
    above = np.concatenate([[False], scores > threshold, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _has_both(labels: np.ndarray) -> bool:
    return bool(labels.any()) and not bool(labels.all())
