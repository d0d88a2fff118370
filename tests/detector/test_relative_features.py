"""`train.adapt: video`: a detector that sees how a clip differs from its video, and not the place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lad.config import load_config
from lad.dataset import Video
from lad.detector.checkpoint import load_checkpoint
from lad.detector.scoring import make_scorer, score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo, open_labelled
from lad.evaluation.metrics import roc_auc
from lad.events import parse_events
from lad.extract.sampling import evenly_spaced
from lad.features import video as video_features
from lad.features.video import ClipFeatures, VideoFeatures

DIM, CLIPS = 6, 30


def test_what_is_usual_in_a_video_is_taken_off_each_crop_by_itself() -> None:
    random = np.random.default_rng(0)
    array = random.normal(size=(2, 9, DIM)).astype(np.float32)
    place = random.normal(size=(2, 1, DIM)).astype(np.float32)
    here, there = (ClipFeatures([one[..., :2], one[..., 2:]]).relative() for one in (array, array + 5 * place))
    for crop in range(2):
        assert np.allclose(here.rows(crop, slice(9)), there.rows(crop, slice(9)), atol=1e-5)
        assert np.allclose(np.median(here.rows(crop, slice(9)), axis=0), 0, atol=1e-6)
        assert np.allclose(here.rows(crop, slice(2, 4)), (array - np.median(array, axis=1)[:, None])[crop, 2:4])


def test_of_a_long_video_evenly_spaced_clips_tell_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_features, "USUAL_CLIPS", 10)
    array = np.arange(25, dtype=np.float32).reshape(1, 25, 1)
    found = ClipFeatures([array]).relative()
    assert found.usual is not None and found.usual.item() == np.median(np.arange(0, 25, 3))


def test_videos_to_learn_from_are_opened_without_what_is_usual_in_them() -> None:
    array = np.random.default_rng(1).normal(3, 1, (1, 5, DIM)).astype(np.float32)
    source = VideoFeatures([], None, frames=80, fps=25)
    source.__dict__["open"] = lambda: ClipFeatures([array])
    video = Video("v", Path("v.mp4"), label="run", events=parse_events("?"))
    (opened,) = open_labelled([video], {"v": source}, ["run"], whole=True, relative=True)
    assert np.allclose(np.median(opened.features.rows(0, slice(5)), axis=0), 0, atol=1e-6)


def in_two_rooms(seed: int, *, relative: bool) -> tuple[list[TrainingVideo], np.ndarray]:
    """Events are all in one room, and all normal videos in another. And which clips of the abnormal videos are events.

    Two features are moved by an event, all are moved by the room, and far more.
    """
    rng, made, events = np.random.default_rng(seed), [], []
    room = np.random.default_rng(0).normal(0, 4, DIM)
    for number in range(40):
        rows = rng.normal(size=(1, CLIPS, DIM))
        event = np.zeros(CLIPS, dtype=bool)
        if number % 2:
            start = rng.integers(0, CLIPS - 5)
            event[start : start + 4] = True
            rows[0, event, :2] += 2.5
            rows += room
            events.append(event)
        features = ClipFeatures([rows.astype(np.float32)])
        source = VideoFeatures([Path("none.npy")], None, CLIPS * 16, 25.0)
        truth = np.full(CLIPS * 16, bool(number % 2))
        made.append(TrainingVideo(source, features.relative() if relative else features, truth, number % 2))
    return made, np.concatenate(events)


def test_labels_of_videos_teach_events_and_not_the_room(tmp_path: Path) -> None:
    def within_videos(*, relative: bool) -> float:
        keys = ["train.detector=mil", "train.learning_rate=0.003", "train.hidden=16", "train.window=3"]
        keys += ["train.steps=150", "train.evaluate_every=150", "train.abnormal_windows=8", "train.normal_windows=8"]
        setup = Setup(load_config(None, keys).train, "mean", ["no", "yes"], "cpu", "today", supervision="videos")
        train, _ = in_two_rooms(0, relative=relative)
        test, event = in_two_rooms(1, relative=relative)
        fit = Fit(setup, tmp_path / str(relative), train, train)
        list(fit.run(150))
        fit.model.eval()
        found = [score_features(fit.model, video.features).clips[:, 0] for video in test[1::2]]
        auc = roc_auc(event, np.concatenate(found))
        assert auc is not None
        return auc

    assert within_videos(relative=True) > 0.9
    assert within_videos(relative=False) < 0.8


def test_a_detector_that_learned_so_scores_so(tmp_path: Path) -> None:
    """The same video in another place has the same scores and is as familiar; of another detector it has not."""
    found = {}
    for adapt in ("none", "video"):
        keys = [f"train.adapt={adapt}", "train.detector=linear", "train.learning_rate=0.05", "train.window=2"]
        config = load_config(None, [*keys, "train.steps=40", "train.evaluate_every=40"])
        setup = Setup(
            config.train, "mean", ["no", "yes"], "cpu", "", config.model_dump(mode="json"), supervision="videos"
        )
        train, _ = in_two_rooms(0, relative=adapt == "video")
        list(Fit(setup, tmp_path / adapt, train, train).run(40))
        scorer = make_scorer(load_checkpoint(tmp_path / adapt / "best.pt"), "cpu")
        rows = np.random.default_rng(2).normal(size=(1, CLIPS, DIM)).astype(np.float32)
        timeline = evenly_spaced(CLIPS * 16, 25.0)
        found[adapt] = [scorer(ClipFeatures([rows + place]), timeline) for place in (0, np.float32(9))]
    (here, there), (raw_here, raw_there) = found["video"], found["none"]
    assert np.allclose(here.frames, there.frames, atol=1e-4) and here.unfamiliar == there.unfamiliar
    assert not np.allclose(raw_here.frames, raw_there.frames, atol=1e-2)
    assert raw_there.unfamiliar == CLIPS
    short = ClipFeatures([np.zeros((1, 2, DIM), dtype=np.float32)])
    scorer = make_scorer(load_checkpoint(tmp_path / "video" / "best.pt"), "cpu")
    assert "2 clips do not tell what is usual in a video" in scorer(short, evenly_spaced(32, 25.0)).warnings[-1]
