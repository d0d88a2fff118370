"""Clips that lie apart (`extract.clip_stride` above 16): what is said of the frames between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import write_detector

from lad.config import load_config
from lad.detector.checkpoint import load_checkpoint
from lad.detector.scoring import make_scorer
from lad.extract.sampling import Timeline
from lad.features.recipe import make_recipe
from lad.features.video import ClipFeatures
from lad.files import fingerprint


def facts_of_motion(*overrides: str) -> str:
    config = load_config(None, ["extract.motion=true", *overrides])
    return fingerprint(make_recipe(config.extract, device="cpu", threads=1).facts("motion"))


def test_motion_of_other_clips_is_another_one() -> None:
    batches = [("extract.context=batch", f"extract.batch_clips={clips}") for clips in (4, 8)]
    apart = {facts_of_motion("extract.clip_stride=32", *words) for words in ((), *batches)}
    assert len(apart) == 3
    assert len({facts_of_motion(*words) for words in ((), *batches)}) == 1, "without gaps they are the same clips"


@pytest.mark.parametrize(("stride", "together"), [(16, 1), (48, 1), (48, 4)])
def test_the_highest_score_is_at_a_frame_that_a_clip_shows(stride: int, together: int, tmp_path: Path) -> None:
    scorer = make_scorer(load_checkpoint(write_detector(tmp_path / "best.pt")), "cpu")
    timeline = Timeline(np.arange(960) / 25, 25.0, None, stride, together)
    clips = 960 // stride
    rows = np.random.default_rng(0).normal(size=(1, clips, 128)).astype(np.float32)
    scores = scorer(ClipFeatures([rows]), timeline)
    assert scores.frames[scores.peak] == scores.frames.max()
    within = scores.peak % (stride * together)
    assert within < 16 * together, "it lies in a clip"


def test_a_clip_counts_once_however_many_frames_it_speaks_for(tmp_path: Path) -> None:
    scorer = make_scorer(load_checkpoint(write_detector(tmp_path / "best.pt")), "cpu")
    rows = np.zeros((1, 20, 128), np.float32)
    for stride in (16, 48):
        timeline = Timeline(np.arange(20 * stride) / 25, 25.0, None, stride, 1)
        assert scorer.get_to_know(ClipFeatures([rows]), timeline).clips == 20
