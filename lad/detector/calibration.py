"""Scores as probabilities: Platt's scaling, which brings them nearer to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lad.clip import CLIP_FRAMES

SMALLEST = 1e-9  # scores are taken to be at least so far from 0 and 1, whose log-odds are infinite


@dataclass(frozen=True)
class Calibration:
    """A rising function of scores: `sigmoid(slope * log-odds(score) + offset)`; by default it leaves them as they are.

    Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores of any shape, in [0, 1] -> float64 probabilities in the same order."""
        if self == Calibration():
            return np.asarray(scores, dtype=np.float64)
        return 1 / (1 + np.exp(-self.slope * log_odds(scores) - self.offset))


def fit_calibration(labels: np.ndarray, scores: np.ndarray, weight: float = 1 / CLIP_FRAMES) -> Calibration | None:
    """Platt's scaling of scores by logistic regression; None where labels are all alike or higher scores mean less.

    The usual penalty of half the slope's square keeps a perfect separation of few clips from promising certainty.

    Args:
        labels: `(n,)` bool, of frames or of whole videos, true for anomalous.
        scores: `(n,)` float in [0, 1].
        weight: of each. By default a clip counts as one observation, since its frames say nearly the same.
    """
    from sklearn.linear_model import LogisticRegression

    if labels.all() or not labels.any():
        return None
    weights = np.full(len(labels), weight)
    fitted = LogisticRegression(C=1.0).fit(log_odds(scores)[:, None], labels, sample_weight=weights)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return Calibration(slope, offset) if slope > 0 else None


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Of scores in [0, 1], finite."""
    inside = np.clip(np.asarray(scores, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)
