"""Frames to clips: resize, flow, groups of 16, batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from lad.extract.flow import FLOW_METHODS

CLIP_FRAMES = 16
FRAME_SIZE = 224

# Clips of each stream: `rgb` (clips, 16, 224, 224, 3) uint8, `flow` (clips, 16, 224, 224, 2) float32 in pixels.
ClipBatch = dict[str, np.ndarray]


def clip_batches(
    frames: Iterable[np.ndarray],
    *,
    streams: Sequence[str],
    flow: str,
    tail: Literal["pad", "drop"],
    batch_clips: int,
) -> Iterator[ClipBatch]:
    """Cut a video into clips of 16 frames at 224x224, up to `batch_clips` of them at a time.

    Args:
        frames: `(height, width, 3)` uint8 RGB of any size.
        streams: which of `rgb` and `flow`.
        flow: a name of `FLOW_METHODS`.
        tail: `pad` fills the last clip by repeating its last frame (and flow); `drop` leaves an incomplete one out.
        batch_clips: clips a batch; the last batch may hold fewer.
    """
    small = (resize(frame) for frame in frames)
    pairs = with_flow(small, flow) if "flow" in streams else ((frame, None) for frame in small)
    batch: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    clip: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}

    def close_clip() -> None:
        for stream in streams:
            images = clip[stream] + clip[stream][-1:] * (CLIP_FRAMES - len(clip[stream]))
            batch[stream].append(np.stack(images))
            clip[stream].clear()

    def take_batch() -> ClipBatch:
        stacked = {stream: np.stack(batch[stream]) for stream in streams}
        for clips in batch.values():
            clips.clear()
        return stacked

    for image, motion in pairs:
        for stream, value in (("rgb", image), ("flow", motion)):
            if stream in clip and value is not None:
                clip[stream].append(value)
        if len(clip[streams[0]]) == CLIP_FRAMES:
            close_clip()
            if len(batch[streams[0]]) == batch_clips:
                yield take_batch()
    if clip[streams[0]] and tail == "pad":
        close_clip()
    if batch[streams[0]]:
        yield take_batch()


def resize(frame: np.ndarray, size: int = FRAME_SIZE) -> np.ndarray:
    """Squash a frame to `(size, size, 3)`: the full field of view, bilinear."""
    import cv2

    if frame.shape[:2] == (size, size):
        return frame
    return cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=cv2.INTER_LINEAR)


def with_flow(frames: Iterable[np.ndarray], method: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pair each frame with its flow `(height, width, 2)` to the next one.

    The last frame repeats the flow before it; the only frame of a one-frame video has zero flow.
    """
    import cv2

    solve = FLOW_METHODS[method]()
    previous: np.ndarray | None = None
    previous_grey: np.ndarray | None = None
    motion: np.ndarray | None = None
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if previous is not None and previous_grey is not None:
            motion = solve(previous_grey, grey)
            yield previous, motion
        previous, previous_grey = frame, grey
    if previous is not None:
        yield previous, np.zeros((*previous.shape[:2], 2), np.float32) if motion is None else motion
