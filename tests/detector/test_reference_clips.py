"""Features relative to the start of their video: what a place adds to all of a video's clips goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import write_detector

from lad.config import ConfigError, TrainConfig, load_config
from lad.detector.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from lad.detector.looks import Looks
from lad.detector.scoring import make_scorer
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.extract.sampling import evenly_spaced
from lad.features.video import ClipFeatures, VideoFeatures

DIM, CLIPS = 6, 12
PLACE, EVENT = slice(4), 4  # the features that tell the places apart, and the one that rises in an event


def rows_of(place: int, event: bool, seed: int, crops: int = 1) -> np.ndarray:
    """`(crops, clips, D)`: each place has a level of its own, and an event fills the second half."""
    rows = np.random.default_rng([place, event, seed]).normal(0, 0.3, (crops, CLIPS, DIM)).astype(np.float32)
    rows[..., PLACE] += 20 * place
    if event:
        rows[:, CLIPS // 2 :, EVENT] += 2
    return rows


def video_of(rows: np.ndarray, event: bool, reference: int, name: str) -> TrainingVideo:
    truth = np.full(CLIPS * 16, event)
    source = VideoFeatures([Path("none.npy")], None, CLIPS * 16, 25.0)
    features = ClipFeatures([rows]).relative_to_start(reference)
    return TrainingVideo(source, features, truth, 0, group=name)


def fitted(folder: Path, reference: int) -> Path:
    """A detector that labels of videos taught; all events are at one place, and all normal videos at another."""
    train = TrainConfig(
        detector="linear", supervision="videos", window=1, steps=60, evaluate_every=30, learning_rate=0.05,
        abnormal_windows=8, normal_windows=8, reference_clips=reference,
    )  # fmt: skip
    config = {"extract": {}, "train": train.model_dump(mode="json")}
    setup = Setup(train, "mean", ["event"], "cpu", "test", config=config, supervision="videos")
    rows = [(rows_of(int(event), event, seed), event) for event in (False, True) for seed in range(20)]
    videos = [video_of(one, event, reference, str(number)) for number, (one, event) in enumerate(rows)]
    for _ in Fit(setup, folder, videos[::2], videos[1::2]).run(60):
        pass
    return folder / "best.pt"


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of features relative to the first two clips."""
    return fitted(tmp_path_factory.mktemp("relative"), 2)


def scored(path: Path, rows: np.ndarray) -> np.ndarray:
    return make_scorer(load_checkpoint(path), "cpu")(ClipFeatures([rows]), evenly_spaced(CLIPS * 16, 25.0)).frames


def test_labels_of_videos_teach_the_event_and_not_its_place(tmp_path: Path, relative: Path) -> None:
    plain, half = fitted(tmp_path, 0), CLIPS * 8
    for place, crops in ((0, 1), (1, 1), (1, 2)):
        scores = scored(relative, rows_of(place, True, 9, crops))
        assert scores[half:].min() > scores[:half].max(), "the event scores above what was before it, at every place"
    before_event, elsewhere = scored(plain, rows_of(1, True, 9))[:half], scored(plain, rows_of(0, True, 9))[half:]
    assert before_event.mean() > elsewhere.mean(), "else these videos could teach the event after all"


def test_what_a_place_adds_to_all_clips_changes_no_score(relative: Path) -> None:
    rows = rows_of(0, True, 9)
    np.testing.assert_allclose(scored(relative, rows + np.float32(8)), scored(relative, rows), atol=1e-5)


def test_familiar_is_what_is_familiar_relative_to_the_start(relative: Path) -> None:
    scorer = make_scorer(load_checkpoint(relative), "cpu")
    timeline = evenly_spaced(CLIPS * 16, 25.0)
    far = scorer(ClipFeatures([rows_of(5, False, 3)]), timeline)  # a place that no video was of
    assert far.unfamiliar == 0


def test_of_a_video_no_longer_than_its_start_a_warning_says_that_its_scores_say_nothing(relative: Path) -> None:
    scorer = make_scorer(load_checkpoint(relative), "cpu")
    short = scorer(ClipFeatures([rows_of(0, True, 3)[:, :2]]), evenly_spaced(32, 25.0))
    assert short.unfamiliar is None
    assert [line for line in short.warnings if "no more clips than its scores are relative to, 2" in line]
    longer = scorer(ClipFeatures([rows_of(0, True, 3)[:, :3]]), evenly_spaced(48, 25.0))
    assert not longer.warnings and longer.unfamiliar is not None


def test_what_an_event_looks_like_is_told_by_the_features_as_they_are(relative: Path) -> None:
    seen = []

    class Seen(Looks):
        def __call__(self, features: ClipFeatures, first: int, last: int) -> tuple[str, ...]:
            seen.append(features.rows(0, slice(first, last + 1)))
            return ("walking",)

    scorer = replace(make_scorer(load_checkpoint(relative), "cpu"), threshold=0.0, looks=Seen(None, 0))  # type: ignore[arg-type]
    rows = rows_of(1, True, 9)
    found = scorer(ClipFeatures([rows]), evenly_spaced(CLIPS * 16, 25.0))
    assert found.events[0].looks_like == ("walking",)
    np.testing.assert_array_equal(seen[0], rows[0])


@pytest.mark.parametrize(("detector", "why"), [("normality", "normal footage"), ("mil_causal", "for cameras")])
def test_some_detectors_have_no_use_for_it(detector: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"train\.reference_clips.*{why}"):
        load_config(None, [f"train.detector={detector}", "train.reference_clips=2"])


@pytest.mark.parametrize("number", [-1, 1025, 2.9, True, float("inf"), "2", [2]])
def test_a_number_that_cannot_be_meant_is_refused(tmp_path: Path, number: object) -> None:
    checkpoint = load_checkpoint(write_detector(tmp_path / "best.pt"))
    assert checkpoint.config
    config = {**checkpoint.config, "train": {**checkpoint.config["train"], "reference_clips": number}}
    save_checkpoint(tmp_path / "odd.pt", replace(checkpoint, config=config))
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(tmp_path / "odd.pt")
