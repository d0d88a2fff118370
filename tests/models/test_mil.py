"""The MIL detector scores clips in their context, and what stands for a video are its best clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lad.detector.online import PastScorer, join
from lad.detector.scoring import score_features
from lad.features.video import ClipFeatures
from lad.models.mil import MIL, pool_top
from lad.models.registry import build_detector, is_causal

D = 8


def random_detector(window: int = 3, classes: int = 2, *, causal: bool = False) -> MIL:
    torch.manual_seed(0)
    detector = MIL(feature_dim=D, classes=classes, window=window, hidden=16, causal=causal).eval()
    for parameter in detector.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return detector


def clips(count: int, seed: int = 0, crops: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(crops, count, D)).astype(np.float32)


def test_what_fills_up_a_video_changes_nothing() -> None:
    detector, features = random_detector(), torch.from_numpy(clips(20, crops=2))
    features[1, 12:] = 1e3
    real = torch.ones(2, 20, dtype=torch.bool)
    real[1, 12:] = False
    with torch.inference_mode():
        together = detector.by_clip(features, real)
        alone = detector.by_clip(features[1:, :12], real[1:, :12])
        for one, other in zip(pool_top(together[1:], real[1:]), pool_top(alone, real[1:, :12]), strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(together[1, :12], alone[0])


def test_a_clip_is_seen_beside_the_whole_video() -> None:
    detector, features, real = random_detector(), torch.from_numpy(clips(40)), torch.ones(1, 40, dtype=torch.bool)
    with torch.inference_mode():
        before = detector.by_clip(features, real)
        features[0, 39] += 5
        after = detector.by_clip(features, real)
        detector.attention.mix.fill_(-100)  # nothing but what is near
        near = detector.by_clip(features, real)
        features[0, 39] += 5
        near_after = detector.by_clip(features, real)
    assert not torch.allclose(before[0, 0], after[0, 0])
    torch.testing.assert_close(near[0, :30], near_after[0, :30])
    assert not torch.allclose(near[0, 38], near_after[0, 38])


@pytest.mark.parametrize(("length", "k"), [(1, 1), (15, 1), (16, 2), (40, 3)])
def test_the_best_clips_stand_for_a_video(length: int, k: int) -> None:
    by_clip = torch.full((1, 50, 3), 50.0)
    by_clip[0, :length] = torch.stack([torch.arange(length), -torch.arange(length), torch.arange(length)], 1) / 10
    real = torch.arange(50)[None] < length
    score, logits = pool_top(by_clip, real)
    best = torch.arange(length)[-k:] / 10
    torch.testing.assert_close(score[0], torch.sigmoid(best).mean())
    torch.testing.assert_close(logits[0], torch.stack([best.mean(), -best.mean()]))


@pytest.mark.parametrize("length", [1, 2, 255, 256, 257, 700])
def test_every_clip_of_a_video_of_any_length_is_scored(length: int) -> None:
    told: list[float] = []
    found = score_features(random_detector(), ClipFeatures([clips(length)]), on_part=told.append)
    assert found.clips.shape == (length, 16) and ((found.clips > 0) & (found.clips < 1)).all()
    np.testing.assert_allclose(found.classes.sum(axis=1), 1, atol=1e-5)
    assert told[-1] == 1 and found.votes.sum() == len(told)


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_the_pieces_of_a_long_video_are_merged_where_they_overlap(merge: str) -> None:
    detector, features = random_detector(), clips(300)
    pieces = [
        score_features(detector, ClipFeatures([features[:, part]])).clips for part in (slice(256), slice(44, 300))
    ]
    found = score_features(detector, ClipFeatures([features]), merge=merge).clips  # type: ignore[arg-type]
    both = np.stack([pieces[0][44:], pieces[1][:212]])
    np.testing.assert_allclose(found[44:256], getattr(both, merge)(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[:44], pieces[0][:44], atol=1e-6)
    np.testing.assert_allclose(found[256:], pieces[1][212:], atol=1e-6)


def test_the_scores_of_crops_are_averaged() -> None:
    detector, features = random_detector(), clips(9, crops=5)
    together = score_features(detector, ClipFeatures([features]))
    each = [score_features(detector, ClipFeatures([crop[None]])) for crop in features]
    np.testing.assert_allclose(together.clips, np.mean([one.clips for one in each], axis=0), atol=1e-6)
    np.testing.assert_allclose(together.classes, np.mean([one.classes for one in each], axis=0), atol=1e-6)


@pytest.mark.parametrize("length", [30, 250, 300, 600])
def test_a_causal_detector_says_the_same_of_a_clip_whatever_comes_after_it(length: int) -> None:
    detector, features = random_detector(causal=True), clips(700, crops=2)
    whole = score_features(detector, ClipFeatures([features]))
    begun = score_features(detector, ClipFeatures([features[:, :length]]))
    np.testing.assert_allclose(begun.clips, whole.clips[:length], atol=1e-6)
    np.testing.assert_allclose(begun.classes, whole.classes[:length], atol=1e-6)


def test_a_causal_detector_sees_what_came_before_near_and_far() -> None:
    detector = random_detector(window=3, causal=True)
    features = torch.from_numpy(clips(40))
    real = torch.ones(1, 40, dtype=torch.bool)

    def moved(by: int) -> list[int]:
        """The clips of which another thing is said when one is changed."""
        with torch.inference_mode():
            before = detector.by_clip(features, real)
            other = features.clone()
            other[0, by] += 5
            return torch.nonzero((before - detector.by_clip(other, real)).abs().amax(dim=2)[0] > 1e-6).ravel().tolist()

    assert moved(30) == list(range(30, 40)), "far"
    with torch.inference_mode():
        detector.attention.mix.fill_(-100)
    assert moved(30) == [30, 31, 32, 33, 34], "near: itself and two, and the mean over as many"


@pytest.mark.parametrize("at_a_time", [1, 3, 100, 256, 300])
def test_clips_of_a_causal_detector_are_final_as_they_come(at_a_time: int) -> None:
    detector, features = random_detector(causal=True), clips(520, crops=2)
    scorer = PastScorer(detector)
    found = [scorer.add(features[:, first : first + at_a_time]) for first in range(0, 520, at_a_time)]
    assert [len(one.clips) for one in found[:-1]] == [at_a_time] * (len(found) - 1) and not len(scorer.end().clips)
    together = score_features(detector, ClipFeatures([features]))
    np.testing.assert_allclose(join(iter(found)).clips, together.clips, atol=1e-6)
    assert join(iter(found)).votes.sum() == together.votes.sum() == 520


def test_a_causal_detector_is_built_by_its_name() -> None:
    assert is_causal(build_detector("mil_causal", feature_dim=D, classes=2, window=3))
    assert not is_causal(build_detector("mil", feature_dim=D, classes=2, window=3))
