"""Some frames of a video by their numbers: by seeking where that is exact, else by reading all that come before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lad.extract.container import demux, open_container, sniff_container, video_stream
from lad.extract.probe import Probe, probe_file
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.read_pyav import Picture
from lad.extract.readers import open_reader
from lad.extract.video import DEFAULT_LIMITS, VideoError
from lad.report.moments import Interval, place_of

SEEKABLE = frozenset({"mov", "matroska"})  # containers with an index of stamps that tell one frame from the next
NEAR = 100  # frames: to decode so many is quicker than to seek
FAR = 1e6  # seconds from zero: of such stamps a schedule counts from the first

PLAYED_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
PLAYED_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
PLAYED_PIXELS = frozenset({"yuv420p", "yuvj420p"})
FIRST_YEAR = 1990  # recordings with a date before that have a clock that was never set


class LostPlaceError(Exception):
    """Seeking did not lead to the frame that it should."""


def frames_of(
    path: Path, wanted: Sequence[Interval], *, frames: int, folder_fps: float
) -> Iterator[tuple[int, np.ndarray, float]]:
    """The wanted frames of a video, with their numbers and the shape of their pixels (width by height).

    Args:
        path: a video file or a folder of images.
        wanted: disjoint, in order.
        frames: how many it had when it was scored: where that is no longer so, there is no seeking.
        folder_fps: of a folder of images.

    Yields:
        number, `(height, width, 3)` uint8 RGB, and how much wider than high a pixel is shown.

    Raises:
        VideoError: it cannot be read.
    """
    given = -1
    try:
        for number, image, aspect in _by_seeking(path, wanted, frames):
            yield number, image, aspect
            given = number
        return
    except LostPlaceError:
        pass
    for number, image, aspect in _by_reading(path, wanted, folder_fps):
        if number > given:
            yield number, image, aspect


def _by_reading(path: Path, wanted: Sequence[Interval], folder_fps: float) -> Iterator[tuple[int, np.ndarray, float]]:
    last = wanted[-1][1]
    for choice in ("auto", "pyav"):
        reader = open_reader(path, choice=choice, lazy=True, folder_fps=folder_fps)
        try:
            for number, frame in enumerate(reader):
                if place_of(wanted, number) is not None:
                    yield number, np.asarray(frame), reader.info.pixel_aspect
                if number + 1 >= last:
                    return
            return
        except ReaderGaveUp:  # damaged: the next choice reads on behind that
            continue


def _by_seeking(path: Path, wanted: Sequence[Interval], frames: int) -> Iterator[tuple[int, np.ndarray, float]]:
    if path.is_dir():
        raise LostPlaceError
    container_format = sniff_container(path)
    if container_format not in SEEKABLE or wanted[-1][1] <= NEAR:
        raise LostPlaceError
    probe = probe_file(path, container_format, DEFAULT_LIMITS)
    plan = probe.schedule
    if not (probe.intact and plan.exact and not probe.hidden and probe.packets == frames):
        raise LostPlaceError
    import av

    with open_container(path, container_format, DEFAULT_LIMITS) as container:
        stream = video_stream(container, probe.track, DEFAULT_LIMITS)
        if stream.time_base is None or abs(float(plan.slots[0])) > FAR or abs(_begins(stream)) > FAR:
            raise LostPlaceError
        try:
            decoded = _numbered(container, stream, plan.slots)
            position = 0
            for start, end in wanted:
                if not position <= start <= position + NEAR:
                    stamp = int(float(plan.slots[start]) / stream.time_base)
                    container.seek(stamp, stream=stream, backward=True)
                    decoded = _numbered(container, stream, plan.slots)
                    position = -1
                for number, picture in decoded:
                    if position == -1 and number > start:
                        raise LostPlaceError  # the index led too far
                    position = number + 1
                    if start <= number < end:
                        yield number, np.asarray(picture), probe.pixel_aspect
                    if number + 1 >= end:
                        break
        except av.error.FFmpegError as error:
            raise LostPlaceError from error


def _begins(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _numbered(container: Any, stream: Any, slots: np.ndarray) -> Iterator[tuple[int, Picture]]:
    """Decoded frames with the numbers that their stamps say."""
    for packet in demux(container, stream):
        for frame in packet.decode():
            if frame.pts is None or frame.is_corrupt:
                raise LostPlaceError
            stamp = float(frame.pts * frame.time_base)
            yield _nearest(slots, stamp), Picture(frame)


def _nearest(slots: np.ndarray, stamp: float) -> int:
    right = int(np.searchsorted(slots, stamp).clip(1, len(slots) - 1))
    number = right if slots[right] - stamp < stamp - slots[right - 1] else right - 1
    if abs(slots[number] - stamp) > 1e-4:
        raise LostPlaceError
    return number


def is_played(path: Path) -> bool:
    """Whether every browser plays a file itself, and counts its time as lad does: from the first frame."""
    if path.is_dir() or path.suffix.lower() not in PLAYED_SUFFIXES:
        return False
    try:
        container_format = sniff_container(path)
        probe = probe_file(path, container_format, DEFAULT_LIMITS)
        with open_container(path, container_format, DEFAULT_LIMITS) as container:
            stream = video_stream(container, probe.track, DEFAULT_LIMITS)
            context = stream.codec_context
            known = context.name in PLAYED_CODECS and context.pix_fmt in PLAYED_PIXELS
            first = abs(_begins(stream)) < 1e-3 and not (container.start_time or 0) > 1000
            return known and first and _is_true(probe)
    except (VideoError, OSError):
        return False


def _is_true(probe: Probe) -> bool:
    return probe.intact and probe.schedule.exact and not probe.hidden


def recorded_at(path: Path) -> str | None:
    """When a file says that it was recorded, in UTC as ISO 8601; None where it does not, or its clock was not set."""
    if path.is_dir():
        return None
    try:
        with open_container(path, sniff_container(path), DEFAULT_LIMITS) as container:
            written = container.metadata.get("creation_time", "")
        when = datetime.fromisoformat(written.replace("Z", "+00:00"))
    except (VideoError, OSError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return when.astimezone(UTC).isoformat(timespec="milliseconds") if when.year >= FIRST_YEAR else None
