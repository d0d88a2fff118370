"""How often normal footage alarms, against how often it was to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lad.dataset import Video
from lad.evaluation.results import ScoredVideo, alarm_budget

HOUR = 3600


def scored(name: str, alarms: list[int], event: tuple[int, int] = (0, 0), seconds: int = HOUR) -> ScoredVideo:
    """A video of a frame a second that alarms for three seconds at each of `alarms`."""
    scores, truth = np.zeros(seconds), np.zeros(seconds, dtype=bool)
    for start in alarms:
        scores[start : start + 3] = 0.9
    truth[slice(*event)] = True
    return ScoredVideo(Video(name, Path(name)), truth, scores, seconds, (), None, np.zeros(1), np.arange(seconds))


def budget(videos: list[ScoredVideo], **thresholds: float) -> dict:
    return alarm_budget(videos, 2, {one.video.id: 0.5 for one in videos} | thresholds, 0.0, 0.0)


def test_alarms_outside_of_events_are_counted_against_the_hours_without_any() -> None:
    found = budget([scored("a", [10, 100, 200], event=(95, 95 + HOUR // 2)), scored("b", [50], seconds=HOUR // 2)])
    assert (found["asked"], found["alarms"], found["sources"]) == (2, 2, 2)
    assert found["normal_hours"] == pytest.approx(1)
    assert found["met"] == pytest.approx(48)


def test_the_interval_is_as_wide_as_the_sources_differ() -> None:
    alike = budget([scored(name, [10]) for name in "abcd"])
    assert alike["interval"] == pytest.approx((24, 24))
    low, high = budget([scored("a", [10, 20, 30, 40]), *(scored(name, []) for name in "bcd")])["interval"]
    assert low == 0 and high > 48


def test_where_nothing_alarms_the_time_bounds_what_the_rate_may_be() -> None:
    assert budget([scored("a", [])])["interval"] == pytest.approx((0, 72))


def test_one_source_has_no_interval_and_no_normal_footage_no_rate() -> None:
    assert budget([scored("a", [10])])["interval"] is None
    nothing = budget([scored("a", [10], event=(0, HOUR))])
    assert nothing["met"] is None and nothing["interval"] is None


def test_each_camera_alarms_at_its_own_threshold() -> None:
    assert budget([scored("a", [10]), scored("b", [20])], b=0.95)["alarms"] == 1
