"""Half-open intervals `[start, end)` of frames."""

from __future__ import annotations

import numpy as np


def intervals(frames: np.ndarray) -> list[tuple[int, int]]:
    """Half-open intervals of consecutive true values in `(frames,)` bool."""
    bounded = np.concatenate([[False], frames, [False]])
    edges = np.flatnonzero(bounded[1:] != bounded[:-1])
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def events_above(scores: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Half-open intervals of consecutive frames that score above `threshold`."""
    return intervals(scores > threshold)
