"""The numbers of `metrics.json` in words: for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRIC_NAMES = {
    "auc": "frame AUC, all videos",
    "auc_macro": "frame AUC, mean over videos (macro)",
    "auc_abnormal": "frame AUC, abnormal videos only",
    "ap": "average precision",
    "far_all": "false-alarm rate, all videos",
    "far_normal": "false-alarm rate, normal videos",
    "far_abnormal": "false-alarm rate, abnormal videos",
    "false_alarms_hour": "false alarms an hour",
    "latency": "seconds until an event is alarmed, median",
    "never_alarmed": "events never alarmed",
    "calibration_error": "calibration error of the scores",
    "accuracy_window": "category accuracy, a window",
    "accuracy_video": "category accuracy, a video",
}


def metrics_title(metrics: Mapping[str, Any]) -> str:
    """What the numbers are of."""
    if splits := metrics.get("splits"):
        return f"{len(splits)} random splits, seeds {splits[0]['seed']} to {splits[-1]['seed']}"
    listed, left_out = metrics["protocol"]["videos"]["test"], len(metrics["protocol"]["left_out"])
    test = "" if listed is None else f"{listed - left_out} test videos, "
    value = metrics["threshold"]
    threshold = "no threshold" if value is None else f"threshold {value:{'.3g' if value < 0.9995 else '.7g'}}"
    return f"{test}{metrics['frames']} frames; {threshold}"


def metrics_table(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of one split, or with the mean and deviation of several."""
    several, beside = "splits" in metrics, metrics["at_0.5"]
    rows = []
    for key, name in METRIC_NAMES.items():
        row = [name, number_text(metrics[key])] + ([number_text(metrics["sd"][key])] if several else [])
        rows.append([*row, number_text(beside[key]) if key in beside else ""])
    return ["metric", *(["mean", "sd"] if several else ["value"]), "at 0.5"], rows


def metrics_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What has no place in the table, a line each: what is undefined and why, categories, events, alarms."""
    lines = []
    undefined: dict[str, list[str]] = {}
    for key, reason in metrics["undefined"].items():
        undefined.setdefault(reason, []).append(METRIC_NAMES.get(key, key.replace("_", " ")))
    for reason, names in undefined.items():
        lines.append(f"undefined: {'; '.join(names)}: {reason}")
    if splits := metrics.get("splits"):
        lines.append(f"frame AUC of each split: {', '.join(number_text(split['auc']) for split in splits)}")
    if len(categories := category_aucs(metrics)) > 1:
        said = ", ".join(f"{name} {number_text(auc)}" for name, auc in categories.items())
        lines.append(f"frame AUC of each category against normal frames: {said}")
    for kind in ("precision", "recall") if metrics["events"] else ():
        at = ", ".join(f"{iou}: {number_text(value)}" for iou, value in metrics["events"][kind].items())
        lines.append(f"event {kind} at temporal IoU {at}")
    if budget := metrics.get("alarms_per_day"):
        met = "none" if budget["met"] is None else f"{budget['met']:.3g}"
        interval = ", ".join(f"{end:.3g}" for end in budget["interval"] or ())
        hours = f"{budget['normal_hours']:.3g} h of normal footage"
        lines.append(f"alarms a day: {budget['asked']:g} asked for, {met} [{interval}] met in {hours}")
    for name in filter(metrics.get, ("released_protocol", "selected_by_test")):
        said = f"frame AUC {number_text(metrics[name]['auc'])} ({metrics[name]['how']})"
        lines.append(f"{name.replace('_', ' ')}: {said}")
    return lines


def category_aucs(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The AUC against normal frames of each category that the test videos have events of."""
    found = {name: one.get("auc_against_normal") for name, one in metrics.get("classes", {}).items()}
    return {name: auc for name, auc in found.items() if auc is not None}


def region_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What `lad evaluate --regions` says."""
    counts = ("videos", "frames", "tracks", "regions", "detections")
    lines = [", ".join(f"{name}: {metrics[name]}" for name in counts)]
    lines += [f"{name.upper()} {number_text(metrics[name])}" for name in ("rbdc", "tbdc")]
    return lines + [f"undefined: {name.upper()}: {reason}" for name, reason in metrics["undefined"].items()]


def number_text(value: float | None) -> str:
    """A count as it is, any other number with four places."""
    if value is None:
        return "undefined"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
