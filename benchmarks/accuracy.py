"""How good the scores are, on UCSD Ped2 and on surveillance clips: the default, the paper's recipe, a linear baseline,
and the default without each of its ingredients.

    python benchmarks/accuracy.py [--only ped2 surveillance] [--rows NAME ...] [--data DIR] [--pages docs]

Every row is `lad run` on a shipped configuration with `-o` changes, in a work directory that it shares with all rows of
the same features: these are made once. A row that is done is kept (runs/accuracy/rows) until its configuration or a
stage's code changes; a run that was stopped goes on. Writes docs/results.md and the pictures beside it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_cost import measure_cost
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lad.clip import CLIP_FRAMES
from lad.config import Config, load_config
from lad.dataset import Video, read_dataset
from lad.evaluation.metrics import roc_auc
from lad.files import fingerprint, write_json
from lad.memory import keep_freed
from lad.pipeline.evaluate import CODE_VERSION as EVALUATE_CODE
from lad.pipeline.inventory import CODE_VERSION as EXTRACT_CODE
from lad.pipeline.inventory import feature_path
from lad.pipeline.run import load_videos
from lad.pipeline.score import CODE_VERSION as SCORE_CODE
from lad.pipeline.score import read_scores, score_path
from lad.pipeline.train import CODE_VERSION as TRAIN_CODE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.work.manifest import read_manifest

ROOT = Path(__file__).parents[1]
WORK = Path("runs/accuracy")
SMOOTHING_CLIPS = 3  # of the linear baseline's decisions
SQUASHED = "extract.rgb_short_side=null"
CLIP_BY_CLIP = "extract.context=clip"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: as the table says it.
        features: the work directory, below the benchmark's, whose features it uses.
        changes: of the configuration, `key=value`.
        config: the configuration's name, where it is not the benchmark's default.
        splits: how many of the random splits.
        regression: C of a logistic regression on the clips' features, in the place of the detector.
    """

    name: str
    features: str
    changes: tuple[str, ...] = ()
    config: str = ""
    splits: int | None = None
    regression: float | None = None


@dataclass(frozen=True)
class Benchmark:
    folder: str  # below --data
    video: str  # below the folder: a test video, which the cost of a clip is measured on
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
            Row("logistic regression, rgb of the paper", "squashed", (SQUASHED, CLIP_BY_CLIP), regression=1e-3),
            Row("default, each clip by itself", "short_256", (CLIP_BY_CLIP,)),
            Row("default, frames squashed to 224x224", "squashed_context", (SQUASHED,)),
            Row("default, and flow", "short_256_context", ("extract.streams=[rgb,flow]",)),
            Row("default, features not standardised", "short_256_context", ("train.standardize=false",)),
            Row("default, single clips (K = 1)", "short_256_context", ("train.window=1",)),
            Row("default, K = 5", "short_256_context", ("train.window=5",)),
            Row(
                "default, the paper's network",
                "short_256_context",
                ("train.detector=aed_t", "train.learning_rate=1e-4"),
            ),
        ),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only rows whose name holds one of these")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--pages", type=Path, default=ROOT / "docs", help="where results.md and its pictures go")
    arguments = parser.parse_args()
    keep_freed()  # as the program does: the cost of a clip is measured in this process
    for name in arguments.only:
        if not (arguments.data / BENCHMARKS[name].folder).is_dir():
            print(f"no {BENCHMARKS[name].folder} in {arguments.data}: say where the data lie with --data")
            return 2
        for row in BENCHMARKS[name].rows:
            if not arguments.rows or any(wanted in row.name for wanted in arguments.rows):
                measured = measure(name, row, arguments.data)
                aucs = [split["auc"] for split in measured["splits"]]
                print(f"{name}: {row.name}: {np.mean(aucs):.4f} ({measured['seconds']:.0f} s)", flush=True)
        if not arguments.rows:
            video = arguments.data / BENCHMARKS[name].folder / BENCHMARKS[name].video
            write_json(cost_file(name), measure_cost(cost_configs(name), video))
    importlib.import_module("accuracy_page").write_page(arguments.pages, arguments.data)
    return 0


def row_file(name: str, row: Row) -> Path:
    return WORK / "rows" / name / f"{row.name.replace(' ', '_').replace('/', '_')}.json"


def cost_file(name: str) -> Path:
    return WORK / "rows" / name / "cost.json"


def cost_configs(name: str) -> dict[str, Config]:
    """What the cost of a clip is compared of: the default, and the paper's recipe."""
    return {
        "default": load_config(ROOT / "configs" / f"{name}.yaml", []),
        "the paper's recipe": load_config(ROOT / "configs" / f"{name}-paper.yaml", []),
    }


def row_config(name: str, row: Row) -> tuple[Path, list[str], Config]:
    """Its configuration file, the changes of it, and what they come to."""
    path = ROOT / "configs" / f"{row.config or name}.yaml"
    changes = [*row.changes, *([f"protocol.splits={row.splits}"] if row.splits else [])]
    return path, changes, load_config(path, changes)


def measure(name: str, row: Row, data: Path) -> dict[str, Any]:
    """The row's numbers, of this run or an earlier one.

    Returns:
        `{"splits": [{"split", "auc", "validation", "metrics", "videos"}, ...], "seconds", "key"}`; `videos` are of
        `scored_video`.
    """
    path, changes, config = row_config(name, row)
    codes = [EXTRACT_CODE, TRAIN_CODE, SCORE_CODE, EVALUATE_CODE]
    key = fingerprint([config.model_dump(mode="json"), row.regression, codes])
    place = row_file(name, row)
    if place.exists() and (kept := json.loads(place.read_text()))["key"] == key:
        return kept
    began = time.monotonic()
    root, work = data / BENCHMARKS[name].folder, WORK / name / row.features
    stage = "extract" if row.regression else "run"
    command = [sys.executable, "-m", "lad", stage, "-q", "--json", "-c", str(path), "--data", str(root)]
    command += ["--work", str(work), *(word for change in changes for word in ("-o", change))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # it has said why
        sys.exit(done.returncode)
    if row.regression:
        seeds = range(config.protocol.seed, config.protocol.seed + config.protocol.splits)
        splits = [regression_split(work, root, seed, config, row.regression) for seed in seeds]
    else:
        found = json.loads(done.stdout)["metrics"]
        every = found.get("splits", [found])
        splits = [
            {
                "split": home.name,
                "auc": one["auc"],
                "validation": validation_auc(work, one["protocol"]["split"]),
                "metrics": one,
                "videos": scored_videos(home, root),
            }
            for home, one in zip(split_homes(work, config), every, strict=True)
        ]
    measured = {"key": key, "seconds": time.monotonic() - began, "splits": splits}
    write_json(place, measured)
    return measured


def split_homes(work: Path, config: Config) -> list[Path]:
    """The folders of a work directory's splits, or itself."""
    count = config.protocol.splits
    return [work] if count == 1 else [work / "splits" / str(number) for number in range(count)]


def validation_auc(work: Path, split: str | None) -> float:
    """What the detector's recipe was chosen by: its AUC on held-out training videos, at the steps that it was given."""
    with read_manifest(work) as manifest:
        trained = manifest.get(TRAIN, f"{split}/{DETECTOR}" if split else DETECTOR)
    assert trained is not None
    return trained.info["validation"]["auc"]


def scored_videos(home: Path, root: Path) -> list[dict[str, Any]]:
    """The test videos of a split, with what an interval and a curve need."""
    videos = [video for video in read_dataset(home / "dataset.csv", root) if video.split == "test"]
    return [scored_video(video, read_scores(score_path(home, video.id))) for video in videos]


def scored_video(video: Video, scores: np.ndarray) -> dict[str, Any]:
    return {
        "video": video.id,
        "source": video.group,
        "label": video.label,
        "fps": video.fps,
        "events": [[event.start, event.end] for event in video.events],
        "scores": [round(score, 6) for score in scores.tolist()],
    }


def regression_split(work: Path, root: Path, seed: int, config: Config, strength: float) -> dict[str, Any]:
    """No detector: a logistic regression on standardised clip features, its decisions smoothed over three clips."""

    def features(video: Video) -> np.ndarray:
        streams = config.extract.streams
        return np.hstack([np.load(feature_path(work, stream, video.id), allow_pickle=False) for stream in streams])

    def clip_labels(video: Video, clips: int) -> np.ndarray:
        return video.frame_labels(clips * CLIP_FRAMES).reshape(clips, CLIP_FRAMES).mean(axis=1) >= 0.5

    tree = config.model_dump(mode="json")
    tree["data"]["root"], tree["protocol"] = str(root), {"splits": 1, "seed": seed}
    videos = load_videos(load_config(None, [], base=tree))
    train = [(features(video), video) for video in videos if video.split == "train"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    model.fit(
        np.concatenate([clips for clips, _ in train]),
        np.concatenate([clip_labels(video, len(clips)) for clips, video in train]),
    )
    scored = []
    for video in videos:
        if video.split == "test":
            decision = np.pad(model.decision_function(features(video)), SMOOTHING_CLIPS // 2, mode="edge")
            smooth = np.convolve(decision, np.full(SMOOTHING_CLIPS, 1 / SMOOTHING_CLIPS), mode="valid")
            frames = np.load(feature_path(work, "times", video.id), allow_pickle=False).size
            scored.append(scored_video(video, 1 / (1 + np.exp(-np.repeat(smooth, CLIP_FRAMES)[:frames]))))
    truth = np.concatenate([truth_of(one) for one in scored])
    auc = roc_auc(truth, np.concatenate([one["scores"] for one in scored]))
    return {"split": str(seed), "auc": auc, "validation": None, "metrics": None, "videos": scored}


def truth_of(scored: dict[str, Any]) -> np.ndarray:
    """`(frames,)` bool of a `scored_video`."""
    truth = np.zeros(len(scored["scores"]), dtype=bool)
    for start, end in scored["events"]:
        truth[start:end] = True
    return truth


def frames_of(scored: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of all frames of several `scored_video`."""
    return np.concatenate([truth_of(one) for one in scored]), np.concatenate([one["scores"] for one in scored])


if __name__ == "__main__":
    sys.exit(main())
