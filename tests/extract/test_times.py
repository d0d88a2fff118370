"""When each frame is on display, whatever time stamps a file has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from helpers.reading import read
from hypothesis import given
from hypothesis import strategies as st

from lad.extract.times import DEFAULT_FPS, Clock, average_fps

STAMPS = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30)


def times(stamps: list[float | None], fps: float = 10.0) -> list[float]:
    clock = Clock(fps)
    return [clock.read(stamp) for stamp in stamps]


def test_times_are_seconds_since_the_first_frame_wherever_its_stamp_begins() -> None:
    assert times([0.0, 0.04, 0.2]) == [0.0, 0.04, 0.2]
    assert times([1000.0, 1000.5, 1002.0]) == [0.0, 0.5, 2.0]
    assert times([-0.5, 0.0, 0.25]) == [0.0, 0.5, 0.75]


def test_a_frame_without_a_stamp_comes_one_step_after_the_one_before() -> None:
    assert times([5.0, None, None, 6.0]) == pytest.approx([0.0, 0.1, 0.2, 1.0])


def test_frames_before_the_first_stamp_count_from_zero_and_time_never_jumps_back_to_it() -> None:
    assert times([None, None, None]) == pytest.approx([0.0, 0.1, 0.2])
    assert times([None, None, 7.0, 7.05, 7.5]) == pytest.approx([0.0, 0.1, 0.1, 0.1, 0.5])


def test_time_stands_still_where_stamps_run_backwards() -> None:
    assert times([0.0, 2.0, 1.0, 1.5, 3.0]) == [0.0, 2.0, 2.0, 2.0, 3.0]
    assert times([5.0, 1.0, None, 5.3]) == pytest.approx([0.0, 0.0, 0.1, 0.3])


def test_a_video_that_says_nothing_of_time_has_the_default_rate() -> None:
    found = times([None] * 4, fps=0)
    assert found == pytest.approx([number / DEFAULT_FPS for number in range(4)])
    assert average_fps(found, 0) == pytest.approx(DEFAULT_FPS)
    assert average_fps([], 0) == average_fps([0.0], 0) == average_fps([0.0, 0.0], 0) == DEFAULT_FPS


@given(STAMPS, st.sampled_from([0.0, 0.5, 10.0, 1000.0]))
def test_time_begins_at_zero_and_never_runs_backwards_whatever_the_stamps(
    stamps: list[float | None], fps: float
) -> None:
    found = times(stamps, fps)
    assert found == sorted(found)
    assert found[:1] in ([], [0.0])


def test_the_rate_of_the_container_is_kept_where_the_times_are_about_that() -> None:
    assert average_fps([0.0, 0.033, 0.067, 0.1], 30000 / 1001) == 30000 / 1001
    assert average_fps([0.0, 0.5, 1.0], 25) == pytest.approx(2)
    assert average_fps([0.0, 0.5, 1.0], 0) == pytest.approx(2)
    assert average_fps([0.0], 12.5) == average_fps([0.0, 0.0], 12.5) == 12.5


def test_a_file_without_time_stamps_has_the_times_of_its_rate(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "raw.h264", 10, fps=25, format="h264")
    with av.open(str(path)) as container:
        assert any(frame.pts is None for frame in container.decode(video=0)), "it has them, so this shows nothing"
    _, info = read(path)
    assert info.times == pytest.approx([number / 25 for number in range(10)], abs=0.002)
