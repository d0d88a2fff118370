"""What to look at next: moments that are unlike what is known, a few of however long a video."""

from __future__ import annotations

import time

import numpy as np

from lad.detector.review_order import (
    MAX_OF_VIDEO,
    Moment,
    bounded,
    describe,
    moments_of,
    order,
)
from lad.extract.sampling import evenly_spaced
from lad.features.video import ClipFeatures

NONE = np.zeros((0, 1), dtype=np.float32)


def cut(frames: int, scores: np.ndarray | None = None, labelled: np.ndarray | None = None, threshold: float = 0.5):
    scores = np.zeros(frames) if scores is None else scores
    labelled = np.zeros(frames, dtype=bool) if labelled is None else labelled
    return moments_of("v", evenly_spaced(frames, 25), -(-frames // 16), scores, labelled, threshold, 3)


def test_a_video_is_cut_into_moments_that_cover_it():
    new, old = cut(100)
    assert [(one.start, one.end, one.first, one.last) for one in new] == [
        (0, 48, 0, 3),
        (48, 96, 3, 6),
        (96, 100, 6, 7),
    ]
    assert old == []


def test_moments_of_which_half_is_labelled_are_known():
    labelled = np.zeros(144, dtype=bool)
    labelled[48:72] = labelled[96:119] = True
    new, old = cut(144, labelled=labelled)
    assert [one.start for one in new] == [0, 96] and [one.start for one in old] == [48]


def test_certainty_is_the_distance_from_the_threshold():
    scores = np.repeat([0.8, 0.9, 0.0, 1.0], 48)
    new, _ = cut(192, scores=scores, threshold=0.8)
    np.testing.assert_allclose([one.certainty for one in new], [0, 0.125, 1, 0.25], atol=1e-9)
    np.testing.assert_allclose([one.score for one in new], [0.8, 0.9, 0.0, 1.0])


def test_of_a_long_video_a_few_moments_are_looked_at_the_doubtful_ones_among_them():
    frames = 48 * 5000
    scores = np.ones(frames)
    scores[48 * 4321 : 48 * 4322] = 0.5
    begin = time.process_time()
    new, _ = cut(frames, scores=scores)
    assert time.process_time() - begin < 1
    assert len(new) <= MAX_OF_VIDEO and 48 * 4321 in [one.start for one in new]
    assert new[0].start == 0 and new[-1].end == frames  # and some from all over it


def test_of_too_many_moments_each_video_keeps_its_most_doubtful():
    moments = [Moment(video, n, n + 1, 0, 1, 0.5, n / 10) for video in "abc" for n in range(9, -1, -1)]
    assert [(one.video, one.start) for one in bounded(moments, 4)] == [("a", 0), ("b", 0), ("c", 0), ("a", 1)]
    assert bounded(moments, 100) == moments


def test_a_moment_is_described_by_its_clips_alone():
    features = ClipFeatures([np.arange(8, dtype=np.float32).reshape(1, 8, 1)])
    rows = describe(features, [Moment("v", 0, 48, 0, 3, 0, 0), Moment("v", 96, 128, 6, 8, 0, 0)])
    np.testing.assert_array_equal(rows, [[1], [6.5]])


def points(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float32)[:, None]


def test_the_farthest_comes_first_and_what_is_chosen_counts_as_known():
    ranked = list(order(points(1, 9, 10, 5), points(0)))
    assert ranked[:2] == [2, 3] and sorted(ranked) == [0, 1, 2, 3]


def test_where_nothing_is_labelled_the_most_ordinary_comes_first():
    assert list(order(points(0, 4, 5, 6, 12), NONE)) == [2, 4, 0, 3, 1]


def test_copies_of_what_is_labelled_come_last():
    assert list(order(points(0, 5), points(0))) == [1, 0]


def test_no_feature_outweighs_another_by_its_unit():
    candidates = np.array([[0, 0], [900, 0], [600, 3]], dtype=np.float32)
    assert list(order(candidates, candidates[:1])) == [2, 1, 0]


def test_nothing_to_order_and_features_that_never_vary_are_no_error():
    assert sorted(order(points(3, 3), NONE)) == [0, 1]
    assert list(order(NONE, points(1))) == []


def test_a_batch_out_of_all_candidates_takes_a_moment():
    rng = np.random.default_rng(0)
    candidates, labelled = (rng.standard_normal((n, 256), dtype=np.float32) for n in (8192, 2048))
    begin = time.process_time()
    ranked = order(candidates, labelled)
    assert len({next(ranked) for _ in range(20)}) == 20
    assert time.process_time() - begin < 20
