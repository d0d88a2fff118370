"""A small run of all commands: six clips, the `tiny` backbone, two folds. The fixtures are in tests/cli/conftest.py."""

from __future__ import annotations

from pathlib import Path

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb, flow], batch_clips: 2}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  selection: cross-validation
  folds: 2
  steps: 8
  evaluate_every: 2
threads: 1
"""
FRAMES = {"walk/a": 33, "walk/b": 16, "walk/c": 50, "run/d": 47, "run/e": 64, "run/f": 40}


def arguments(dataset: Path, work: Path, *more: str) -> list[str]:
    return ["-c", str(dataset / "small.yaml"), "--data", str(dataset), "--work", str(work), *more]
