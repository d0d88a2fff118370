"""The numbers of an evaluation: scored videos in, plain data for `metrics.json` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lad.dataset import Video
from lad.evaluation.bootstrap import rate_interval
from lad.evaluation.metrics import (
    accuracy,
    auc_against,
    average_precision,
    confusion_matrix,
    event_detection,
    false_alarm_rate,
    false_alarms,
    false_alarms_an_hour,
    latencies,
    macro_auc,
    roc_auc,
)
from lad.evaluation.reliability import calibration_error, reliability
from lad.intervals import events_above, intervals
from lad.names import is_normal

FIXED_THRESHOLD = 0.5  # beside the chosen one, so that runs can be compared
SECONDS_A_DAY = 86_400.0
SAME_TIME = 2e-3  # seconds
UNNAMED, NO_EVENT = "event (no category)", "no event"

UNDEFINED = {
    "auc": "all test frames are alike: no ROC curve",
    "auc_macro": "no test video has both normal and anomalous frames",
    "auc_abnormal": "the abnormal test videos have no normal frame, or there are none",
    "ap": "no test frame is anomalous",
    "far_all": "no test frame is normal",
    "far_normal": "no test video is normal",
    "far_abnormal": "the abnormal test videos have no normal frame, or there are none",
    "false_alarms_hour": "the test videos have no duration",
    "latency": "no event is alarmed at that threshold, or there is none",
    "never_alarmed": "no test frame is anomalous",
    "calibration_error": "a score is not within 0 and 1, as probabilities are",
    "accuracy_window": "the test videos have no labels, or the scores come without categories",
    "accuracy_video": "the test videos have no labels, or the scores come without categories",
}
PER_VIDEO_JUDGED = ("far_normal", "far_abnormal", "false_alarms_hour", "latency", "never_alarmed")
JUDGED = ("far_all", *PER_VIDEO_JUDGED)  # at a threshold
UNJUDGED = "the scores come without a threshold: set score.threshold to judge them at one"
NO_PROBABILITIES = "a score is not within 0 and 1: 0.5 means nothing"
PER_VIDEO = ("auc_macro", "auc_abnormal", *PER_VIDEO_JUDGED)
UNDIVIDED = "nobody says where one video ends and the next begins"


@dataclass(frozen=True)
class ScoredVideo:
    """A test video with what is true of it and what was found.

    Attributes:
        truth: `(frames,)` bool.
        scores: `(frames,)` float.
        seconds: how long it lasts.
        labels: index of each of its categories, the foremost first.
        predicted: index of the category that it is taken for; None: the scores come without categories.
        votes: `(categories,)` windows won; zeros: as above.
        times: `(frames,)` float64, seconds since the first frame.
    """

    video: Video
    truth: np.ndarray
    scores: np.ndarray
    seconds: float
    labels: tuple[int, ...]
    predicted: int | None
    votes: np.ndarray
    times: np.ndarray

    @property
    def row(self) -> int | None:
        """Its row in the confusion matrix: what it is taken for where that is right, else its foremost category."""
        if self.predicted in self.labels:
            return self.predicted
        return self.labels[0] if self.labels else None


def label_indices(video: Video, classes: Sequence[str]) -> tuple[int, ...]:
    """Where the categories of a video stand among `classes`, the foremost first."""
    return tuple(classes.index(name) for name in video.categories if name in classes)


def compute_metrics(
    scored: Sequence[ScoredVideo],
    classes: Sequence[str],
    threshold: float | None,
    *,
    merge_seconds: float = 0.0,
    min_seconds: float = 0.0,
    divided: bool = True,
) -> dict[str, Any]:
    """Every number of `lad evaluate` over `scored`; an undefined one is None, with its reason under `undefined`.

    Args:
        scored: the test videos.
        classes: names of the categories.
        threshold: of events and alarms; None: there is none, and nothing is judged at one.
        merge_seconds, min_seconds: of events, as `intervals.events_above` has them.
        divided: whether each of `scored` is one video, and not all of them one after the other.
    """
    everything = _frames(scored)
    labelled = [one for one in scored if one.labels and one.predicted is not None]
    windows = sum(int(one.votes.sum()) for one in labelled)
    right = sum(int(one.votes[list(one.labels)].sum()) for one in labelled)
    rows = [one.row for one in labelled if one.row is not None]
    columns = [one.predicted for one in labelled if one.predicted is not None]
    matrix = confusion_matrix(rows, columns, len(classes))
    bins = reliability(*everything)
    fixed = FIXED_THRESHOLD if bins is not None else None
    at_threshold, at_fixed = (
        numbers_at(scored, at, merge_seconds, min_seconds, divided=divided) for at in (threshold, fixed)
    )
    numbers: dict[str, Any] = {
        "auc": roc_auc(*everything),
        "auc_macro": macro_auc([(one.truth, one.scores) for one in scored]) if divided else None,
        "auc_abnormal": roc_auc(*_frames([one for one in scored if one.video.is_abnormal])) if divided else None,
        "ap": average_precision(*everything),
        **{name: at_threshold[name] for name in JUDGED},
        "threshold": threshold,
        "calibration_error": calibration_error(bins) if bins else None,
        "accuracy_window": right / windows if windows else None,
        "accuracy_video": accuracy([one.labels for one in labelled], columns),
    }
    reasons = UNDEFINED | ({} if divided else dict.fromkeys(PER_VIDEO, UNDIVIDED))
    if threshold is None:
        reasons |= dict.fromkeys(("threshold", *JUDGED), UNJUDGED)
    undefined = {name: reasons[name] for name, value in numbers.items() if value is None}
    return numbers | {
        "undefined": undefined | ({f"at_{FIXED_THRESHOLD}": NO_PROBABILITIES} if fixed is None else {}),
        "events": at_threshold["events"],
        f"at_{FIXED_THRESHOLD}": at_fixed,
        "reliability": bins,
        "frames": len(everything[0]),
        "anomalous_frames": int(everything[0].sum()),
        "confusion": {"classes": list(classes), "matrix": matrix.tolist()},
        "confusion_events": (
            None
            if threshold is None or not divided
            else _confusion_of_events(scored, classes, threshold, merge_seconds, min_seconds)
        ),
        "classes": _of_classes(scored, classes),
    }


def numbers_at(
    scored: Sequence[ScoredVideo],
    threshold: float | None,
    merge_seconds: float = 0.0,
    min_seconds: float = 0.0,
    *,
    divided: bool = True,
) -> dict[str, Any]:
    """What depends on a threshold: false alarms, by frame and by event, and how well and how soon events are found.

    All of it is None where there is no threshold, and all but `far_all` where the videos are not divided.
    """
    if threshold is None or not divided:
        far_all = None if threshold is None else false_alarm_rate(*_frames(scored), threshold)
        return {**dict.fromkeys(JUDGED), "far_all": far_all, "events": None}
    videos, alarms, delays = [], 0, [np.zeros(0)]
    for one in scored:
        true = intervals(one.truth)
        found = found_events(one.scores, one.times, one.seconds, threshold, merge_seconds, min_seconds)
        videos.append((true, found, [float(one.scores[start:end].max()) for start, end in found]))
        alarms += false_alarms(true, found)
        delays.append(latencies(true, found, one.times))
    late = np.concatenate(delays)
    alarmed = late[np.isfinite(late)]
    return {
        "far_all": false_alarm_rate(*_frames(scored), threshold),
        "far_normal": false_alarm_rate(*_frames([one for one in scored if not one.video.is_abnormal]), threshold),
        "far_abnormal": false_alarm_rate(*_frames([one for one in scored if one.video.is_abnormal]), threshold),
        "false_alarms_hour": false_alarms_an_hour(alarms, sum(one.seconds for one in scored)),
        "latency": float(np.median(alarmed)) if len(alarmed) else None,
        "never_alarmed": len(late) - len(alarmed) if len(late) else None,
        "events": event_detection(videos),
    }


def found_events(
    scores: np.ndarray, times: np.ndarray, seconds: float, threshold: float, merge_seconds: float, min_seconds: float
) -> list[tuple[int, int]]:
    """The events of a video that lasts `seconds`, as `intervals.events_above` has them.

    Times of a CSV are whole milliseconds: those that are even but for that are taken as even.
    """
    edges = np.linspace(0, seconds, len(scores) + 1)
    if np.abs(times - edges[:-1]).max(initial=0) > SAME_TIME:
        edges = np.append(times, seconds)
    return events_above(
        scores,
        threshold,
        times=edges[:-1],
        ends=edges[1:],
        merge_seconds=merge_seconds,
        min_seconds=min_seconds,
    )


def _confusion_of_events(
    scored: Sequence[ScoredVideo], classes: Sequence[str], threshold: float, merge_seconds: float, min_seconds: float
) -> dict[str, Any]:
    """What happens in each video against what was found in it, both of which may be nothing.

    The categories, then `UNNAMED` for events without one, then `NO_EVENT`.
    """
    unnamed, nothing = len(classes), len(classes) + 1
    rows, columns = [], []
    for one in scored:
        named = unnamed if one.row is None else one.row
        taken = _taken_for(one, classes, unnamed)
        found = found_events(one.scores, one.times, one.seconds, threshold, merge_seconds, min_seconds)
        rows.append(named if one.video.is_abnormal else nothing)
        columns.append(taken if found else nothing)
    matrix = confusion_matrix(rows, columns, len(classes) + 2)
    return {"classes": [*classes, UNNAMED, NO_EVENT], "matrix": matrix.tolist()}


def _taken_for(one: ScoredVideo, classes: Sequence[str], unnamed: int) -> int:
    """The category of what was found in a video: the one with the most windows, of those that events have."""
    if one.predicted is None or not is_normal(classes[one.predicted]):
        return unnamed if one.predicted is None else one.predicted
    votes = [0 if is_normal(name) else int(count) for name, count in zip(classes, one.votes, strict=True)]
    return int(np.argmax(votes)) if any(votes) else unnamed


def _of_classes(scored: Sequence[ScoredVideo], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The numbers of each category: over the videos that have it, and of their events against all normal frames."""
    truth, scores = _frames(scored)
    normal = np.sort(scores[~truth])
    found = {}
    for index, name in enumerate(classes):
        having = [one for one in scored if index in one.labels]
        own, taken = _frames(having), [one.predicted == index for one in having if one.predicted is not None]
        found[name] = {
            "videos": len(having),
            "recall": sum(taken) / len(taken) if taken else None,
            "auc": roc_auc(*own),
            "ap": average_precision(*own),
            "auc_against_normal": auc_against(own[1][own[0]], normal),
        }
    return found


def _frames(chosen: Sequence[ScoredVideo]) -> tuple[np.ndarray, np.ndarray]:
    if not chosen:
        return np.zeros(0, dtype=bool), np.zeros(0)
    return np.concatenate([one.truth for one in chosen]), np.concatenate([one.scores for one in chosen])


def alarm_budget(
    scored: Sequence[ScoredVideo],
    asked: float,
    thresholds: Mapping[str, float],
    merge_seconds: float,
    min_seconds: float,
) -> dict[str, Any]:
    """How often normal footage alarms, against how often it was to; the interval is a bootstrap over sources.

    Args:
        scored: videos that the threshold was not chosen on; their events, and what overlaps these, count for nothing.
        asked: alarms a day, of each camera.
        thresholds: of events, by video id.
        merge_seconds, min_seconds: of events.
    """
    by_source: dict[str, np.ndarray] = {}  # alarms, days
    for one in scored:
        found = found_events(one.scores, one.times, one.seconds, thresholds[one.video.id], merge_seconds, min_seconds)
        alarms = false_alarms(intervals(one.truth), found)
        days = one.seconds * float((~one.truth).mean()) / SECONDS_A_DAY
        by_source[one.video.group] = by_source.get(one.video.group, np.zeros(2)) + np.array([alarms, days])
    counts = np.array(list(by_source.values()))
    total = counts.sum(axis=0)
    told = {"asked": asked, "alarms": int(total[0]), "normal_hours": float(total[1]) * 24, "sources": len(counts)}
    if not total[1]:
        return told | {"met": None, "interval": None}
    return told | {"met": float(total[0] / total[1]), "interval": rate_interval(counts)}


def summarise(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of every number over several random splits, its standard deviation (`sd`), and every split.

    A split where a number is undefined does not count for it; where it is undefined in all of them, so is the mean.
    """
    names = [name for name in splits[0] if name == "threshold" or name in UNDEFINED]
    known = {name: [split[name] for split in splits if split[name] is not None] for name in names}
    fixed = f"at_{FIXED_THRESHOLD}"
    mean = {name: _mean([split[name] for split in splits]) for name in (*names, "events", "classes", fixed)}
    optimistic = [split["released_protocol"] for split in splits if "released_protocol" in split]
    if optimistic:
        how = f"mean of {len(optimistic)} splits: {optimistic[0]['how']}"
        mean["released_protocol"] = {"auc": _mean([one["auc"] for one in optimistic]), "how": how}
    if by_test := [split["selected_by_test"] for split in splits if "selected_by_test" in split]:
        how = f"mean of {len(by_test)} splits: {by_test[0]['how']}"
        mean["selected_by_test"] = {name: _mean([one.get(name) for one in by_test]) for name in ("auc", "ap")}
        mean["selected_by_test"]["how"] = how
    return mean | {
        "undefined": {name: _reason(splits, name) for name in names if mean[name] is None},
        "sd": {name: float(np.std(values, ddof=1)) if len(values) > 1 else None for name, values in known.items()},
        "splits": list(splits),
    }


def _reason(splits: Sequence[Mapping[str, Any]], name: str) -> str:
    """Why a number is undefined in all splits, as the first one says it."""
    return next(why[name] for split in splits if name in (why := split["undefined"]))


def _mean(values: Sequence[Any]) -> Any:
    """The mean of numbers, where they are defined, or of dicts of them, key by key."""
    if isinstance(values[0], Mapping):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
