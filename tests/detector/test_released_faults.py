"""Faults of the released code that the tests of each module would not notice; `docs/reproducing.md` numbers them."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.projects import opened
from helpers.videos import numbered_frame, read_number

from lad.config import Config, load_config
from lad.dataset import COLUMNS, Video
from lad.detector.checkpoint import load_checkpoint
from lad.detector.scoring import score_features
from lad.detector.training_windows import TrainingVideo, WindowBatch, WindowSampler
from lad.detector.validation import validate
from lad.evaluation.results import ScoredVideo, compute_metrics
from lad.events import Event
from lad.extract.readers import open_reader, read_frames
from lad.features.recipe import load_extractor, make_recipe
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models import weights
from lad.models.aed import AED, multi_task_loss

D = 16
SMALL = [
    "data.dataset=dataset.csv",
    "extract={backbone: tiny, streams: [rgb]}",
    "train={window: 3, hidden: 4, abnormal_windows: 2, normal_windows: 2, steps: 6, evaluate_every: 1}",
    "train.learning_rate=1.0e-3",
    "threads=1",
    "device=cpu",
]


class Watched(torch.nn.Module):
    """Stands for a detector that gives each frame its clip's number, and keeps the windows that it is shown."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.classes, self.feature_mean = window, 2, torch.zeros(1)
        self.seen: list[torch.Tensor] = []

    def project(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def detect(self, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(shown.clone())
        first = shown[:, :, 0].transpose(0, 1)
        return torch.stack([first[:, 0], -first[:, 0]], dim=1), first.repeat_interleave(16, dim=1)


def labelled(clips: Sequence[float], events: Sequence[tuple[int, int]], frames: int | None = None) -> TrainingVideo:
    """A video whose clips' features are these numbers."""
    frames = frames or len(clips) * 16
    video = Video("v", Path("v"), events=tuple(Event(*event) for event in events))
    source = VideoFeatures([], None, frames=frames, fps=25, rate=None, stride=16)
    features = np.repeat(np.array(clips, dtype=np.float32)[None, :, None], D, axis=2)
    return TrainingVideo(source, ClipFeatures([features]), video.frame_labels(frames), 0)


# Scoring


def test_validation_counts_last_windows_and_short_videos():
    """Fault 2: frames of the last window, and of videos shorter than K clips, counted for nothing."""
    long = labelled([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9], [(96, 100)], frames=100)  # only its last 4 frames are abnormal
    short = labelled([0.5], [(0, 10)], frames=10)
    assert validate(Watched(5), [long, short]).auc == 1  # type: ignore[arg-type]
    # The short video below the normal frames of the long one: 4 of 14 abnormal frames are still above them.
    low = labelled([0.0], [(0, 10)], frames=10)
    assert validate(Watched(5), [long, low]).auc == pytest.approx(4 / 14)  # type: ignore[arg-type]


def test_the_memory_of_merging_grows_with_the_clips_and_not_with_their_square():
    """Fault 7: a table of windows x frames; this video's would take 255 MB."""
    detector, features = Watched(10), np.zeros((1, 2000, D), dtype=np.float32)
    tracemalloc.start()
    score_features(detector, ClipFeatures([features]))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6
    assert sum(shown.shape[1] for shown in detector.seen) == 1991
    assert max(shown.shape[1] for shown in detector.seen) < 200, "windows go through the detector in blocks"


def test_windows_are_merged_by_their_mean_unless_asked_otherwise():
    """Fault 7: the maximum gives frames in the middle of a video more chances of a high score."""
    assert Config().score.merge == "mean"

    class LouderEachTime(Watched):
        def detect(self, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits, scores = super().detect(shown)
            return logits, torch.arange(shown.shape[1])[:, None].expand_as(scores) / 10

    features = ClipFeatures([np.zeros((1, 4, D), dtype=np.float32)])
    scores = score_features(LouderEachTime(2), features).clips[:, 0]  # type: ignore[arg-type]
    assert scores.tolist() == pytest.approx([0, 0.05, 0.15, 0.2])


def test_a_short_window_is_filled_up_alike_in_training_and_in_scoring():
    """Fault 8: training filled up with zeros, scoring with the last clip."""
    video, detector = labelled([3, 7], [(0, 32)]), Watched(4)
    score_features(detector, video.features)  # type: ignore[arg-type]
    trained = WindowSampler([video], window=4).gather([(0, 0, 0)])
    assert torch.equal(detector.seen[0], trained.features)
    assert trained.features[:, 0, 0].tolist() == [3, 7, 7, 7]


# Videos of one clip, one layer, what is measured


@pytest.mark.parametrize("window", [1, 5])
def test_videos_of_one_clip_can_be_learned_from(window):
    """Fault 5: a video of one clip crashed."""
    sampler = WindowSampler([labelled([1], [(2, 3)], frames=3), labelled([2], [], frames=1)], window=window)
    detector = AED(feature_dim=D, classes=2, window=window, hidden=4)
    batch = sampler.draw(2, 3)
    assert batch.mask.sum(dim=1).tolist() == [3, 3, 1, 1, 1]
    loss = multi_task_loss(*detector(batch.features), batch.labels, batch.targets, batch.mask, 1, 10)
    loss.backward()
    assert bool(torch.isfinite(loss)) and all(bool(torch.isfinite(p.grad).all()) for p in detector.parameters())


# Whole runs on given features -------------------------------------------------------------------------------------

Row = tuple[str, int, str, str, str]  # video, frames, split, label, events


def write_features(root: Path, rows: Sequence[Row], dim: int, seed: int = 0) -> Path:
    """A `dataset.csv` of videos that come as random features, each by its own seed."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, (video, frames, split, label, events) in enumerate(rows):
            numbers = np.random.default_rng([seed, number]).normal(size=(-(-frames // 16), dim))
            np.save(root / f"{video}.npy", numbers.astype(np.float32))
            writer.writerow([video, f"{video}.npy", split, label, events, frames, 25, ""])
    return root


def run_lad(root: Path, work: Path, stages: Sequence[str], *more: str) -> None:
    config = load_config(None, [*SMALL, f"data.root={root}", *more])
    with opened(config, work) as run:
        for result in run.run(*stages):
            assert not result.failed, result.failed


SHORT_AND_LONG: list[Row] = [
    ("train_1_clip", 9, "train", "fire", "0-5"),
    ("train_2_clips", 20, "train", "panic", "4-20"),
    ("train_normal", 100, "train", "panic", ""),
    ("val_1_clip", 16, "val", "fire", ""),
    ("val_long", 130, "val", "fire", "100-130"),
    ("test_1_clip", 10, "test", "fire", "2-8"),
    ("test_2_clips", 17, "test", "fire", "16-17"),
    ("test_long", 103, "test", "fire", "0-16;90-103"),
]


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory) -> Path:
    """A run of the one-layer detector on features as long as I3D's; the test videos are abnormal, all `fire`."""
    root = write_features(tmp_path_factory.mktemp("features"), SHORT_AND_LONG, 2048)
    work = tmp_path_factory.mktemp("work")
    more = ["extract={backbone: i3d, streams: [rgb, flow]}", "train.detector=aed", "train.window=5"]
    more += ["data.classes=[crash, fire, panic]", "train.steps=2"]
    run_lad(root, work, ["extract", "train", "score", "evaluate"], *more)
    return work


@pytest.fixture(scope="module")
def measured(one_layer) -> dict[str, Any]:
    """Its `metrics.json`."""
    return json.loads((one_layer / "metrics.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word}"))


@pytest.mark.slow
def test_one_layer_goes_from_i3d_features_to_metrics(one_layer, measured):
    """Fault 6: one layer crashed on I3D features."""
    state = load_checkpoint(one_layer / "checkpoints" / "best.pt").model
    assert state["convlstm1.Gates.weight"].shape[1] == 2048 // 16 + 4 and "convlstm2.Gates.weight" not in state
    assert measured["protocol"]["detector"] == "aed"
    assert 0 <= measured["auc"] <= 1


@pytest.mark.slow
def test_every_frame_of_every_test_video_is_measured(measured):
    """Faults 2, 5: what was shorter than K clips, or stood in a padded window, was left out, or crashed."""
    assert measured["frames"] == 10 + 17 + 103
    assert measured["anomalous_frames"] == 6 + 1 + 16 + 13
    assert measured["protocol"]["left_out"] == []


@pytest.mark.slow
def test_absent_classes_keep_their_place_and_what_is_undefined_has_a_reason(measured):
    """Fault 12: the confusion matrix shrank, and the false-alarm rate was NaN without normal videos."""
    matrix = np.array(measured["confusion"]["matrix"])
    assert measured["confusion"]["classes"] == ["crash", "fire", "panic"]
    assert matrix.shape == (3, 3) and matrix.sum(axis=1).tolist() == [0, 3, 0]
    assert measured["far_normal"] is None
    assert measured["undefined"]["far_normal"] == "no test video is normal"
    assert measured["classes"]["crash"] == {"videos": 0} | dict.fromkeys(("recall", "auc", "ap", "auc_against_normal"))


def scored(predicted: int, votes: Sequence[int]) -> ScoredVideo:
    """A normal video of category 0."""
    nothing = np.zeros(4)
    return ScoredVideo(Video("v", Path("v")), nothing > 0, nothing, 1.0, (0,), predicted, np.array(votes), nothing)


def test_a_long_video_weighs_no_more_than_a_short_one_in_its_category():
    """Fault 9: the only accuracy was that of windows, of which a long video has most."""
    metrics = compute_metrics([scored(1, [0, 97])] + [scored(0, [1, 0])] * 3, ["a", "b"], 0.5)
    assert metrics["accuracy_video"] == pytest.approx(3 / 4)
    assert metrics["accuracy_window"] == pytest.approx(3 / 100)


def test_classes_that_nothing_has_or_is_taken_for_stand_in_the_confusion_matrix():
    """Fault 12: it had the size of the classes that occur."""
    metrics = compute_metrics([scored(0, [1, 0, 0])] * 2 + [scored(1, [0, 1, 0])], ["a", "b", "c"], 0.5)
    assert metrics["confusion"] == {"classes": ["a", "b", "c"], "matrix": [[2, 1, 0], [0, 0, 0], [0, 0, 0]]}


# Training

VIDEOS: list[Row] = [
    *(
        (f"{split}_{n}", 80 + 10 * n, split, "street", "16-50" if n % 2 else "")
        for split in ("train", "test")
        for n in range(6)
    ),
]
TURNED: list[Row] = [row if row[2] == "train" else (*row[:4], "" if row[4] else "30-70") for row in VIDEOS]


def assert_same(one: object, other: object) -> None:
    """Equal to the bit, tensors within dicts and lists included."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["validation", "cross-validation"])
def test_other_test_videos_choose_the_same_checkpoint(selection, tmp_path):
    """Fault 10: the best checkpoint on the test videos was kept. Here their labels and features change nothing."""
    root = write_features(tmp_path / "a", VIDEOS, 128)
    turned = write_features(tmp_path / "b", TURNED, 128)
    for row in TURNED:
        if row[2] == "test":
            np.save(turned / f"{row[0]}.npy", -7 * np.load(root / f"{row[0]}.npy"))
    more = [f"train.selection={selection}", "train.folds=2"]
    run_lad(root, tmp_path / "1", ["train"], *more)
    run_lad(turned, tmp_path / "2", ["train"], *more)
    run_lad(turned, tmp_path / "3", ["train"], *more, "protocol.released=true")
    first, *others = (load_checkpoint(tmp_path / work / "checkpoints" / "best.pt") for work in "123")
    for other in others:
        assert (first.step, first.threshold) == (other.step, other.threshold)
        assert_same(dict(first.model), dict(other.model))
    assert "test_auc" not in first.metrics and "test_auc" in others[1].metrics


@pytest.fixture
def drawn(monkeypatch) -> Callable[..., list[torch.Tensor]]:
    """Train; returns the first clip of every window of each batch drawn. `stop` interrupts at that batch."""
    draw = WindowSampler.draw

    def train(root: Path, work: Path, *more: str, stop: int | None = None) -> list[torch.Tensor]:
        batches: list[torch.Tensor] = []

        def watched(self: WindowSampler, abnormal: int, normal: int) -> WindowBatch:
            if len(batches) == stop:
                raise KeyboardInterrupt
            batch = draw(self, abnormal, normal)
            batches.append(batch.features.clone())
            return batch

        monkeypatch.setattr(WindowSampler, "draw", watched)
        if stop is None:
            run_lad(root, work, ["train"], *more)
        else:
            with pytest.raises(KeyboardInterrupt):
                run_lad(root, work, ["train"], *more)
        return batches

    return train


def test_a_stopped_training_goes_on_with_its_optimizer_and_its_random_numbers(drawn, tmp_path):
    """Fault 10: checkpoints held no optimizer, and nothing was resumed."""
    root = write_features(tmp_path / "videos", VIDEOS, 128)
    more = ["train.evaluate_every=2", "train.dropout=0.5"]
    undisturbed = drawn(root, tmp_path / "1", *more)
    assert len(drawn(root, tmp_path / "2", *more, stop=5)) == 5
    assert load_checkpoint(tmp_path / "2/checkpoints/last.pt").step == 4
    resumed = drawn(root, tmp_path / "2", *more)
    assert len(undisturbed) == 6 and len(resumed) == 2
    assert_same(resumed, undisturbed[4:])
    for name in ("last.pt", "best.pt"):
        one, other = (vars(load_checkpoint(tmp_path / work / "checkpoints" / name)) for work in "12")
        assert one["optimizer"]["state"][0]["step"] == one["step"]
        for part in ("model", "optimizer", "rng", "history", "step", "threshold"):
            assert_same(one[part], other[part])


def test_no_batch_of_a_training_comes_again(drawn, tmp_path):
    """Fault 11: the crops of every epoch were the same. Evaluating in between must not set the numbers back."""
    root = write_features(tmp_path / "videos", [(v, 20 * n, s, c, e) for v, n, s, c, e in VIDEOS], 128)
    batches = drawn(root, tmp_path / "work")
    assert len({batch.numpy().tobytes() for batch in batches}) == 6


# Features


class MeanPixels(torch.nn.Module):
    """A feature network whose features are what it is given, averaged: one number a channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3, 4))


def test_by_default_pixels_are_scaled_and_both_directions_of_flow_are_seen(monkeypatch):
    """Fault 13: raw 0..255 input, and the horizontal flow in both channels."""
    monkeypatch.setattr(weights, "load", lambda name, *, backbone, stream, seed: MeanPixels())
    config = load_config(None, ["extract.streams=[rgb, flow]", "device=cpu", "threads=1"])
    extractor = load_extractor(make_recipe(config.extract, device="cpu", threads=1))
    white, black = (np.full((1, 16, 224, 224, 3), value, np.uint8) for value in (255, 0))
    assert extractor("rgb", white) == pytest.approx(np.ones((1, 3)), abs=1e-4)
    assert extractor("rgb", black) == pytest.approx(-np.ones((1, 3)), abs=1e-4)
    motion = np.full((1, 16, 224, 224, 2), (10, -5), np.float32)
    assert extractor("flow", motion) == pytest.approx(np.array([[0.5, -0.25]]), abs=1e-4)
    assert config.extract.tail == "pad"


def test_frames_stand_in_the_order_of_their_whole_number(tmp_path):
    """Fault 13: names were sorted by their last five digits, so that frame 100,000 came before frame 99,999."""
    names = ["7", "00012", "99998", "99999", "100000", "100001", "200000", "1000000"]
    for number, name in enumerate(names):
        cv2.imwrite(str(tmp_path / f"{name}.png"), numbered_frame(number, (64, 48))[..., ::-1])
    frames = read_frames(open_reader(tmp_path))
    assert [read_number(frame) for frame in frames] == list(range(len(names)))
