"""Half-open intervals `[start, end)` of frames."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-6  # seconds: 0.3 - 0.1 is not quite 0.2


def intervals(frames: np.ndarray) -> list[tuple[int, int]]:
    """Half-open intervals of consecutive true values in `(frames,)` bool."""
    bounded = np.concatenate([[False], frames, [False]])
    edges = np.flatnonzero(bounded[1:] != bounded[:-1])
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def events_above(
    scores: np.ndarray,
    threshold: float,
    *,
    times: np.ndarray,
    ends: np.ndarray,
    merge_seconds: float = 0.0,
    min_seconds: float = 0.0,
) -> list[tuple[int, int]]:
    """Half-open intervals of frames that score above `threshold`, near ones as one, and without blips.

    Args:
        scores: `(frames,)` float.
        threshold: what a frame has to exceed.
        times, ends: `(frames,)` float64, the seconds at which each frame goes on and off display.
        merge_seconds: a gap shorter than that is closed.
        min_seconds: an interval that is shorter than that, once gaps are closed, is left out.
    """
    merged: list[tuple[int, int]] = []
    for start, end in intervals(scores > threshold):
        if merged and times[start] - ends[merged[-1][1] - 1] < merge_seconds - ROUNDING:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return [(start, end) for start, end in merged if ends[end - 1] - times[start] >= min_seconds - ROUNDING]
