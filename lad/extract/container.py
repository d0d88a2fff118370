"""How a video file is opened: its container is recognised by how the file begins, and its video track is chosen.

Everything that must not reach a decoder is refused here: playlists, frames beyond all measure, files without video.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.extract.process_setup import cap_pyav
from lad.extract.video import MIN_BLOCK, Limits, VideoError
from lad.signatures import HEAD_BYTES, container_of, transport_packets

INDEX_BYTES = 4  # that FFmpeg takes for the index of a file, at most, for each byte of it
MAX_TRACKS = 32  # of an mp4: each has an index, and claiming one of a million frames takes no more than a line

# What FFmpeg is told to read a file as: it recognises no transport stream of a few packets, and takes some streams
# without a container for others.
TOLD = frozenset({"mpegts", "h264", "hevc", "m4v", "obu"})

EBML_SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds everything but the header


@dataclass(frozen=True)
class Track:
    """The track of a file that is its video.

    Attributes:
        index: of the stream in its container.
        alone: there is no other, not even a cover picture.
        warnings: which was taken, if there was a choice.
    """

    index: int
    alone: bool
    warnings: list[str]


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

    options = {"protocol_whitelist": "file", "format_whitelist": demuxers_of(container_format)}
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


def demuxers_of(container_format: str) -> str:
    """What FFmpeg may open a container with, as `format_whitelist` takes it."""
    return {
        "mov": "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska": "matroska,webm,matroska,webm",
        "mpeg": "mpeg,mpegvideo",
    }.get(container_format, container_format)


def choose_track(
    path: Path, container_format: str, limits: Limits, on_progress: Callable[[], None] = lambda: None
) -> Track:
    """Which track of a file is the video: the same for every reader, and whenever it is asked.

    A cover picture is none, and neither is one frame beside a track of several. Of the others it is the one that the
    file calls the default, else, or of several such, the one with most pixels, else the first.

    Raises:
        VideoError: there is none.
    """
    with open_container(path, container_format, limits) as container:
        tracks = list(container.streams.video)
        films = [track for track in tracks if not track.disposition & _stills(track.disposition)]
        if not films:
            sound = "only sound" if container.streams.audio else "none"
            raise VideoError(f"no video stream ({sound})")
        if len(films) > 1:
            films = _longer(container, films, on_progress)
        known = [track for track in films if track.codec_context is not None] or films
        default = [track for track in known if track.disposition & track.disposition.default] or known
        taken = max(default, key=_pixels)  # the first of several
        if len(films) == 1:
            return Track(taken.index, len(tracks) == 1, [])
        same = [track for track in default if _pixels(track) == _pixels(taken)]
        why = "the default one" if len(default) == 1 else "the first" if len(same) > 1 else "the one with most pixels"
        size = f", {taken.codec_context.width}x{taken.codec_context.height}" if _pixels(taken) else ""
        said = f"{len(films)} video tracks: took number {films.index(taken) + 1}{size}, {why}"
        return Track(taken.index, False, [said])


def _stills(disposition: Any) -> Any:
    """The marks of what is a picture and no video."""
    return disposition.attached_pic | disposition.still_image | disposition.timed_thumbnails


def _pixels(track: Any) -> int:
    context = track.codec_context
    return context.width * context.height if context is not None else 0


def _longer(container: Any, tracks: list[Any], on_progress: Callable[[], None]) -> list[Any]:
    """Those tracks that have several packets, or all if none has. It reads no further than it must."""
    import av

    seen = dict.fromkeys((track.index for track in tracks), 0)
    with suppress(av.error.InvalidDataError, av.error.EOFError):  # whoever reads it says that it breaks off
        for packet in demux(container, *tracks):
            on_progress()
            seen[packet.stream.index] += packet.size > 0
            if min(seen.values()) > 1:
                break
    return [track for track in tracks if seen[track.index] > 1] or tracks


def video_stream(container: Any, track: int, limits: Limits) -> Any:
    """A chosen stream, with one decoding thread that keeps to `limits`.

    Raises:
        VideoError: it cannot be decoded, or is beyond a limit.
    """
    stream = container.streams[track]
    context = stream.codec_context
    if context is None:
        raise VideoError("its video codec is not known")
    limits.check_size(context.width, context.height)
    context.thread_count = 1
    # A later frame may be larger. FFmpeg counts the padding of a row, too.
    context.options = {**context.options, "max_pixels": str(limits.max_pixels * 5 // 4)}
    return stream


def demux(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of streams, in the order of the file."""
    while True:
        try:
            yield from container.demux(*streams)
            return
        except IndexError:  # PyAV's, at a packet of a stream that appears in midfile; another call goes on behind it
            continue
