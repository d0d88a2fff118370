"""What events in frames and in seconds promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.dataset import Video, read_dataset, write_dataset
from lad.events import Click, Event, Somewhere, TimedEvent, in_frames, parse_events

HEADER = "video,path,split,label,events,n_frames,fps,source\n"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("0:12.4-0:15", 12.4, 15),
        ("12.4s-15s", 12.4, 15),
        ("12s-0:15.5", 12, 15.5),
        ("1:02:03-1:02:04.25", 3723, 3724.25),
        ("75:00-76:00", 4500, 4560),
        ("0:05-", 5, None),
    ],
)
def test_times_are_seconds_however_they_are_written(text: str, start: float, end: float | None) -> None:
    assert parse_events(text, n_frames=10) == (TimedEvent(start, end, text),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:12.4-15", "partly in frames"),
        ("10-15s", "partly in frames"),
        ("12.4-15.0", "12.4s-15s"),
        ("0:75-2:00", "m:ss"),
        ("1:75:00-2:00:00", "m:ss"),
        ("0:15-0:12", "is empty"),
        ("0:15-15s", "is empty"),
        ("5-9;0:12-0:15", "in one of them"),
        ("0:5-0:9", "m:ss"),
    ],
)
def test_a_time_that_is_none_says_how_it_is_written(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_events(text)


def test_weak_labels_are_read_and_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text(f"{HEADER}a,a.mp4,train,Fire,?,,,\nb,b.mp4,train,Fire,812; 75,900,,\nc,c.mp4,train,Fire,,,,\n")
    weak, clicked, _ = videos = read_dataset(path)
    assert (weak.events, clicked.events) == ((Somewhere(),), (Click(75), Click(812)))
    assert [video.is_abnormal for video in videos] == [True, True, False]
    assert [video.is_weak for video in videos] == [True, True, False]
    write_dataset(path, videos, tmp_path)
    assert ",?," in path.read_text() and ",75;812," in path.read_text()
    assert read_dataset(path) == videos


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("?;5-9", "no more is known"),
        ("?;812", "no more is known"),
        ("?;?", "no more is known"),
        ("812;5-9", "intervals and single frames"),
        ("812;0:12-0:15", "intervals and single frames"),
        ("900", "beyond the video's 900 frames"),
        ("12s", "one frame of it"),
        ("??", "one somewhere"),
    ],
)
def test_weak_labels_that_are_none_say_how_they_are_written(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_events(text, n_frames=900)


def test_of_a_weak_video_no_frame_is_known_to_be_normal() -> None:
    for text in ("?", "812"):
        video = Video("v", Path("v.mp4"), events=parse_events(text))
        assert not video.known_frames(1000).any()
        with pytest.raises(ValueError, match="nobody knows yet which frames"):
            video.frame_labels(1000)


def test_a_click_is_in_its_frame_and_an_event_somewhere_is_in_the_video() -> None:
    times = np.arange(100) / 25
    assert in_frames(parse_events("7;50"), times, 25) == (Event(7, 8), Event(50, 51))
    assert in_frames(parse_events("?"), times, 25) == (Event(0),)


def test_times_become_the_frames_on_display_then() -> None:
    times = np.arange(100) / 25
    assert in_frames(parse_events("0.4s-1s; 0:03-"), times, 25) == (Event(10, 25), Event(75))
    assert in_frames(parse_events("0.41s-0.42s"), times, 25) == (Event(10, 11),), "at least one frame"
    uneven = np.array([0.0, 1.0, 1.1, 5.0])
    assert in_frames(parse_events("1.05s-5s"), uneven, 1) == (Event(1, 3),)
    rounded = np.round(np.arange(100) / 29.97, 3)  # as Matroska keeps times
    assert in_frames([TimedEvent(10 / 29.97, 40 / 29.97, "")], rounded, 29.97) == (Event(10, 40),)


def test_a_time_after_the_video_is_as_far_beyond_its_frames() -> None:
    assert in_frames(parse_events("1s-6s;8s-"), np.arange(100) / 25, 25) == (Event(25, 150), Event(200))


@settings(deadline=None)
@given(
    start=st.integers(0, 90), length=st.integers(1, 100), fps=st.sampled_from([5, 23.976, 25, 29.97, 30, 59.94, 120])
)
def test_the_time_of_a_frame_is_that_frame(start: int, length: int, fps: float) -> None:
    end = min(start + length, 100)
    event = TimedEvent(start / fps, end / fps, "")
    assert in_frames([event], np.arange(100) / fps, fps) == (Event(start, end),)


def test_what_is_written_in_seconds_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text(HEADER + "a,a.mp4,train,Fire,0:12.40-0:15;1:00-,,,\n")
    videos = read_dataset(path)
    write_dataset(tmp_path / "again.csv", videos, tmp_path)
    assert "0:12.40-0:15;1:00-" in (tmp_path / "again.csv").read_text()
    assert read_dataset(tmp_path / "again.csv") == videos and videos[0].line == 2


def test_seconds_are_never_taken_for_frames() -> None:
    with pytest.raises(ValueError, match="1s-2s nobody knows yet which frames"):
        Video("a", Path("a"), events=parse_events("1s-2s")).frame_labels(100)
