"""`lad evaluate`: scores and labels to `metrics.json` and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lad import __version__
from lad.dataset import Video, class_names
from lad.files import fingerprint, write_json
from lad.metrics import accuracy, average_precision, confusion_matrix, false_alarm_rate, roc_auc
from lad.pipeline.extract import find_features, weights_in_use
from lad.pipeline.manifest import Item
from lad.pipeline.score import STAGE as SCORE
from lad.pipeline.score import read_scores, score_path
from lad.pipeline.stage import Run, StageError, StageResult

STAGE = "evaluate"
ITEM = "metrics"
CODE_VERSION = 1

UNDEFINED = {
    "auc": "all test frames are alike: no ROC curve",
    "auc_abnormal": "the abnormal test videos have no normal frame, or there are none",
    "ap": "no test frame is anomalous",
    "far_all": "no test frame is normal",
    "far_normal": "no test video is normal",
    "far_abnormal": "the abnormal test videos have no normal frame, or there are none",
    "accuracy_window": "the test videos have no labels",
    "accuracy_video": "the test videos have no labels",
}


@dataclass(frozen=True)
class ScoredVideo:
    """A test video with what is true of it and what was found."""

    video: Video
    truth: np.ndarray  # (frames,) bool
    scores: np.ndarray  # (frames,) float
    label: int | None
    predicted: int
    votes: np.ndarray  # (categories,) windows won


def evaluate_videos(run: Run, videos: list[Video]) -> StageResult:
    """Compare the scores of the `test` videos with their labels.

    Raises:
        StageError: there is no test video, or scores are missing.
    """
    result = StageResult(STAGE)
    test = [video for video in videos if video.split == "test"]
    if not test:
        raise StageError("no video is in the split `test`: there is nothing to evaluate")
    features, failed = find_features(run, test)
    result.failed = {item: f"not evaluated: {reason}" for item, reason in failed.items()}
    rows = {item: row for (_, item), row in run.manifest.items(SCORE).items() if row.status == "done"}
    usable = [video for video in test if video.id in features]
    if not usable:
        raise StageError("no test video has features")
    if unscored := [video.id for video in usable if video.id not in rows]:
        raise StageError(f"{len(unscored)} test videos are not scored ({unscored[0]}, ...): run `lad score` first")
    classes = run.config.data.classes or class_names(videos)
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "classes": classes,
        "protocol": protocol(run, videos, failed),
        "videos": [
            [v.id, v.label, [[e.start, e.end] for e in v.events], rows[v.id].fingerprint, rows[v.id].outputs[0].sha256]
            for v in usable
        ],
    }
    today = fingerprint(facts)
    if not run.force and run.manifest.is_done(run.manifest.get(STAGE, ITEM), today, verify=run.verify):
        result.skipped = 1
        return result
    run.manifest.start(STAGE, ITEM, today)
    scored = read_scored(run, usable)
    threshold = run.config.score.threshold
    metrics = compute_metrics(scored, classes, threshold)
    metrics |= {"protocol": protocol(run, videos, failed), "weights": weights_in_use(run), "lad": __version__}
    path = run.work / "metrics.json"
    write_json(path, metrics)
    from lad import plots

    with run.progress("plots", len(scored)) as (bar, task):
        drawn = plots.draw_evaluation(run.work / "plots", scored, metrics, classes, on_plot=lambda: bar.advance(task))
    run.manifest.finish(STAGE, ITEM, [path, *drawn], {"videos": len(scored)})
    result.done = 1
    return result


def protocol(run: Run, videos: Sequence[Video], failed: dict[str, str]) -> dict[str, Any]:
    """What the numbers were measured on, and with what."""
    data, train = run.config.data, run.config.train
    return {
        "data": data.benchmark or (str(data.dataset) if data.dataset else "folder"),
        "seed": data.seed,
        "videos": {split: sum(video.split == split for video in videos) for split in ("train", "val", "test")},
        "left_out": sorted(failed),
        "streams": list(run.config.extract.streams),
        "preset": run.config.extract.preset,
        "flow": run.config.extract.flow if "flow" in run.config.extract.streams else None,
        "detector": train.detector,
        "window": train.window,
        "selection": train.selection,
        "train_seed": train.seed,
        "merge": run.config.score.merge,
        "accuracy_window": "windows of K clips, stride 1, counted by the category that the detector gives each",
        "accuracy_video": "the category with the highest mean probability over the video's clips",
    }


def read_scored(run: Run, videos: Sequence[Video]) -> list[ScoredVideo]:
    """The scores and labels of those of `videos` that are scored.

    Raises:
        StageError: the detector's categories are not the data's.
    """
    classes = run.config.data.classes or class_names(run.videos)
    rows = run.manifest.items(SCORE)
    found = {video.id: rows.get((SCORE, video.id)) for video in videos}
    return [_read(run, video, row, classes) for video in videos if (row := found[video.id]) and row.status == "done"]


def _read(run: Run, video: Video, row: Item, classes: list[str]) -> ScoredVideo:
    scores, probabilities = read_scores(score_path(run.work, video.id))
    votes = np.array([row.info["votes"].get(name, 0) for name in classes])
    if not votes.sum():
        raise StageError(
            f"the detector's categories are {', '.join(row.info['votes'])}, the data's {', '.join(classes)}"
        )
    return ScoredVideo(
        video=video,
        truth=video.frame_labels(len(scores)),
        scores=scores,
        label=classes.index(video.label) if video.label in classes else None,
        predicted=int(probabilities.mean(axis=0).argmax()),
        votes=votes,
    )


def compute_metrics(scored: Sequence[ScoredVideo], classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Every number of `lad evaluate` over `scored`; an undefined one is None, with its reason under `undefined`."""

    def frames(chosen: Sequence[ScoredVideo]) -> tuple[np.ndarray, np.ndarray]:
        if not chosen:
            return np.zeros(0, dtype=bool), np.zeros(0)
        return np.concatenate([one.truth for one in chosen]), np.concatenate([one.scores for one in chosen])

    everything = frames(scored)
    abnormal = frames([one for one in scored if one.video.is_abnormal])
    normal = frames([one for one in scored if not one.video.is_abnormal])
    labelled = [one for one in scored if one.label is not None]
    truth = [one.label for one in labelled if one.label is not None]
    windows = sum(int(one.votes.sum()) for one in labelled)
    right = sum(int(one.votes[one.label]) for one in labelled if one.label is not None)
    matrix = confusion_matrix(truth, [one.predicted for one in labelled], len(classes))
    numbers: dict[str, Any] = {
        "auc": roc_auc(*everything),
        "auc_abnormal": roc_auc(*abnormal),
        "ap": average_precision(*everything),
        "far_all": false_alarm_rate(*everything, threshold),
        "far_normal": false_alarm_rate(*normal, threshold),
        "far_abnormal": false_alarm_rate(*abnormal, threshold),
        "threshold": threshold,
        "accuracy_window": right / windows if windows else None,
        "accuracy_video": accuracy(truth, [one.predicted for one in labelled]),
    }
    return numbers | {
        "undefined": {name: UNDEFINED[name] for name, value in numbers.items() if value is None},
        "frames": len(everything[0]),
        "anomalous_frames": int(everything[0].sum()),
        "confusion": {"classes": list(classes), "matrix": matrix.tolist()},
        "classes": {
            name: {
                "videos": int(matrix[i].sum()),
                "recall": float(matrix[i, i] / matrix[i].sum()) if matrix[i].sum() else None,
            }
            for i, name in enumerate(classes)
        },
    }
