"""A step of training the paper's detector, on the card and on a CPU, which must learn alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu.size import Size, settle
from benchmarks.speed.rows import Row
from lad.config import TrainConfig
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.device import detector_threads, repeatable
from lad.features.video import VideoFeatures

CLIPS, CATEGORIES = 160, 14
MAX_DISTANCE = 0.01


def measure(device: str, size: Size) -> Iterator[Row]:
    """Train twice from the same beginning on the same windows of made-up features."""
    with tempfile.TemporaryDirectory() as folder:
        videos = _videos(Path(folder), size)
        here, loss = _train(videos, Path(folder, "here"), device, size)
        there, expected = _train(videos, Path(folder, "there"), "cpu", size)
    apart = abs(loss - expected) / expected
    yield Row(f"training step, {size.windows} windows", f"{1e3 * there:.1f} ms on a CPU", f"{1e3 * here:.1f} ms",
              f"{there / here:.1f}x", "", None)  # fmt: skip
    yield Row(f"... mean loss of {size.steps} steps, from a CPU's", f"{expected:.4f}", f"{loss:.4f}",
              f"{apart:.2%}", f"<= {MAX_DISTANCE:.0%}", apart <= MAX_DISTANCE)  # fmt: skip


def _train(videos: list[TrainingVideo], folder: Path, device: str, size: Size) -> tuple[float, float]:
    """The seconds of a step, and the mean loss of the first `size.steps`."""
    half = size.windows // 2
    config = TrainConfig(abnormal_windows=half, normal_windows=half, steps=2 * size.steps, evaluate_every=size.steps)
    setup = Setup(config, "mean", [f"category {n}" for n in range(CATEGORIES)], device, fingerprint="")
    with repeatable(device, detector_threads(None)):
        fit = Fit(setup, folder, videos, [])
        for _ in fit.run(size.steps):
            pass
        settle(device)
        began = time.perf_counter()
        for _ in fit.run(2 * size.steps):
            pass
        settle(device)
    loss = fit.history[0].loss
    assert loss is not None
    return (time.perf_counter() - began) / size.steps, loss


def _videos(folder: Path, size: Size) -> list[TrainingVideo]:
    """Videos whose features tell their category and whether they are abnormal, which every second one is."""
    random = np.random.default_rng(0)
    signs = random.standard_normal((CATEGORIES + 1, size.feature_dim), dtype=np.float32)
    videos = []
    for number in range(size.videos):
        path, abnormal, label = folder / f"{number}.npy", number % 2, number % CATEGORIES
        noise = random.standard_normal((CLIPS, size.feature_dim), dtype=np.float32)
        np.save(path, np.abs(noise + signs[label] + abnormal * signs[-1]))
        source = VideoFeatures([path], None, CLIPS * 16, fps=25)
        videos.append(TrainingVideo(source, source.open(), np.full(CLIPS * 16, bool(abnormal)), label))
    return videos
