"""When events of a camera begin, change and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lad.detector.online import FrameScores
from lad.watch.events import Cooldown, Events, Rule
from lad.watch.payload import Notice

FPS = 10
CLASSES = ["Normal", "Fall", "Fight"]


def events(cooldown: Cooldown | None = None, camera: str = "yard", **changes: Any) -> Events:
    rule = Rule(**{"threshold": 0.5, "alert_threshold": 0.8, **changes})
    return Events(camera, rule, CLASSES, "abc", cooldown or Cooldown())


def frames(scores: Sequence[float], start: float = 100.0, likeliest: int = 2) -> FrameScores:
    classes = np.tile(np.eye(3, dtype=np.float32)[likeliest], (len(scores), 1))
    return FrameScores(start + np.arange(len(scores)) / FPS, np.array(scores, dtype=float), classes)


def told(notices: Sequence[Notice]) -> list[str]:
    return [notice.type for notice in notices]


def test_an_event_begins_at_the_first_frame_above_the_threshold_and_ends_with_the_last_that_kept_it_open() -> None:
    scores = [0.1] * 10 + [0.7] * 5 + [0.1] * 30
    new, end = events().add(frames(scores), now=110)
    assert (new.type, end.type, new.before, end.before) == ("new", "end", None, new.after)
    assert (end.after.start_time, end.after.end_time) == (101.0, pytest.approx(101.5))
    assert (end.after.top_score, end.after.label, end.after.severity) == (0.7, "Fight", "detection")
    assert end.after.id == new.after.id


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    assert events().add(frames([0.5] * 50), now=200) == []


def test_it_lasts_while_scores_pass_the_lower_threshold() -> None:
    watched = events(hysteresis=0.1)
    assert told(watched.add(frames([0.6] + [0.45] * 100), now=200)) == ["new"]
    assert watched.current and watched.current.end_time is None
    assert told(watched.add(frames([0.35] * 19, 110.1), now=200)) == []  # 1.9 s: the cutoff is 2
    assert told(watched.add(frames([0.35] * 3, 112.0), now=200)) == ["end"]


def test_an_event_with_a_low_threshold_ends_too() -> None:
    watched = events(threshold=0.04, hysteresis=0.05)
    assert told(watched.add(frames([0.3] + [0.025] * 50 + [0.01] * 30), now=200)) == ["new", "end"]


def test_a_dip_that_is_shorter_than_the_cutoff_makes_no_second_event() -> None:
    dip = [0.9] * 5 + [0.0] * 15
    assert told(events().add(frames(dip * 4 + [0] * 30), now=200)) == ["new", "end"]
    assert told(events(cutoff_seconds=1).add(frames(dip * 4 + [0] * 30), now=200)) == ["new", "end"] * 4


def test_severity_rises_at_once_and_the_top_score_at_most_every_few_seconds() -> None:
    watched, notices = events(update_seconds=2), []
    scores = np.linspace(0.51, 0.79, 60)
    for number, score in enumerate(scores):
        notices += watched.add(frames([score], 100 + number / FPS), now=200)
    assert told(notices) == ["new", "update", "update"]
    gaps = np.diff([notice.after.frame_time for notice in notices])
    assert (gaps >= 2 - 1e-6).all()
    (alert,) = watched.add(frames([0.85], 106), now=200)
    assert (alert.type, alert.before.severity, alert.after.severity) == ("update", "detection", "alert")  # type: ignore[union-attr]
    assert watched.add(frames([0.6], 106.1), now=200) == []  # it never falls


def test_what_changes_within_a_batch_is_told_as_one() -> None:
    (notice,) = events().add(frames([0.6, 0.7, 0.9]), now=200)
    assert (notice.type, notice.after.top_score, notice.after.severity) == ("new", 0.9, "alert")


def test_the_delay_is_from_the_newest_frame_to_now() -> None:
    (notice,) = events().add(frames([0.6, 0.7]), now=103.6)
    assert notice.after.frame_time == 100.1
    assert notice.after.delay_seconds == pytest.approx(3.5)


def test_after_an_event_its_camera_is_quiet_for_the_cooldown() -> None:
    peak = [0.9] * 5 + [0.0] * 25  # every 3 s
    assert told(events(cooldown_seconds=5).add(frames(peak * 4), now=200)) == ["new", "end"] * 2
    begun = events(cooldown_seconds=5).add(frames([0.9] * 5 + [0] * 25 + [0.9] * 60), now=200)
    assert begun[2].after.start_time == pytest.approx(105.5)  # it is high still when the cooldown is over


def test_after_an_event_all_cameras_are_quiet_for_their_common_cooldown() -> None:
    cooldown = Cooldown(10)
    yard, door = events(cooldown), events(cooldown, camera="door")
    assert told(yard.add(frames([0.9] * 5), now=200)) == ["new"]
    assert told(door.add(frames([0.9] * 50, 101), now=200)) == []
    assert told(door.add(frames([0.9] * 50, 106), now=200)) == ["new"]


def test_footage_that_is_missing_ends_an_event_and_what_follows_is_another_one() -> None:
    watched = events()
    (new,) = watched.add(frames([0.9] * 10), now=200)
    end, again = watched.add(frames([0.9] * 10, 130), now=200)
    assert (end.type, again.type) == ("end", "new")
    assert end.after.end_time == pytest.approx(100.9)
    assert again.after.id != new.after.id


def test_a_short_gap_does_not_end_it() -> None:
    watched = events()
    watched.add(frames([0.9] * 10), now=200)
    watched.cut()
    assert watched.add(frames([0.9] * 10, 102), now=200) == []


def test_silence_ends_it_after_the_cutoff() -> None:
    watched = events()
    watched.add(frames([0.9] * 10), now=200)
    assert watched.silence(102.0, now=102) == []
    assert told(watched.silence(103.0, now=103)) == ["end"]
    assert watched.silence(110.0, now=110) == []


def test_smoothing_passes_over_a_single_frame_and_not_across_a_cut() -> None:
    spike = [0.0] * 10 + [1.0] + [0.0] * 10
    assert events(smooth_seconds=1).add(frames(spike), now=200) == []
    assert told(events(smooth_seconds=1).add(frames([0.0] * 10 + [1.0] * 10), now=200)) == ["new"]
    watched = events(smooth_seconds=1)
    watched.add(frames([0.0] * 10), now=200)
    watched.cut()
    assert told(watched.add(frames([0.9], 101), now=200)) == ["new"]


def test_what_is_known_of_its_files_comes_with_the_next_notice() -> None:
    watched = events()
    (new,) = watched.add(frames([0.6]), now=200)
    watched.attach(new.after.id, thumb="yard/a.jpg")
    watched.attach("another", thumb="b.jpg")
    (end,) = watched.close(now=201)
    assert (end.before.thumb, end.after.thumb) == ("", "yard/a.jpg")  # type: ignore[union-attr]


def test_the_category_is_none_of_normal_videos() -> None:
    (notice,) = events().add(frames([0.9], likeliest=0), now=200)
    assert notice.after.label in ("Fall", "Fight")


def test_what_it_looks_like_is_told_of_the_whole_event() -> None:
    watched = events()
    watched.likeliest = lambda actions: (f"action {actions.argmax()}",)
    seen = frames([0.9] * 4)
    actions = np.array([[1.0, 0.0], [0.0, 0.6], [0.0, 0.6], [0.0, 0.6]])
    (new,) = watched.add(FrameScores(seen.times[:1], seen.scores[:1], seen.classes[:1], actions[:1]), now=200)
    watched.add(FrameScores(seen.times[1:], seen.scores[1:], seen.classes[1:], actions[1:]), now=200)
    (end,) = watched.close(now=200)
    assert (new.after.looks_like, end.after.looks_like) == (("action 0",), ("action 1",))


@given(
    scores=st.lists(st.sampled_from([0.0, 0.46, 0.6, 0.9]), min_size=1, max_size=80),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=80),
    cutoff=st.sampled_from([0.0, 0.3, 2.0]),
    cooldown=st.sampled_from([0.0, 1.0]),
)
def test_how_frames_are_batched_changes_no_event(
    scores: list[float], sizes: list[int], cutoff: float, cooldown: float
) -> None:
    rows = frames(scores)

    def found(sizes: list[int]) -> list[tuple[float, float | None, float]]:
        watched = events(cutoff_seconds=cutoff, cooldown_seconds=cooldown)
        notices, first = [], 0
        for size in sizes:
            part = slice(first, first + size)
            notices += watched.add(FrameScores(rows.times[part], rows.scores[part], rows.classes[part]), now=200)
            first += size
        notices += watched.close(now=200)
        open_event = None
        for notice in notices:  # one after the other, each from what the last notice said
            assert notice.before == open_event
            open_event = None if notice.type == "end" else notice.after
        ends = [notice.after for notice in notices if notice.type == "end"]
        return [(round(one.start_time, 6), round(one.end_time or 0, 6), one.top_score) for one in ends]

    assert found([*sizes, len(scores)]) == found([len(scores)])


def test_each_event_of_a_batch_has_the_time_of_its_own_highest_score() -> None:
    scores = [0.6, 0.9, 0.6] + [0.0] * 20 + [0.6, 0.7] + [0.0] * 20
    notices = events(cutoff_seconds=1).add(frames(scores), now=200)
    assert told(notices) == ["new", "end"] * 2
    assert [notice.peak for notice in notices] == pytest.approx([100.1, 100.1, 102.4, 102.4])
    assert "peak" not in notices[0].to_json()


def test_the_alert_threshold_is_as_configured_whatever_thresholds_were_between() -> None:
    class Steps:
        threshold = 0.5

        def add(self, time: float, score: float) -> None:
            pass

    watched = events()
    watched.budget = Steps()  # type: ignore[assignment]
    for threshold in (1.0, 0.9, 0.5):
        watched.budget.threshold = threshold  # type: ignore[union-attr]
        watched.add(frames([0.1]), now=200)
    assert (watched.rule.threshold, watched.rule.alert_threshold) == (0.5, pytest.approx(0.8))
