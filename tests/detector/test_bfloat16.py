"""Training in bfloat16: faster products, the same detector but for its last digits, and scoring in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lad import device
from lad.config import ConfigError, TrainConfig, load_config
from lad.detector.checkpoint import Checkpoint, load_checkpoint
from lad.detector.scoring import score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.device import multiplies_bfloat16
from lad.features.video import ClipFeatures, VideoFeatures
from lad.models.aed import AED, ConvLSTMCell
from lad.pipeline.checks import check_config

DIM, CLIPS, STEPS = 64, 12, 8


def video_of(number: int) -> TrainingVideo:
    """Every second video has an event in its second half, in which its features are larger."""
    event = number % 2 == 1
    rows = np.random.default_rng(number).random((1, CLIPS, DIM), dtype=np.float32)
    truth = np.zeros(CLIPS * 16, dtype=bool)
    if event:
        rows[:, CLIPS // 2 :] += 1
        truth[CLIPS * 8 :] = True
    source = VideoFeatures([Path("none.npy")], None, CLIPS * 16, 25.0)
    return TrainingVideo(source, ClipFeatures([rows]), truth, 0, group=str(number))


VIDEOS = [video_of(number) for number in range(8)]


def fit(folder: Path, *steps: int, detector: str = "aed_t", **keys: object) -> Checkpoint:
    """Train for so many steps; several numbers: it is stopped after each, and resumes."""
    train = TrainConfig(
        detector=detector, window=3, hidden=16, steps=STEPS, evaluate_every=4, learning_rate=1e-3,
        abnormal_windows=4, normal_windows=4, **keys,
    )  # fmt: skip
    setup = Setup(train, "mean", ["event"], "cpu", "test", config={"extract": {}, "train": train.model_dump()})
    for wanted in steps:
        for _ in Fit(setup, folder, VIDEOS[:6], VIDEOS[6:]).run(wanted):
            pass
    return load_checkpoint(folder / "last.pt")


def test_a_convolution_keeps_the_digits_that_bfloat16_has() -> None:
    torch.manual_seed(0)
    cell, maps = ConvLSTMCell(128, 128), torch.randn(16, 9, 128)
    exact = cell.project(maps)
    cell.multiply_in(torch.bfloat16)
    found = cell.project(maps)
    assert found.dtype == torch.float32
    off = (found - exact).square().mean().sqrt() / exact.std()
    assert 1e-4 < off < 0.03, "Winograd's transforms enlarge the rounding, which is 0.2 % of a number"
    gradients = [torch.autograd.grad(one.square().sum(), cell.Gates.weight)[0] for one in (found, exact)]
    assert (gradients[0] - gradients[1]).norm() < 0.03 * gradients[1].norm()


@pytest.mark.parametrize("detector", ["aed", "aed_t"])
def test_it_learns_the_same_but_for_the_last_digits(detector: str, tmp_path: Path) -> None:
    coarse = fit(tmp_path / "coarse", STEPS, detector=detector, dtype="bfloat16")
    fine = fit(tmp_path / "fine", STEPS, detector=detector)
    losses = [[entry["loss"] for entry in one.history] for one in (coarse, fine)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_repeats_bit_for_bit_and_resumes_so(tmp_path: Path) -> None:
    whole, again, stopped = (
        fit(tmp_path / name, *steps, dtype="bfloat16")
        for name, steps in {"whole": (STEPS,), "again": (STEPS,), "stopped": (4, STEPS)}.items()
    )
    for other in (again, stopped):
        assert all(torch.equal(value, other.model[name]) for name, value in whole.model.items())
        assert whole.history == other.history


def test_a_detector_that_was_trained_so_scores_in_float32(tmp_path: Path) -> None:
    checkpoint = fit(tmp_path, STEPS, dtype="bfloat16")
    assert all(value.dtype == torch.float32 for value in checkpoint.model.values())
    plain = AED(feature_dim=DIM, classes=1, window=3, hidden=16).eval()
    plain.load_state_dict(checkpoint.model)
    features = VIDEOS[1].features
    scores = score_features(checkpoint.detector(), features).clips
    assert np.array_equal(scores, score_features(plain, features).clips)
    plain.multiply_in(torch.bfloat16)
    assert not np.array_equal(scores, score_features(plain, features).clips)


def test_a_fit_gives_its_detector_as_it_scores(tmp_path: Path) -> None:
    train = TrainConfig(window=3, hidden=16, steps=STEPS, evaluate_every=4, dtype="bfloat16")
    made = Fit(Setup(train, "mean", ["event"], "cpu", "test"), tmp_path, VIDEOS[:6], [])
    features = VIDEOS[1].features
    in_training = score_features(made.model.eval(), features).clips
    scores = score_features(made.detector(), features).clips
    assert not np.array_equal(scores, in_training) and scores == pytest.approx(in_training, abs=1e-2)


@pytest.mark.parametrize("detector", ["linear", "mil", "normality", "helpers.elsewhere:Own"])
def test_other_detectors_refuse_it(detector: str) -> None:
    why = rf"train\.dtype: bfloat16 is for the detectors aed and aed_t, and not for {detector}: set it to float32"
    with pytest.raises(ConfigError, match=why):
        check_config(load_config(None, [f"train.detector={detector}", "train.dtype=bfloat16"]))


def test_a_detector_that_nobody_knows_is_told_of_alone() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(load_config(None, ["train.detector=aed-t", "train.dtype=bfloat16"]))
    assert str(caught.value).startswith("train.detector: 'aed-t' is not one of")


@pytest.mark.parametrize(
    ("says", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512_vnni avx512_fp16\n", False),
    ],
)
def test_a_processor_says_whether_it_has_bfloat16(
    says: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(says)
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "cpuinfo")
    assert multiplies_bfloat16("cpu") is has
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "gone")
    assert multiplies_bfloat16("cpu"), "nobody can tell"
