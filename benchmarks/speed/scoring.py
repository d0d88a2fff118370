"""How long `lad score` takes for the features of 18 hours of video, and how much memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.rows import WORK, Row
from lad.models.aed import AED

CLIPS = 100_000  # of 16 frames, which are 17.8 hours at 25 frames a second
STREAMS, DIM = ("rgb", "flow"), 1024
BLOCK = 1000  # clips written at a time
CATEGORIES = [f"category_{number}" for number in range(14)]
SECONDS, GIGABYTES, RATIO = 200, 2, 1.1  # the targets


def measure(clips: int = CLIPS) -> list[Row]:
    """Score a video of so many clips, and one of a quarter of them, each once and by a command of its own."""
    quarter_seconds, _ = score(clips // 4)
    seconds, memory = score(clips)
    ratio = (seconds / clips) / (quarter_seconds / (clips // 4))
    return [
        Row(
            f"score {clips:,} clips from features",
            "",
            f"{seconds:.0f} s",
            f"{seconds:.0f} s",
            f"<= {SECONDS} s",
            seconds <= SECONDS,
        ),
        Row(
            f"score {clips:,} clips: memory",
            "",
            f"{memory / 1e9:.2f} GB",
            f"{memory / 1e9:.2f} GB",
            f"<= {GIGABYTES} GB",
            memory <= GIGABYTES * 1e9,
        ),
        Row(
            f"score: time for a clip, of {clips:,} against of {clips // 4:,}",
            f"{quarter_seconds / (clips // 4) * 1e3:.2f} ms",
            f"{seconds / clips * 1e3:.2f} ms",
            f"{ratio:.2f}x",
            f"<= {RATIO}x",
            ratio <= RATIO,
        ),
    ]


def score(clips: int) -> tuple[float, int]:
    """The seconds of `lad score` on a new video of so many clips, and the peak of its memory in bytes."""
    root = _video(clips)
    options = ["-c", str(root / "speed.yaml"), "--data", str(root), "--work", str(root / "work"), "--device", "cpu"]
    began, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-m", "lad", "score", "-q", *options], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text(
                encoding="utf-8"
            )  # its only process; its peak until now
            peak = max([peak, *(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)])
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"lad score ended with status {process.returncode}")
    shutil.rmtree(root)
    return seconds, peak


def _video(clips: int) -> Path:
    """A new folder with the features of a video, an untrained detector of the paper's size, and a configuration."""
    root = WORK / "long"
    shutil.rmtree(root, ignore_errors=True)
    rng = np.random.default_rng(0)
    for stream in STREAMS:
        (root / stream).mkdir(parents=True)
        features = np.lib.format.open_memmap(
            root / stream / "video.npy", mode="w+", dtype=np.float32, shape=(clips, DIM)
        )
        for first in range(0, clips, BLOCK):
            block = features[first : first + BLOCK]
            block[:] = np.abs(rng.standard_normal(block.shape, dtype=np.float32))
    torch.manual_seed(0)
    detector = AED(feature_dim=DIM * len(STREAMS), classes=len(CATEGORIES), window=5)
    torch.save(detector.state_dict(), root / "detector.pt")
    (root / "dataset.csv").write_text("video,path\nvideo,{stream}/video.npy\n")
    (root / "speed.yaml").write_text(
        f"data: {{dataset: dataset.csv, classes: [{', '.join(CATEGORIES)}]}}\n"
        f"extract: {{streams: [{', '.join(STREAMS)}]}}\n"
        # Scores of an untrained detector waver about 0.5, which would be an event every few frames.
        f"score: {{checkpoint: {(root / 'detector.pt').resolve()}, threshold: 0.9}}\n"
    )
    return root
