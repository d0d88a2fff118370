"""Frames of which nobody knows what they show count for nothing, in training and in validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lad.detector.training_windows import TrainingVideo, WindowSampler, feature_statistics
from lad.detector.validation import validate
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models.aed import UNKNOWN_CATEGORY, multi_task_loss
from lad.models.linear import LinearDetector

CLIPS, DIM = 10, 4


def video(labelled: slice | None, event: slice = slice(0, 0), label: int = 0, elsewhere: float = 0.0) -> TrainingVideo:
    """A video whose unlabelled clips hold `elsewhere` and the labelled ones 1."""
    frames = CLIPS * 16
    truth, known = np.zeros(frames, dtype=bool), None
    features = np.ones((1, CLIPS, DIM), dtype=np.float32)
    truth[event] = True
    if labelled is not None:
        known = np.zeros(frames, dtype=bool)
        known[labelled] = True
        features[0, ~known.reshape(CLIPS, 16).any(axis=1)] = elsewhere
    source = VideoFeatures([], None, frames=frames, fps=25)
    return TrainingVideo(source, ClipFeatures([features]), truth, label, known)


def test_only_windows_with_a_labelled_frame_are_drawn():
    sampler = WindowSampler([video(slice(64, 80)), video(slice(32, 40), slice(32, 40))], 2)
    assert [(index, starts.tolist()) for index, starts in sampler.normal_starts] == [(0, [3, 4])]
    assert [(index, starts.tolist()) for index, starts in sampler.abnormal_starts] == [(1, [1, 2])]


def test_the_loss_asks_nothing_of_unlabelled_frames():
    sampler = WindowSampler([video(slice(40, 56), slice(40, 48))], 2)
    batch = sampler.gather([(0, 2, 0)])  # frames 32 to 63
    assert batch.mask[0].nonzero().flatten().tolist() == list(range(8, 24))
    assert batch.targets[0].nonzero().flatten().tolist() == list(range(8, 16))


def test_statistics_are_of_labelled_clips():
    odd = [video(slice(0, 16), elsewhere=elsewhere) for elsewhere in (0.0, 1e9)]
    first, second = (feature_statistics([one, video(None)]) for one in odd)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_video_without_gaps_gives_the_same_numbers_as_before():
    whole, said = video(None, slice(3, 90)), video(slice(0, CLIPS * 16), slice(3, 90))
    assert np.array_equal(whole.mask, said.mask) and np.array_equal(whole.targets, said.targets)
    assert all(map(torch.equal, feature_statistics([whole]), feature_statistics([said])))


def test_validation_is_of_labelled_frames():
    model = LinearDetector(feature_dim=DIM, classes=2, window=1)
    torch.nn.init.ones_(model.linear.weight)
    # An unlabelled clip scores highest, and would be a false alarm.
    right = [video(slice(0, 16), elsewhere=9.0), video(slice(0, 16), slice(0, 16), elsewhere=-9.0)]
    right[1].features.parts[0][:, 0] = 2.0
    assert validate(model, right).auc == 1.0


def test_videos_of_which_no_frame_is_labelled_validate_nothing():
    model = LinearDetector(feature_dim=DIM, classes=2, window=1)
    found = validate(model, [video(slice(0, 0))])
    assert (found.auc, found.threshold, found.score_loss) == (None, None, None)


@pytest.mark.parametrize("labels", [[0, 1, UNKNOWN_CATEGORY], [UNKNOWN_CATEGORY] * 3])
def test_a_window_without_a_category_teaches_none(labels):
    torch.manual_seed(0)
    logits = torch.randn(3, 2, requires_grad=True)
    scores, ones = torch.full((3, 16), 0.5), torch.ones(3, 16)
    loss = multi_task_loss(logits, scores, torch.tensor(labels), ones, ones, 1.0, 0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits.grad[torch.tensor(labels) == UNKNOWN_CATEGORY].any()
    known = torch.tensor(labels) != UNKNOWN_CATEGORY
    if known.any():
        wanted = torch.nn.functional.cross_entropy(logits[known], torch.tensor(labels)[known])
        torch.testing.assert_close(loss, wanted)


def test_the_loss_of_windows_with_categories_is_bit_for_bit_that_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 14, requires_grad=True), torch.randint(14, (60,))
    scores, ones = torch.full((60, 16), 0.5), torch.ones(60, 16)
    (ours,) = torch.autograd.grad(multi_task_loss(logits, scores, labels, ones, ones, 0.3, 0.0), logits)
    (theirs,) = torch.autograd.grad(0.3 * torch.nn.functional.cross_entropy(logits, labels), logits)
    assert torch.equal(ours, theirs)
