"""Which track of a file is the video: one rule, for every reader and for a decoder that goes on after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers.cases import case_numbers
from helpers.reading import numbers, read, read_to_the_end
from helpers.videos import numbered_frame

from lad.extract.readers import open_reader
from lad.extract.video import Limits, VideoError

Disposition = av.stream.Disposition
PLAIN, DEFAULT, COVER = Disposition(0), Disposition.default, Disposition.attached_pic
SMALL, LARGE = (96, 72), (128, 96)
Written = tuple[tuple[int, int], int, Any]  # size, frames, disposition of a track


def write_tracks(path: Path, tracks: Sequence[Written]) -> Path:
    """A file of several tracks; the frames of track k are numbered from 100 k on."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for size, _, disposition in tracks:
            stream: Any = container.add_stream("libx264", rate=25, options={"bf": "0"})
            (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
            stream.disposition = disposition
            streams.append(stream)
        for number in range(max(count for _, count, _ in tracks)):
            for k, (stream, (size, count, _)) in enumerate(zip(streams, tracks, strict=True)):
                if number >= count:
                    continue
                frame = av.VideoFrame.from_ndarray(numbered_frame(100 * k + number, size), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


CHOICES: dict[str, tuple[list[Written], int, str]] = {  # tracks, the one that is right, what is said
    "the default": (
        [(SMALL, 20, DEFAULT), (LARGE, 20, PLAIN)],
        0,
        "2 video tracks: took number 1, 96x72, the default one",
    ),
    "a later default": (
        [(LARGE, 20, PLAIN), (SMALL, 20, DEFAULT)],
        1,
        "2 video tracks: took number 2, 96x72, the default one",
    ),
    "the largest of two defaults": (
        [(SMALL, 20, DEFAULT), (LARGE, 20, DEFAULT)],
        1,
        "2 video tracks: took number 2, 128x96, the one with most pixels",
    ),
    "the first of equals": (
        [(LARGE, 20, DEFAULT), (LARGE, 20, DEFAULT)],
        0,
        "2 video tracks: took number 1, 128x96, the first",
    ),
    "no picture beside a video": ([(LARGE, 1, DEFAULT), (SMALL, 20, PLAIN)], 1, ""),
    "no cover before a video": ([(LARGE, 1, COVER), (SMALL, 20, PLAIN)], 1, ""),
}


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("name", CHOICES)
def test_one_track_is_the_video_for_every_reader(name: str, suffix: str, tmp_path: Path) -> None:
    tracks, right, said = CHOICES[name]
    if suffix == "mp4" and any(mark == COVER for _, _, mark in tracks):
        pytest.skip("the cover of an mp4 is a JPEG or PNG: see test_odd.py")
    path = write_tracks(tmp_path / f"a.{suffix}", tracks)
    expected = list(range(100 * right, 100 * right + 20))
    first = read_to_the_end(path)
    for frames, info in (first, read(path, choice="pyav")):
        assert numbers(frames) == expected
        assert info.warnings == ([said] if said else [])
    resumed = open_reader(path, lazy=True)  # a decoder that goes on after a kill looks at few frames
    assert numbers(np.asarray(frame) for frame in resumed) == expected
    assert resumed.info == first[1]


def test_a_limit_of_pixels_holds_for_the_track_that_is_decoded(tmp_path: Path) -> None:
    limits = Limits(max_pixels=LARGE[0] * LARGE[1] - 1)
    small = write_tracks(tmp_path / "small.mkv", [(LARGE, 20, PLAIN), (SMALL, 20, DEFAULT)])
    assert len(read_to_the_end(small, limits=limits)[0]) == 20
    large = write_tracks(tmp_path / "large.mkv", [(SMALL, 20, PLAIN), (LARGE, 20, DEFAULT)])
    with pytest.raises(VideoError, match="128x96") as caught:
        read_to_the_end(large, limits=limits)
    assert caught.value.kind == "limit"


def test_a_photograph_beside_a_video_is_not_the_video(tmp_path: Path) -> None:
    """As phones and editors put it into a track of its own, without calling it a cover."""
    picture = cv2.imencode(".jpg", numbered_frame(9, (640, 480)))[1].tobytes()
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        still: Any = container.add_stream("mjpeg", rate=25)
        still.width, still.height, still.pix_fmt = 640, 480, "yuvj420p"
        film: Any = container.add_stream("libx264", rate=25)
        (film.width, film.height), film.pix_fmt = SMALL, "yuv420p"
        packet = av.Packet(picture)
        packet.stream, packet.pts, packet.dts, packet.time_base, packet.is_keyframe = still, 0, 0, Fraction(1, 25), True
        container.mux(packet)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, SMALL), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(20))
    assert info.warnings == []


@pytest.mark.parametrize("choice", ["auto", "pyav"])
@pytest.mark.parametrize("name", ["two_tracks.mp4", "two_tracks.mkv"])
def test_the_odd_files_of_two_tracks_are_read_as_one_of_them(name: str, choice: str, shared_cases: Path) -> None:
    frames, info = read(shared_cases / name, choice=choice)
    assert case_numbers(frames) == list(range(100))
    assert info.size == (72, 96)
    assert info.warnings == ["2 video tracks: took number 1, 96x72, the default one"]
