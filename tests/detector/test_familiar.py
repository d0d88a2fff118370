"""Clips that are unlike all that a detector was trained on: they are counted, and lower the confidence of events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.detectors import write_detector

from lad.detector import familiar
from lad.detector.calibration import Calibration
from lad.detector.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from lad.detector.familiar import SHARE, Familiar, distances, familiar_of, limit_of
from lad.detector.scoring import Scorer
from lad.extract.sampling import evenly_spaced
from lad.features.video import ClipFeatures
from lad.models.linear import LinearDetector

DIM = 16


def rows(clips: int, seed: int = 0, away: float = 0.0) -> np.ndarray:
    """`(1, clips, D)` features around `away`."""
    return np.random.default_rng(seed).normal(away, 1, (1, clips, DIM)).astype(np.float32)


@pytest.fixture
def detector() -> LinearDetector:
    model = LinearDetector(feature_dim=DIM, classes=1, window=1)
    model.feature_std.fill_(0.99)  # of features that are standardised
    return model.eval()


def test_nearly_all_clips_of_held_out_videos_are_familiar(detector: LinearDetector) -> None:
    held_out = [ClipFeatures([rows(500, seed)]) for seed in range(4)]
    tell = familiar_of(detector, limit_of(detector, held_out))
    assert tell is not None
    known = np.concatenate([tell(one) == 1 for one in held_out])
    assert known.mean() == pytest.approx(SHARE, abs=1e-3)


def test_a_clip_is_the_less_familiar_the_further_it_is(detector: LinearDetector) -> None:
    tell = familiar_of(detector, limit_of(detector, [ClipFeatures([rows(500)])]))
    assert tell is not None
    near, far, further = (tell(ClipFeatures([rows(1, away=away)]))[0] for away in (0, 5, 20))
    assert near == 1 > far > further > 0


def test_crops_are_looked_at_together_and_long_videos_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = Familiar(np.zeros(DIM), np.ones(DIM), 1.0)
    crops = ClipFeatures([np.concatenate([rows(10, 0), rows(10, 1)])])
    whole = distances(crops, tell.mean, tell.std)
    each = [distances(ClipFeatures([rows(10, seed)]), tell.mean, tell.std) for seed in (0, 1)]
    assert np.allclose(whole, np.mean(each, axis=0))
    monkeypatch.setattr(familiar, "CLIPS_A_BLOCK", 3)
    assert np.array_equal(distances(crops, tell.mean, tell.std), whole)


def test_features_that_are_not_standardised_say_nothing(detector: LinearDetector) -> None:
    detector.feature_std.fill_(1.0)
    assert limit_of(detector, [ClipFeatures([rows(5)])]) is None and familiar_of(detector, 2.0) is None
    assert familiar_of(detector, None) is None


def test_features_that_are_all_alike_say_nothing(detector: LinearDetector) -> None:
    assert limit_of(detector, [ClipFeatures([np.zeros((1, 5, DIM), np.float32)])]) is None


def test_unfamiliar_clips_are_counted_and_lower_the_confidence_of_their_events(detector: LinearDetector) -> None:
    with torch.no_grad():
        detector.linear.weight[-1, 0] = 9.0
    events = rows(9, away=0.0)
    events[0, :, 0] = [-3, 3, -3, -3, 3, -3, -3, -3, -3]  # the second and the fifth clip
    events[0, 4, 1:] += 9
    scorer = Scorer(
        detector, Calibration(), 0.5, ["event"], "mean", familiar=Familiar(np.zeros(DIM), np.ones(DIM), 2.0)
    )
    found = scorer(ClipFeatures([events]), evenly_spaced(9 * 16, 25.0))
    first, second = found.events
    assert first.confidence == 1 and second.confidence is not None and second.confidence < 0.5
    assert found.unfamiliar == 1 and not found.warnings  # which may be chance
    events[0, 7, 1:] += 9
    found = scorer(ClipFeatures([events]), evenly_spaced(9 * 16, 25.0))
    assert found.unfamiliar == 2 and any("2 of 9 clips are unfamiliar" in line for line in found.warnings)
    few = scorer(ClipFeatures([np.concatenate([events] + [rows(9) * 0.1] * 3, axis=1)]), evenly_spaced(36 * 16, 25.0))
    assert few.unfamiliar == 2 and not few.warnings, "a few unfamiliar clips are in every video"
    unknown = replace(scorer, familiar=None)(ClipFeatures([events]), evenly_spaced(9 * 16, 25.0))
    assert unknown.unfamiliar is None and unknown.events[0].confidence is None and not unknown.warnings


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan"), "far"])
def test_a_distance_that_cannot_be_meant_is_refused(tmp_path: Path, limit: object) -> None:
    checkpoint = load_checkpoint(write_detector(tmp_path / "best.pt"))
    save_checkpoint(tmp_path / "odd.pt", replace(checkpoint, familiar=limit))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(tmp_path / "odd.pt")
