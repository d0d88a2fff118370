"""Frames out of a video file or a folder of images: native size, RGB, in display order, one at a time.

decord is the first reader and PyAV the second. decord believes what a container says of itself and can hang, repeat
frames or crash on a damaged one, so every file is first demuxed (not decoded) by PyAV, and decord only reads those
where packets, container and decord agree, of the kinds where both give the same pixels.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.extract.container import (
    DEFAULT_LIMITS,
    MIN_BLOCK,
    Limits,
    Matrix,
    Probe,
    VideoError,
    cap_blocks,
    demux,
    display_matrix,
    logged_errors,
    open_container,
    probe_file,
    sniff_container,
    video_stream,
)
from lad.extract.read_images import read_image
from lad.files import frame_files

Reader = Literal["auto", "pyav"]

DEFAULT_FPS = 25.0  # of a video that says nothing of time
MAX_LISTED = 3  # of many frames with the same fault, named in one warning

DECORD_PIXEL_BYTES = 4  # in one piece: red, green, blue, and what pads a row
AV_LOG_ERROR = 16  # libavutil/log.h; less is worse
RESIZING = b"properties on the fly"  # logged where a frame has another size: decord squashes it to the first one's
_KEPT: list[object] = []  # what C code calls must outlive the call


class ReaderGaveUp(Exception):
    """decord failed on a file that it had begun, or met damage: what it gave is void, PyAV must read it anew.

    Or PyAV found what it read in decord's place damaged.
    """


class Picture:
    """A decoded frame. It becomes `(height, width, 3)` uint8 RGB, upright, when numpy first asks for it as an array."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._image: np.ndarray | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        import av

        if self._image is None:
            try:
                self._image = _upright(self._frame.to_ndarray(format="rgb24"), display_matrix(self._frame))
            except av.error.FFmpegError as error:
                raise VideoError(f"a frame cannot be converted to RGB: {error.strerror}") from error
        return np.array(self._image, dtype, copy=copy)


@dataclass
class VideoInfo:
    """What reading a video showed; complete once the last frame was taken.

    Attributes:
        reader: `decord`, `pyav` or `images`: whose frames they are, or would be without `read_pictures`.
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
    path: Path,
    info: VideoInfo,
    *,
    reader: Reader = "auto",
    folder_fps: float = 25.0,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Callable[[], None] = lambda: None,
) -> Iterator[np.ndarray]:
    """Yield every frame as `(height, width, 3)` uint8 RGB, upright, and fill `info` on the way.

    Args:
        path: a video file, or a folder of numbered images.
        info: filled while frames are taken.
        reader: `pyav` passes decord over.
        folder_fps: frames a second of a folder of images.
        limits: of frames and their size.
        on_progress: called at every packet or image that is read, also where no frame comes of it.

    Raises:
        VideoError: nothing can be read from it, or it is beyond a limit.
        ReaderGaveUp: decord failed halfway; call again with `reader="pyav"`.
    """
    for frame in _frames(path, info, reader, folder_fps, limits, on_progress, lazy=False):
        yield np.asarray(frame)


def read_pictures(
    path: Path,
    info: VideoInfo,
    *,
    reader: Reader = "auto",
    folder_fps: float = 25.0,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Callable[[], None] = lambda: None,
) -> Iterator[np.ndarray | Picture]:
    """As `read_frames`, for who will not look at most frames: to decode them takes half the time of their conversion.

    decord converts whatever it decodes, and is not exact where it skips. Of whole files of the kinds that it reads PyAV
    gives the same pixels: so that reads them in its place, and gives up where they turn out to be damaged.

    Raises:
        VideoError, ReaderGaveUp: as `read_frames`; a picture that cannot be converted raises VideoError, too.
    """
    yield from _frames(path, info, reader, folder_fps, limits, on_progress, lazy=True)


def _frames(
    path: Path,
    info: VideoInfo,
    reader: Reader,
    folder_fps: float,
    limits: Limits,
    on_progress: Callable[[], None],
    *,
    lazy: bool,
) -> Iterator[np.ndarray | Picture]:
    import av

    try:
        if path.is_dir():
            yield from limits.counted(_image_frames(path, info, folder_fps, limits, on_progress))
        else:
            yield from limits.counted(_file_frames(path, info, reader, limits, on_progress, lazy))
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


def _image_frames(
    folder: Path, info: VideoInfo, fps: float, limits: Limits, on_progress: Callable[[], None]
) -> Iterator[np.ndarray]:
    info.reader, info.fps = "images", fps
    bad: list[str] = []
    damaged: list[str] = []
    oversized: list[VideoError] = []
    good: np.ndarray | None = None
    waiting = 0
    files = frame_files(folder)
    for file in files:
        on_progress()
        try:
            image, whole = read_image(file, limits)
        except VideoError as error:
            oversized.append(error)
            image, whole = None, False
        if image is None:
            # Its neighbour stands in, so that every later frame keeps its number and its label.
            bad.append(file.name)
            if good is None:
                waiting += 1
                continue
        else:
            good = image
            if not whole:
                damaged.append(file.name)
            info.size = info.size if info.times else (good.shape[0], good.shape[1])
        for _ in range(1 + waiting):
            info.times.append(len(info.times) / fps)
            yield good
        waiting = 0
    if bad:
        names = _listed(bad)
        if oversized:
            names += f"; {oversized[0]}"
        if good is None:
            kind = oversized[0].kind if oversized else "content"
            raise VideoError(f"none of its {len(bad)} images can be read ({names})", kind)
        info.warnings.append(f"{len(bad)} images cannot be read and are replaced by their neighbours: {names}")
    if damaged:
        info.warnings.append(f"{len(damaged)} images are damaged: {_listed(damaged)}")
    if gap := _first_gap([file.stem for file in files]):
        info.warnings.append(f"images seem to be missing: {gap[0]} is followed by {gap[1]}; they are not made up")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")


def _first_gap(names: list[str]) -> tuple[str, str] | None:
    """Two names in a row whose last numbers are further apart than those of most."""
    found = [re.findall(r"[0-9]+", name)[-1:] for name in names]
    if len(names) < 3 or not all(found):
        return None
    steps = np.diff([int(numbers[0][-15:]) for numbers in found])
    wide = np.flatnonzero(steps > 1.5 * max(float(np.median(steps)), 1))
    return (names[wide[0]], names[wide[0] + 1]) if len(wide) else None


# Video files -----------------------------------------------------------------------------------------------------


def _file_frames(
    path: Path, info: VideoInfo, reader: Reader, limits: Limits, on_progress: Callable[[], None], lazy: bool
) -> Iterator[np.ndarray | Picture]:
    container_format = sniff_container(path)
    probe = probe_file(path, container_format, limits, on_progress)
    info.fps = probe.fps
    info.warnings += probe.warnings
    if reader == "auto" and probe.intact and probe.times is not None and probe.plain:
        frames = _open_decord(path, probe)
        if frames is not None:
            info.reader = "decord"
            if not lazy:
                yield from _decord_frames(frames, probe.times, info)
                return
            del frames  # it would decode ahead
            yield from _pyav_frames(path, container_format, info, limits, on_progress, whole=True)
            if info.frames != probe.packets:
                raise ReaderGaveUp(f"PyAV in decord's place gave {info.frames} of {probe.packets} frames")
            return
    info.reader = "pyav"
    yield from _pyav_frames(path, container_format, info, limits, on_progress, whole=False)


def _open_decord(path: Path, probe: Probe) -> Any | None:
    """decord's reader where it sees the frames that demuxing showed, else None."""
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        _decord_complaints()
        # It cannot be told how large a frame may become in midstream, but its FFmpeg how much it may take.
        cap_blocks(_decord_ffmpeg(), max(DECORD_PIXEL_BYTES * probe.pixels, MIN_BLOCK))
        frames = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        return frames if len(frames) == probe.packets else None
    except (decord.DECORDError, RuntimeError, OSError, UnicodeError):  # a name that is not UTF-8
        return None


@cache
def _decord_ffmpeg() -> ctypes.CDLL:
    """The FFmpeg within decord.

    Raises:
        OSError: this build of decord does not carry one of its own, so its errors cannot be seen.
    """
    import decord

    places = Path(decord.__file__).parent.parent.glob("decord.libs/libavutil*")
    return ctypes.CDLL(str(next(places, "libavutil of decord")))


@cache
def _decord_complaints() -> list[int]:
    """One entry for each error that the FFmpeg within decord logs: decord itself conceals damage without a word.

    And for each frame of another size than the first.
    """
    library = _decord_ffmpeg()
    complaints: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    def note(_context: int, level: int, text: bytes, _arguments: int) -> None:
        if 0 <= level <= AV_LOG_ERROR or RESIZING in (text or b""):
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
                raise ReaderGaveUp(f"decord met damage or another size by frame {info.frames} of {len(times)}")
            info.size = info.size if info.times else (frame.shape[0], frame.shape[1])
            info.times.append(time)
            yield frame
    except (decord.DECORDError, StopIteration, RuntimeError) as error:
        raise ReaderGaveUp(f"decord gave up after {info.frames} of {len(times)} frames: {error}") from error


def _pyav_frames(
    path: Path,
    container_format: str,
    info: VideoInfo,
    limits: Limits,
    on_progress: Callable[[], None],
    *,
    whole: bool,
) -> Iterator[Picture]:
    """PyAV's frames; `whole`: the first damage is the end."""
    import av

    damaged = oversized = 0
    size = (0, 0)
    start: float | None = None
    with open_container(path, container_format, limits) as container:
        stream = video_stream(container, limits)
        context = stream.codec_context
        fps = float(stream.average_rate or DEFAULT_FPS)
        for packet in _packets(container, stream, info):
            on_progress()
            known, _ = logged_errors()
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
                raise ReaderGaveUp(f"PyAV in decord's place met damage by frame {info.frames}")
            for frame in frames:
                if start is None and frame.time is not None:
                    start = frame.time
                last = info.times[-1] if info.times else -1 / fps
                time = last + 1 / fps if frame.time is None or start is None else frame.time - start
                # A damaged file may claim that time runs backwards.
                info.times.append(max(time, last))
                picture = Picture(frame)
                info.size = info.size if info.frames > 1 else np.asarray(picture).shape[:2]
                yield picture
    if oversized and not info.times:
        limits.check_size(*size)
        raise VideoError(f"no frame could be decoded: their size is damaged, or {limits.pixels_exceeded()}")
    if damaged:
        why = f", {oversized} of them of a damaged size or {limits.pixels_exceeded()}" if oversized else ""
        info.warnings.append(f"{damaged} damaged packets or frames{why}")


def _upright(image: np.ndarray, matrix: Matrix) -> np.ndarray:
    """A picture as its display matrix turns and mirrors it, to the nearest quarter of a turn."""
    a, b, c, d = matrix  # a point (x, y) is shown at (a x + c y, b x + d y)
    if abs(b) + abs(c) > abs(a) + abs(d):
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
