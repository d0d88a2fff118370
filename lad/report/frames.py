"""Some frames of a video by their numbers: by seeking where that is exact, else by reading all that come before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lad.cutting.film import Unsure, open_film
from lad.extract.container import open_container, sniff_container, video_stream
from lad.extract.probe import Probe, probe_file
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.readers import open_reader
from lad.extract.video import DEFAULT_LIMITS, VideoError
from lad.report.moments import Interval, place_of

NEAR = 100  # frames: to decode so many is quicker than to look through the packets of the file
PLAYED_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
PLAYED_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
PLAYED_PIXELS = frozenset({"yuv420p", "yuvj420p"})


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
    except Unsure:
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
    if path.is_dir() or wanted[-1][1] <= NEAR:
        raise Unsure("it is quicker to read it from its beginning")
    film = open_film(path, frames, lambda: None)
    if film is None:
        raise Unsure("its packets do not tell which frame is in which")
    for start, end in wanted:
        for number, picture in enumerate(film.pictures(start, end), start=start):
            yield number, np.asarray(picture), film.probe.pixel_aspect


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
            begins = float((stream.start_time or 0) * (stream.time_base or 0))
            first = abs(begins) < 1e-3 and not (container.start_time or 0) > 1000
            return known and first and _is_true(probe)
    except (VideoError, OSError):
        return False


def _is_true(probe: Probe) -> bool:
    return probe.intact and probe.schedule.exact and not probe.hidden
