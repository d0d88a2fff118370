"""How good the scores are on UCSD Ped2 and on surveillance clips.

    python -m benchmarks.accuracy [--only ped2 surveillance] [--rows NAME ...] [--data DIR] [--pages docs]

The rows are the default, the paper's recipe, a linear baseline, and the default without each of its ingredients. Each
row is `lad run` on one of the configurations in configs/, changed with `-o`. Rows with the same features share a work
directory, so that features are made once. The numbers of a row are kept in runs/accuracy/rows until its configuration
or the code of a stage changes. A run that was stopped goes on from there. It writes docs/results.md and the pictures
beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy_cost import measure_cost
from benchmarks.accuracy_page import write_page
from benchmarks.accuracy_rows import (
    BENCHMARKS,
    ROOT,
    WORK,
    Row,
    cost_file,
    frames_of,
    load_splits,
    row_config,
    row_file,
)
from lad.clip import CLIP_FRAMES
from lad.config import Config, load_config
from lad.dataset import Video
from lad.evaluation.metrics import roc_auc
from lad.features.recipe import CODE_VERSION as EXTRACT_CODE
from lad.features.recipe import configured_streams
from lad.files import fingerprint, write_json
from lad.memory import keep_freed
from lad.pipeline.evaluate import CODE_VERSION as EVALUATE_CODE
from lad.pipeline.facts import pairs
from lad.pipeline.project import Project
from lad.pipeline.score_facts import CODE_VERSION as SCORE_CODE
from lad.pipeline.scored import read_scores
from lad.pipeline.train import CODE_VERSION as TRAIN_CODE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.work.layout import Work
from lad.work.manifest import read_manifest

SMOOTHING_CLIPS = 3  # over which the decisions of the linear baseline are averaged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS), help="benchmarks to measure"
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="measure only rows whose name contains one of these")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of ucsd_ped2 and surveillance"
    )
    parser.add_argument("--pages", type=Path, default=ROOT / "docs", help="folder of results.md and its pictures")
    arguments = parser.parse_args()
    keep_freed()  # as the program does: the cost of a clip is measured in this process
    for name in arguments.only:
        if not (arguments.data / BENCHMARKS[name].folder).is_dir():
            print(f"no {BENCHMARKS[name].folder} in {arguments.data}: name the data folder with --data")
            return 2
        for row in BENCHMARKS[name].rows:
            if not arguments.rows or any(wanted in row.name for wanted in arguments.rows):
                measured = measure(name, row, arguments.data)
                aucs = [split["auc"] for split in measured["splits"]]
                print(f"{name}: {row.name}: {np.mean(aucs):.4f} ({measured['seconds']:.0f} s)", flush=True)
        if not arguments.rows:
            video = arguments.data / BENCHMARKS[name].folder / BENCHMARKS[name].video
            write_json(cost_file(name), measure_cost(cost_configs(name), video))
    write_page(arguments.pages, arguments.data)
    return 0


def cost_configs(name: str) -> dict[str, Config]:
    """The configurations whose cost of a clip is compared: the default and the paper's recipe."""
    return {
        "default": load_config(ROOT / "configs" / f"{name}.yaml", []),
        "the paper's recipe": load_config(ROOT / "configs" / f"{name}-paper.yaml", []),
    }


def measure(name: str, row: Row, data: Path) -> dict[str, Any]:
    """The numbers of a row, from this run or from an earlier one.

    Returns:
        `{"splits": [{"split", "auc", "validation", "trained", "metrics", "videos"}, ...], "seconds", "key"}`, where
        `videos` are as `scored_video` makes them.
    """
    path, changes, config = row_config(name, row)
    codes = [EXTRACT_CODE, TRAIN_CODE, SCORE_CODE, EVALUATE_CODE]
    key = fingerprint([config.model_dump(mode="json"), row.regression, codes])
    place = row_file(name, row)
    if place.exists() and (kept := json.loads(place.read_text()))["key"] == key:
        return kept
    began = time.monotonic()
    root, home = data / BENCHMARKS[name].folder, WORK / name / row.features
    stage = "extract" if row.regression else "run"
    command = [sys.executable, "-m", "lad", stage, "-q", "--json", "-c", str(path), "--data", str(root)]
    command += ["--work", str(home), *(word for change in changes for word in ("-o", change))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # it has said why
        sys.exit(done.returncode)
    projects = load_splits(name, row, data)
    with read_manifest(home) as manifest:
        work = Work(manifest)
        if row.regression:
            splits = [regression_split(work, project, row.regression) for project in projects]
        else:
            splits = detector_splits(work, projects, json.loads(done.stdout)["metrics"])
    measured = {"key": key, "seconds": time.monotonic() - began, "splits": splits}
    write_json(place, measured)
    return measured


def detector_splits(work: Work, projects: Sequence[Project], metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbers of each split that `lad run` has done. `metrics` is what it printed."""
    several = len(projects) > 1
    places = [work.of_split(number) for number in range(len(projects))] if several else [work]
    found = metrics["splits"] if several else [metrics]
    return [
        {
            "split": place.folder.name,
            "auc": one["auc"],
            "validation": (trained := validation_of(place))["auc"],
            "trained": trained,
            "metrics": one,
            "videos": [scored_video(v, read_scores(place.scores(v.id))) for v in project.videos if v.split == "test"],
        }
        for project, place, one in zip(projects, places, found, strict=True)
    ]


def validation_of(work: Work) -> dict[str, Any]:
    """What held-out training videos said of as many steps as the detector has had; a recipe is chosen by its AUC."""
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    assert trained is not None
    return trained.info["validation"]


def scored_video(video: Video, scores: np.ndarray) -> dict[str, Any]:
    """What intervals and curves are made from."""
    return {
        "video": video.id,
        "source": video.group,
        "label": video.label,
        "fps": video.fps,
        "events": pairs(video.events),
        "scores": [round(score, 6) for score in scores.tolist()],
    }


def regression_split(work: Work, project: Project, strength: float) -> dict[str, Any]:
    """The numbers of one split without a detector.

    A logistic regression on standardised features decides on each clip. Its decisions are averaged over three clips.

    Args:
        work: where the features are.
        project: the videos of the split.
        strength: C of the regression.
    """

    def features(video: Video) -> np.ndarray:
        streams = configured_streams(project.config.extract)
        return np.hstack([np.load(work.features(stream, video.id), allow_pickle=False) for stream in streams])

    def clip_labels(video: Video, clips: int) -> np.ndarray:
        return video.frame_labels(clips * CLIP_FRAMES).reshape(clips, CLIP_FRAMES).mean(axis=1) >= 0.5

    train = [(features(video), video) for video in project.videos if video.split == "train"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    model.fit(
        np.concatenate([clips for clips, _ in train]),
        np.concatenate([clip_labels(video, len(clips)) for clips, video in train]),
    )
    scored = []
    for video in project.videos:
        if video.split == "test":
            decision = np.pad(model.decision_function(features(video)), SMOOTHING_CLIPS // 2, mode="edge")
            smooth = np.convolve(decision, np.full(SMOOTHING_CLIPS, 1 / SMOOTHING_CLIPS), mode="valid")
            frames = np.load(work.times(video.id), allow_pickle=False).size
            scored.append(scored_video(video, 1 / (1 + np.exp(-np.repeat(smooth, CLIP_FRAMES)[:frames]))))
    split, auc = str(project.config.protocol.seed), roc_auc(*frames_of(scored))
    return {"split": split, "auc": auc, "validation": None, "metrics": None, "videos": scored}


if __name__ == "__main__":
    sys.exit(main())
