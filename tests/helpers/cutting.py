"""Frames cut into clips, and a texture that moves over them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from helpers.videos import numbered_frame
from lad.extract.clips import FRAME_SIZE, ClipBatch, ClipSpec, clip_batches


def numbered(count: int) -> Iterator[np.ndarray]:
    return (numbered_frame(number, (64, 48)) for number in range(count))


def cut(
    frames: Iterator[np.ndarray],
    streams: tuple[str, ...] = ("rgb",),
    tail: str = "pad",
    batch_clips: int = 4,
    stride: int = 16,
    crops: int = 1,
    skip_clips: int = 0,
    rgb_short_side: int | None = None,
    together: int = 1,
) -> list[ClipBatch]:
    spec = ClipSpec(
        streams=streams,
        tail=tail,  # type: ignore[arg-type]
        batch_clips=batch_clips,
        stride=stride,
        crops=crops,
        rgb_short_side=rgb_short_side,
        together=together,
    )
    return list(clip_batches(frames, spec, skip_clips))


def joined(batches: list[ClipBatch], stream: str) -> np.ndarray:
    return np.concatenate([batch[stream] for batch in batches])


def texture(width: int, height: int) -> np.ndarray:
    grain = np.random.default_rng(3).integers(0, 255, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    return cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(steps: list[tuple[int, int]], size: tuple[int, int] = (FRAME_SIZE, FRAME_SIZE)) -> list[np.ndarray]:
    """Frames of a texture that moves right and down by each (x, y) of `steps`, in its own pixels."""
    width, height = size
    image = texture(3 * width, 3 * height)
    frames, left, top = [], width, height
    for x, y in [(0, 0), *steps]:
        left, top = left - x, top - y
        frames.append(np.ascontiguousarray(image[top : top + height, left : left + width]))
    return frames


def median_flow(flow: np.ndarray) -> list[float]:
    inner = flow[40:-40, 40:-40]
    return [float(np.median(inner[..., axis])) for axis in (0, 1)]
