"""The detector, its windows and its scores; among them a test for each fault of the released code (docs/paper)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lad.dataset import Video
from lad.detector.scoring import score_features
from lad.detector.training_windows import (
    TrainingError,
    TrainingVideo,
    WindowSampler,
    feature_statistics,
    fits_on_device,
)
from lad.events import Event
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models.aed import AED, ConvLSTMCell, detector_from_state, multi_task_loss
from lad.models.linear import LinearDetector, linear_from_state

D = 32


def labelled(
    clips: int,
    events: list[tuple[int, int]],
    n_frames: int | None = None,
    label: int = 0,
    start: float = 0.0,
    crops: int = 1,
    stride: int = 16,
):
    """A video whose features say where they are from: every number of clip `i` is `start + i + 10,000 * crop`."""
    numbers = np.arange(clips, dtype=np.float32) + start + 10_000 * np.arange(crops, dtype=np.float32)[:, None]
    video = Video("v", path=None, events=tuple(Event(*e) for e in events))  # type: ignore[arg-type]
    frames = n_frames or (clips - 1) * stride + 16
    source = VideoFeatures([], None, frames=frames, fps=25, rate=None, stride=stride)
    features = ClipFeatures([np.repeat(numbers[:, :, None], D, axis=2)])
    return TrainingVideo(source, features, video.frame_labels(frames), label)


def one_crop(features: np.ndarray) -> ClipFeatures:
    return ClipFeatures([features[None]])


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
    states = detector.convlstm1(detector.project(x.flatten(0, 1)).unflatten(0, (3, 2)).movedim(2, 0))
    ours = states[:, -1].permute(1, 2, 0).view(2, 8, 4, 4)
    torch.testing.assert_close(ours, hidden)
    gradients = [torch.autograd.grad(one.square().sum(), (weight, bias)) for one in (ours, hidden)]
    torch.testing.assert_close(*gradients)


def test_a_convolution_of_the_papers_size_loses_no_more_digits_than_it_must():
    torch.manual_seed(1)
    cell, maps = ConvLSTMCell(128, 128), torch.randn(9, 128, 4, 4)
    weight, bias = cell.Gates.weight[:, :128].double(), cell.Gates.bias.double()
    exact = torch.nn.functional.conv2d(maps.double(), weight, bias, padding=1)
    ours = cell.project(maps.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).view(9, 512, 4, 4)
    assert (ours - exact).square().mean().sqrt() < 1.5e-6 * exact.std()


@pytest.mark.parametrize("fused", [True, False])
def test_scores_are_those_of_the_weights_as_they_are_now(fused):
    """Inference keeps transformed kernels, which training and loading make worthless."""
    detector, features = small_detector(), one_crop(np.random.default_rng(0).random((20, D), dtype=np.float32))
    before = score_features(detector.eval(), features).clips
    optimizer = torch.optim.Adam(detector.train().parameters(), lr=0.01, fused=fused)
    detector(torch.rand(3, 2, D))[1].sum().backward()
    optimizer.step()
    after = score_features(detector.eval(), features).clips
    fresh = small_detector()
    score_features(fresh.eval(), features)  # keeps the kernels of other weights
    fresh.load_state_dict(detector.state_dict())
    assert not np.allclose(before, after, atol=1e-3)
    assert np.array_equal(score_features(fresh, features).clips, after)


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
    scores = score_features(Echo(5), one_crop(features))  # type: ignore[arg-type]
    assert scores.clips.ravel().tolist() == np.repeat(np.arange(clips), 16).tolist()


@pytest.mark.parametrize("clips", [1, 2, 3, 4, 70])
def test_every_frame_is_scored_once_however_short_the_video(clips):
    """Faults 2, 5: the last window was dropped, and a 1-clip video crashed."""
    features = one_crop(np.random.default_rng(0).normal(size=(clips, D)).astype(np.float32))
    scores = score_features(small_detector(), features)
    assert scores.clips.shape == (clips, 16) and scores.classes.shape == (clips, 4)
    assert ((scores.clips > 0) & (scores.clips < 1)).all()
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
    np.testing.assert_allclose(score_features(detector, one_crop(features)).clips.ravel(), mean, atol=1e-6)
    np.testing.assert_allclose(score_features(detector, one_crop(features), merge="max").clips.ravel(), peak, atol=1e-6)


def test_a_long_video_scores_as_its_parts_do():
    """Blocks of windows must not show: a video longer than a block scores like windows taken one by one."""
    detector, features = small_detector(), np.random.default_rng(5).normal(size=(150, D)).astype(np.float32)
    whole = score_features(detector, one_crop(features)).clips
    # The clips 62..66 stand where one block ends; seven clips around them decide on the middle one.
    part = score_features(detector, one_crop(features[60:70])).clips
    np.testing.assert_allclose(whole[62:68], part[2:8], atol=1e-6)


def test_the_scores_of_crops_are_averaged():
    detector, rng = small_detector(), np.random.default_rng(7)
    features = rng.normal(size=(5, 9, D)).astype(np.float32)
    together = score_features(detector, ClipFeatures([features]))
    each = [score_features(detector, one_crop(crop)) for crop in features]
    np.testing.assert_allclose(together.clips, np.mean([one.clips for one in each], axis=0), atol=1e-6)
    np.testing.assert_allclose(together.classes, np.mean([one.classes for one in each], axis=0), atol=1e-6)


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
    truth = labelled(20, events).frame_labels.reshape(20, 16)
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
    with pytest.raises(TrainingError, match="no training video has an event"):
        WindowSampler([labelled(5, [])], window=2)


def test_every_crop_is_drawn_and_a_window_is_of_one_crop():
    sampler = WindowSampler([labelled(8, [(0, 128)], crops=5)], window=3)
    windows = [batch.features[:, w, 0] for batch in drawn(sampler, 50, abnormal=4, normal=0) for w in range(4)]
    assert {int(window[0]) // 10_000 for window in windows} == set(range(5))
    assert all((window - window[0]).tolist() == [0, 1, 2] for window in windows)


def test_windows_gathered_on_the_device_are_those_of_the_files(monkeypatch):
    videos = [labelled(2, [(0, 27)], crops=2), labelled(9, [(0, 20)], start=100, crops=5), labelled(5, [], start=200)]
    windows = [(0, 0, 0), (0, 0, 1), (1, 0, 4), (1, 5, 0), (2, 1, 0), (1, 3, 2), (2, 0, 0)]
    files = WindowSampler(videos, window=4)
    monkeypatch.setattr("lad.detector.training_windows.fits_on_device", lambda features, device: True)
    device = WindowSampler(videos, window=4)
    assert files.on_device is None and device.on_device is not None
    for name, tensor in vars(files.gather(windows)).items():
        torch.testing.assert_close(getattr(device.gather(windows), name), tensor, rtol=0, atol=0)


def test_features_go_to_a_gpu_of_which_they_take_half_the_free_memory_at_most(monkeypatch):
    features = [labelled(clips, [], crops=2).features for clips in (3, 5)]
    size = 2 * (3 + 5) * D * 4
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 100)  # which torch holds
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 40)  # of that, what is in use
    for free, fits in ((2 * size - 60, True), (2 * size - 61, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert fits_on_device(features, "cuda:0") is fits
    assert not fits_on_device(features, "cpu")


def test_overlapping_clips_carry_the_labels_of_their_own_frames():
    video = labelled(5, [(20, 30)], stride=8)
    assert video.targets[2].tolist() == [0] * 4 + [1] * 10 + [0] * 2, "clip 2 begins at frame 16"
    assert video.targets[1].tolist() == [0] * 12 + [1] * 4


def test_clips_with_gaps_between_them_carry_the_labels_of_their_own_frames():
    video = labelled(3, [(12, 36), (50, 60)], stride=32)
    assert video.targets[0].tolist() == [0] * 12 + [1] * 4
    assert video.targets[1].tolist() == [1] * 4 + [0] * 12, "clip 1 begins at frame 32"
    assert not video.targets[2].any(), "the second event lies between clips"


def test_where_all_events_lie_between_clips_that_is_said():
    with pytest.raises(TrainingError, match=r"extract\.clip_stride=16"):
        WindowSampler([labelled(3, [(50, 60)], stride=32)], window=1)


def test_feature_statistics_are_those_of_all_clips_and_crops():
    rng = np.random.default_rng(0)
    videos = [labelled(clips, [], crops=2) for clips in (1, 7, 30)]
    for video in videos:
        video.features.parts[0][:] = rng.normal(3, 2, video.features.parts[0].shape)
    everything = np.concatenate([video.features.parts[0].reshape(-1, D) for video in videos])
    mean, std = feature_statistics(videos)
    np.testing.assert_allclose(mean, everything.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, everything.std(axis=0), rtol=1e-5)


def test_features_that_are_not_finite_are_named():
    video = labelled(5, [(0, 3)])
    video.features.parts[0][0, 2, 3] = np.nan
    video.source.paths.append("v/feature.npy")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"v/feature\.npy: holds numbers that are not finite"):
        feature_statistics([video])


# The linear detector


def test_the_linear_detector_scores_a_window_by_the_mean_of_its_clips():
    detector = LinearDetector(feature_dim=4, classes=2, window=3).eval()
    with torch.no_grad():
        detector.linear.weight.copy_(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
        detector.feature_mean.fill_(1.0)
        detector.feature_std.fill_(2.0)
    windows = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    logits, scores = detector(windows)
    expected = detector.linear((windows.mean(dim=0) - 1) / 2)
    assert logits.shape == (5, 2) and scores.shape == (5, 48)
    torch.testing.assert_close(logits, expected[:, :2])
    torch.testing.assert_close(scores, torch.sigmoid(expected[:, 2:]).expand(-1, 48))


def test_an_untrained_linear_detector_prefers_nothing():
    logits, scores = LinearDetector(feature_dim=4, classes=3, window=2)(torch.ones(2, 1, 4))
    assert not logits.any() and (scores == 0.5).all()


def test_a_linear_checkpoint_says_its_own_sizes():
    detector = LinearDetector(feature_dim=32, classes=5, window=7)
    again = linear_from_state(detector.state_dict())
    assert (again.feature_dim, again.classes, again.window) == (32, 5, 7)


@pytest.mark.parametrize("clips", [torch.tensor(0), torch.tensor(10**9), torch.tensor(float("nan")), torch.ones(2)])
def test_a_linear_checkpoint_of_a_senseless_size_is_refused(clips):
    state = {**LinearDetector(feature_dim=4, classes=1, window=2).state_dict(), "clips": clips}
    with pytest.raises(ValueError):
        linear_from_state(state)
