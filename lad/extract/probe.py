"""What a video file says of itself before it is decoded: its packets are counted, and one frame is looked at."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lad.extract.container import demux, is_cut_short, open_container, video_stream
from lad.extract.process import logged_errors
from lad.extract.video import Limits, VideoError

Matrix = tuple[int, int, int, int]
UNTURNED: Matrix = (1 << 16, 0, 0, 1 << 16)

# What decord reads as PyAV does. In a transport stream it loses its place, repeats and drops frames without an error;
# it converts other pixels (10 bits, odd sizes, interlaced) in its own way, and below 64 columns it takes the padding of
# a row for further channels.
DECORD_CONTAINERS = frozenset({"mov", "matroska", "avi", "flv", "asf"})
DECORD_PIXELS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray"})
DECORD_MIN_WIDTH = 64


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
