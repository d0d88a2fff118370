"""Frames out of a video file or a folder of images: native size, RGB, in display order, one at a time.

decord is the first reader and PyAV the second. decord believes what a container says of itself and can hang, repeat
frames or crash on a damaged one, so every file is first demuxed (not decoded) by PyAV, and decord only reads those
where packets, container and decord agree, of the kinds where both give the same pixels.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.extract.container import Probe, VideoError, demux, open_container, probe_file, sniff_container, video_stream
from lad.files import frame_files

Reader = Literal["auto", "pyav"]

DEFAULT_FPS = 25.0  # of a video that says nothing of time
MAX_LISTED = 3  # of many frames with the same fault, named in one warning

AV_LOG_ERROR = 16  # libavutil/log.h; less is worse
_KEPT: list[object] = []  # what C code calls must outlive the call


class ReaderGaveUp(Exception):
    """decord failed on a file that it had begun, or met damage: what it gave is void, PyAV must read it anew."""


@dataclass
class VideoInfo:
    """What reading a video showed; complete once the last frame was taken.

    Attributes:
        reader: `decord`, `pyav` or `images`.
        times: seconds since the first frame, one a frame.
        fps: average frames a second.
        size: (height, width) of the first frame.
        warnings: what was wrong with it, a line each.
    """

    reader: str = ""
    times: list[float] = field(default_factory=list)
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.times)


def read_frames(
    path: Path, info: VideoInfo, *, reader: Reader = "auto", folder_fps: float = 25.0
) -> Iterator[np.ndarray]:
    """Yield every frame as `(height, width, 3)` uint8 RGB, upright, and fill `info` on the way.

    Args:
        path: a video file, or a folder of numbered images.
        info: filled while frames are taken.
        reader: `pyav` passes decord over.
        folder_fps: frames a second of a folder of images.

    Raises:
        VideoError: nothing can be read from it.
        ReaderGaveUp: decord failed halfway; call again with `reader="pyav"`.
    """
    import av

    try:
        if path.is_dir():
            yield from _image_frames(path, info, folder_fps)
        else:
            yield from _file_frames(path, info, reader)
    except OSError as error:  # PyAV's own errors for the disk's faults (no permission, not there) are OSErrors too
        raise VideoError(f"cannot be read: {error.strerror or error}", kind="io") from error
    except av.error.FFmpegError as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error
    if not info.frames:
        raise VideoError("no frame could be decoded")
    info.fps = _average_fps(info.times, info.fps)


def _average_fps(times: list[float], nominal: float) -> float:
    """Frames a second by their times; `nominal`, what the container says, where it is about that."""
    if len(times) < 2 or times[-1] <= times[0]:
        return nominal or DEFAULT_FPS
    measured = (len(times) - 1) / (times[-1] - times[0])
    return nominal if abs(measured - nominal) < 0.01 * measured else measured


# Image folders ---------------------------------------------------------------------------------------------------


def _image_frames(folder: Path, info: VideoInfo, fps: float) -> Iterator[np.ndarray]:
    import cv2

    info.reader, info.fps = "images", fps
    bad: list[str] = []
    good: np.ndarray | None = None
    waiting = 0
    for file in frame_files(folder):
        data = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except cv2.error:  # OpenCV's own limit on an image's size
            image = None
        if image is None:
            # Its neighbour stands in, so that every later frame keeps its number and its label.
            bad.append(file.name)
            if good is None:
                waiting += 1
                continue
        else:
            good = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            info.size = info.size if info.times else (good.shape[0], good.shape[1])
        for _ in range(1 + waiting):
            info.times.append(len(info.times) / fps)
            yield good
        waiting = 0
    if bad:
        names = ", ".join(bad[:MAX_LISTED]) + (", ..." if len(bad) > MAX_LISTED else "")
        if good is None:
            raise VideoError(f"none of its {len(bad)} images can be read ({names})")
        info.warnings.append(f"{len(bad)} images cannot be read and are replaced by their neighbours: {names}")


# Video files -----------------------------------------------------------------------------------------------------


def _file_frames(path: Path, info: VideoInfo, reader: Reader) -> Iterator[np.ndarray]:
    container_format = sniff_container(path)
    probe = probe_file(path, container_format)
    info.fps = probe.fps
    info.warnings += probe.warnings
    if reader == "auto" and probe.intact and probe.times is not None and probe.plain:
        frames = _open_decord(path, probe)
        if frames is not None:
            info.reader = "decord"
            yield from _decord_frames(frames, probe.times, info)
            return
    info.reader = "pyav"
    yield from _pyav_frames(path, container_format, info)


def _open_decord(path: Path, probe: Probe) -> Any | None:
    """decord's reader where it sees the frames that demuxing showed, else None."""
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        _decord_complaints()
        frames = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        return frames if len(frames) == probe.packets else None
    except (decord.DECORDError, RuntimeError, OSError, UnicodeError):  # a name that is not UTF-8
        return None


@cache
def _decord_complaints() -> list[int]:
    """One entry for each error that the FFmpeg within decord logs: decord itself conceals damage without a word.

    Raises:
        OSError: this build of decord does not carry an FFmpeg of its own, so its errors cannot be seen.
    """
    import decord

    places = Path(decord.__file__).parent.parent.glob("decord.libs/libavutil*")
    library = ctypes.CDLL(str(next(places, "libavutil of decord")))
    complaints: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    def note(_context: int, level: int, _format: bytes, _arguments: int) -> None:
        if 0 <= level <= AV_LOG_ERROR:
            complaints.append(level)

    _KEPT.extend((library, note))
    library.av_log_set_callback(note)
    return complaints


def _decord_frames(frames: Any, times: list[float], info: VideoInfo) -> Iterator[np.ndarray]:
    import decord

    complaints = _decord_complaints()
    complaints.clear()
    try:
        for time in times:
            frame = frames.next().asnumpy()
            if complaints:
                raise ReaderGaveUp(f"decord met damage by frame {info.frames} of {len(times)}")
            info.size = info.size if info.times else (frame.shape[0], frame.shape[1])
            info.times.append(time)
            yield frame
    except (decord.DECORDError, StopIteration, RuntimeError) as error:
        raise ReaderGaveUp(f"decord gave up after {info.frames} of {len(times)} frames: {error}") from error


def _pyav_frames(path: Path, container_format: str, info: VideoInfo) -> Iterator[np.ndarray]:
    import av

    damaged = 0
    start: float | None = None
    with open_container(path, container_format) as container:
        stream = video_stream(container)
        fps = float(stream.average_rate or DEFAULT_FPS)
        for packet in _packets(container, stream, info):
            try:
                frames = stream.codec_context.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                damaged += frame.is_corrupt
                if start is None and frame.time is not None:
                    start = frame.time
                last = info.times[-1] if info.times else -1 / fps
                time = last + 1 / fps if frame.time is None or start is None else frame.time - start
                # A damaged file may claim that time runs backwards.
                info.times.append(max(time, last))
                image = frame.to_ndarray(format="rgb24")
                image = np.rot90(image, k=round(frame.rotation / 90) % 4) if frame.rotation else image
                info.size = info.size if info.frames > 1 else (image.shape[0], image.shape[1])
                yield image
    if damaged:
        info.warnings.append(f"{damaged} damaged packets or frames")


def _packets(container: Any, stream: Any, info: VideoInfo) -> Iterator[Any]:
    """The packets of a stream, and last an empty one, at which the decoder gives the frames that it held back."""
    import av

    try:
        yield from demux(container, stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        info.warnings.append(f"the file breaks off after {info.frames} frames")
        yield None
