"""Scores while clips come are those of the whole video."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.detector.online import CausalScorer, ClipScores, FrameSpread, WindowScorer, join
from lad.detector.scoring import score_features
from lad.extract.sampling import Timeline, clip_start, clip_starts, nearest_sampled, sample_indices
from lad.features.video import ClipFeatures
from lad.models.aed import AED
from lad.models.linear import LinearDetector

DIM, CLASSES = 32, 3


def detector(kind: str, window: int) -> AED | LinearDetector:
    torch.manual_seed(0)
    made = (AED if kind == "aed" else LinearDetector)(feature_dim=DIM, classes=CLASSES, window=window, hidden=4)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def features(clips: int, crops: int = 1) -> np.ndarray:
    return np.random.default_rng(clips).normal(size=(crops, clips, DIM)).astype(np.float32)


def in_parts(scorer: WindowScorer | CausalScorer, rows: np.ndarray, sizes: list[int]) -> list[ClipScores]:
    found, first = [], 0
    for size in [*sizes, rows.shape[1]]:
        if part := min(size, rows.shape[1] - first):
            found.append(scorer.add(rows[:, first : first + part]))
            first += part
    return [*found, scorer.end()]


@settings(deadline=None, max_examples=40)
@given(
    clips=st.integers(1, 90),
    window=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 8), max_size=12),
    merge=st.sampled_from(["mean", "max"]),
    crops=st.sampled_from([1, 2]),
    kind=st.sampled_from(["aed", "linear"]),
)
def test_clips_that_come_in_parts_get_the_scores_of_the_whole(
    clips: int, window: int, sizes: list[int], merge: str, crops: int, kind: str
) -> None:
    made, rows = detector(kind, window), features(clips, crops)
    whole = score_features(made, ClipFeatures([rows]), merge=merge)  # type: ignore[arg-type]
    found = join(iter(in_parts(WindowScorer(made, merge), rows, sizes)))  # type: ignore[arg-type]
    assert found.clips.shape == whole.clips.shape == (clips, 16)
    np.testing.assert_allclose(found.clips, whole.clips, atol=1e-6)
    np.testing.assert_allclose(found.classes, whole.classes, atol=1e-6)
    assert found.votes.sum() == whole.votes.sum() == max(clips - window + 1, 1)


def test_a_clips_scores_come_with_the_k_minus_1_th_clip_after_it() -> None:
    scorer = WindowScorer(detector("linear", 3))
    given = [len(scorer.add(features(1)).clips) for _ in range(5)]
    assert given == [0, 0, 1, 1, 1]
    assert len(scorer.end().clips) == 2


def test_causal_scores_come_at_once_and_clips_to_come_do_not_move_them() -> None:
    made, rows = detector("aed", 3), features(12)
    one_by_one = in_parts(CausalScorer(made), rows, [1] * 12)
    assert [len(part.clips) for part in one_by_one] == [1] * 12 + [0]
    at_once = CausalScorer(made).add(rows)
    np.testing.assert_allclose(join(iter(one_by_one)).clips, at_once.clips, atol=1e-6)
    np.testing.assert_allclose(CausalScorer(made).add(rows[:, :7]).clips, at_once.clips[:7], atol=1e-6)


@settings(deadline=None, max_examples=400)
@given(
    frames=st.integers(1, 200),
    fps=st.sampled_from([10.0, 25.0, 29.97]),
    rate=st.sampled_from([None, 8.0, 25.0, 40.0]),
    stride=st.integers(1, 40),
    together=st.integers(1, 3),
    tail=st.sampled_from(["pad", "drop"]),
    batch=st.integers(1, 5),
    late=st.integers(0, 3),
    jitter=st.booleans(),
)
def test_frames_that_come_with_their_clips_get_the_scores_of_the_whole(
    frames: int,
    fps: float,
    rate: float | None,
    stride: int,
    together: int,
    tail: str,
    batch: int,
    late: int,
    jitter: bool,
) -> None:
    random = np.random.default_rng(frames)
    times = np.arange(frames) / fps + (random.uniform(0, 0.4 / fps, frames) if jitter else 0)
    times -= times[0]
    sampled = len(sample_indices(times, fps, rate))
    clips = len(clip_starts(sampled, stride, tail, together))  # type: ignore[arg-type]
    if not clips:
        return
    scores = random.uniform(size=(clips, 16)).astype(np.float32)
    classes = random.uniform(size=(clips, CLASSES)).astype(np.float32)
    timeline = Timeline(times, fps, rate, stride, together)
    places, spread, found = nearest_sampled(times, rate), FrameSpread(stride, CLASSES, together), []
    given = 0
    for first in range(0, clips + late, batch):  # scores come `late` clips after their frames
        known = int(np.searchsorted(places, min(clip_start(first + batch, stride, together), sampled)))
        part = slice(max(first - late, 0), max(first + batch - late, 0))
        found.append(spread.add(scores[part], classes[part], times[given:known], places[given:known]))
        given = known
    rest = slice(max(first + batch - late, 0), None)
    found.append(spread.add(scores[rest], classes[rest], times[:0], places[:0]))
    found.append(spread.end(times[given:], places[given:], sampled))
    np.testing.assert_allclose(np.concatenate([one.times for one in found]), times)
    np.testing.assert_allclose(np.concatenate([one.scores for one in found]), timeline.by_frame(scores), atol=1e-9)
    np.testing.assert_array_equal(
        np.concatenate([one.classes for one in found]), classes[timeline.clip_of_frame(clips)]
    )


def test_after_lost_clips_the_frames_before_the_first_clip_have_its_score() -> None:
    spread, clips = FrameSpread(32, CLASSES), np.repeat([[0.25], [0.75]], 16, axis=1).astype(np.float32)
    places = np.arange(-16, 48)  # those of the gap before it come with it
    found = spread.add(clips, np.ones((2, CLASSES), np.float32), places / 25, places)
    assert found.scores.tolist() == [0.25] * 40 + [0.75] * 24


def test_what_waits_does_not_grow_with_the_stream() -> None:
    spread = FrameSpread(16, CLASSES)
    for clip in range(500):
        places = np.arange(clip * 16, clip * 16 + 16)
        given = spread.add(np.ones((1, 16), np.float32), np.ones((1, CLASSES), np.float32), places / 25, places)
        assert len(given) == 16
    assert len(spread._sums) <= 32
    assert len(spread._times) == 0


@pytest.mark.parametrize("clips", [0, 1])
def test_a_stretch_that_ends_at_once_gives_what_there_is(clips: int) -> None:
    scorer = WindowScorer(detector("linear", 3))
    if clips:
        scorer.add(features(1))
    assert len(scorer.end().clips) == clips
    assert len(FrameSpread(16, CLASSES).end(np.zeros(0), np.zeros(0, np.int64), 0)) == 0
