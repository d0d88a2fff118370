"""Small videos, and folders of images, whose frames carry their own number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

ON, OFF = (230, 200, 40), (20, 20, 60)  # in red they are far apart, in blue they are the other way round
# The 3x3 matrix of an mp4's track header, for a player that turns the picture clockwise (ISO 14496-12, 8.3.2).
TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def numbered_frame(number: int, size: tuple[int, int]) -> np.ndarray:
    """`(height, width, 3)` RGB: `number` in binary, two rows of four coloured blocks, most significant first."""
    width, height = size
    bits = np.array([number >> bit & 1 for bit in range(7, -1, -1)], dtype=bool).reshape(2, 4)
    rows = np.minimum(np.arange(height) * 2 // height, 1)
    columns = np.minimum(np.arange(width) * 4 // width, 3)
    return np.where(bits[rows][:, columns, None], ON, OFF).astype(np.uint8)


def grainy_frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Numbered frames with grain: most of the bytes of their file are picture."""
    grain = np.random.default_rng(0)
    width, height = size
    return [
        np.clip(numbered_frame(number, size) + grain.integers(-25, 25, (height, width, 3)), 0, 255).astype(np.uint8)
        for number in range(count)
    ]


def read_number(image: np.ndarray) -> int:
    """The number in a frame, after lossy coding and resizing; wrong if it is turned or its channels swapped."""
    height, width = image.shape[:2]
    number = 0
    for row in range(2):
        for column in range(4):
            middle = image[
                height * (4 * row + 1) // 8 : max(height * (4 * row + 3) // 8, height * (4 * row + 1) // 8 + 1),
                width * (4 * column + 1) // 16 : max(
                    width * (4 * column + 3) // 16, width * (4 * column + 1) // 16 + 1
                ),
            ]
            number = number << 1 | int(middle[..., 0].mean() > 125)
    return number


@contextmanager
def same_priority() -> Iterator[None]:
    """Keep this thread's scheduling: run as root, SVT-AV1 leaves it at real-time priority, which starves the rest."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def write_video(
    path: Path,
    frames: int | Iterable[np.ndarray] = 20,
    *,
    size: tuple[int, int] = (64, 48),
    fps: int = 25,
    codec: str | None = "libx264",
    pix_fmt: str = "yuv420p",
    format: str | None = None,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    audio: bool = False,
    rotation: int = 0,
) -> Path:
    """Encode a small video.

    Args:
        path: where to; its suffix says which container, unless `format` does.
        frames: how many numbered ones, or the images themselves.
        size: (width, height), as a player shows it.
        fps: frames a second.
        codec: None for no video at all.
        pts: times of the frames in milliseconds, for a variable frame rate.
        audio: add a track of silence.
        rotation: degrees clockwise by which a player has to turn the stored picture (mp4 only).
    """
    try:
        codec is None or av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV has no encoder {codec}")
    images: Iterable[np.ndarray]
    images = (numbered_frame(number % 256, size) for number in range(frames)) if isinstance(frames, int) else frames
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        same_priority(),
        av.open(str(path), "w", format=format, container_options=container_options or {}) as container,
    ):
        if codec is not None:
            stream: Any = container.add_stream(codec, rate=fps, options=codec_options or {})
            stored = size[::-1] if rotation in (90, 270) else size
            stream.width, stream.height = stored
            stream.pix_fmt = pix_fmt
            if pts is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
        if audio:
            sound: Any = container.add_stream("aac", rate=16000, layout="mono")
        if codec is not None:
            for number, image in enumerate(images):
                turned = np.ascontiguousarray(np.rot90(image, k=rotation // 90))  # against the clock
                frame = av.VideoFrame.from_ndarray(turned, format="rgb24").reformat(format=pix_fmt)
                frame.pts = number if pts is None else pts[number]
                frame.time_base = Fraction(1, fps) if pts is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if audio:
            for second in range(2):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 16000, second * 1024
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    if rotation:
        _turn_on_display(path, rotation)
    return path


def _turn_on_display(path: Path, rotation: int) -> None:
    def matrix(a: int, b: int, c: int, d: int) -> bytes:
        cells = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        return b"".join(cell.to_bytes(4, "big", signed=True) for cell in cells)

    data = path.read_bytes()
    track = data.index(b"tkhd")
    place = data.index(matrix(1, 0, 0, 1), track)
    turned = matrix(*TURNS[rotation])
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])


def frame_folder(folder: Path, names: Sequence[str], size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of numbered frames, one an image file, in the order of `names`."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), numbered_frame(number, size)[..., ::-1])
    return folder


def resized_video(path: Path, *sizes: tuple[int, int]) -> Path:
    """H.264 that changes its size without a word in the container: two frames of each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = sizes[0], "yuv420p"
        number = 0
        for width, height in sizes:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "threads=1"}
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
            for packet in [*encoder.encode(frame), *encoder.encode(frame), *encoder.encode(None)]:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.is_keyframe, copy.time_base = stream, packet.is_keyframe, Fraction(1, 25)
                copy.pts = copy.dts = number
                container.mux(copy)
                number += 1
    return path
