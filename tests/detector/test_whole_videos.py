"""Labels of whole videos teach: which videos are drawn, what a batch holds, and that the event is found by them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.config import load_config
from lad.dataset import Video
from lad.detector.scoring import score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_videos import MAX_CLIPS, VideoSampler
from lad.detector.training_windows import TrainingError, TrainingVideo, open_labelled
from lad.detector.validation import validate_whole
from lad.evaluation.metrics import roc_auc
from lad.events import Event, Reviewed, parse_events
from lad.features.labels import with_review
from lad.features.video import ClipFeatures, VideoFeatures

DIM = 6


def whole(clips: int, abnormal: bool, features: np.ndarray | None = None, known: slice | None = None) -> TrainingVideo:
    """A video whose label stands on each of its frames; by default each clip holds its number."""
    frames = clips * 16
    rows = np.repeat(np.arange(clips, dtype=np.float32)[:, None], DIM, axis=1)[None] if features is None else features
    labelled = None
    if known:
        labelled = np.zeros(frames, dtype=bool)
        labelled[known] = True
    source = VideoFeatures([], None, frames=frames, fps=25)
    return TrainingVideo(source, ClipFeatures([rows]), np.full(frames, abnormal), int(abnormal), labelled)


def test_a_batch_holds_whole_videos_of_both_kinds() -> None:
    batch = VideoSampler([whole(9, True), whole(4, False), whole(5, False)]).draw(2, 3)
    assert batch.features.shape == (5, 9, DIM) and batch.abnormal.tolist() == batch.labels.tolist() == [1, 1, 0, 0, 0]
    for row, real in zip(batch.features, batch.real, strict=True):
        assert row[real, 0].tolist() == list(range(int(real.sum()))) and not row[~real].any()


def test_a_long_video_is_shortened_by_means_of_its_clips() -> None:
    clips = 3 * MAX_CLIPS + 50
    batch = VideoSampler([whole(clips, True), whole(MAX_CLIPS, False)]).draw(1, 1)
    long, exact = batch.features[..., 0]
    assert exact.tolist() == list(range(MAX_CLIPS)), "nothing is left out of one that fits"
    counts = np.diff(np.append(np.arange(MAX_CLIPS) * clips // MAX_CLIPS, clips))
    assert set(counts) == {3, 4}
    np.testing.assert_allclose(np.average(long, weights=counts), (clips - 1) / 2, rtol=1e-5)
    assert (long.diff() > 0).all()


def test_of_crops_side_by_side_in_a_file_the_drawn_one_alone_is_fetched(tmp_path: Path, monkeypatch) -> None:
    clips, crops = MAX_CLIPS + 100, 10
    numbers = np.random.default_rng(0).standard_normal((clips, crops, DIM)).astype(np.float32)
    np.save(tmp_path / "a.npy", numbers)
    source = VideoFeatures([tmp_path / "a.npy"], None, frames=clips * 16, fps=25, layout="clips,crops,dim")
    video = TrainingVideo(source, source.open(), np.full(clips * 16, True), 1)
    fetched = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, size, __: fetched.append((start, size)))
    drawn = VideoSampler([video, whole(4, False)]).draw(1, 1).features[0].numpy()
    starts = np.arange(MAX_CLIPS) * clips // MAX_CLIPS
    means = [np.stack([run.mean(axis=0) for run in np.split(rows, starts[1:])]) for rows in numbers.transpose(1, 0, 2)]
    (crop,) = [crop for crop in range(crops) if (means[crop] == drawn).all()]
    offset, row = np.load(tmp_path / "a.npy", mmap_mode="r").offset, 4 * DIM
    assert sorted(fetched) == [(offset + (clip * crops + crop) * row, row) for clip in range(clips)]


def test_clips_that_nobody_labelled_are_not_drawn() -> None:
    sampler = VideoSampler([whole(9, True, known=slice(32, 64)), whole(4, False), whole(3, False, known=slice(0))])
    batch = sampler.draw(1, 20)
    assert batch.features[0, batch.real[0], 0].tolist() == [2, 3]
    assert batch.real[1:].sum(dim=1).tolist() == [4] * 20, "the other normal one has nothing to show"


@pytest.mark.parametrize(("abnormal", "lacking"), [(True, "normal"), (False, "abnormal")])
def test_videos_of_one_kind_teach_nothing(abnormal: bool, lacking: str) -> None:
    with pytest.raises(TrainingError, match=f"no training video is {lacking}:"):
        VideoSampler([whole(5, abnormal)])


@pytest.mark.parametrize("events", ["?", "40", "40-50"])
def test_the_label_of_a_video_is_all_that_is_read(events: str) -> None:
    source = VideoFeatures([], None, frames=80, fps=25)
    source.__dict__["open"] = lambda: ClipFeatures([np.zeros((1, 5, DIM), dtype=np.float32)])
    video = Video("v", Path("v.mp4"), label="run", events=parse_events(events))
    (opened,) = open_labelled([video], {"v": source}, ["run"], whole=True)
    assert opened.is_abnormal and opened.frame_labels.all()
    seen = with_review(Video("v", Path("v.mp4"), "", "run", reviewed=Reviewed((), (Event(0, 16),), 1)))
    (opened,) = open_labelled([seen], {"v": source}, ["run"], whole=True)
    assert not opened.is_abnormal and opened.known_clips.tolist() == [0]  # type: ignore[union-attr]


def synthetic(seed: int, videos: int = 40) -> tuple[list[TrainingVideo], list[np.ndarray]]:
    """Videos of 30 clips; in half of them three to five clips in a row are moved. And which clips those are."""
    rng, made, moved = np.random.default_rng(seed), [], []
    for number in range(videos):
        features = rng.normal(size=(1, 30, DIM)).astype(np.float32)
        event = np.zeros(30, dtype=bool)
        if number % 2:
            start = rng.integers(0, 25)
            event[start : start + rng.integers(3, 6)] = True
            features[0, event, :2] += 2.5
        made.append(whole(30, bool(number % 2), features))
        moved.append(event)
    return made, moved


@pytest.mark.parametrize(
    ("detector", "located"),
    [("mil", 0.9), ("linear", 0.9), ("mil_causal", 0.85)],  # the last says "still" for `window` clips after an event
)
def test_events_are_found_that_only_the_label_of_their_video_told_of(
    detector: str, located: float, tmp_path: Path
) -> None:
    keys = [f"train.detector={detector}", "train.learning_rate=0.003", "train.hidden=16", "train.window=3"]
    keys += ["train.steps=150", "train.evaluate_every=150", "train.abnormal_windows=8", "train.normal_windows=8"]
    setup = Setup(load_config(None, keys).train, "mean", ["no", "yes"], "cpu", "today", supervision="videos")
    (train, _), (test, moved) = synthetic(0), synthetic(1)
    fit = Fit(setup, tmp_path, train, test)
    (evaluation,) = [one for one in fit.run(150) if one]
    assert evaluation.validation and evaluation.validation.auc and evaluation.validation.auc > 0.95
    assert 0 < (evaluation.validation.threshold or 0) < 1 and (evaluation.validation.slope or 0) > 0
    fit.model.eval()
    found = [score_features(fit.model, video.features) for video in test]
    scores, event = np.stack([one.clips[:, 0] for one in found]), np.stack(moved)
    abnormal = event.any(axis=1)
    assert (roc_auc(event[abnormal].ravel(), scores[abnormal].ravel()) or 0) > located, "where in its video an event is"
    if detector == "mil":  # the category is that of the clips that stand for the video; linear's is of all windows
        categories = [int(one.classes[0].argmax()) for one in found]
        assert np.mean(np.array(categories) == abnormal) > 0.8


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    keys = ["train.detector=mil", "train.hidden=8", "train.dropout=0.5", "train.evaluate_every=2"]
    config = load_config(None, keys)
    made_with = config.model_dump(mode="json")
    setup = Setup(config.train, "mean", ["no", "yes"], "cpu", "today", made_with, supervision="videos")
    train, _ = synthetic(0, videos=8)
    whole_run = Fit(setup, tmp_path / "whole", train, train)
    assert len([one for one in whole_run.run(6) if one]) == 3
    stopped = Fit(setup, tmp_path / "stopped", train, train)
    for _ in stopped.run(2):
        pass
    goes_on = Fit(setup, tmp_path / "stopped", train, train)
    assert goes_on.step == 2 and len([one for one in goes_on.run(6) if one]) == 2
    assert goes_on.history == whole_run.history
    for one, other in zip(goes_on.model.parameters(), whole_run.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_validation_is_of_whole_videos_and_their_labelled_clips() -> None:
    class Echo(torch.nn.Module):
        max_clips, classes, feature_mean = 256, 2, torch.zeros(1)

        def by_clip(self, features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
            return features[..., :3]

    def video(abnormal: bool, *scores: float, known: slice | None = None) -> TrainingVideo:
        rows = np.repeat(np.log(np.array(scores) / (1 - np.array(scores)))[:, None], DIM, axis=1)
        return whole(len(scores), abnormal, rows[None].astype(np.float32), known)

    videos = [video(True, 0.1, 0.8), video(False, 0.3, 0.2), video(False, 0.9, 0.1, known=slice(16, 32))]
    assert validate_whole(Echo(), videos).auc == 1
    assert validate_whole(Echo(), [*videos, video(True, 0.2, 0.25)]).auc == 0.75
