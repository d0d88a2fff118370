"""Intervals grow around clicks: as far as an event goes, by what other videos teach, and not by what validates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.config import TrainConfig
from lad.dataset import Video
from lad.detector.training import Fit, Setup
from lad.detector.training_clicks import grow
from lad.detector.training_windows import TrainingError, TrainingVideo, open_labelled
from lad.events import Click, parse_events
from lad.features.video import ClipFeatures, VideoFeatures

DIM, CLIPS = 16, 20
CONFIG = TrainConfig(detector="linear", window=1, abnormal_windows=4, normal_windows=4, learning_rate=1e-2)
SIGNAL = np.linspace(1.0, 3.0, DIM)  # what the clips of an event have more


def features(name: str, events: Sequence[tuple[int, int]], crops: int = 1) -> np.ndarray:
    """`(crops, clips, DIM)` noise, and a signal in the clips of the events."""
    rng = np.random.default_rng([*name.encode()])
    rows = rng.normal(0, 0.5, (crops, CLIPS, DIM)) + rng.normal(0, 1, DIM)  # each video has a level of its own
    for start, end in events:
        rows[:, start:end] += SIGNAL
    return rows.astype(np.float32)


def clicked(name: str, events: Sequence[tuple[int, int]], *clicks: int, crops: int = 1) -> TrainingVideo:
    """A video with events in clips, on which somebody clicked in the middle of these clips; none: it is normal."""
    frames = np.zeros(CLIPS * 16, dtype=bool)
    places = tuple(16 * clip + 8 for clip in clicks)
    frames[list(places)] = True
    source = VideoFeatures([Path(f"{name}.npy")], None, frames=len(frames), fps=25)
    labelled = frames.copy() if clicks else None
    rows = features(name, events, crops)
    return TrainingVideo(source, ClipFeatures([rows]), frames, int(bool(clicks)), labelled, places, name)


def events_in(video: TrainingVideo) -> list[int]:
    """The clips that are labelled as abnormal."""
    assert not video.clicks, "clips are labelled now"
    return np.flatnonzero(video.targets.all(axis=1)).tolist()


def some(abnormal: int = 6, normal: int = 6) -> list[TrainingVideo]:
    """Videos whose events last 6 clips and are clicked in another place each, and normal ones."""
    events = [clicked(f"a{n}", [(4 + n, 10 + n)], 4 + n + n % 6) for n in range(abnormal)]
    return [*events, *(clicked(f"n{n}", []) for n in range(normal))]


def test_an_interval_grows_over_its_event_and_not_beyond() -> None:
    train = some()
    grown, _ = grow(train, [], CONFIG, "cpu")
    assert [events_in(one) for one in grown[:6]] == [list(range(4 + n, 10 + n)) for n in range(6)]
    assert all(one is other for one, other in zip(grown[6:], train[6:], strict=True)), "normal ones stay as they are"


def test_each_click_of_a_video_has_an_interval_of_its_own() -> None:
    train = [*some(), clicked("two", [(0, 3), (15, 20)], 1, 19)]
    grown, _ = grow(train, [], CONFIG, "cpu")
    assert events_in(grown[-1]) == [0, 1, 2, 15, 16, 17, 18, 19], "up to both ends of the video"


def test_only_the_lowest_clips_of_a_clicked_video_teach_as_normal() -> None:
    grown, _ = grow(some(), [], CONFIG, "cpu")
    for one in grown[:6]:
        normal = np.flatnonzero(one.mask.all(axis=1) & ~one.targets.any(axis=1))
        assert len(normal) == 2, "a tenth of its 20 clips"
        assert one.mask[events_in(one)].all() and one.mask.any(axis=1).sum() == 6 + 2, "what is between teaches nothing"


def test_a_detector_of_whole_videos_learns_from_all_clips_of_a_clicked_one() -> None:
    grown, _ = grow(some(), [], CONFIG.model_copy(update={"detector": "mil"}), "cpu")
    assert all(one.labelled is None for one in grown[:6])


def test_every_frame_of_a_clicked_video_validates() -> None:
    _, validated = grow(some(), [clicked("v", [(2, 8)], 3)], CONFIG, "cpu")
    assert validated[0].labelled is None


def test_a_clicked_frame_is_abnormal_whatever_the_scores_say() -> None:
    train = [*some(), clicked("wrong", [(10, 15)], 2)]  # beside the event
    grown, _ = grow(train, [], CONFIG, "cpu")
    assert grown[-1].frame_labels[2 * 16 + 8]


def test_intervals_of_other_videos_teach_as_they_are() -> None:
    whole = clicked("whole", [(3, 9)])
    frames = np.zeros(CLIPS * 16, dtype=bool)
    frames[3 * 16 : 9 * 16] = True
    told = TrainingVideo(whole.source, whole.features, frames, 1, None, (), "whole")
    grown, _ = grow([told, clicked("a", [(5, 12)], 7), clicked("n", []), clicked("m", [])], [], CONFIG, "cpu")
    assert grown[0] is told and events_in(grown[1]) == list(range(5, 12))


def test_what_validates_gets_intervals_and_teaches_nothing() -> None:
    train = some()
    val = [clicked("v", [(2, 8)], 3), clicked("w", [])]
    grown, validated = grow(train, val, CONFIG, "cpu")
    alone, _ = grow(train, [], CONFIG, "cpu")
    assert events_in(validated[0]) == list(range(2, 8)) and validated[1] is val[1]
    assert [one.frame_labels.tolist() for one in grown] == [one.frame_labels.tolist() for one in alone]


def test_a_single_source_grows_by_itself() -> None:
    train = [TrainingVideo(v.source, v.features, v.frame_labels, v.label, v.labelled, v.clicks, "one") for v in some()]
    grown, _ = grow(train, [], CONFIG, "cpu")
    assert all(events_in(one) for one in grown[:6])


def test_several_crops_count_as_their_mean() -> None:
    train = [*some(), clicked("crops", [(6, 11)], 8, crops=5)]
    train[-1].features.parts[0][0] = 0  # type: ignore[index]
    grown, _ = grow(train, [], CONFIG, "cpu")
    assert events_in(grown[-1]) == list(range(6, 11))


@pytest.mark.parametrize(("rate", "stride", "clip"), [(None, 32, 1), (12.5, 16, 1), (12.5, 40, 1)])
def test_a_click_on_a_frame_that_no_clip_shows_counts_for_the_nearest_clip(
    rate: float | None, stride: int, clip: int, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", np.zeros((4, DIM), np.float32))
    source = VideoFeatures([tmp_path / "v.npy"], None, frames=300, fps=25, rate=rate, stride=stride)
    frame = {32: 29, 16: 35, 40: 69}[stride]
    videos = [Video("v", tmp_path / "v.mp4", label="Fighting", events=(Click(frame),))]
    (video,) = open_labelled(videos, {"v": source}, ["Fighting"])
    assert np.argwhere(video.targets)[:, 0].tolist() == np.argwhere(video.mask)[:, 0].tolist() == [clip]


def test_the_same_clicks_grow_the_same_intervals() -> None:
    first, again = (grow(some(), [], CONFIG, "cpu")[0] for _ in range(2))
    assert [one.frame_labels.tolist() for one in first] == [one.frame_labels.tolist() for one in again]


def test_features_that_are_no_numbers_are_named() -> None:
    train = some()
    train[2].features.parts[0][0, 4, 0] = np.nan  # type: ignore[index]
    with pytest.raises(TrainingError, match=r"a2\.npy: holds numbers that are not finite"):
        grow(train, [], CONFIG, "cpu")


def test_a_click_behind_the_last_frame_counts_as_on_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, DIM), dtype=np.float32))
    video = Video("a", tmp_path / "a.npy", events=parse_events("3;35"), label="x")
    source = VideoFeatures([tmp_path / "a.npy"], None, frames=30, fps=25)
    (opened,) = open_labelled([video], {"a": source}, ["x"])
    assert opened.clicks == (3, 29) and opened.group == "a" and video.events[0] == Click(3)
    assert opened.mask.sum() == 2, "of no other frame is anything known"


@pytest.mark.parametrize("detector", ["linear", "aed", "mil"])
def test_detectors_learn_where_the_events_are(detector: str, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"detector": detector, "hidden": 8, "steps": 60, "evaluate_every": 60})
    setup = Setup(config, "mean", ["no", "yes"], "cpu", "a run", supervision="clicks")
    val = [clicked(f"v{n}", [(3 + n, 9 + n)], 5 + n) for n in range(3)] + [clicked(f"w{n}", []) for n in range(3)]
    fit = Fit(setup, tmp_path, some(), val)
    (last,) = [one for one in fit.run(60) if one]
    assert last.validation and last.validation.auc is not None and last.validation.auc > 0.9
    assert 0 < (last.validation.threshold or 0) < 1 and last.validation.slope, "frames are what is calibrated"


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 6, "evaluate_every": 2})
    setup = Setup(config, "mean", ["no", "yes"], "cpu", "a run", {"extract": {}}, supervision="clicks")
    for _ in Fit(setup, tmp_path / "whole", some(), []).run(6):
        pass
    for _ in Fit(setup, tmp_path / "parts", some(), []).run(4):
        pass
    resumed = Fit(setup, tmp_path / "parts", some(), [])
    assert resumed.step == 4
    for _ in resumed.run(6):
        pass
    whole = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)["model"]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.model.state_dict().items())
