"""The rows of the accuracy tables: what each of them measures, and where its numbers are kept.

`accuracy.py` measures them. `accuracy_page.py` writes them down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lad.config import Config, load_config
from lad.pipeline.project import Project, load_project

ROOT = Path(__file__).parents[1]
WORK = Path("runs/accuracy")
SQUASHED = "extract.rgb_short_side=null"
CLIP_BY_CLIP = "extract.context=clip"
WHOLE = "extract.layers=[]"  # not what moves by itself


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        name: how the table calls it.
        features: folder below the benchmark's. It is the work directory of all rows that use the same features.
        changes: to the configuration, each `key=value`.
        config: name of the configuration. Empty: the benchmark's default.
        splits: how many random splits to measure. None: as many as the configuration says.
        regression: C of a logistic regression on the features of the clips. It takes the detector's place.
    """

    name: str
    features: str
    changes: tuple[str, ...] = ()
    config: str = ""
    splits: int | None = None
    regression: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set and the rows that are measured on it. The first row is the default.

    Attributes:
        folder: below `--data`.
        video: a test video, below the folder. The cost of a clip is measured on it.
    """

    folder: str
    video: str
    rows: tuple[Row, ...]


BENCHMARKS = {
    "ped2": Benchmark(
        "ucsd_ped2",
        "testing/frames/01",
        (
            Row("default", "short_360"),
            Row("the paper's recipe", "squashed", config="ped2-paper", splits=2),
            Row("logistic regression, features of the default", "short_360", regression=1e-2),
            Row("logistic regression, features of the paper", "squashed", (SQUASHED,), regression=1e-2),
            Row("default, frames squashed to 224x224", "squashed", (SQUASHED,)),
            Row("default, rgb alone", "short_360", ("extract.streams=[rgb]",)),
            Row("default, flow alone", "short_360", ("extract.streams=[flow]",)),
            Row("default, features not standardised", "short_360", ("train.standardize=false",)),
            Row("default, single clips (K = 1)", "short_360", ("train.window=1",)),
            Row("default, K = 5", "short_360", ("train.window=5",)),
            Row(
                "default, the paper's network",
                "short_360",
                ("train.detector=aed_t", "train.learning_rate=1e-4"),
                splits=5,
            ),
        ),
    ),
    "surveillance": Benchmark(
        "surveillance",
        "videos/Falling/subject1_fall_15.mp4",
        (
            Row("default", "short_256_context"),
            Row("the paper's recipe", "squashed", config="surveillance-paper"),
            Row(
                "the paper's recipe, its first 1,000 steps",
                "squashed",
                ("train.steps=1000",),
                config="surveillance-paper",
            ),
            Row("logistic regression, features of the default", "short_256_context", regression=1e-3),
            Row("logistic regression, without what moves", "short_256_context", (WHOLE,), regression=1e-3),
            Row("logistic regression, rgb of the paper", "squashed", (WHOLE, SQUASHED, CLIP_BY_CLIP), regression=1e-3),
            Row("default, features not standardised", "short_256_context", ("train.standardize=false",)),
            Row("default, single clips (K = 1)", "short_256_context", ("train.window=1",)),
            Row("default, K = 5", "short_256_context", ("train.window=5",)),
            Row("without what moves", "short_256_context", (WHOLE,)),
            Row("without it, each clip by itself", "short_256", (WHOLE, CLIP_BY_CLIP)),
            Row("without it, frames squashed to 224x224", "squashed_context", (WHOLE, SQUASHED)),
            Row("without it, and flow", "short_256_context", (WHOLE, "extract.streams=[rgb,flow]")),
            Row("without it, features not standardised", "short_256_context", (WHOLE, "train.standardize=false")),
            Row("without it, single clips (K = 1)", "short_256_context", (WHOLE, "train.window=1")),
            Row("without it, K = 5", "short_256_context", (WHOLE, "train.window=5")),
            Row(
                "without it, the paper's network",
                "short_256_context",
                (WHOLE, "train.detector=aed_t", "train.learning_rate=1e-4"),
            ),
        ),
    ),
}


def row_file(name: str, row: Row) -> Path:
    """Where the numbers of a row are kept."""
    return WORK / "rows" / name / f"{row.name.replace(' ', '_').replace('/', '_')}.json"


def cost_file(name: str) -> Path:
    """Where the cost of a clip is kept."""
    return WORK / "rows" / name / "cost.json"


def row_config(name: str, row: Row) -> tuple[Path, list[str], Config]:
    """The file of a row's configuration, the changes to it, and the configuration that results."""
    path = ROOT / "configs" / f"{row.config or name}.yaml"
    changes = [*row.changes, *([f"protocol.splits={row.splits}"] if row.splits else [])]
    return path, changes, load_config(path, changes)


def load_splits(name: str, row: Row, data: Path) -> list[Project]:
    """The videos of a row: one project for each random split, or a single one where there is one split."""
    path, changes, _ = row_config(name, row)
    project = load_project(load_config(path, changes, options={"data.root": data / BENCHMARKS[name].folder}))
    return project.random_splits() or [project]


def truth_of(scored: Mapping[str, Any]) -> np.ndarray:
    """`(frames,)` bool, true on the anomalous frames of a video.

    Args:
        scored: as `accuracy.scored_video` makes it.
    """
    truth = np.zeros(len(scored["scores"]), dtype=bool)
    for start, end in scored["events"]:
        truth[start:end] = True
    return truth


def frames_of(scored: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The labels and scores of all frames of several videos."""
    return np.concatenate([truth_of(one) for one in scored]), np.concatenate([one["scores"] for one in scored])
