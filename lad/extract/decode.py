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
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.files import frame_files

Reader = Literal["auto", "pyav"]

MAX_FRAME_PIXELS = 1 << 26  # 8192 x 8192: beyond that a file is hostile or damaged, and would take the memory
DEFAULT_FPS = 25.0  # of a video that says nothing of time
MAX_LISTED = 3  # of many frames with the same fault, named in one warning

# FFmpeg's names of the containers that are opened, by how a file of that kind begins: (offset, bytes). Everything else,
# playlists above all, is refused before any decoder sees it: FFmpeg would open the files and addresses named in it.
SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("mov", 4, b"ftyp"),
    ("mov", 4, b"moov"),
    ("mov", 4, b"mdat"),
    ("mov", 4, b"free"),
    ("mov", 4, b"skip"),
    ("mov", 4, b"wide"),
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),
    ("avi", 8, b"AVI "),
    ("mpegts", 0, b"\x47"),
    ("mpegts", 4, b"\x47"),
    ("mpeg", 0, b"\x00\x00\x01\xba"),
    ("mpegvideo", 0, b"\x00\x00\x01\xb3"),
    ("flv", 0, b"FLV\x01"),
    ("ogg", 0, b"OggS"),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("h264", 0, b"\x00\x00\x00\x01"),
    ("mjpeg", 0, b"\xff\xd8\xff"),
)
TS_PACKETS = {0: 188, 4: 192}  # offset of the first sync byte -> distance to the next

# What decord reads as PyAV does. In a transport stream it loses its place, repeats and drops frames without an error;
# it converts other pixels (10 bits, odd sizes, interlaced) in its own way, and below 64 columns it takes the padding of
# a row for further channels.
DECORD_CONTAINERS = frozenset({"mov", "matroska", "avi", "flv", "asf"})
DECORD_PIXELS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray"})
DECORD_MIN_WIDTH = 64

AV_LOG_ERROR = 16  # libavutil/log.h; less is worse
_KEPT: list[object] = []  # what C code calls must outlive the call

EBML_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds everything but the header


class VideoError(Exception):
    """Why a video gives no frames. `kind` is `content` (its own fault) or `io` (the disk's, worth another try)."""

    def __init__(self, reason: str, kind: Literal["content", "io"] = "content") -> None:
        super().__init__(reason)
        self.kind = kind


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


@dataclass(frozen=True)
class Probe:
    """What demuxing showed.

    Attributes:
        packets: how many there are.
        times: seconds from the first frame, or None where packets carry none.
        fps: frames a second as the container says.
        plain: the frames are of a kind that decord reads as PyAV does.
        intact: nothing contradicts the container.
    """

    packets: int
    times: list[float] | None
    fps: float
    plain: bool
    intact: bool


def _file_frames(path: Path, info: VideoInfo, reader: Reader) -> Iterator[np.ndarray]:
    container_format = sniff_container(path)
    probe = _probe(path, container_format, info)
    info.fps = probe.fps
    if _is_cut_short(path, container_format):
        info.warnings.append("the file is shorter than its container says: its end is missing")
    if reader == "auto" and probe.intact and probe.times is not None and probe.plain:
        frames = _open_decord(path, probe)
        if frames is not None:
            info.reader = "decord"
            yield from _decord_frames(frames, probe.times, info)
            return
    info.reader = "pyav"
    yield from _pyav_frames(path, container_format, info)


def sniff_container(path: Path) -> str:
    """FFmpeg's name of a file's container, by how the file begins.

    Raises:
        VideoError: the file is empty or no known container.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise VideoError("the file is empty")
    for name, offset, magic in SIGNATURES:
        if head[offset : offset + len(magic)] != magic:
            continue
        if name == "mpegts" and head[offset + TS_PACKETS[offset] :][:1] != magic:
            continue
        return name
    raise VideoError("not a video: it begins like no container that lad reads (mp4, mkv, webm, avi, ts, mpeg, ...)")


def _is_cut_short(path: Path, container_format: str) -> bool:
    """Whether a file ends too early, for the containers whose demuxer does not say so."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
    if container_format == "mpegts":
        return size % TS_PACKETS[0 if head[:1] == b"\x47" else 4] != 0
    start = head.find(EBML_SEGMENT) + len(EBML_SEGMENT)
    if container_format != "matroska" or not len(EBML_SEGMENT) <= start < len(head) or not head[start]:
        return False
    # A variable-length integer: the leading zero bits of its first byte count its further bytes; all ones: unknown.
    width = 9 - head[start].bit_length()
    mask = (1 << 7 * width) - 1
    length = int.from_bytes(head[start : start + width], "big") & mask
    return length != mask and start + width + length > size


def _open_container(path: Path, container_format: str) -> Any:
    import av

    av.logging.set_level(av.logging.PANIC)  # its complaints reach us as errors and flags, not on the terminal
    options = {"protocol_whitelist": "file", "format_whitelist": _demuxers(container_format)}
    # FFmpeg does not recognise a transport stream of a few packets; elsewhere it has the last word.
    demuxer = "mpegts" if container_format == "mpegts" else None
    try:
        return av.open(f"file:{path}", format=demuxer, options=options, metadata_errors="replace")
    except OSError:
        raise
    except av.error.FFmpegError as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error


def _demuxers(container_format: str) -> str:
    return {
        "mov": "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska": "matroska,webm,matroska,webm",
        "mpeg": "mpeg,mpegvideo",
    }.get(container_format, container_format)


def _video_stream(container: Any) -> Any:
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        sound = "only sound" if container.streams.audio else "none"
        raise VideoError(f"no video stream ({sound})")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise VideoError("its video codec is not known")
    if context.width * context.height > MAX_FRAME_PIXELS:
        raise VideoError(
            f"frames of {context.width}x{context.height} are beyond the limit of {MAX_FRAME_PIXELS} pixels"
        )
    context.thread_count = 1
    return stream


def _probe(path: Path, container_format: str, info: VideoInfo) -> Probe:
    """Demux the whole file without decoding it, and decode one frame for what only a frame tells."""
    import av

    packets, intact = 0, True
    first: Any = None
    stamps: list[float] = []
    with _open_container(path, container_format) as container:
        stream = _video_stream(container)
        said = stream.frames
        fps = float(stream.average_rate or 0)
        try:
            for packet in _demux(container, stream):
                if first is None:  # the empty packet at the end flushes it out of a decoder that waits for more
                    first = _decode_one(packet)
                if packet.size == 0:
                    continue
                packets += 1
                intact = intact and not packet.is_corrupt and not packet.is_discard
                if packet.pts is not None:
                    stamps.append(float(packet.pts * packet.time_base))
        except (av.error.InvalidDataError, av.error.EOFError):
            intact = False
    if not packets:
        raise VideoError("its video stream holds no data")
    if said and said != packets:
        intact = False
        info.warnings.append(f"the container promises {said} frames, {packets} are there")
    stamps.sort()
    times = [stamp - stamps[0] for stamp in stamps] if len(stamps) == packets and _increasing(stamps) else None
    plain = first is not None and container_format in DECORD_CONTAINERS and _is_plain(first)
    return Probe(packets=packets, times=times, fps=fps, plain=plain, intact=intact)


def _demux(container: Any, stream: Any) -> Iterator[Any]:
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # PyAV's, at a packet of a stream that appears in midfile; another call goes on behind it
            continue


def _decode_one(packet: Any) -> Any | None:
    import av

    try:
        return next(iter(packet.decode()), None)
    except av.error.FFmpegError:
        return None  # whoever reads the file counts it


def _is_plain(frame: Any) -> bool:
    even = frame.width % 2 == 0 and frame.height % 2 == 0
    usual = frame.format.name in DECORD_PIXELS and not frame.interlaced_frame and not frame.rotation
    return usual and even and frame.width >= DECORD_MIN_WIDTH


def _increasing(stamps: list[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(stamps))


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
    with _open_container(path, container_format) as container:
        stream = _video_stream(container)
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
        yield from _demux(container, stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        info.warnings.append(f"the file breaks off after {info.frames} frames")
        yield None
