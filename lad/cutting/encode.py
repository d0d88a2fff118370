"""Frames to an MP4 that plays everywhere: H.264, 4:2:0, its index in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lad.cutting.sound import Sound

TICKS = 90_000  # a second: the frames of all usual rates fall on one
QUALITY = {"crf": "18", "preset": "veryfast", "bf": "0"}  # without B-frames an MP4 begins at 0 for every player
KEY_SECONDS = 2  # between pictures that a player can jump to
MP4 = {"movflags": "+faststart"}


@dataclass(frozen=True)
class Look:
    """How the pixels of a video are meant.

    Attributes:
        pixel_aspect: how much wider than high a pixel is shown.
        colours: what the numbers of a stream's colours mean, as FFmpeg counts: matrix, primaries, transfer.
    """

    pixel_aspect: float = 1.0
    colours: tuple[int, int, int] = (2, 2, 2)  # nobody says


@dataclass
class ClipWriter:
    """A video that is being written; use it as `with writing(...) as writer`.

    Attributes:
        container: PyAV's.
        stream: of its video.
        look: of the pixels.
        sound: goes beside the pictures, if there is any.
    """

    container: Any
    stream: Any
    look: Look
    sound: Sound | None = None
    _lasts: dict[int, int] = field(default_factory=dict)
    _size: tuple[int, int] = (0, 0)

    def add(self, image: np.ndarray, time: float, seconds: float) -> None:
        """Add a frame.

        Args:
            image: `(height, width, 3)` uint8 RGB; the first one says how large the video is.
            time: when it is shown, in seconds since the first.
            seconds: for how long.
        """
        import av
        import cv2

        if not self._size[0]:
            self._begin(image.shape[0], image.shape[1])
        height, width = self._size
        if image.shape[:2] != self._size:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if height % 2 or width % 2:  # 4:2:0 has a colour for two by two pixels
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
        self._lasts[frame.pts] = max(round((time + seconds) * TICKS) - frame.pts, 1)
        if self.sound:
            self.sound.copy_until(time)
        self._write(self.stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        self._size = (height, width)
        context = self.stream.codec_context
        context.height, context.width, context.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        if self.look.pixel_aspect != 1:
            context.sample_aspect_ratio = Fraction(self.look.pixel_aspect).limit_denominator(1000)
        context.colorspace, context.color_primaries, context.color_trc = self.look.colours
        context.color_range = 1  # as television has it
        context.time_base = self.stream.time_base = Fraction(1, TICKS)

    def _write(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._lasts.pop(packet.pts, packet.duration)
            self.container.mux(packet)

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._write(self.stream.encode())
        if self.sound:
            self.sound.copy_until(None)


@contextmanager
def writing(path: Path, fps: float, look: Look, sound: Sound | None = None) -> Iterator[ClipWriter]:
    """A new video.

    Args:
        path: where to; what is there is replaced.
        fps: average frames a second.
        look: of the pixels.
        sound: to go beside the pictures.
    """
    import av

    rate = Fraction(fps).limit_denominator(1001)
    options = {**QUALITY, "g": str(max(round(KEY_SECONDS * fps), 1))}
    with av.open(str(path), "w", format="mp4", container_options=MP4) as container:
        stream = container.add_stream("libx264", rate=max(rate, Fraction(1, 1000)), options=options)
        if sound:
            sound.begin(container)
        writer = ClipWriter(container, stream, look, sound)
        yield writer
        writer.finish()
