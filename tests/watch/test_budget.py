"""A threshold from a budget of alarms, by the camera's own scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lad.detector.online import FrameScores
from lad.watch.budget import Budget
from lad.watch.events import Events, Rule


def scores(hours: float, seed: int = 0) -> np.ndarray:
    """One every ten seconds: mostly low, with a peak now and then."""
    drawn = np.random.default_rng(seed)
    numbers = drawn.normal(-4, 0.3, round(hours * 360))
    peaks = drawn.random(len(numbers)) < 1 / 30
    numbers[peaks] += drawn.exponential(1.0, peaks.sum())
    return 1 / (1 + np.exp(-numbers))


def fed(path: Path, hours: float, **changes: float) -> tuple[Budget, list[str]]:
    said: list[str] = []
    given = {"alarms_per_day": 2.0, "least": 0.1, **changes}
    budget = Budget("yard", path=path, say=said.append, **given)
    for number, score in enumerate(scores(hours)):
        budget.add(1e9 + 10 * number, score)
    return budget, said


def test_until_there_is_an_hour_of_scores_the_detectors_threshold_holds(tmp_path: Path) -> None:
    budget, said = fed(tmp_path / "a.npy", 0.9)
    assert budget.threshold == 0.1
    assert said == ["yard: alarms_per_day counts in 60 minutes; until then 0.100 holds"]


@pytest.mark.parametrize("alarms", [2, 24])
def test_the_threshold_is_passed_about_as_often_as_the_budget_says(tmp_path: Path, alarms: int) -> None:
    budget, said = fed(tmp_path / "a.npy", 6.2, alarms_per_day=alarms)
    passed = (scores(240, seed=1) > budget.threshold).sum() / 10  # a day
    assert 0.5 * alarms <= passed <= 2 * alarms
    assert f"for {alarms} alarms a day" in said[-1]


def test_it_is_never_below_the_detectors_and_never_beyond_all_scores(tmp_path: Path) -> None:
    budget, _ = fed(tmp_path / "a.npy", 2, least=0.9999)
    assert budget.threshold == 0.9999
    for minute in range(61):
        budget.add(2e9 + 60 * minute, 1.0)
    assert 0.9999 <= budget.threshold < 1


def test_scores_are_kept_for_the_next_run_and_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    before, _ = fed(path, 2.1)
    after, said = fed(path, 0)
    assert after.threshold == pytest.approx(before.threshold, abs=0.01)
    assert "by 2 hours of its scores" in said[0]
    path.write_text("none")
    budget, said = fed(path, 0)
    assert budget.threshold == 0.1
    assert "not a plain .npy array" in said[0]


def test_events_begin_by_the_threshold_of_the_budget(tmp_path: Path) -> None:
    budget, _ = fed(tmp_path / "a.npy", 2)
    events = Events("yard", Rule(0.1, 0.55), ["Normal", "Fall"], "", budget=budget)
    middle = np.array([0.1 + budget.threshold]) / 2
    classes = np.ones((1, 2), np.float32)
    assert events.add(FrameScores(np.array([3e9]), middle, classes), 3e9) == []
    (new,) = events.add(FrameScores(np.array([3e9 + 1]), np.array([0.99999]), classes), 3e9 + 1)
    assert new.after.threshold == budget.threshold
    assert events.rule.alert_threshold == pytest.approx((1 + budget.threshold) / 2)


def test_no_threshold_is_beyond_every_score(tmp_path: Path) -> None:
    minutes = np.full(60, 0.01)
    minutes[::2] = 1 - np.logspace(-1, -12, 30)
    np.save(tmp_path / "a.npy", minutes.astype(np.float32))
    budget = Budget("yard", 0.1, 0.1, tmp_path / "a.npy", lambda said: None)
    assert 0.99 < budget.threshold < 1
