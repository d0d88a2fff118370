"""What scores and thresholds of normal footage alone promise: shares of it, and a budget of alarms."""

from __future__ import annotations

import numpy as np
import pytest

from lad.detector import tail as module
from lad.detector.tail import Pareto, fit_pareto, fit_tail, smoothed
from lad.intervals import events_above

HOUR = 3600.0
FPS = 5


def footage(hours: float, seed: int, sigma: float = 1.0) -> np.ndarray:
    """The numbers of normal frames, each like those near it."""
    frames = int(hours * HOUR * FPS)
    noise = np.random.default_rng(seed).normal(size=frames)
    return smoothed(noise, np.arange(frames) / FPS, sigma) * 3


def alarms(numbers: np.ndarray, threshold: float) -> int:
    times = np.arange(len(numbers)) / FPS
    return len(events_above(numbers, threshold, times=times, ends=times + 1 / FPS, merge_seconds=0.5))


def test_a_score_is_the_share_of_normal_frames_that_are_lower() -> None:
    tail = fit_tail([footage(1, 0), footage(1, 1)], [HOUR, HOUR])
    unseen = np.concatenate([footage(1, seed) for seed in range(2, 12)])
    scores = tail.scores(unseen)
    for share in (0.1, 0.5, 0.9, 0.95, 0.99):
        assert (scores < share).mean() == pytest.approx(share, abs=0.02)


def test_higher_numbers_have_higher_scores_however_high_they_are() -> None:
    tail = fit_tail([footage(1, 0)], [HOUR])
    scores = tail.scores(np.linspace(float(tail.levels[0]), float(tail.levels[-1]) + 8, 400))
    assert (np.diff(scores) > 0).all() and scores[0] == 0 and scores[-1] < 1
    far = tail.scores(float(tail.levels[-1]) + footage(1, 0).std() * np.array([2, 4, 8]))
    assert len({f"{score:.7g}" for score in far}) == 3, "files keep seven digits"


@pytest.mark.parametrize("asked", [2, 24, 240])
def test_unseen_normal_footage_does_not_alarm_much_more_often_than_asked(asked: float) -> None:
    tail = fit_tail([footage(1, seed) for seed in range(3)], [HOUR] * 3)
    threshold = tail.threshold(asked)
    days = 5
    met = sum(alarms(tail.scores(footage(1, seed)), threshold) for seed in range(10, 10 + 24 * days)) / days
    assert asked / 10 <= met <= asked * 1.5


@pytest.mark.parametrize("rule", [{"min_seconds": 2.0}, {"merge_seconds": 30.0}], ids=str)
def test_alarms_are_counted_as_events_are_told(rule: dict[str, float]) -> None:
    """What is too short to be told is no alarm, and what is told as one event is one."""
    asked, days, before = 240, 2, [footage(1, seed, sigma=0.5) for seed in range(6)]
    plain, told = (fit_tail(before, [HOUR] * 6, **one) for one in ({}, rule))
    assert told.threshold(asked) < plain.threshold(asked)
    met = 0
    for seed in range(10, 10 + 24 * days):
        numbers = footage(1, seed, sigma=0.5)
        times = np.arange(len(numbers)) / FPS
        met += len(events_above(told.scores(numbers), told.threshold(asked), times=times, ends=times + 1 / FPS, **rule))
    assert asked / 4 <= met / days <= asked * 1.5


def test_fewer_alarms_need_a_higher_threshold_and_many_the_one_where_the_tail_begins() -> None:
    tail = fit_tail([footage(1, 0)], [HOUR])
    assert tail.threshold(1) > tail.threshold(10) > tail.threshold(100)
    assert tail.threshold(1e6) == pytest.approx(0.95)


def test_the_distribution_that_excesses_were_drawn_from_is_found_again() -> None:
    drawn = Pareto(2.0, 0.3)
    excesses = np.array([drawn.exceeded_by(share) for share in np.random.default_rng(0).random(20_000)])
    found = fit_pareto(excesses, (0.0, 0.5))
    assert found.scale == pytest.approx(2.0, rel=0.1) and found.shape == pytest.approx(0.3, abs=0.05)
    assert drawn.beyond(np.array(drawn.exceeded_by(0.01))) == pytest.approx(0.01)


def test_smoothing_leaves_what_is_constant_and_is_in_seconds() -> None:
    times = np.arange(40) / 10
    assert smoothed(np.full(40, 3.0), times, 0.5) == pytest.approx(np.full(40, 3.0))
    slow, fast = (smoothed(np.arange(n) == n // 2, np.arange(n) / fps, 0.5) for n, fps in ((41, 10), (81, 20)))
    assert slow[20] == pytest.approx(2 * fast[40], rel=0.01)
    assert np.array_equal(smoothed(times, times, 0.0), times)
    assert smoothed(np.ones(1), np.zeros(1), 0.5) == 1


def test_smoothing_over_hours_is_what_it_is_over_seconds_and_takes_no_longer(monkeypatch) -> None:
    frames = 400_000
    numbers, times = np.random.default_rng(0).normal(size=frames), np.arange(frames) / FPS
    assert np.abs(smoothed(numbers, times, 3600)).max() < 0.1  # four hours on each side of each frame
    numbers, times = numbers[:3000], times[:3000]
    once = smoothed(numbers, times, 10)
    monkeypatch.setattr(module, "LONG_KERNEL", 1)
    assert smoothed(numbers, times, 10) == pytest.approx(once, abs=1e-12)
