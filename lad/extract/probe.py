"""What a video file says of itself before it is decoded: its packets are counted, and one frame is looked at."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lad.extract.container import choose_track, demux, is_cut_short, open_container, video_stream
from lad.extract.process_setup import logged_errors
from lad.extract.times import MAX_FPS, Schedule, Stamps, schedule
from lad.extract.video import Limits, VideoError

Matrix = tuple[int, int, int, int]
UNTURNED: Matrix = (1 << 16, 0, 0, 1 << 16)

# What decord reads as PyAV does. In a transport stream it loses its place, repeats and drops frames without an error;
# it converts other pixels (10 bits, odd sizes, interlaced) in its own way, and below 64 columns it takes the padding of
# a row for further channels.
DECORD_CONTAINERS = frozenset({"mov", "matroska", "avi", "flv", "asf"})
DECORD_PIXELS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray"})
DECORD_MIN_WIDTH = 64

# Streams without a container, which have no time stamps: FFmpeg makes some up, at 25 frames a second.
BARE = frozenset({"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu"})
# A container that says when pictures are decoded, but not when they are shown: what FFmpeg says of that is a guess.
DECODED_ONLY = frozenset({"avi"})
NEARLY_SQUARE, MAX_PIXEL = 0.01, 10  # of pixels: width by height
FAR = 1e6  # seconds from zero, from where on stamps are taken from the first: floats of them would be too coarse


@dataclass(frozen=True)
class Probe:
    """What demuxing showed.

    Attributes:
        track: the stream that is the video.
        packets: how many there are.
        hidden: how many of them are marked as not to be shown.
        pixels: of its first frame.
        pixel_aspect: as in `VideoInfo`.
        schedule: when its pictures are shown.
        fps: frames a second as the container or the stream says.
        plain: the frames are of a kind that decord reads as PyAV does, of the only track.
        intact: nothing contradicts the container.
        warnings: what does.
    """

    track: int
    packets: int
    hidden: int
    pixels: int
    pixel_aspect: float
    schedule: Schedule
    fps: float
    plain: bool
    intact: bool
    warnings: list[str]


class _Seen:
    """The packets of a track, as they are demuxed."""

    def __init__(self) -> None:
        self.shown, self.decoded, self.ticks = array("d"), array("d"), array("d")
        self.keys = bytearray()
        self.hidden = 0
        self.tick, self._since = Fraction(1), 0

    def add(self, packet: Any) -> None:
        self.tick = packet.time_base or self.tick
        if not len(self) and abs((packet.pts or 0) * self.tick) > FAR:
            self._since = packet.pts
        for kept, stamp in ((self.shown, packet.pts), (self.decoded, packet.dts)):
            seconds = math.nan if stamp is None else (stamp - self._since) * self.tick.numerator / self.tick.denominator
            kept.append(seconds)
        self.ticks.append(packet.duration or 0)
        self.keys.append(packet.is_keyframe)
        self.hidden += packet.is_discard

    def __len__(self) -> int:
        return len(self.keys)

    def stamps(self, container_format: str, fps: float, delay: int) -> Stamps:
        """What they say of time."""
        shown, decoded, ticks = (np.array(kept) for kept in (self.shown, self.decoded, self.ticks))
        nothing = np.full(len(self), np.nan)
        if container_format in BARE:
            # Frames last as long as the stream's own headers say: a field half as long.
            said = 0 < fps <= MAX_FPS and (ticks > 0).all()
            decoded, shown = (np.cumsum(ticks) - ticks) * float(self.tick) if said else nothing, nothing
        elif container_format in DECODED_ONLY:
            shown = nothing
        keys = np.frombuffer(bytes(self.keys), np.bool_)
        return Stamps(shown, decoded, keys, fps, delay, expected=container_format not in BARE)


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

    damages, intact, delay, seen = 0, True, 0, _Seen()
    first: Any = None
    track = choose_track(path, container_format, limits, on_progress)
    warnings = list(track.warnings)
    known, _ = logged_errors()
    with open_container(path, container_format, limits) as container:
        stream = video_stream(container, track.index, limits)
        said = stream.frames
        try:
            for packet in demux(container, stream):
                on_progress()
                logged, name = logged_errors()
                damages += packet.is_corrupt or (logged > known and name == container.format.name)
                if packet.size:
                    limits.check_count(len(seen) + 1)
                    intact = intact and not packet.is_discard
                    seen.add(packet)
                if first is None:  # the empty packet at the end flushes it out of a decoder that waits for more
                    first = decode_numbered(packet, len(seen) - 1)
                    delay = len(seen) - 1 - (first.pts or 0) if first is not None and packet.size else 0
                known, _ = logged_errors()
        except (av.error.InvalidDataError, av.error.EOFError):
            intact = False
        fps = float(stream.average_rate or 0)
        aspect = float(stream.sample_aspect_ratio or 1)
        if container_format in BARE:
            fps = float(stream.codec_context.framerate or 0) or fps
    if not len(seen):
        raise VideoError("its video stream holds no data")
    stamps = seen.stamps(container_format, fps, delay)
    if said and said != len(seen) and said != _chunks(container_format, stamps.decoded, fps):
        intact = False
        warnings.append(f"the container promises {said} frames, {len(seen)} are there")
    if damages:
        intact = False
        warnings.append(f"the container is damaged in {damages} places: frames may be missing or wrong there")
    plan = schedule(stamps)
    warnings += plan.faults
    if is_cut_short(path, container_format):
        warnings.append("the file is shorter than its container says: its end is missing")
    plain = track.alone and container_format in DECORD_CONTAINERS and first is not None and _is_plain(first)
    return Probe(
        track=track.index,
        packets=len(seen),
        hidden=seen.hidden,
        pixels=first.width * first.height if first is not None else 0,
        pixel_aspect=_upright_aspect(aspect, first),
        schedule=plan,
        fps=fps,
        plain=plain,
        intact=intact and (first is None or not first.pts),
        warnings=warnings,
    )


def _chunks(container_format: str, decoded: np.ndarray, fps: float) -> int:
    """How many frames an AVI has room for: in an empty one the picture before it is shown for longer."""
    last = float(decoded[-1])
    return round(last * fps) + 1 if container_format in DECODED_ONLY and not math.isnan(last) else 0


def decode_numbered(packet: Any, number: int) -> Any | None:
    """The first frame that a packet gives, whose `pts` is the number of the packet that it was in; None without one."""
    import av

    if packet.size:
        packet.pts = number
    try:
        return next(iter(packet.decode()), None)
    except av.error.FFmpegError:
        return None  # whoever reads the file counts it


def _is_plain(frame: Any) -> bool:
    even = frame.width % 2 == 0 and frame.height % 2 == 0
    usual = frame.format.name in DECORD_PIXELS and not frame.interlaced_frame and _is_upright(display_matrix(frame))
    return usual and even and frame.width >= DECORD_MIN_WIDTH


def _upright_aspect(aspect: float, frame: Any | None) -> float:
    """The shape of a pixel after the turn that a frame asks for; 1 where nobody sees the difference, or believes it."""
    if frame is not None and is_turned(display_matrix(frame)):
        aspect = 1 / aspect
    return aspect if abs(aspect - 1) > NEARLY_SQUARE and 1 / MAX_PIXEL < aspect < MAX_PIXEL else 1.0


def is_turned(matrix: Matrix) -> bool:
    """Whether a display matrix shows rows as columns, to the nearest quarter of a turn."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


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
