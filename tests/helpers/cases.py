"""The odd files of `shared/cases`: each of a kind that some tool got wrong, with its number in the picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

HEIGHT, BITS = 144, 12


def number_of(frame: np.ndarray) -> int:
    """The number in a picture `(height, width, 3)` of any size: in its top rows, the lowest bit at the left."""
    height, width = frame.shape[:2]
    block, top = width / BITS, max(2, round(height / HEIGHT * 16))
    grey = frame.astype(float).mean(axis=2)[2 : top - 3]
    lit = [grey[:, int(k * block + block / 4) : int((k + 1) * block - block / 4)].mean() > 128 for k in range(BITS)]
    return sum(1 << k for k in range(BITS) if lit[k])


def case_numbers(frames: Iterable[np.ndarray]) -> list[int]:
    return [number_of(frame) for frame in frames]
