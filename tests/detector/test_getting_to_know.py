"""A camera that a detector gets to know: how its normal footage moves its scores, and how training learns that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.config import TrainConfig
from lad.detector.calibration import Calibration, log_odds
from lad.detector.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from lad.detector.known_camera import SHRINK, Camera, KnownCameras, camera_of, joined
from lad.detector.scoring import make_scorer
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.detector.validation import validate, validate_known
from lad.extract.sampling import evenly_spaced
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models.linear import LinearDetector

DIM, CLIPS, CAMERAS = 2, 6, 6
KNOWN = KnownCameras(usual=0.0, slope=2.0, offset=0.5)


def footage(camera: int, event: bool, seed: int = 0) -> TrainingVideo:
    """A video of a camera that shifts the first feature, which rises in an event, too."""
    random = np.random.default_rng([camera, event, seed])
    rows = random.normal(0, 0.3, (CLIPS, DIM)).astype(np.float32)
    rows[:, 0] += 2 * (camera - (CAMERAS - 1) / 2)
    truth = np.zeros(CLIPS * 16, dtype=bool)
    if event:
        truth[: CLIPS * 8] = True
        rows[: CLIPS // 2, 0] += 3
    source = VideoFeatures([Path("none.npy")], None, CLIPS * 16, 25.0)
    return TrainingVideo(source, ClipFeatures([rows[None]]), truth, 0, group=f"camera {camera}")


def all_cameras() -> list[TrainingVideo]:
    return [footage(camera, event, seed) for camera in range(CAMERAS) for event in (True, False) for seed in (0, 1)]


def looks_at_the_first_feature() -> LinearDetector:
    model = LinearDetector(feature_dim=DIM, classes=1, window=1)
    with torch.no_grad():
        model.linear.weight[-1, 0] = 1.0
    return model


def test_a_camera_whose_normal_footage_scores_high_gets_lower_scores_in_the_same_order() -> None:
    scores = np.array([0.1, 0.4, 0.6, 0.9])
    usual = KNOWN.calibration(Camera(100, 0.0))(scores)
    high, low = (KNOWN.calibration(Camera(100, level))(scores) for level in (1.0, -1.0))
    assert (high < usual).all() and (usual < low).all()
    assert all((np.diff(one) > 0).all() for one in (high, low))
    assert np.allclose(usual, Calibration(2.0, 0.5)(scores))


def test_little_footage_counts_for_little() -> None:
    shifts = [Camera(clips, 3.0).shift(1.0) for clips in (0, 1, SHRINK, 1e6)]
    assert shifts[0] == 0 and shifts[1] < shifts[2] == 1.0
    assert shifts[3] == pytest.approx(2.0, abs=1e-4)


def test_pieces_of_footage_say_together_what_all_of_it_says() -> None:
    scores = np.random.default_rng(0).random(400)
    whole = camera_of(scores)
    parts = joined([camera_of(scores[:100]), camera_of(scores[100:]), camera_of(scores[:0])])
    assert whole.clips == parts.clips == 25 and parts.level == pytest.approx(whole.level)
    assert whole.level == pytest.approx(log_odds(scores).mean())
    assert joined([]).clips == 0 and joined([]).shift(3.0) == 0


def test_scores_of_known_cameras_are_compared_without_what_each_camera_adds() -> None:
    videos, model = all_cameras(), looks_at_the_first_feature()
    unknown, known = validate(model, videos), validate_known(model, videos)
    assert unknown.auc is not None and known.auc is not None
    assert unknown.auc < 0.85 and known.auc > 0.95
    assert known.cameras is not None and known.cameras.slope > 0


def test_a_video_is_not_known_by_itself() -> None:
    """A camera's only video: nothing else says what is normal there."""
    videos, model = [footage(camera, camera < 3) for camera in range(CAMERAS)], looks_at_the_first_feature()
    unknown, known = validate(model, videos), validate_known(model, videos)
    assert known.auc == unknown.auc


def test_without_normal_footage_nothing_is_known_of_cameras() -> None:
    videos = [replace(footage(camera, True), frame_labels=np.ones(CLIPS * 16, dtype=bool)) for camera in range(3)]
    known = validate_known(looks_at_the_first_feature(), videos)
    assert known.auc is None and known.cameras is None


def fitted(folder: Path, *, steps: tuple[int, ...] = (40,), **train: object) -> Path:
    """A detector that half of the cameras taught and the others validated, in parts of so many steps."""
    config = TrainConfig(detector="linear", window=1, steps=40, evaluate_every=20, learning_rate=0.05, **train)  # type: ignore[arg-type]
    setup = Setup(config, "mean", ["event"], "cpu", "test", config={"extract": {}})
    videos = all_cameras()
    taught, held_out = ([one for one in videos if int(one.group[-1]) % 2 == kind] for kind in (0, 1))
    for number in steps:
        for _ in Fit(setup, folder, taught, held_out).run(number):
            pass
    return folder / "best.pt"


def test_training_learns_of_cameras_if_it_is_asked_to(tmp_path: Path) -> None:
    plain, adapting = fitted(tmp_path / "plain"), fitted(tmp_path / "adapting", adapt="source")
    before, after = load_checkpoint(plain), load_checkpoint(adapting)
    assert before.known_cameras is None and after.known_cameras is not None
    assert set(after.known_cameras) == {"usual", "slope", "offset"}
    assert all(torch.equal(before.model[name], after.model[name]) for name in before.model)
    assert (before.threshold, before.calibration) == (after.threshold, after.calibration)
    assert after.metrics["known_auc"] > after.metrics["auc"]


def test_a_resumed_training_knows_the_same_of_cameras(tmp_path: Path) -> None:
    whole = load_checkpoint(fitted(tmp_path / "whole", adapt="source"))
    resumed = load_checkpoint(fitted(tmp_path / "parts", adapt="source", steps=(20, 40)))
    assert (resumed.known_cameras, resumed.history) == (whole.known_cameras, whole.history)


def test_a_scorer_at_a_known_camera_scores_by_it_and_at_an_unknown_one_as_ever(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(fitted(tmp_path, adapt="source"))
    scorer, video = make_scorer(checkpoint, "cpu"), footage(0, True)
    timeline = evenly_spaced(CLIPS * 16, 25.0)
    camera = scorer.get_to_know(footage(0, False).features, timeline)
    assert camera.clips == CLIPS
    plain, at_unknown, at_known = (
        one(video.features, timeline) for one in (scorer, scorer.at(Camera(0, 0.0)), scorer.at(camera))
    )
    assert np.array_equal(plain.frames, at_unknown.frames)
    assert not np.allclose(plain.frames, at_known.frames) and at_known.threshold == plain.threshold
    assert np.array_equal(np.argsort(plain.frames, kind="stable"), np.argsort(at_known.frames, kind="stable"))
    untaught = make_scorer(replace(checkpoint, known_cameras=None), "cpu")
    assert np.array_equal(untaught.at(camera)(video.features, timeline).frames, plain.frames)


@pytest.mark.parametrize("known", [{"usual": 0.0}, {"usual": 0.0, "slope": float("nan"), "offset": 0.0}, [1, 2, 3]])
def test_a_detector_that_says_nonsense_of_cameras_is_refused(tmp_path: Path, known: object) -> None:
    checkpoint = load_checkpoint(fitted(tmp_path))
    save_checkpoint(tmp_path / "odd.pt", replace(checkpoint, known_cameras=known))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(tmp_path / "odd.pt")
