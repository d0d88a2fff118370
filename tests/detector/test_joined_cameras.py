"""What detectors of several cameras in one file promise: each is what it would be alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lad
from lad.config import Config, TrainConfig
from lad.detector.cameras import UnknownCamera, join_cameras, of_camera
from lad.detector.checkpoint import Checkpoint, CheckpointError, by_camera, load_checkpoint, save_checkpoint
from lad.detector.detector_file import SUFFIX
from lad.detector.scoring import make_scorer
from lad.detector.training import Setup
from lad.detector.training_normal import learn, stretches
from lad.detector.training_windows import TrainingVideo
from lad.extract.motion import SHARES
from lad.extract.sampling import evenly_spaced
from lad.features.video import ClipFeatures, VideoFeatures

FPS = 25.0
SPEEDS = {"yard": 2.0, "gate": 6.0}


def motion(clips: int, seed: int, speed: float) -> np.ndarray:
    noise = np.exp(0.1 * np.random.default_rng(seed).normal(size=(clips, 16, 1)))
    return (speed * noise * np.linspace(0.2, 1.2, len(SHARES))).reshape(clips, -1).astype(np.float32)


def video(rows: np.ndarray) -> TrainingVideo:
    frames = 16 * len(rows)
    source = VideoFeatures([Path("a.npy")], None, frames, FPS)
    return TrainingVideo(source, ClipFeatures([rows[None]]), np.zeros(frames, bool), 0)


def of(camera: str) -> Checkpoint:
    config = Config.model_validate({"extract": {"streams": [], "motion": True}, "train": {"detector": "normality"}})
    setup = Setup(
        TrainConfig(detector="normality", smooth_seconds=0.1),
        "mean",
        ["event"],
        "cpu",
        f"made of {camera}",
        config=config.model_dump(mode="json"),
        selection=f"normal: {camera}",
    )
    taught = stretches([video(motion(12, seed, SPEEDS[camera])) for seed in range(4)])
    return learn(setup, taught, [taught[:2], taught[2:]]).checkpoint(setup)


def joined(*cameras: str) -> Checkpoint:
    return join_cameras({camera: of(camera) for camera in cameras}, "today", None)


def scores(checkpoint: Checkpoint, speed: float) -> np.ndarray:
    rows = motion(4, 50, speed)
    return make_scorer(checkpoint, "cpu")(ClipFeatures([rows[None]]), evenly_spaced(64, FPS)).frames


@pytest.mark.parametrize("suffix", [".pt", SUFFIX])
def test_each_camera_has_the_detector_that_it_would_have_alone(suffix: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / f"a{suffix}", joined("yard", "gate"))
    found = load_checkpoint(tmp_path / f"a{suffix}")
    assert found.cameras == ["gate", "yard"]
    for camera, speed in SPEEDS.items():
        alone, part = of(camera), of_camera(found, camera)
        assert (part.threshold, part.fingerprint, part.selection, part.metrics) == (
            *(alone.threshold, alone.fingerprint, alone.selection),
            alone.metrics,
        )
        assert np.array_equal(scores(part, speed), scores(alone, speed))


def test_the_same_footage_is_usual_for_one_camera_and_not_for_the_other() -> None:
    both = joined("yard", "gate")
    assert scores(of_camera(both, "yard"), 6.0).min() > 0.99 > np.median(scores(of_camera(both, "gate"), 6.0))


def test_a_camera_that_is_added_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    one = joined("yard")
    both = join_cameras({**by_camera(one), "gate": of("gate")}, "later", None)
    before, after = of_camera(one, "yard"), of_camera(both, "yard")
    assert all(torch.equal(tensor, after.model[name]) for name, tensor in before.model.items())
    assert before.network == after.network and before.threshold == after.threshold
    save_checkpoint(tmp_path / "added.pt", both)
    save_checkpoint(tmp_path / "at once.pt", join_cameras({"gate": of("gate"), "yard": of("yard")}, "later", None))
    assert (tmp_path / "added.pt").read_bytes() == (tmp_path / "at once.pt").read_bytes()


def test_a_camera_that_it_does_not_know_is_refused_with_what_to_do() -> None:
    both = joined("yard", "gate")
    with pytest.raises(UnknownCamera, match=r"does not know the camera roof, but gate, yard: .*lad train --add roof"):
        of_camera(both, "roof")
    with pytest.raises(UnknownCamera, match="say with --source which one filmed it"):
        of_camera(both, "")
    alone = of("yard")
    assert of_camera(alone, "whatever") is alone


def test_the_library_takes_the_camera_by_its_name(tmp_path: Path) -> None:
    both = replace(joined("yard", "gate"), config=of("yard").config)
    save_checkpoint(tmp_path / "a.pt", both)
    found = lad.load(tmp_path / "a.pt", device="cpu", source="gate")
    assert found.threshold == pytest.approx(of("gate").threshold)
    with pytest.raises(CheckpointError, match=r"a\.pt: does not know the camera roof"):
        lad.load(tmp_path / "a.pt", device="cpu", source="roof")
    save_checkpoint(tmp_path / "b.pt", of("yard"))
    with pytest.raises(CheckpointError, match="has one detector, whatever the camera"):
        lad.load(tmp_path / "b.pt", device="cpu", source="yard")


@pytest.mark.parametrize("harm", ["a tensor is gone", "sizes are gone", "not finite"])
def test_a_file_with_a_damaged_camera_is_refused(harm: str, tmp_path: Path) -> None:
    both = joined("yard", "gate")
    tensors, own = dict(both.model), {name: dict(part) for name, part in both.network["cameras"].items()}
    if harm == "a tensor is gone":
        del tensors["1.part_mean"]
    elif harm == "sizes are gone":
        del own["yard"]["sizes"]
    else:
        tensors["1.part_mean"] = tensors["1.part_mean"] * float("nan")
    save_checkpoint(tmp_path / "a.pt", replace(both, model=tensors, network={**both.network, "cameras": own}))
    with pytest.raises(CheckpointError, match="it cannot be used"):
        load_checkpoint(tmp_path / "a.pt")
