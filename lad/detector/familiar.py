"""Which clips are unlike all that a detector was trained on, so that its scores of them mean little.

The distance of a clip is how many deviations its features are away from the training clips' mean, on average over the
features. A clip is unfamiliar where it is further away than nearly all clips of cameras that were held out in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lad.features.video import ClipFeatures

SHARE = 0.99  # of the clips of held-out cameras that are familiar
FEWEST_WARNED = 2  # one of a short video may be chance
WARNED_SHARE = 0.1  # of a video's clips: if so many are unfamiliar, a warning says so
CLIPS_A_BLOCK = 4096  # whose features are in memory at a time


@dataclass(frozen=True)
class Familiar:
    """Tells how familiar clips are.

    Attributes:
        mean, std: `(D,)` float32, of the features of the training clips.
        limit: the distance beyond which a clip is unfamiliar.
    """

    mean: np.ndarray
    std: np.ndarray
    limit: float

    def __call__(self, features: ClipFeatures) -> np.ndarray:
        """`(clips,)` float64: 1 for a familiar clip, and the nearer to 0 the further away an unfamiliar one is."""
        return np.minimum(1.0, self.limit / np.maximum(distances(features, self.mean, self.std), self.limit / 1e6))


def told_of(familiar: np.ndarray | None) -> list[str]:
    """A warning, if many of a video's clips are unfamiliar; a few are in every video."""
    unfamiliar = 0 if familiar is None else int((familiar < 1).sum())
    if familiar is None or unfamiliar < max(WARNED_SHARE * len(familiar), FEWEST_WARNED):
        return []
    some = f"{unfamiliar} of {len(familiar)} clips are unfamiliar"
    return [f"{some}: unlike all that the detector was trained on, so that its scores of them mean little"]


def distances(features: ClipFeatures, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """`(clips,)` float64, the mean over crops. Read block by block."""
    found = np.zeros(features.clips)
    for crop in range(features.crops):
        for start in range(0, features.clips, CLIPS_A_BLOCK):
            place = slice(start, min(start + CLIPS_A_BLOCK, features.clips))
            away = (features.rows(crop, place) - mean) / std
            found[place] += np.sqrt(np.mean(away.astype(np.float64) ** 2, axis=1))
    return found / features.crops


def limit_of(detector: Any, held_out: Iterable[ClipFeatures]) -> float | None:
    """The distance that `SHARE` of the clips of held-out videos keep to what a detector was trained on.

    None: that says nothing, since the detector does not standardise its features, or since they are all alike.
    """
    statistics = _statistics(detector)
    found = [distances(one, *statistics) for one in held_out] if statistics else []
    limit = float(np.quantile(np.concatenate(found), SHARE)) if found else 0.0
    return limit if 0 < limit < np.inf else None


def familiar_of(detector: Any, limit: float | None) -> Familiar | None:
    """What tells how familiar clips are to a detector; None: its training did not find out."""
    statistics = _statistics(detector) if limit else None
    return Familiar(*statistics, limit) if statistics and limit else None


def _statistics(detector: Any) -> tuple[np.ndarray, np.ndarray] | None:
    mean, std = (getattr(detector, name).cpu().numpy() for name in ("feature_mean", "feature_std"))
    return None if (std == 1).all() else (mean, std)
