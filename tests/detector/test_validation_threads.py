"""Held-out videos are scored side by side on a CPU, and nobody can tell that from the scores."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lad.detector.scoring import score_features
from lad.detector.training_windows import TrainingVideo
from lad.detector.validation import scores_of
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models.aed import AED
from lad.models.linear import LinearDetector

DIM = 32


class Foreign(LinearDetector):
    """A detector from outside, which notes who asks it."""

    asked_by: set[str]

    def project(self, features: torch.Tensor) -> torch.Tensor:
        self.asked_by.add(threading.current_thread().name)
        return super().project(features)


@pytest.fixture
def videos() -> list[TrainingVideo]:
    numbers = np.random.default_rng(0)
    found = []
    for clips in (90, 3, 40, 17, 1):
        features = ClipFeatures([numbers.random((1, clips, DIM), dtype=np.float32)])
        source = VideoFeatures([], None, frames=clips * 16, fps=25)
        found.append(TrainingVideo(source, features, np.zeros(clips * 16, dtype=bool), 0))
    return found


@pytest.fixture
def detector() -> AED:
    torch.manual_seed(0)
    return AED(feature_dim=DIM, classes=3, window=5, hidden=16)


def test_scores_do_not_depend_on_the_number_of_threads(detector: AED, videos: list[TrainingVideo]) -> None:
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = scores_of(detector, videos)
    finally:
        torch.set_num_threads(before)
    assert detector.training
    detector.eval()
    for one, two, three, video in zip(*found.values(), videos, strict=True):
        alone = score_features(detector, video.features)
        assert np.array_equal(one.clips, two.clips) and np.array_equal(one.clips, three.clips)
        assert one.clips == pytest.approx(alone.clips, abs=1e-6) and one.classes == pytest.approx(
            alone.classes, abs=1e-6
        )


def test_torch_has_as_many_threads_as_before(detector: AED, videos: list[TrainingVideo]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        scores_of(detector, videos)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_a_detector_from_outside_is_asked_by_one_thread(videos: list[TrainingVideo]) -> None:
    foreign = Foreign(feature_dim=DIM, classes=3, window=5)
    foreign.asked_by = set()
    scores_of(foreign, videos)
    assert foreign.asked_by == {threading.current_thread().name}
