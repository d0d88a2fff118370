"""Metrics against values worked out by hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lad.dataset import Video
from lad.evaluation.metrics import (
    accuracy,
    auc_against,
    average_precision,
    best_threshold,
    confusion_matrix,
    event_detection,
    false_alarm_rate,
    false_alarms,
    false_alarms_an_hour,
    latencies,
    macro_auc,
    match_events,
    roc_auc,
)
from lad.evaluation.results import ScoredVideo, compute_metrics, found_events
from lad.intervals import events_above

LABELS = np.array([False, False, True, True])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])
NOTHING = np.array([], dtype=bool)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert roc_auc(LABELS, SCORES) == pytest.approx(3 / 4)
    assert roc_auc(LABELS, -SCORES) == pytest.approx(1 / 4)
    assert roc_auc(LABELS, np.array([0.2, 0.5, 0.5, 0.9])) == pytest.approx(3.5 / 4), "a tie counts half"


def test_macro_auc_is_the_mean_over_videos_with_both_kinds_of_frames() -> None:
    shifted = (LABELS, SCORES + 10)  # another camera: the micro AUC falls, the macro AUC stays
    other = (np.array([True, False]), np.array([0.5, 0.5]))
    one_kind = [(np.ones(3, bool), np.arange(3.0)), (np.zeros(2, bool), np.arange(2.0)), (NOTHING, np.zeros(0))]
    assert macro_auc([(LABELS, SCORES), shifted]) == pytest.approx(3 / 4)
    assert macro_auc([(LABELS, SCORES), *one_kind, other]) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert macro_auc(one_kind) is macro_auc([]) is None


@pytest.mark.parametrize("levels", [3, 10**6])
def test_aucs_are_those_of_scikit_learn(levels: int) -> None:
    random = np.random.default_rng(levels)
    videos = [(random.random(200) < 0.2, random.integers(0, levels, 200) / levels) for _ in range(9)]
    golden = [roc_auc_score(labels, scores) for labels, scores in videos]
    assert macro_auc(videos) == pytest.approx(np.mean(golden), abs=1e-12)
    labels, scores = videos[0]
    assert auc_against(scores[labels], np.sort(scores[~labels])) == pytest.approx(golden[0], abs=1e-12)
    assert auc_against(NOTHING, scores) is auc_against(scores, NOTHING) is None


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
    assert accuracy([[0], [1], [2], [2]], [0, 2, 2, 1]) == pytest.approx(1 / 2)
    assert accuracy([[3], [3]], np.array([3, 3])) == 1


def test_metrics_are_plain_numbers() -> None:
    for value in (
        roc_auc(LABELS, SCORES),
        average_precision(LABELS, SCORES),
        false_alarm_rate(LABELS, SCORES, 0.2),
        accuracy([[1]], np.array([1])),
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
    times = np.arange(len(scores), dtype=float)
    found = events_above(np.array(scores), 0.5, times=times, ends=times + 1)
    assert found == events
    assert sum(end - start for start, end in found) == int((np.array(scores) > 0.5).sum())


def test_the_best_threshold_by_hand() -> None:
    # Above 0.1: J = 1 - 1/2; above 0.35: 1/2 - 1/2; above 0.4: 1/2 - 0. The tie goes to the one with fewest alarms.
    assert best_threshold(LABELS, SCORES) == pytest.approx((0.4 + 0.8) / 2)
    assert best_threshold(LABELS.astype(int), SCORES) == pytest.approx((0.4 + 0.8) / 2)
    assert best_threshold(LABELS, np.array([0.1, 0.2, 0.6, 0.8])) == pytest.approx(0.4), "all told apart"
    assert best_threshold(LABELS, np.array([0, 1, 1, 4])) == pytest.approx(2.5), "whole numbers"
    assert best_threshold(LABELS, np.array([0.2, 0.2, 0.2, 0.2])) == pytest.approx(0.2), "no better than no alarm"
    assert best_threshold(LABELS, -SCORES) == pytest.approx(-0.1), "worse than no alarm"


def test_the_best_threshold_does_not_depend_on_rounding() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        for lower in (np.ones(1, dtype), np.nextafter(np.ones(1, dtype), dtype(2))):
            scores = np.concatenate([lower, np.nextafter(lower, dtype(2))])  # nothing lies between them
            threshold = best_threshold(np.array([False, True]), scores)
            assert (scores > threshold).tolist() == [False, True]


def test_no_threshold_where_frames_are_alike_or_scores_are_not_numbers() -> None:
    for labels in (np.ones(3, bool), np.zeros(3, bool), NOTHING):
        assert best_threshold(labels, np.zeros(len(labels))) is None
    with pytest.raises(ValueError, match="NaN"):
        best_threshold(LABELS, np.array([0.1, np.nan, 0.2, 0.3]))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=30))
def test_the_best_threshold_is_the_best_of_all(frames: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([label for label, _ in frames]), np.array([score / 8 for _, score in frames])
    threshold = best_threshold(labels, scores)
    if labels.all() or not labels.any():
        assert threshold is None
        return
    assert threshold is not None and 0 <= threshold <= 1
    assert threshold not in scores[scores < scores.max()]
    n, m = int(labels.sum()), int((~labels).sum())

    def youden(at: float) -> int:
        return int((scores[labels] > at).sum()) * m - int((scores[~labels] > at).sum()) * n

    assert youden(threshold) == max(youden(at) for at in [-1, *scores])
    assert all(youden(at) < youden(threshold) for at in scores[scores > threshold])


@pytest.mark.parametrize(
    ("true", "found", "confidence", "iou", "matched"),
    [
        ([], [], [], 0.5, 0),
        ([(0, 10)], [], [], 0.5, 0),
        ([], [(0, 10)], [1.0], 0.5, 0),
        ([(0, 10)], [(0, 10)], [0.5], 1.0, 1),
        ([(0, 10)], [(0, 5)], [0.5], 0.5, 1),  # 5 / 10: the limit counts
        ([(0, 10)], [(0, 5)], [0.5], 0.51, 0),
        ([(0, 10)], [(5, 15)], [0.5], 1 / 3, 1),  # 5 / 15
        ([(0, 10)], [(5, 15)], [0.5], 0.34, 0),
        ([(0, 10)], [(10, 20)], [0.5], 0.1, 0),  # they touch
        ([(0, 10)], [(10, 20)], [0.5], 0.0, 0),  # without an overlap there is no match
        ([(0, 10)], [(0, 10), (0, 10)], [0.5, 0.6], 0.5, 1),  # a true event is found once
        ([(0, 10), (0, 10)], [(0, 10)], [0.5], 0.5, 1),
        ([(0, 10), (20, 30)], [(0, 30)], [0.5], 0.3, 1),  # a found event finds one
        ([(40, 50), (0, 10), (20, 30)], [(21, 31), (0, 9), (44, 60)], [0.1, 0.3, 0.2], 0.3, 3),  # in any order
        ([(5, 5)], [(0, 10), (5, 5)], [0.5, 0.5], 0.0, 0),  # no frame, no event
    ],
)
def test_matched_events_by_hand(
    true: list[tuple[int, int]], found: list[tuple[int, int]], confidence: list[float], iou: float, matched: int
) -> None:
    assert match_events(true, found, confidence, [iou]) == [matched]


def test_the_surer_event_chooses_first_and_takes_the_best_that_is_free() -> None:
    true = [(0, 10), (6, 16)]
    found = [(2, 12), (0, 9)]  # IoU with the true ones: 8/12 and 6/14; 9/10 and 3/16
    assert match_events(true, found, [0.9, 0.1], [0.4]) == [1], "the first takes the one that the second needs"
    assert match_events(true, found, [0.1, 0.9], [0.4]) == [2], "the first is left with its second best"
    assert match_events(true, found, [0.5, 0.5], [0.4]) == [1], "equals choose in the order given"
    assert match_events(true, found[::-1], [0.5, 0.5], [0.4]) == [2]


def test_of_equally_good_true_events_the_earliest_is_taken() -> None:
    true = [(10, 20), (0, 10)]
    assert match_events(true, [(5, 15), (10, 20)], [0.9, 0.1], [0.3]) == [2]
    assert match_events(true, [(5, 15), (0, 10)], [0.9, 0.1], [0.3]) == [1]


def test_every_event_has_a_confidence() -> None:
    with pytest.raises(ValueError, match="2 events, 1 confidences"):
        match_events([(0, 1)], [(0, 1), (2, 3)], [0.5], [0.5])


EVENTS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)).map(lambda e: (e[0], e[0] + e[1])), max_size=7)
IOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 1.0)


@given(EVENTS, EVENTS, st.lists(st.integers(0, 3), min_size=7, max_size=7), st.sampled_from(IOUS))
def test_matching_agrees_with_sets_of_frames(
    true: list[tuple[int, int]], found: list[tuple[int, int]], confidence: list[int], iou: float
) -> None:
    confidence = confidence[: len(found)]
    free, expected = sorted(true), 0
    for event in sorted(range(len(found)), key=lambda i: -confidence[i]):
        frames = set(range(*found[event]))
        overlaps = [len(frames & set(range(*t))) / len(frames | set(range(*t))) for t in free]
        if overlaps and max(overlaps) >= iou:
            free.pop(overlaps.index(max(overlaps)))
            expected += 1
    (matched,) = match_events(true, found, confidence, [iou])
    assert matched == expected
    assert matched <= min(len(true), len(found))
    alarms = [event for event in found if not any(set(range(*event)) & set(range(*t)) for t in true)]
    assert false_alarms(true, found) == len(alarms)
    assert matched + len(alarms) <= len(found)
    detection = event_detection([(true, found, confidence)], [iou])
    for kind, of in (("precision", found), ("recall", true)):
        assert detection[kind] == {f"{iou:g}": matched / len(of) if of else None}


@pytest.mark.parametrize("length", [5, 100_000])
def test_ten_thousand_events_are_matched_at_once(length: int) -> None:
    rng = np.random.default_rng(0)
    true = [(10 * i, 10 * i + 5) for i in range(10_000)]
    found = [(int(start), int(start) + length) for start in rng.permutation(10_000) * 10]
    begun = time.process_time()
    (matched,) = match_events(true, found, rng.random(10_000).tolist(), [0.5])
    assert matched == (10_000 if length == 5 else 0)
    assert false_alarms(true, found) == 0
    assert time.process_time() - begun < 20, "far more than it takes, far less than pair by pair in Python"


def test_event_detection_counts_over_all_videos() -> None:
    videos = [
        ([(0, 10), (20, 30)], [(0, 5), (20, 30), (50, 60)], [0.9, 0.8, 0.7]),  # IoU 0.5, 1, none
        ([], [(0, 5)], [0.9]),
        ([(0, 10)], [(8, 18)], [0.9]),  # 2 / 18
        ([(0, 10)], [], []),
    ]
    detection = event_detection(videos)
    assert (detection["true"], detection["found"]) == (4, 5)
    assert detection["precision"] == {"0.1": 3 / 5, "0.2": 2 / 5, "0.3": 2 / 5, "0.4": 2 / 5, "0.5": 2 / 5}
    assert detection["recall"] == {"0.1": 3 / 4, "0.2": 2 / 4, "0.3": 2 / 4, "0.4": 2 / 4, "0.5": 2 / 4}
    assert event_detection(videos, ious=[0.75])["recall"] == {"0.75": 1 / 4}


def test_precision_and_recall_of_nothing_are_undefined() -> None:
    nothing = {"true": 0, "found": 0, "precision": {"0.5": None}, "recall": {"0.5": None}}
    assert event_detection([], [0.5]) == nothing
    assert event_detection([([], [], [])], [0.5]) == nothing
    assert event_detection([([(0, 1)], [], [])], [0.5]) == nothing | {"true": 1, "recall": {"0.5": 0}}
    assert event_detection([([], [(0, 1)], [0.5])], [0.5]) == nothing | {"found": 1, "precision": {"0.5": 0}}


def test_latency_is_the_time_from_an_events_start_to_its_first_alarmed_frame() -> None:
    times = np.arange(100) ** 1.5  # of a camera that grows ever slower
    true = [(60, 70), (10, 20), (30, 40), (80, 90)]
    found = [(86, 99), (15, 18), (17, 35), (70, 80)]
    # 10-20 is alarmed at 15, 30-40 has been since 17, 60-70 only just after it, 80-90 at 86.
    expected = [times[15] - times[10], 0, np.inf, times[86] - times[80]]
    assert latencies(true, found, times).tolist() == pytest.approx(expected)
    assert latencies(true, [], times).tolist() == [np.inf] * 4
    assert latencies([], found, times).tolist() == []


@given(EVENTS, EVENTS)
def test_latencies_agree_with_sets_of_frames(true: list[tuple[int, int]], found: list[tuple[int, int]]) -> None:
    alarmed = {frame for event in found for frame in range(*event)}
    expected = [
        min((frame - start for frame in range(start, end) if frame in alarmed), default=np.inf)
        for start, end in sorted(true)
    ]
    assert latencies(true, found, np.arange(30.0)).tolist() == expected


def test_a_false_alarm_shares_no_frame_with_a_true_event() -> None:
    true = [(30, 40), (0, 100), (120, 130)]
    assert false_alarms(true, [(99, 110), (100, 120), (100, 121), (130, 140), (50, 60)]) == 2
    assert false_alarms([], [(0, 1), (5, 6)]) == 2
    assert false_alarms(true, []) == 0
    assert false_alarms([(5, 5)], [(0, 10)]) == 1, "no frame, no event"
    assert false_alarms([(0, 10)], [(5, 5)]) == 1


def test_false_alarms_an_hour() -> None:
    assert false_alarms_an_hour(3, 1800) == 6
    assert false_alarms_an_hour(0, 10) == 0
    assert false_alarms_an_hour(0, 0) is None


def test_a_category_is_right_where_it_is_one_of_the_videos() -> None:
    assert accuracy([[1, 2], [3], [], [0, 4]], [2, 1, 0, 0]) == pytest.approx(2 / 4)
    assert accuracy([[1], (2,)], np.array([1, 2])) == 1
    assert accuracy([], []) is None
    with pytest.raises(ValueError):
        accuracy([[1]], [1, 2])


def scored_video(labels: tuple[int, ...], predicted: int, name: str = "v") -> ScoredVideo:
    truth = np.zeros(16, dtype=bool)
    votes = np.eye(3, dtype=np.int64)[predicted]
    return ScoredVideo(Video(name, Path(name)), truth, np.zeros(16), 1.0, labels, predicted, votes, np.arange(16) / 16)


def test_a_video_of_two_categories_counts_in_the_recall_of_both() -> None:
    scored = [scored_video((0, 1), 0)] * 9 + [scored_video((0, 1), 1)]
    found = compute_metrics(scored, ["fight", "shot", "walk"], 0.5)["classes"]
    assert [found[name]["recall"] for name in ("fight", "shot", "walk")] == [0.9, 0.1, None]
    assert [found[name]["videos"] for name in ("fight", "shot")] == [10, 10]


def test_events_are_those_of_the_real_times_of_frames() -> None:
    times = np.arange(100) / 25 + 10.0 * (np.arange(100) >= 50)  # a camera that pauses
    scores = np.zeros(100)
    scores[[*range(10, 14), *range(18, 26), *range(60, 68)]] = 1
    assert found_events(scores, times, 14.0, 0.5, 0.5, 0.2) == [(10, 26), (60, 68)]
    assert found_events(scores, times, 14.0, 0.5, 0.0, 0.35) == []
    assert found_events(scores, times, 14.0, 0.5, 0.0, 0.3) == [(18, 26), (60, 68)]
    even = np.round(np.arange(100) / 30, 3)  # as a CSV has them
    scores[:] = 0
    scores[30:36] = 1
    assert found_events(scores, even, 100 / 30, 0.5, 0.0, 0.2) == [(30, 36)], "6 frames of 30 a second are 0.2 s"
