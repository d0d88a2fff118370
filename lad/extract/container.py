"""What a video file says of itself before it is decoded: its container, its stream, its packets.

Everything is refused here that must not reach a decoder: playlists, frames beyond all measure, files without video.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Matrix = tuple[int, int, int, int]
UNTURNED: Matrix = (1 << 16, 0, 0, 1 << 16)

INDEX_BYTES = 4  # that FFmpeg takes for the index of a file, at most, for each byte of it
PIXEL_BYTES = 8  # at most, in one piece: 16 bits of red, green, blue and alpha
# Bytes that FFmpeg may always take in one piece: a plane of an 8K frame at 16 bits, an index of 3 million frames.
MIN_BLOCK = 80 << 20
MAX_TRACKS = 32  # of an mp4: each has an index, and claiming one of a million frames takes no more than a line

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

# Markers of a JPEG's frame header: all of C0 to CF but the tables among them.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Of a TIFF: the tags that say its size, and the types of number that stand in the tag itself, as struct has them.
TIFF_WIDTH, TIFF_HEIGHT = 256, 257
TIFF_NUMBERS = {3: "H", 4: "I"}

EBML_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds everything but the header


class VideoError(Exception):
    """Why a video gives no frames.

    `kind` is `content` (its own fault), `io` (the disk's, worth another try) or `limit` (beyond a configured limit,
    which may be another one at the next try).
    """

    def __init__(self, reason: str, kind: Literal["content", "io", "limit"] = "content") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What a small file could claim to take all memory or time; `config.ExtractConfig` has the same keys.

    Attributes:
        max_pixels: of a frame or an image.
        max_frames: of a video, and of what it becomes at another frame rate.
    """

    max_pixels: int = 1 << 26  # 8192 x 8192
    max_frames: int = 10_000_000  # 4 days at 25 a second

    @property
    def max_block(self) -> int:
        """Bytes that a decoder may take in one piece."""
        return max(PIXEL_BYTES * self.max_pixels, MIN_BLOCK)

    def check_size(self, width: int, height: int) -> None:
        """Raise VideoError where a frame is too large."""
        if width * height > self.max_pixels:
            raise VideoError(f"frames of {width}x{height}: {self.pixels_exceeded()}", kind="limit")

    def pixels_exceeded(self) -> str:
        """What is to be said of a frame that is too large."""
        return f"beyond the limit of {self.max_pixels} pixels (extract.max_pixels)"

    def check_count(self, frames: int) -> None:
        """Raise VideoError where there are too many frames."""
        if frames > self.max_frames:
            raise VideoError(f"more than {self.max_frames} frames, the limit (extract.max_frames)", kind="limit")

    def counted(self, frames: Iterable[T]) -> Iterator[T]:
        """`frames` as they come, until there are too many."""
        for number, frame in enumerate(frames, 1):
            self.check_count(number)
            yield frame


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Probe:
    """What demuxing showed.

    Attributes:
        packets: how many there are.
        pixels: of its first frame.
        times: seconds from the first frame, or None where packets carry none.
        fps: frames a second as the container says.
        plain: the frames are of a kind that decord reads as PyAV does.
        intact: nothing contradicts the container.
        warnings: what does.
    """

    packets: int
    pixels: int
    times: list[float] | None
    fps: float
    plain: bool
    intact: bool
    warnings: list[str]


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


def is_cut_short(path: Path, container_format: str) -> bool:
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


def open_container(path: Path, container_format: str, limits: Limits) -> Any:
    """PyAV's container, restricted to the file itself, to the demuxer that it was sniffed to need, and to `limits`."""
    import av

    av.logging.set_level(av.logging.PANIC)  # its complaints reach us as errors and flags, not on the terminal
    options = {"protocol_whitelist": "file", "format_whitelist": _demuxers(container_format)}
    if container_format == "mov":
        options["max_streams"] = str(MAX_TRACKS)
    # FFmpeg does not recognise a transport stream of a few packets; elsewhere it has the last word.
    demuxer = "mpegts" if container_format == "mpegts" else None
    ffmpeg = ctypes.CDLL(av._core.__file__)
    # Here it believes what a file says of its index, which is no longer than the file, and decodes a first frame.
    cap_blocks(ffmpeg, min(limits.max_block, max(MIN_BLOCK, INDEX_BYTES * path.stat().st_size)))
    try:
        container = av.open(f"file:{path}", format=demuxer, options=options, metadata_errors="replace")
        cap_blocks(ffmpeg, limits.max_block)
        return container
    except MemoryError:
        raise VideoError("not a readable video: it claims more than its size can hold") from None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise VideoError("not a readable video: it claims more than its size can hold") from None
        raise
    except av.error.FFmpegError as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error


def cap_blocks(library: ctypes.CDLL, size: int) -> None:
    """Let the FFmpeg that a library leads to take at most `size` bytes in one piece, in the whole process."""
    library.av_max_alloc(ctypes.c_size_t(size))


def _demuxers(container_format: str) -> str:
    return {
        "mov": "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska": "matroska,webm,matroska,webm",
        "mpeg": "mpeg,mpegvideo",
    }.get(container_format, container_format)


def video_stream(container: Any, limits: Limits) -> Any:
    """The first stream that is a video and no cover picture, with one decoding thread that keeps to `limits`."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        sound = "only sound" if container.streams.audio else "none"
        raise VideoError(f"no video stream ({sound})")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise VideoError("its video codec is not known")
    limits.check_size(context.width, context.height)
    context.thread_count = 1
    # A later frame may be larger. FFmpeg counts the padding of a row, too.
    context.options = {**context.options, "max_pixels": str(limits.max_pixels * 5 // 4)}
    return stream


def probe_file(
    path: Path, container_format: str, limits: Limits, on_progress: Callable[[], None] = lambda: None
) -> Probe:
    """Demux the whole file without decoding it, and decode one frame for what only a frame tells.

    `on_progress` is called at every packet: a large file on a slow disk takes minutes.

    Raises:
        VideoError: it is no readable video, or beyond a limit.
        OSError: the disk's fault.
    """
    import av

    packets, damages, intact = 0, 0, True
    warnings: list[str] = []
    first: Any = None
    stamps: list[float] = []
    known, _ = logged_errors()
    with open_container(path, container_format, limits) as container:
        stream = video_stream(container, limits)
        said = stream.frames
        fps = float(stream.average_rate or 0)
        try:
            for packet in demux(container, stream):
                on_progress()
                logged, name = logged_errors()
                damages += packet.is_corrupt or (logged > known and name == container.format.name)
                if first is None:  # the empty packet at the end flushes it out of a decoder that waits for more
                    first = _decode_one(packet)
                known, _ = logged_errors()
                if packet.size == 0:
                    continue
                packets += 1
                limits.check_count(packets)
                intact = intact and not packet.is_discard
                if packet.pts is not None:
                    stamps.append(float(packet.pts * packet.time_base))
        except (av.error.InvalidDataError, av.error.EOFError):
            intact = False
    if not packets:
        raise VideoError("its video stream holds no data")
    if said and said != packets:
        intact = False
        warnings.append(f"the container promises {said} frames, {packets} are there")
    if damages:
        intact = False
        warnings.append(f"the container is damaged in {damages} places: frames may be missing or wrong there")
    stamps.sort()
    times = [stamp - stamps[0] for stamp in stamps] if len(stamps) == packets and _increasing(stamps) else None
    plain = first is not None and container_format in DECORD_CONTAINERS and _is_plain(first)
    if is_cut_short(path, container_format):
        warnings.append("the file is shorter than its container says: its end is missing")
    pixels = first.width * first.height if first is not None else 0
    return Probe(packets=packets, pixels=pixels, times=times, fps=fps, plain=plain, intact=intact, warnings=warnings)


def demux(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, in the order of the file."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # PyAV's, at a packet of a stream that appears in midfile; another call goes on behind it
            continue


def logged_errors() -> tuple[int, str]:
    """How many errors PyAV's FFmpeg has logged in this process, and the name of what logged the last of them.

    Of some damage it gives no other sign: a demuxer that loses its place goes on behind the hole. PyAV counts errors
    whatever its level of logging is, and unlike its captures takes no memory for them and leaves none out that repeats
    the one before.
    """
    import av

    count, error = av.logging.get_last_error()
    return count, error[1] if error else ""


def _decode_one(packet: Any) -> Any | None:
    import av

    try:
        return next(iter(packet.decode()), None)
    except av.error.FFmpegError:
        return None  # whoever reads the file counts it


def _is_plain(frame: Any) -> bool:
    even = frame.width % 2 == 0 and frame.height % 2 == 0
    usual = frame.format.name in DECORD_PIXELS and not frame.interlaced_frame and _is_upright(display_matrix(frame))
    return usual and even and frame.width >= DECORD_MIN_WIDTH


def _is_upright(matrix: Matrix) -> bool:
    a, b, c, d = matrix
    return b == c == 0 and a >= 0 and d >= 0


def display_matrix(frame: Any) -> Matrix:
    """The part of a frame's display matrix that turns and mirrors."""
    from av.sidedata.sidedata import SideDataContainer

    # `frame.side_data` makes a reference cycle. When such a frame is freed depends on what else the process has read,
    # and with it what FFmpeg finds in a picture's memory where it decodes nothing.
    sides: Any = SideDataContainer(frame)  # type: ignore[call-arg]  # its stub leaves the constructor out
    data = next((bytes(side) for side in sides if side.type.name == "DISPLAYMATRIX"), b"")
    if len(data) != 36:
        return UNTURNED
    a, b, _, c, d, *_ = struct.unpack("=9i", data)
    return (a, b, c, d)


def _increasing(stamps: list[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(stamps))


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the header of a PNG, JPEG or TIFF says, or None: OpenCV can only be asked by decoding."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return struct.unpack(">II", data[16:24])
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data, "<" if data[:1] == b"I" else ">")
    except (struct.error, IndexError):  # it ends too early
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while True:
        if data[place] != 0xFF:  # between segments decoders skip what is none
            place += 1
            continue
        marker = data[place + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        place += 1 if marker == 0xFF else 2 if alone else 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]


def _tiff_size(data: bytes, order: str) -> tuple[int, int] | None:
    (directory,) = struct.unpack(f"{order}I", data[4:8])
    (entries,) = struct.unpack(f"{order}H", data[directory : directory + 2])
    found: dict[int, int] = {}
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack(f"{order}HHI", data[place : place + 8])
        if tag not in (TIFF_WIDTH, TIFF_HEIGHT):
            continue
        if kind not in TIFF_NUMBERS or count != 1:  # libtiff would look for the number elsewhere, as for one of 64 bits
            return None
        (value,) = struct.unpack_from(f"{order}{TIFF_NUMBERS[kind]}", data, place + 8)
        found[tag] = max(value, found.get(tag, 0))  # which of two OpenCV believes is not known
    return (found[TIFF_WIDTH], found[TIFF_HEIGHT]) if len(found) == 2 else None
