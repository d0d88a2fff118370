"""A small detector, and clips in which it sees one event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.detectors import write_detector
from helpers.videos import write_video

import lad
from lad.detector.checkpoint import load_checkpoint, save_checkpoint

QUIET, LOUD = 60, 40  # frames of a clip without and with its event


def event_frames(quiet: int = QUIET, loud: int = LOUD, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Grey frames, then noise in colours, then grey again."""
    grain, (width, height) = np.random.default_rng(3), size
    grey = [np.full((height, width, 3), 100, np.uint8)] * quiet
    noise = [grain.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(loud)]
    return [*grey, *noise, *grey]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One event in the middle, which is loud noise; without B-frames, a key frame every second, as of a camera."""
    options = {"bf": "0", "g": "25", "preset": "ultrafast"}
    return write_video(
        tmp_path_factory.mktemp("watch") / "clip.mp4", event_frames(), size=(96, 64), codec_options=options
    )


@pytest.fixture(scope="session")
def sliced_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, its pictures in several slices each, as many cameras send them."""
    options = {"bf": "0", "g": "25", "preset": "ultrafast", "slices": "4"}
    return write_video(
        tmp_path_factory.mktemp("watch") / "sliced.mp4", event_frames(), size=(96, 64), codec_options=options
    )


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Of the tiny backbone, with the event of `clip` far above all else."""
    path = write_detector(tmp_path_factory.mktemp("watch") / "detector.pt")
    features = lad.extract_features(clip, device="cpu", backbone="tiny", weights={"rgb": "random"})["rgb"]
    quiet, loud = features[0], features[(QUIET + LOUD // 2) // 16]
    checkpoint = load_checkpoint(path)
    weight, bias = checkpoint.model["linear.weight"], checkpoint.model["linear.bias"]
    direction = torch.from_numpy(loud - quiet)
    weight[-1] = 8 * direction / direction.square().sum()
    bias[-1] = -4 - weight[-1] @ torch.from_numpy(quiet)
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="session")
def threshold(detector: Path, clip: Path) -> str:
    """Between the scores of the quiet frames and of the event."""
    scores = lad.load(detector, device="cpu").score(clip).frames
    quiet, loud = scores[: QUIET - 20].max(), scores[QUIET : QUIET + LOUD].max()
    assert loud > quiet + 0.3, (quiet, loud)
    return f"{quiet + 0.6 * (loud - quiet):.4f}"
