"""How a video file is opened: its container is recognised by how the file begins, and its video track is chosen.

Everything that must not reach a decoder is refused here: playlists, frames beyond all measure, files without video.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lad.extract.process import cap_pyav
from lad.extract.video import MIN_BLOCK, Limits, VideoError
from lad.signatures import HEAD_BYTES, container_of, transport_packets

INDEX_BYTES = 4  # that FFmpeg takes for the index of a file, at most, for each byte of it
MAX_TRACKS = 32  # of an mp4: each has an index, and claiming one of a million frames takes no more than a line

# What FFmpeg is told to read a file as: it recognises no transport stream of a few packets, and takes some streams
# without a container for others.
TOLD = frozenset({"mpegts", "h264", "hevc", "m4v", "obu"})

EBML_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds everything but the header


def sniff_container(path: Path) -> str:
    """FFmpeg's name of a file's container, by how the file begins.

    Raises:
        VideoError: the file is empty or no known container.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise VideoError("the file is empty")
    name = container_of(head)
    if name is None:
        raise VideoError("not a video: it begins like no container that lad reads (mp4, mkv, webm, avi, ts, mpeg, ...)")
    return name


def is_cut_short(path: Path, container_format: str) -> bool:
    """Whether a file ends too early, for the containers whose demuxer does not say so."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if container_format == "mpegts" and (packets := transport_packets(head)):
        first, length = packets
        return (size - first) % length != 0
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

    options = {"protocol_whitelist": "file", "format_whitelist": _demuxers(container_format)}
    if container_format == "mov":
        options["max_streams"] = str(MAX_TRACKS)
    demuxer = container_format if container_format in TOLD else None  # elsewhere FFmpeg has the last word
    # Here it believes what a file says of its index, which is no longer than the file, and decodes a first frame.
    cap_pyav(min(limits.max_block, max(MIN_BLOCK, INDEX_BYTES * path.stat().st_size)))
    try:
        container = av.open(f"file:{path}", format=demuxer, options=options, metadata_errors="replace")
        cap_pyav(limits.max_block)
        return container
    except MemoryError:
        raise VideoError("not a readable video: it claims more than its size can hold") from None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise VideoError("not a readable video: it claims more than its size can hold") from None
        raise
    except av.error.FFmpegError as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error


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


def demux(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, in the order of the file."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:  # PyAV's, at a packet of a stream that appears in midfile; another call goes on behind it
            continue
