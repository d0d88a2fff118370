"""The detector, its windows and its scores; among them a test for each fault of the released code (docs/paper)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lad.dataset import Event, Video
from lad.models.aed import AED, detector_from_state, multi_task_loss
from lad.pipeline.score import score_features
from lad.pipeline.windows import LabelledFeatures, WindowSampler

D = 32


def labelled(
    clips: int, events: list[tuple[int, int]], n_frames: int | None = None, label: int = 0, start: float = 0.0
):
    """A video whose features say where they are from: every number of clip `i` is `start + i`."""
    features = np.repeat(np.arange(clips, dtype=np.float32)[:, None] + start, D, axis=1)
    video = Video(f"v{start}", path=None, events=tuple(Event(*e) for e in events))  # type: ignore[arg-type]
    return LabelledFeatures(video, features, n_frames or clips * 16, label)


class Echo(torch.nn.Module):
    """Stands for a detector: the score of a frame is the number of the clip that stands there, whatever the window."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.classes = window, 2
        self.feature_mean = torch.zeros(1)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def detect(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = windows[:, :, 0].transpose(0, 1).repeat_interleave(16, dim=1)
        return torch.stack([windows[0, :, 0], -windows[0, :, 0]], dim=1), scores


def small_detector(window: int = 3, layers: int = 2) -> AED:
    torch.manual_seed(1)
    return AED(feature_dim=D, classes=4, window=window, layers=layers, hidden=8).eval()


def test_released_checkpoint_gives_its_golden_outputs(shared_data):
    state = torch.load(shared_data / "golden" / "aed_t_iter_1.pkl", weights_only=True)
    golden = np.load(shared_data / "golden" / "aed_t_outputs.npz")
    detector = detector_from_state(state)
    assert (detector.window, detector.classes, detector.feature_dim) == (5, 14, 2048)
    with torch.inference_mode():
        logits, scores = detector(torch.from_numpy(golden["input"]))
    assert np.abs(logits.numpy() - golden["class_logits"]).max() < 1e-5
    assert np.abs(scores.numpy() - golden["frame_scores"]).max() < 1e-5


def test_convlstm_is_the_textbooks():
    detector = small_detector()
    x, weight, bias = torch.randn(3, 2, D), detector.convlstm1.Gates.weight, detector.convlstm1.Gates.bias
    hidden = cell = torch.zeros(2, 8, 4, 4)
    for step in x.view(3, 2, D // 16, 4, 4):
        i, f, o, g = torch.nn.functional.conv2d(torch.cat([step, hidden], 1), weight, bias, padding=1).chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
    states = detector.convlstm1(detector.project(x.flatten(0, 1)).unflatten(0, (3, 2)))
    torch.testing.assert_close(states[-1], hidden)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("feature_dim", [16, 1024, 2048])
def test_one_and_two_layers_take_any_feature_length_divisible_by_16(layers, feature_dim):
    detector = AED(feature_dim=feature_dim, classes=3, window=2, layers=layers, hidden=4)
    logits, scores = detector(torch.randn(2, 5, feature_dim))
    assert logits.shape == (5, 3) and scores.shape == (5, 32)
    assert detector_from_state(detector.state_dict()).layers == layers


def test_a_feature_length_not_divisible_by_16_is_refused():
    with pytest.raises(ValueError, match="1000 is not divisible by 16"):
        AED(feature_dim=1000, classes=2, window=5)


def test_other_tensors_are_not_a_detector():
    with pytest.raises(ValueError, match="not a detector"):
        detector_from_state({"weight": torch.zeros(3)})


@pytest.mark.parametrize("clips", [1, 2, 4, 5, 6, 40, 200])
def test_windows_of_scoring_are_consecutive_clips(clips):
    """Fault 1: a reshape mixed windows and time, so that window 18 of 40 clips saw clips 6, 14, 18, 26, 34."""
    features = np.repeat(np.arange(clips, dtype=np.float32)[:, None], D, axis=1)
    scores = score_features(Echo(5), features)  # type: ignore[arg-type]
    assert scores.frames.tolist() == np.repeat(np.arange(clips), 16).tolist()


@pytest.mark.parametrize("clips", [1, 2, 3, 4, 70])
def test_every_frame_is_scored_once_however_short_the_video(clips):
    """Faults 2, 5: the last window was dropped, and a 1-clip video crashed."""
    scores = score_features(small_detector(), np.random.default_rng(0).normal(size=(clips, D)).astype(np.float32))
    assert scores.frames.shape == (16 * clips,) and scores.classes.shape == (clips, 4)
    assert ((scores.frames > 0) & (scores.frames < 1)).all()
    np.testing.assert_allclose(scores.classes.sum(axis=1), 1, atol=1e-5)
    assert scores.votes.sum() == max(clips - 3 + 1, 1)


def test_overlapping_windows_are_merged_by_their_mean():
    """Fault 7: a maximum gives frames in the middle more chances of a high score than those at the edges."""
    detector, features = small_detector(), np.random.default_rng(3).normal(size=(6, D)).astype(np.float32)
    with torch.inference_mode():
        windows = torch.stack([torch.from_numpy(features[first : first + 3]) for first in range(4)], dim=1)
        each = detector(windows)[1].view(4, 3, 16).numpy()
    by_clip = [[each[w, clip - w] for w in range(4) if 0 <= clip - w < 3] for clip in range(6)]
    mean, peak = (np.concatenate([merge(rows, axis=0) for rows in by_clip]) for merge in (np.mean, np.max))
    np.testing.assert_allclose(score_features(detector, features).frames, mean, atol=1e-6)
    np.testing.assert_allclose(score_features(detector, features, merge="max").frames, peak, atol=1e-6)


def test_a_long_video_scores_as_its_parts_do():
    """Blocks of windows must not show: a video longer than a block scores like windows taken one by one."""
    detector, features = small_detector(), np.random.default_rng(5).normal(size=(150, D)).astype(np.float32)
    whole = score_features(detector, features).frames.reshape(150, 16)
    # The clips 62..66 stand where one block ends; seven clips around them decide on the middle one.
    part = score_features(detector, features[60:70]).frames.reshape(10, 16)
    np.testing.assert_allclose(whole[62:68], part[2:8], atol=1e-6)


def drawn(sampler: WindowSampler, times: int, abnormal: int = 2, normal: int = 2):
    torch.manual_seed(0)
    return [sampler.draw(abnormal, normal) for _ in range(times)]


def test_every_start_is_drawn_the_last_one_too():
    """Fault 4: the last possible start was never picked."""
    sampler = WindowSampler([labelled(8, [(0, 128)])], window=3)
    starts = {int(w) for batch in drawn(sampler, 100) for w in batch.features[0, :, 0]}
    assert starts == set(range(6))


def test_features_and_labels_of_a_window_belong_together():
    """Fault 3: a second crop attached the labels of the video's beginning to features from elsewhere."""
    events = [(100, 130)]
    sampler = WindowSampler([labelled(20, events), labelled(20, [], start=1000)], window=4)
    truth = labelled(20, events).video.frame_labels(320).reshape(20, 16)
    for batch in drawn(sampler, 50):
        for window in range(4):
            first = int(batch.features[0, window, 0])
            assert batch.features[:, window, 0].tolist() == list(range(first, first + 4))
            expected = truth[first : first + 4].ravel() if first < 1000 else np.zeros(64)
            assert batch.targets[window].tolist() == expected.tolist()


def test_a_batch_is_balanced_and_abnormal_windows_overlap_an_event():
    sampler = WindowSampler([labelled(30, [(200, 210)]), labelled(30, [], start=1000, label=1)], window=5)
    for batch in drawn(sampler, 50, abnormal=3, normal=4):
        assert batch.targets.any(dim=1).tolist() == [True] * 3 + [False] * 4
        assert batch.mask.all()


def test_what_fills_a_short_window_counts_for_nothing():
    """Fault 8: training padded with zeros, testing with the last clip; here both repeat it, and neither counts it."""
    sampler = WindowSampler([labelled(2, [(0, 27)], n_frames=27)], window=4)
    batch = drawn(sampler, 1, abnormal=1, normal=0)[0]
    assert batch.features[:, 0, 0].tolist() == [0, 1, 1, 1]
    assert batch.mask[0].tolist() == [1] * 27 + [0] * 37
    assert batch.targets[0].tolist() == [1] * 27 + [0] * 37
    logits, scores = torch.zeros(1, 2), torch.full((1, 64), 0.5, requires_grad=True)
    loss = multi_task_loss(logits, scores, batch.labels, batch.targets, batch.mask, 0.0, 10.0)
    loss.backward()
    assert scores.grad[0, 27:].abs().max() == 0 and scores.grad[0, :27].abs().min() > 0
    assert loss.item() == pytest.approx(10 * 0.125)


def test_random_numbers_are_one_stream_that_never_repeats_by_epoch():
    """Fault 11: the crops of every epoch were the same."""
    sampler = WindowSampler([labelled(200, [(0, 3200)])], window=5)
    batches = drawn(sampler, 20, abnormal=4, normal=0)
    assert len({tuple(batch.features[0, :, 0].tolist()) for batch in batches}) == 20


def test_training_without_an_event_is_refused():
    with pytest.raises(ValueError, match="no training video has an event"):
        WindowSampler([labelled(5, [])], window=2)
