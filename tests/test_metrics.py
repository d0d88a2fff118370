"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lad.metrics import accuracy, average_precision, confusion_matrix, events_above, false_alarm_rate, roc_auc

LABELS = np.array([False, False, True, True])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])
NOTHING = np.array([], dtype=bool)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert roc_auc(LABELS, SCORES) == pytest.approx(3 / 4)
    assert roc_auc(LABELS, -SCORES) == pytest.approx(1 / 4)
    assert roc_auc(LABELS, np.array([0.2, 0.5, 0.5, 0.9])) == pytest.approx(3.5 / 4), "a tie counts half"


def test_average_precision_by_hand() -> None:
    # By falling score: hit (1/1), miss, hit (2/3), miss; each hit is half of the recall.
    assert average_precision(LABELS, SCORES) == pytest.approx((1 + 2 / 3) / 2)


def test_false_alarm_rate_counts_normal_frames_strictly_above_the_threshold() -> None:
    assert false_alarm_rate(LABELS, SCORES, 0.2) == pytest.approx(1 / 2)
    assert false_alarm_rate(LABELS, SCORES, 0.4) == 0
    assert false_alarm_rate(LABELS, SCORES, 0.0) == 1
    assert false_alarm_rate(LABELS.astype(int), SCORES, 0.2) == pytest.approx(1 / 2)


@pytest.mark.parametrize("labels", [np.ones(3, bool), np.zeros(3, bool), NOTHING])
def test_auc_without_both_kinds_of_frames_is_undefined(labels: np.ndarray) -> None:
    assert roc_auc(labels, np.zeros(len(labels))) is None


def test_what_is_undefined_is_none_and_never_nan() -> None:
    assert average_precision(np.zeros(3, bool), np.zeros(3)) is None
    assert average_precision(NOTHING, np.zeros(0)) is None
    assert false_alarm_rate(np.ones(3, bool), np.ones(3), 0.5) is None
    assert false_alarm_rate(NOTHING, np.zeros(0), 0.5) is None
    assert accuracy([], []) is None


def test_average_precision_of_anomalous_frames_alone_is_one() -> None:
    assert average_precision(np.ones(3, bool), np.array([0.1, 0.2, 0.3])) == 1


def test_accuracy_is_the_share_of_right_categories() -> None:
    assert accuracy([0, 1, 2, 2], [0, 2, 2, 1]) == pytest.approx(1 / 2)
    assert accuracy(np.array([3, 3]), np.array([3, 3])) == 1


def test_metrics_are_plain_numbers() -> None:
    for value in (
        roc_auc(LABELS, SCORES),
        average_precision(LABELS, SCORES),
        false_alarm_rate(LABELS, SCORES, 0.2),
        accuracy(np.array([1]), np.array([1])),
    ):
        assert type(value) is float


def test_the_confusion_matrix_keeps_the_full_label_set() -> None:
    matrix = confusion_matrix([0, 0, 2], [0, 3, 2], classes=5)
    expected = np.zeros((5, 5), int)
    expected[0, 0] = expected[0, 3] = expected[2, 2] = 1
    assert matrix.tolist() == expected.tolist()
    assert confusion_matrix([], [], classes=3).tolist() == [[0] * 3] * 3


def test_the_confusion_matrix_counts_repeats() -> None:
    assert confusion_matrix([1, 1, 1], [0, 0, 1], classes=2).tolist() == [[0, 0], [2, 1]]


@pytest.mark.parametrize(
    ("scores", "events"),
    [
        ([], []),
        ([0.1, 0.5, 0.2], []),
        ([0.6], [(0, 1)]),
        ([0.6, 0.7, 0.1, 0.9], [(0, 2), (3, 4)]),
        ([0.1, 0.6, 0.6, 0.1], [(1, 3)]),
        ([0.9] * 4, [(0, 4)]),
    ],
)
def test_events_above_are_half_open_runs_of_frames_strictly_above(
    scores: list[float], events: list[tuple[int, int]]
) -> None:
    found = events_above(np.array(scores), 0.5)
    assert found == events
    assert sum(end - start for start, end in found) == int((np.array(scores) > 0.5).sum())
