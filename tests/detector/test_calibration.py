"""Scores that are probabilities, and Platt's scaling that makes them so."""

from __future__ import annotations

import numpy as np
import pytest

from lad.detector.calibration import Calibration, fit_calibration
from lad.evaluation.reliability import calibration_error, reliability


def overconfident(frames: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that rank them well but are much too sure of themselves."""
    random = np.random.default_rng(0)
    labels = random.random(frames) < 0.3
    odds = random.normal(size=frames) + 1.5 * labels
    return labels, 1 / (1 + np.exp(-6 * odds))


def test_calibrated_scores_are_right_as_often_as_they_say():
    labels, scores = overconfident()
    calibration = fit_calibration(labels, scores)
    assert calibration is not None and 0 < calibration.slope < 1
    before, after = (calibration_error(reliability(labels, one) or []) for one in (scores, calibration(scores)))
    assert before > 0.2 and after < 0.03


def test_calibration_keeps_the_order_of_scores_however_near_to_0_and_1_they_are():
    scores = np.array([0, 1e-8, 1e-4, 0.2, 0.5, 0.9, 1 - 1e-6, 1], dtype=np.float32)
    assert (np.diff(Calibration(0.3, -1.0)(scores)) > 0).all()
    steep = Calibration(2.5, 3.0)(scores)
    assert (np.diff(steep) >= 0).all() and steep.min() >= 0 and steep.max() <= 1


def test_the_default_calibration_changes_no_bit():
    scores = np.random.default_rng(0).random(1000, dtype=np.float32)
    assert np.array_equal(Calibration()(scores).astype(np.float32), scores)


@pytest.mark.parametrize("case", ["all alike", "higher means less", "none"])
def test_what_cannot_be_calibrated_is_left_alone(case):
    labels, scores = overconfident()
    if case == "all alike":
        labels = np.zeros_like(labels)
    elif case == "higher means less":
        scores = 1 - scores
    else:
        labels, scores = labels[:0], scores[:0]
    assert fit_calibration(labels, scores) is None


def test_few_clips_apart_do_not_promise_certainty():
    """Two videos of a clip, one anomalous, scored 0.4 and 0.6: that is little evidence."""
    labels = np.repeat([False, True], 16)
    calibration = fit_calibration(labels, np.where(labels, 0.6, 0.4))
    assert calibration is not None
    assert 0.5 < calibration(np.array(0.6)) < 0.8


def test_reliability_counts_frames_by_score():
    scores = np.array([0.02, 0.08, 0.55, 0.57, 1.0])
    labels = np.array([False, False, True, False, True])
    bins = reliability(labels, scores)
    assert bins is not None
    assert [one["frames"] for one in bins] == [2, 2, 1]
    assert [one["anomalous"] for one in bins] == [0, 0.5, 1]
    assert [one["score"] for one in bins] == pytest.approx([0.05, 0.56, 1.0])
    assert calibration_error(bins) == pytest.approx((2 * 0.05 + 2 * 0.06) / 5)


def test_scores_that_are_no_probabilities_have_no_reliability():
    assert reliability(np.array([True, False]), np.array([0.5, 1.5])) is None
    assert reliability(np.array([True, False]), np.array([-0.5, 0.5])) is None
