"""Optical flow in torch: milliseconds a pair of frames, and how far from a CPU's."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks.gpu.size import Size, distance, per_second, timed
from benchmarks.speed.rows import Row
from lad.device import STEADY_THREADS, repeatable
from lad.extract.flow import FLOW_METHODS

MAX_DISTANCE = 0.01


def measure(device: str, size: Size) -> Iterator[Row]:
    """Time TV-L1, with as many pairs together as a decoder gives it, and RAFT with random weights, a pair at a time."""
    frames = moving_frames(size.pairs + 1, size.flow_side)
    with repeatable(device, STEADY_THREADS):
        yield from _rows("tvl1", frames, size.pairs, device, size)
        yield from _rows("raft", frames, 1, device, size)


def _rows(name: str, frames: np.ndarray, pairs: int, device: str, size: Size) -> Iterator[Row]:
    solve, on_cpu = (FLOW_METHODS[name].make(where, "random") for where in (device, "cpu"))
    together = (frames[:pairs], frames[1 : pairs + 1]) if pairs > 1 else (frames[0], frames[1])
    taken = timed(lambda: solve(*together), device, size) / pairs
    found, expected = (method(frames[0], frames[1]) for method in (solve, on_cpu))
    apart = distance(found, expected)
    what = f"{name}, {size.flow_side}x{size.flow_side}, pairs at a time: {pairs}"
    yield Row(what, "", f"{1e3 * taken:.2f} ms a pair", per_second(1 / taken, "pairs"), "", None)
    yield Row("... its flow, from a CPU's", "", "", f"{apart:.2%}", f"<= {MAX_DISTANCE:.0%}", apart <= MAX_DISTANCE)


def moving_frames(count: int, side: int) -> np.ndarray:
    """A texture that moves by (2, 1) pixels a frame, `(count, side, side, 3)` uint8."""
    grain = np.random.default_rng(0).uniform(0, 255, (side + count, side + 2 * count, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(grain, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.stack([texture[n : n + side, 2 * n : 2 * n + side] for n in range(count)])
