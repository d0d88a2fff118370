"""How much is measured: on a card, or so little that a CPU does it in seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lad.device import kind_of


@dataclass(frozen=True)
class Size:
    """What the subjects are measured on.

    Attributes:
        seconds: that a speed is measured for.
        calls, warm_up: that are timed at least, and before them.
        backbone: the feature network.
        batches: clips in a batch.
        matrix: side of the matrices whose product is timed.
        flow_side: pixels of the frames whose flow is computed; RAFT pads what is below 128.
        pairs: of frames that TV-L1 gets together.
        videos: training videos.
        feature_dim: of their features.
        windows: of a batch of training, half of them with an event.
        steps: of training: those whose losses are compared, and as many that are timed.
        decoders: how many.
        jobs: videos for each of them.
        frames: of the video that they decode, and that each reader reads.
        large: (width, height) of the one that each reader reads.
    """

    seconds: float = 1.0
    calls: int = 5
    warm_up: int = 3
    backbone: str = "i3d"
    batches: Sequence[int] = (1, 4, 16, 64)
    matrix: int = 8192
    flow_side: int = 224
    pairs: int = 64
    videos: int = 60
    feature_dim: int = 2048
    windows: int = 60
    steps: int = 20
    decoders: Sequence[int] = (1, 2, 4, 8, 16)
    jobs: int = 24
    frames: int = 128
    large: tuple[int, int] = (1280, 720)


FULL = Size()
SMALL = Size(
    seconds=0.0,
    calls=1,
    warm_up=0,
    backbone="tiny",
    batches=(1, 2),
    matrix=256,
    flow_side=64,
    pairs=2,
    videos=4,
    feature_dim=64,
    windows=4,
    steps=3,
    decoders=(1, 2),
    jobs=6,
    frames=48,
    large=(160, 96),
)


def timed(work: Callable[[], object], device: str, size: Size) -> float:
    """The median seconds of a call: of `size.calls`, or of as many as `size.seconds` has room for."""
    for _ in range(size.warm_up):
        work()
    taken: list[float] = []
    while len(taken) < size.calls or sum(taken) < size.seconds:
        settle(device)
        began = time.perf_counter()
        work()
        settle(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def settle(device: str) -> None:
    """Wait until a card has done what it was given."""
    if kind_of(device) == "cuda":
        torch.cuda.synchronize(device)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """How far arrays are apart, as a share of the length of the second."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def per_second(count: float, unit: str) -> str:
    """A speed as it is shown, of three digits or more: `1,234 clips/s`."""
    return f"{count:,.0f} {unit}/s" if count >= 100 else f"{count:.3g} {unit}/s"
