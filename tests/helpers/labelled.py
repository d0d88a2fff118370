"""A dataset.csv of made-up labels, a small configuration, and the numbers that an evaluation wrote."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lad.dataset import COLUMNS

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb], batch_clips: 2}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  steps: 4
  evaluate_every: 2
score: {merge_seconds: 0, min_seconds: 0}
threads: 1
"""

DESIGN = {"auc", "auc_abnormal", "ap", "far_all", "far_normal", "far_abnormal", "threshold", "accuracy_window"}
DESIGN |= {"accuracy_video", "protocol", "weights"}  # shared/design.md, "The command line"

Row = list[object]
Lad = Callable[..., tuple[int, str, str]]


def row(video: str, split: str, label: str, events: str = "", frames: object = "", fps: object = 25) -> Row:
    return [video, f"{video}.mp4", split, label, events, frames, fps, ""]


def write_rows(root: Path, rows: list[Row]) -> None:
    with (root / "dataset.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())
