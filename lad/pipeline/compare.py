"""`lad compare`: the numbers of several runs side by side, and of two of the same test videos the difference."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lad.dataset import Video, read_dataset
from lad.errors import LadError
from lad.evaluation.bootstrap import (
    NUMBERS,
    RESAMPLINGS,
    Measured,
    interval,
    resampled,
    resampled_categories,
    share_above_zero,
)
from lad.evaluation.metrics import latencies, roc_auc
from lad.evaluation.results import found_events
from lad.extract.sampling import Timeline
from lad.features.labels import with_events_in_frames, with_review
from lad.files import check_readable
from lad.intervals import intervals
from lad.ours import DATASET
from lad.pipeline.scored import read_times_and_scores
from lad.work.verdicts import reviews_in

METRICS = "metrics.json"
MAX_METRICS_BYTES = 1 << 28
# What is compared, as `metrics.json` calls it, and as the head of a table does.
COMPARED = {
    "auc": "frame AUC",
    "auc_macro": "macro AUC",
    "auc_abnormal": "AUC, abnormal videos",
    "ap": "AP",
    "far_all": "false-alarm rate",
    "far_normal": "false-alarm rate, normal videos",
    "far_abnormal": "false-alarm rate, abnormal videos",
    "false_alarms_hour": "false alarms an hour",
    "latency": "latency, s",
    "never_alarmed": "events never alarmed",
    "calibration_error": "calibration error",
    "accuracy_window": "accuracy, a window",
    "accuracy_video": "accuracy, a video",
    "rbdc": "RBDC",
    "tbdc": "TBDC",
}
ROUNDING = 1e-6  # of an AUC


@dataclass(frozen=True)
class Run:
    """A run to be compared.

    Attributes:
        folder: its work directory, one of its splits, or a folder of `evaluations`.
        metrics: what its `metrics.json` says.
        tested: the test videos of each split, with scores and labels; empty where they cannot be had.
        reason: why they cannot.
    """

    folder: Path
    metrics: dict[str, Any]
    tested: list[list[Measured]] = field(default_factory=list)
    reason: str = ""

    @property
    def splits(self) -> int:
        return len(_splits(self.metrics)) or 1


def compare_runs(folders: Sequence[Path]) -> dict[str, Any]:
    """The numbers of runs, as plain data.

    Returns:
        `{"runs": [...], "paired": None or {...}}`: of each run `name`, `work`, `splits`, `reason` (why there is no
        interval, or empty), `tested` (how many frames, and how many of them anomalous) and `metrics`, by name
        `{"mean", "sd", "low", "high"}`, each None where it is not known;
        `categories` has the same of the AUC of each category's events against normal frames.
        `paired` is there for two runs: `first`, `second`, and either `reason` or, by name, what the second has more:
        `{"difference", "low", "high", "above_zero"}`.

    Raises:
        LadError: a folder has no `metrics.json` that can be read.
    """
    runs = [_read_run(folder) for folder in folders]
    drawn = [resampled(run.tested) if run.tested else {} for run in runs]
    names = _names(folders)
    data: dict[str, Any] = {
        "runs": [
            {
                "name": name,
                "work": str(run.folder),
                "splits": run.splits,
                "reason": run.reason or _why_no_interval(numbers),
                "tested": {key: run.metrics.get(key) for key in ("frames", "anomalous_frames")},
                "metrics": {key: _number(run.metrics, key, numbers.get(key)) for key in COMPARED},
                "categories": _categories(run),
            }
            for name, run, numbers in zip(names, runs, drawn, strict=True)
        ],
        "paired": None,
    }
    if len(runs) == 2:
        data["paired"] = {"first": names[0], "second": names[1], "resamplings": RESAMPLINGS} | _paired(runs, drawn)
    return data


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or all of it where two share that."""
    names = [folder.resolve().name for folder in folders]
    count = Counter(names)
    return [name if count[name] == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _why_no_interval(drawn: Mapping[str, np.ndarray]) -> str:
    alike = drawn and all(interval(values) is None for values in drawn.values())
    return "the test videos are all of one source, or all alike" if alike else ""


def _number(metrics: Mapping[str, Any], key: str, drawn: np.ndarray | None) -> dict[str, float | None]:
    sd = metrics.get("sd")
    bounds = interval(drawn) if drawn is not None else None
    low, high = bounds or (None, None)
    return {
        "mean": _finite(metrics.get(key)),
        "sd": _finite(sd.get(key)) if isinstance(sd, dict) else None,
        "low": low,
        "high": high,
    }


def _categories(run: Run) -> dict[str, dict[str, float | None]]:
    """The AUC of each category that the test videos have events of."""
    classes = run.metrics.get("classes")
    known = classes.items() if isinstance(classes, dict) else ()
    said = {name: one.get("auc_against_normal") for name, one in known if isinstance(one, dict)}
    drawn = resampled_categories(run.tested)
    return {name: _number(said, name, drawn.get(name)) for name, auc in said.items() if _finite(auc) is not None}


def _finite(value: Any) -> float | None:
    return value if type(value) in (int, float) and math.isfinite(value) else None


def _paired(runs: Sequence[Run], drawn: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    first, second = runs
    if reason := first.reason or second.reason or _why_not_paired(first, second):
        return {"reason": reason}
    found: dict[str, Any] = {}
    for key in NUMBERS:
        means = [_finite(run.metrics.get(key)) for run in runs]
        differences = drawn[1][key] - drawn[0][key]  # of the same draws, since the sources are the same
        low, high = interval(differences) or (None, None)
        difference = None if means[0] is None or means[1] is None else means[1] - means[0]
        above = share_above_zero(differences)
        found[key] = {"difference": difference, "low": low, "high": high, "above_zero": above}
    return found


def _why_not_paired(first: Run, second: Run) -> str:
    """Why two runs have no paired difference; empty where they have."""
    if first.splits != second.splits:
        return f"{first.folder} has {first.splits} splits, {second.folder} has {second.splits}"
    for number, (ours, theirs) in enumerate(zip(first.tested, second.tested, strict=True)):
        where = f" of split {number}" if first.splits > 1 else ""
        known, other = ({one.id: one for one in tested} for tested in (ours, theirs))
        if known.keys() != other.keys():
            only = [sorted(known.keys() - other.keys()), sorted(other.keys() - known.keys())]
            said = [
                f"{len(ids)} only in {run.folder} ({ids[0]}{', ...' if len(ids) > 1 else ''})"
                for ids, run in zip(only, (first, second), strict=True)
                if ids
            ]
            return f"the test videos{where} differ: {'; '.join(said)}"
        for one in ours:
            if not np.array_equal(one.truth, other[one.id].truth):
                return f"the labels or the number of frames of {one.id}{where} differ"
            if one.source != other[one.id].source:
                return f"the source of {one.id}{where} differs"
    return ""


# From a work directory -------------------------------------------------------------------------------------------


def _read_run(folder: Path) -> Run:
    metrics = _read_metrics(folder)
    splits = _splits(metrics)
    places = [folder / "splits" / str(number) for number in range(len(splits))] or [folder]
    try:
        pairs = zip(places, splits or [metrics], strict=True)
        return Run(folder, metrics, [_read_tested(place, numbers) for place, numbers in pairs])
    except (LadError, OSError, ValueError) as error:
        return Run(folder, metrics, reason=" ".join(str(error).split()))


def _read_metrics(folder: Path) -> dict[str, Any]:
    """What `metrics.json` says.

    Raises:
        LadError: it is not there, or is none.
    """
    path = folder / METRICS
    try:
        check_readable(path, MAX_METRICS_BYTES)
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LadError(f"{folder}: no {METRICS}: name a work directory in which `lad evaluate` was done") from None
    except (ValueError, RecursionError) as error:
        raise LadError(f"{path}: not as lad made it: run `lad evaluate --force` first") from error
    if not isinstance(metrics, dict):
        raise LadError(f"{path}: not as lad made it: run `lad evaluate --force` first")
    return metrics


def _splits(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    splits = metrics.get("splits")
    return [one for one in splits if isinstance(one, dict)] if isinstance(splits, list) else []


def _read_tested(folder: Path, metrics: Mapping[str, Any]) -> list[Measured]:
    """The test videos that the numbers are of.

    Raises:
        LadError, OSError: scores or labels are not there, or not those of the numbers.
    """
    if not (folder / DATASET).is_file():
        raise LadError(f"{folder}: no {DATASET}: scores of other programs are not kept; else run `lad evaluate`")
    protocol = metrics.get("protocol")
    left_out = protocol.get("left_out") if isinstance(protocol, dict) else None
    without = set(map(str, left_out)) if isinstance(left_out, list) else set()
    videos = [video for video in read_dataset(folder / DATASET) if video.split == "test" and video.id not in without]
    reviews = reviews_in(_home(folder))
    tested = [_read_video(folder, with_review(replace(one, reviewed=reviews.get(one.id))), metrics) for one in videos]
    if not tested:
        raise LadError(f"{folder}: no test video")
    auc = roc_auc(np.concatenate([one.truth for one in tested]), np.concatenate([one.scores for one in tested]))
    said = _finite(metrics.get("auc"))
    if (auc is None) != (said is None) or (auc is not None and said is not None and abs(auc - said) > ROUNDING):
        raise LadError(f"{folder}: its scores or labels are not those of its {METRICS}: run `lad evaluate` first")
    return tested


def _home(folder: Path) -> Path:
    """The work directory of a run, or of one of its random splits."""
    whole = folder.absolute()
    return whole.parents[1] if whole.parent.name == "splits" else whole


def _read_video(folder: Path, video: Video, metrics: Mapping[str, Any]) -> Measured:
    path = folder / "scores" / f"{video.id}.csv"
    if not path.is_file():
        raise LadError(f"{path}: not there: run `lad score` and `lad evaluate` first")
    times, scores = read_times_and_scores(path)
    fps = (len(times) - 1) / times[-1] if len(times) > 1 and times[-1] > 0 else 1.0
    timeline = Timeline(times, fps)
    video = with_events_in_frames(video, lambda: timeline)
    truth = video.frame_labels(len(scores))
    rule = _event_rule(metrics)
    found = found_events(scores, times, float(timeline.ends[-1]), *rule) if rule else []
    late = latencies(intervals(truth), found, times) if rule else np.zeros(0)
    return Measured(video.id, video.group, truth, scores, late, video.categories)


def _event_rule(metrics: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The threshold, `merge_seconds` and `min_seconds` that events were found with; None: nobody says."""
    protocol = metrics.get("protocol")
    said = protocol if isinstance(protocol, dict) else {}
    rule = [_finite(value) for value in (metrics.get("threshold"), said.get("merge_seconds"), said.get("min_seconds"))]
    threshold, merge, shortest = rule
    return None if threshold is None or merge is None or shortest is None else (threshold, merge, shortest)
