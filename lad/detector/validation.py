"""Validation: which training videos are held out, how good a detector is on them, which evaluation is the best."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lad.dataset import Video
from lad.detector.calibration import Calibration, fit_calibration
from lad.evaluation.metrics import average_precision, best_threshold, roc_auc
from lad.pipeline.score import score_features

if TYPE_CHECKING:
    from lad.detector.windows import LabelledFeatures
    from lad.models.registry import Detector


def divide(videos: Sequence[Video], parts: int, seed: int) -> list[list[Video]]:
    """Deal videos into `parts` by source, so that each part gets its share of abnormal and of normal ones.

    Sources are shuffled by `seed` and dealt largest first to the part that has the fewest videos of their kind.
    """
    groups: dict[str, list[Video]] = {}
    for video in videos:
        groups.setdefault(video.group, []).append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(groups[group]))
    dealt: list[list[Video]] = [[] for _ in range(parts)]
    kinds = [Counter[bool]() for _ in range(parts)]  # how many abnormal and normal videos each part has
    for group in order:
        kind = any(video.is_abnormal for video in groups[group])
        target = min(range(parts), key=lambda part: (kinds[part][kind], len(dealt[part])))
        dealt[target].extend(groups[group])
        kinds[target].update(video.is_abnormal for video in groups[group])
    return dealt


def evaluate_detector(
    model: Detector, videos: Sequence[LabelledFeatures], merge: Literal["mean", "max"] = "mean"
) -> dict[str, float | None]:
    """Frame-level AUC and average precision of `videos`, the threshold and the calibration that suit them best, the
    mean smooth-L1."""
    if not videos:
        return {}
    model.eval()
    scores = [video.source.by_frame(score_features(model, video.features, merge=merge).clips) for video in videos]
    model.train()
    truth, predicted = np.concatenate([video.frame_labels for video in videos]), np.concatenate(scores)
    error = np.abs(predicted - truth)
    calibration = fit_calibration(truth, predicted)
    return {
        "auc": roc_auc(truth, predicted),
        "ap": average_precision(truth, predicted),
        "threshold": best_threshold(truth, predicted),
        "slope": calibration.slope if calibration else None,
        "offset": calibration.offset if calibration else None,
        "score_loss": float(np.mean(0.5 * error**2)),
    }


def best_evaluation(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluation with the highest AUC, else the lowest loss on validation, else the last one."""
    if any(entry.get("auc") is not None for entry in history):
        return max(history, key=lambda entry: -1.0 if entry.get("auc") is None else entry["auc"])
    if all("score_loss" in entry for entry in history):
        return min(history, key=lambda entry: entry["score_loss"])
    return history[-1]


def chosen_calibration(entry: dict[str, Any]) -> Calibration:
    """The calibration of an evaluation; none where its validation had none."""
    slope, offset = entry.get("slope"), entry.get("offset")
    return Calibration() if slope is None or offset is None else Calibration(slope, offset)


def mean_curve(curves: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The folds' curves averaged, step by step; a fold where a number is undefined does not count for it."""
    mean = []
    for entries in zip(*curves, strict=True):
        values = {key: [e[key] for e in entries if e[key] is not None] for key in entries[0] if key != "step"}
        mean.append({"step": entries[0]["step"], **{k: float(np.mean(v)) if v else None for k, v in values.items()}})
    return mean


def describe(entry: dict[str, Any]) -> str:
    """An evaluation in a few words."""
    parts = [f"loss {entry['loss']:.4f}"]
    parts += [f"{key} {entry[key]:.4f}" for key in ("auc", "ap") if entry.get(key) is not None]
    return ", ".join(parts)
