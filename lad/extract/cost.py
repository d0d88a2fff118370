"""What extraction costs, estimated from how it is asked for: memory, and work for each second of video.

The shape of frames is not known yet. Where frames keep their shape, they are taken to be twice as wide as high.
"""

from __future__ import annotations

from lad.clip import CLIP_FRAMES
from lad.extract.clips import FRAME_SIZE, SHORT_SIDE, ClipSpec
from lad.extract.motion import MOTION
from lad.extract.runtime import Context, batches_at_once

# Bytes that a network takes for a frame and pixel of what it sees as one, in float32. Measured on a CPU with random
# weights, as the growth of the process's memory: i3d 144 with a clip of 224x224, 84 with four of them as one, 99 with
# a clip of 360x640, 75 with one of 1024x1820; i3d_r50 525 and 429; tiny 49 and 24.
PIXEL_BYTES = {"i3d": 150, "i3d_r50": 550, "tiny": 50}
UNKNOWN_PIXEL_BYTES = 600
WIDTH = 2  # of a frame that keeps its shape, for each pixel of its height
BATCHES_OF_A_DECODER = 3  # frames, the clips made of them, and what lies in the pipe
USUAL_FPS = 25


def frame_pixels(spec: ClipSpec, stream: str) -> int:
    """Of a frame of a stream, as clips hold it and networks see it: motion has none."""
    if stream == MOTION:
        return 0
    if spec.crops > 1:
        return SHORT_SIDE * SHORT_SIDE * WIDTH
    if stream == "rgb" and spec.rgb_short_side:
        return spec.rgb_short_side**2 * WIDTH
    return FRAME_SIZE**2


def clip_bytes(spec: ClipSpec) -> int:
    """Of a clip's pixels in all streams: three bytes a pixel of rgb, two float32 of flow."""
    sizes = {"rgb": 3, "flow": 8, MOTION: 0}
    return CLIP_FRAMES * sum(frame_pixels(spec, stream) * sizes[stream] for stream in spec.pixels)


def piece_bytes(spec: ClipSpec, backbone: str, context: Context) -> int:
    """That a network takes while it computes one piece: a clip, or a batch of them, of the larger stream."""
    seen = FRAME_SIZE**2 if spec.crops > 1 else max(frame_pixels(spec, stream) for stream in spec.pixels)
    clips = spec.batch_clips if context == "batch" else 1
    return PIXEL_BYTES.get(backbone, UNKNOWN_PIXEL_BYTES) * CLIP_FRAMES * seen * clips


def threads_in(memory: int, threads: int, spec: ClipSpec, backbone: str, context: Context) -> int:
    """How many of the threads may compute a piece at the same time in so many bytes; one at least."""
    return max(1, min(threads, memory // max(1, piece_bytes(spec, backbone, context))))


def extraction_bytes(spec: ClipSpec, backbone: str, context: Context, *, workers: int) -> int:
    """That extraction takes at least, beside programs and weights: with one thread, which more may be added to."""
    pieces = 1 if context == "batch" else spec.batch_clips
    batches = BATCHES_OF_A_DECODER * workers + 1 + batches_at_once("cpu", 1, pieces)
    return batches * spec.batch_clips * clip_bytes(spec) + piece_bytes(spec, backbone, context)


def work(spec: ClipSpec) -> float:
    """Of the networks for each second of video, where 1 is that of a clip of 224x224 for every 16 frames, 25 a second.

    A video's own rate counts as 25.
    """
    pixels = max(FRAME_SIZE**2 if spec.crops > 1 else frame_pixels(spec, stream) for stream in spec.pixels)
    return (spec.fps or USUAL_FPS) / USUAL_FPS * CLIP_FRAMES / spec.stride * spec.crops * pixels / FRAME_SIZE**2
