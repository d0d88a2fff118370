"""How long TV-L1 flow takes for a pair of frames, ours and OpenCV's, and how far the two are apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from benchmarks.speed.rows import DATA, Row, medians
from lad.extract.clips import resize
from lad.extract.tvl1 import tvl1_flow

PAIRS = 2  # of consecutive frames, of each sample video
SPACING = 60  # frames from one pair to the next
THREADS = 1  # as a decoder's process has
MIN_SPEEDUP = 1.5
MAX_DIFFERENCE = 0.1  # pixels


def measure() -> list[Row]:
    """Time both on the same pairs. They take turns, each with one thread."""
    pairs = [pair for video in sorted((DATA / "samples").glob("*.mp4")) for pair in frame_pairs(video)]
    if not pairs:
        raise FileNotFoundError(f"no sample videos in {DATA / 'samples'}: set LAD_DATA to the data folder")
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    try:
        works: list[Callable[[], object]] = [
            lambda: [opencv(*pair) for pair in pairs],
            lambda: [ours(*pair) for pair in pairs],
        ]
        theirs_taken, ours_taken = (taken / len(pairs) for taken in medians(works))
        difference = float(np.mean([np.linalg.norm(ours(*pair) - opencv(*pair), axis=-1).mean() for pair in pairs]))
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    speedup = theirs_taken / ours_taken
    what = f"TV-L1 flow of a pair of frames, {THREADS} thread, {difference:.3f} px apart"
    return [
        Row(
            what,
            f"{theirs_taken * 1e3:.0f} ms (OpenCV)",
            f"{ours_taken * 1e3:.0f} ms",
            f"{speedup:.1f}x",
            f">= {MIN_SPEEDUP:g}x",
            speedup >= MIN_SPEEDUP,
        ),
        Row(
            f"TV-L1 flow, mean end-point difference from OpenCV's, {len(pairs)} pairs",
            "",
            f"{difference:.3f} px",
            f"{difference:.3f} px",
            f"<= {MAX_DIFFERENCE:g} px",
            difference <= MAX_DIFFERENCE,
        ),
    ]


def frame_pairs(video: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """`PAIRS` pairs of consecutive frames, each `(224, 224)` uint8 grey."""
    with av.open(str(video)) as container:
        decoded = islice(container.decode(video=0), PAIRS * SPACING)
        frames = [frame.to_ndarray(format="rgb24") for number, frame in enumerate(decoded) if number % SPACING < 2]
    grey = [cv2.cvtColor(resize(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    return list(zip(grey[::2], grey[1::2], strict=False))


def opencv(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`(height, width, 2)`."""
    return cv2.optflow.DualTVL1OpticalFlow.create().calc(first, second, None)


def ours(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`(height, width, 2)`."""
    flow = tvl1_flow(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    return flow[0].permute(1, 2, 0).numpy()
