"""Frames out of a video file by PyAV, the second reader: it reads whatever FFmpeg does, damaged files too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lad.extract.container import demux, open_container, video_stream
from lad.extract.probe import Matrix, Probe, display_matrix, is_turned
from lad.extract.process_setup import logged_errors
from lad.extract.times import Clock
from lad.extract.video import Limits, VideoError, VideoInfo

# Whose first plane is the brightness of a pixel a byte.
PLAIN_GREY = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"})


class Damaged(Exception):
    """The first damage of a file that was to be whole."""


class Picture:
    """A decoded frame. It becomes `(height, width, 3)` uint8 RGB, upright, when numpy first asks for it as an array.

    Attributes:
        frame: PyAV's, as it was stored.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self._image: np.ndarray | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        import av

        if self._image is None:
            try:
                self._image = _upright(self.frame.to_ndarray(format="rgb24"), display_matrix(self.frame))
            except av.error.FFmpegError as error:
                raise VideoError(f"a frame cannot be converted to RGB: {error.strerror}") from error
        return np.array(self._image, dtype, copy=copy)

    def grey(self) -> np.ndarray:
        """Its brightness as it was stored, not upright: `(height, width)` uint8. Costs no conversion to RGB."""
        import av

        plane = self.frame.planes[0]
        if self.frame.format.name in PLAIN_GREY and plane.line_size >= plane.width:
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            return rows[: plane.height, : plane.width]
        try:
            return np.asarray(self.frame.to_ndarray(format="gray"))
        except av.error.FFmpegError as error:
            raise VideoError(f"a frame cannot be converted to grey: {error.strerror}") from error


def read_pyav(
    path: Path,
    container_format: str,
    probe: Probe,
    info: VideoInfo,
    limits: Limits,
    on_progress: Callable[[], None],
    *,
    whole: bool,
) -> Iterator[Picture]:
    """PyAV's frames, in display order; fills `info` on the way.

    Args:
        path: the file.
        container_format: as `sniff_container` has it.
        probe: what demuxing showed.
        info: filled on the way.
        limits: of frames.
        on_progress: called at every packet.
        whole: the first damage is the end.

    Raises:
        VideoError: nothing can be read.
        Damaged: of `whole`.
    """
    import av

    damaged = oversized = 0
    size = (0, 0)
    with open_container(path, container_format, limits) as container:
        stream = video_stream(container, probe.track, limits)
        context = stream.codec_context
        clock, sent = Clock(probe.schedule), 0
        for packet in _packets(container, stream, info):
            on_progress()
            known, _ = logged_errors()
            if packet is not None and packet.size:
                packet.pts, sent = sent, sent + 1  # its frames say by it which packet they were in
            try:
                frames = context.decode(packet)
                # It conceals some damage and only logs it.
                damaged += sum(frame.is_corrupt for frame in frames) or logged_errors()[0] > known
            except av.error.EOFError:
                break
            except (av.error.FFmpegError, MemoryError):
                frames = []
                damaged += 1
                # FFmpeg leaves the size there that it refuses, or none.
                if not 0 < context.width * context.height <= limits.max_pixels:
                    oversized, size = oversized + 1, max(size, (context.width, context.height))
            if whole and damaged:
                raise Damaged(f"PyAV met damage by frame {info.frames}")
            for frame in frames:
                info.times.append(clock.read(frame.pts, sent))
                picture = Picture(frame)
                info.size = info.size if info.frames > 1 else np.asarray(picture).shape[:2]
                yield picture
    if oversized and not info.times:
        limits.check_size(*size)
        raise VideoError(f"no frame could be decoded: their size is damaged, or {limits.pixels_exceeded()}")
    if clock.missed > probe.hidden:
        info.warnings.append(f"it begins in the middle: {clock.missed} packets before the first frame are of no use")
    if damaged:
        why = f", {oversized} of them of a damaged size or {limits.pixels_exceeded()}" if oversized else ""
        info.warnings.append(f"{damaged} damaged packets or frames{why}")


def _upright(image: np.ndarray, matrix: Matrix) -> np.ndarray:
    """A picture as its display matrix turns and mirrors it, to the nearest quarter of a turn."""
    a, b, c, d = matrix  # a point (x, y) is shown at (a x + c y, b x + d y)
    if is_turned(matrix):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _packets(container: Any, stream: Any, info: VideoInfo) -> Iterator[Any]:
    """The packets of a stream, and last an empty one, at which the decoder gives the frames that it held back."""
    import av

    try:
        yield from demux(container, stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        info.warnings.append(f"the file breaks off after {info.frames} frames")
        yield None
