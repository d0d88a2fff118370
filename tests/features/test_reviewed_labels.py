"""What verdicts make of a video's labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lad.dataset import Video
from lad.events import Event, Reviewed, TimedEvent, parse_events, without
from lad.extract.sampling import evenly_spaced
from lad.features.labels import labels_misfit, with_events_in_frames, with_review, without_found

RUN = Reviewed(events=((Event(30, 50), "run"),), normal=(Event(10, 30),), verdicts=2)


def reviewed(said: Reviewed, **facts) -> Video:
    return with_review(Video("v", Path("v.mp4"), reviewed=said, **facts))


@pytest.mark.parametrize(
    ("events", "removed", "left"),
    [
        ([(0, 10)], [(3, 5)], [(0, 3), (5, 10)]),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 10)], [(20, 30)], [(0, 10)]),
        ([(20, 30)], [(0, 25)], [(25, 30)]),
        ([(0, None)], [(3, 5), (7, 9)], [(0, 3), (5, 7), (9, None)]),
        ([(0, 10)], [(5, None)], [(0, 5)]),
        ([(0, 4), (6, 9)], [(2, 7)], [(0, 2), (7, 9)]),
    ],
)
def test_what_is_left_of_events(events, removed, left):
    assert without([Event(*one) for one in events], [Event(*one) for one in removed]) == tuple(
        Event(*one) for one in left
    )


def test_a_video_that_nobody_labelled_trains_on_what_was_reviewed_alone():
    video = reviewed(RUN)
    assert (video.split, video.label, video.events) == ("train", "run", (Event(30, 50),))
    assert np.flatnonzero(video.known_frames(60)).tolist() == list(range(10, 50))


def test_verdicts_override_the_labels_of_a_dataset_and_leave_the_others():
    video = reviewed(RUN, split="test", label="fight", events=(Event(0, 20), Event(90, 95)))
    assert video.events == (Event(0, 10), Event(30, 50), Event(90, 95))
    assert (video.split, video.label, video.unlabelled) == ("test", "fight|run", ())


def test_a_video_whose_events_were_all_rejected_is_normal():
    video = reviewed(Reviewed((), (Event(0, 100),), 1), split="train", label="fight", events=(Event(5, 20),))
    assert not video.is_abnormal and video.label == "fight"


def test_the_category_of_an_event_in_a_normal_video_is_that_of_the_event():
    assert reviewed(RUN, split="train", label="walk").label == "run"


def test_events_in_seconds_are_corrected_once_their_frames_are_known():
    video = Video("v", Path("v.mp4"), "train", "fight", (TimedEvent(0.0, 2.0, "0s-2s"),), reviewed=RUN)
    assert with_review(video) == video
    found = with_events_in_frames(video, lambda: evenly_spaced(60, 10))
    assert found.events == (Event(0, 10), Event(30, 50))


def test_verdicts_beyond_the_end_of_a_video_are_a_misfit():
    assert labels_misfit(reviewed(RUN), 50) is None
    assert "its labels are for 50 frames and it has 20" in str(labels_misfit(reviewed(RUN), 20))


def test_a_video_without_verdicts_is_as_it_was():
    video = Video("v", Path("v.mp4"), events=(Event(3, 5),))
    assert with_review(video) is video and with_events_in_frames(video, None) is video
    assert video.known_frames(4).all()


@pytest.mark.parametrize("events", ["?", "40;90"])
def test_an_event_found_in_a_weak_video_leaves_what_nobody_saw_unlabelled(events: str) -> None:
    video = reviewed(RUN, split="train", label="fight", events=parse_events(events))
    assert (video.events, video.label, video.is_weak) == ((Event(30, 50),), "fight|run", False)
    assert np.flatnonzero(video.known_frames(60)).tolist() == list(range(10, 50))


def test_a_weak_video_stays_weak_where_no_event_was_found_or_frames_are_measured() -> None:
    weak = parse_events("?")
    assert reviewed(Reviewed((), (Event(0, 50),), 1), split="train", events=weak).events == weak
    assert reviewed(RUN, split="test", events=weak).events == weak


@pytest.mark.parametrize(("events", "frames"), [("?", 40), ("812", 813)])
def test_a_click_behind_the_end_does_not_fit(events: str, frames: int) -> None:
    video = Video("v", Path("v.mp4"), events=parse_events(events))
    assert with_events_in_frames(video, pytest.fail) == video
    assert (labels_misfit(video, 40) is None) == (frames == 40)


def test_normal_footage_is_what_a_review_left_of_it():
    video = without_found(reviewed(RUN))
    assert (video.split, video.events) == ("train", ())
    assert np.flatnonzero(video.known_frames(60)).tolist() == list(range(10, 30))
    listed = without_found(reviewed(RUN, split="train"))
    assert not listed.is_abnormal and np.flatnonzero(~listed.known_frames(60)).tolist() == list(range(30, 50))


def test_an_event_that_a_dataset_names_stays_one():
    video = reviewed(RUN, split="train", label="fight", events=(Event(90, 95),))
    assert without_found(video) == video
