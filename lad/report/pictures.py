"""Thumbnails and clips: what a page shows of a video, made in one pass over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from lad.files import replacing, write_bytes
from lad.report.frames import frames_of
from lad.report.moments import Interval, place_of

VERSION = 1  # part of every picture's name: raise it when they are made otherwise
STILL_WIDTH, STILL_QUALITY = 240, 72
CLIP_HEIGHT = 360
MAX_WIDTH = 960  # of a clip: a panorama is made smaller than the height would allow
# Without pictures that wait for later ones the first is shown at zero, and each is where its time says. A key at least
# every 30 frames makes a jump quick.
ENCODING = {"preset": "veryfast", "crf": "28", "bf": "0", "g": "30"}
TICKS = 90_000  # of a second, in which a clip's times are written


@dataclass(frozen=True)
class Wanted:
    """The pictures of one video that are to be made.

    Attributes:
        stills: frame -> file.
        clips: frames, half-open -> file; disjoint.
    """

    stills: Mapping[int, Path]
    clips: Mapping[Interval, Path]


def make_pictures(path: Path, wanted: Wanted, times: np.ndarray, folder_fps: float) -> None:
    """Make thumbnails and clips of one video, as far as its frames are there.

    Args:
        path: the video.
        wanted: what.
        times: `(frames,)` seconds of its frames since the first.
        folder_fps: of a folder of images.

    Raises:
        VideoError: it cannot be read.
        OSError: a picture cannot be written.
    """
    parts = _parts(wanted)
    seen = frames_of(path, parts, frames=len(times), folder_fps=folder_fps)
    for place, group in groupby(seen, key=lambda one: place_of(parts, one[0])):
        assert place is not None  # of the wanted frames each is in a part
        frames = _with_stills(group, wanted.stills)
        if clip := wanted.clips.get(parts[place]):
            write_clip(clip, frames, times)
        else:
            for _ in frames:
                pass


def _parts(wanted: Wanted) -> list[Interval]:
    """The clips, and the thumbnails outside of them."""
    clips = sorted(wanted.clips)
    return sorted([*clips, *((frame, frame + 1) for frame in wanted.stills if place_of(clips, frame) is None)])


def _with_stills(
    frames: Iterable[tuple[int, np.ndarray, float]], stills: Mapping[int, Path]
) -> Iterator[tuple[int, np.ndarray, float]]:
    """The same frames; those that are thumbnails are written on the way."""
    for number, image, aspect in frames:
        if number in stills:
            write_still(stills[number], image, aspect)
        yield number, image, aspect


def write_still(path: Path, image: np.ndarray, aspect: float) -> None:
    """Write a frame, `(height, width, 3)` uint8 RGB, as a small JPEG."""
    import cv2

    height, width = image.shape[:2]
    rows = max(1, min(round(STILL_WIDTH * height / (width * aspect)), 4 * STILL_WIDTH))
    small = cv2.resize(image, (STILL_WIDTH, rows), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, STILL_QUALITY])
    write_bytes(path, data.tobytes())


def clip_size(height: int, width: float) -> tuple[int, int]:
    """(width, height) of a clip of such frames, as shown: both even, which the encoder needs."""
    scale = min(1.0, CLIP_HEIGHT / height, MAX_WIDTH / width)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def write_clip(path: Path, frames: Iterable[tuple[int, np.ndarray, float]], times: np.ndarray) -> None:
    """Write frames in a row as H.264 that browsers play, each at its own time, the first at zero.

    Args:
        path: an mp4.
        frames: number, `(height, width, 3)` uint8 RGB, shape of a pixel; at least one. They take the first one's size.
        times: seconds of all frames of the video.
    """
    import av

    frames = iter(frames)
    first = next(frames)
    (height, width), begin = first[1].shape[:2], float(times[first[0]])
    columns, rows = clip_size(height, width * first[2])
    options = {"movflags": "+faststart"}
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(25), options=ENCODING)
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for number, image, _ in chain([first], frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(columns, rows, "yuv420p")
            frame.pts, frame.time_base = round((float(times[number]) - begin) * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
