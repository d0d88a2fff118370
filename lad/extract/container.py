"""What a video file says of itself before it is decoded: its container, its stream, its packets.

Everything is refused here that must not reach a decoder: playlists, frames beyond all measure, files without video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

MAX_FRAME_PIXELS = 1 << 26  # 8192 x 8192: beyond that a file is hostile or damaged, and would take the memory

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

EBML_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds everything but the header


class VideoError(Exception):
    """Why a video gives no frames. `kind` is `content` (its own fault) or `io` (the disk's, worth another try)."""

    def __init__(self, reason: str, kind: Literal["content", "io"] = "content") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Probe:
    """What demuxing showed.

    Attributes:
        packets: how many there are.
        times: seconds from the first frame, or None where packets carry none.
        fps: frames a second as the container says.
        plain: the frames are of a kind that decord reads as PyAV does.
        intact: nothing contradicts the container.
        warnings: what does.
    """

    packets: int
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


def open_container(path: Path, container_format: str) -> Any:
    """PyAV's container, restricted to the file itself and to the demuxer that it was sniffed to need."""
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


def video_stream(container: Any) -> Any:
    """The first stream that is a video and no cover picture, with one decoding thread."""
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


def probe_file(path: Path, container_format: str) -> Probe:
    """Demux the whole file without decoding it, and decode one frame for what only a frame tells.

    Raises:
        VideoError: it is no readable video.
        OSError: the disk's fault.
    """
    import av

    packets, intact = 0, True
    warnings: list[str] = []
    first: Any = None
    stamps: list[float] = []
    with open_container(path, container_format) as container:
        stream = video_stream(container)
        said = stream.frames
        fps = float(stream.average_rate or 0)
        try:
            for packet in demux(container, stream):
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
        warnings.append(f"the container promises {said} frames, {packets} are there")
    stamps.sort()
    times = [stamp - stamps[0] for stamp in stamps] if len(stamps) == packets and _increasing(stamps) else None
    plain = first is not None and container_format in DECORD_CONTAINERS and _is_plain(first)
    if is_cut_short(path, container_format):
        warnings.append("the file is shorter than its container says: its end is missing")
    return Probe(packets=packets, times=times, fps=fps, plain=plain, intact=intact, warnings=warnings)


def demux(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, in the order of the file."""
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
