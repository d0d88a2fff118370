"""Tables and pictures of what `accuracy.py` measured. The tables replace the marked parts of docs/results.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy_rows import BENCHMARKS, Row, cost_file, frames_of, load_splits, row_file, truth_of
from benchmarks.error_pictures import draw_errors, find_errors
from benchmarks.page import between
from lad.evaluation.metrics import average_precision, false_alarm_rate, false_alarms, roc_auc
from lad.evaluation.reliability import calibration_error, reliability
from lad.intervals import intervals

RESAMPLINGS = 1000
LEVELS = (2.5, 97.5)  # percentiles of an interval
RECALLS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)  # of the trade-off table
ERRORS_SHOWN = 4  # false alarms, and as many misses
Scored = Sequence[dict[str, Any]]


def write_page(folder: Path, data: Path) -> None:
    """Rewrite the parts of `results.md` between its marks, and the pictures beside it.

    Args:
        folder: of the page.
        data: folder of the benchmarks, whose videos the pictures show.
    """
    page = folder / "results.md"
    text = page.read_text()
    for name in BENCHMARKS:
        rows = [(row, json.loads(row_file(name, row).read_text())) for row in BENCHMARKS[name].rows
                if row_file(name, row).exists()]  # fmt: skip
        if not rows:
            continue
        table = ped2_table(rows) if name == "ped2" else surveillance_table(rows)
        text = between(text, name, table)
        if cost_file(name).exists():
            text = between(text, f"cost of {name}", cost_table(json.loads(cost_file(name).read_text())))
        default = rows[0][1]
        draw_calibration(folder / f"calibration_{name}.png", default["splits"])
        if name == "surveillance":
            draw_trade_off(folder / "trade_off_surveillance.png", rows)
        draw_worst(folder / f"errors_{name}.jpg", name, rows[0][0], data, default)
    page.write_text(text)


def cost_table(costs: dict[str, dict[str, float]]) -> list[str]:
    """Each configuration's seconds a clip, and their ratio to those of the last one, the paper's recipe."""
    lines = [_line(("", "features", "detector", "all, against the paper's")), "|---|---|---|---|"]
    paper = sum(list(costs.values())[-1].values())
    for name, cost in costs.items():
        ratio = sum(cost.values()) / paper
        lines.append(_line((name, f"{cost['features']:.2f} s", f"{1e3 * cost['detector']:.1f} ms", f"{ratio:.1f}x")))
    return lines


def ped2_table(rows: Sequence[tuple[Row, dict[str, Any]]]) -> list[str]:
    header = (
        "",
        "mean AUC",
        "lowest .. highest",
        "sd",
        "in validation",
        "AP",
        "false-alarm rate, normal videos",
        "calibration error",
    )
    lines = [_line(header), "|---" * len(header) + "|"]
    for row, measured in rows:
        aucs = [split["auc"] for split in measured["splits"]]
        found = [split["metrics"] for split in measured["splits"] if split["metrics"]]
        name = row.name + (f" ({len(aucs)} splits)" if row.splits else "")
        spread = f"{np.std(aucs, ddof=1):.3f}" if len(aucs) > 1 else ""
        cells = [name, f"{np.mean(aucs):.4f}", f"{min(aucs):.3f} .. {max(aucs):.3f}", spread, validation_of(measured)]
        cells += [_mean(found, key) for key in ("ap", "far_normal", "calibration_error")]
        lines.append(_line(cells))
    lines += ["", "Every split:", ""]
    most = max(len(measured["splits"]) for _, measured in rows)
    lines += [_line(("seed", *(str(n) for n in range(most)))), "|---" * (most + 1) + "|"]
    for row, measured in rows:
        aucs = [f"{split['auc']:.3f}" for split in measured["splits"]]
        lines.append(_line([row.name, *aucs, *[""] * (most - len(aucs))]))
    return lines


def surveillance_table(rows: Sequence[tuple[Row, dict[str, Any]]]) -> list[str]:
    header = (
        "",
        "AUC",
        "in validation",
        "AP",
        "false-alarm rate, normal videos",
        "frames found",
        "threshold",
        "calibration error",
    )
    lines = [_line(header), "|---" * len(header) + "|"]
    for row, measured in rows:
        (split,) = measured["splits"]
        scored, found = split["videos"], split["metrics"]
        cells = [row.name, _with_interval(scored, auc_of), validation_of(measured)]
        cells.append(_with_interval(scored, average_precision_of))
        if found:
            threshold = found["threshold"]
            cells += [_with_interval(scored, lambda some, t=threshold: false_alarm_rate_of(some, t))]  # type: ignore[misc]
            cells += [_with_interval(scored, lambda some, t=threshold: recall_of(some, t))]  # type: ignore[misc]
            cells += [f"{threshold:.2f}", f"{found['calibration_error']:.3f}"]
        lines.append(_line([*cells, *[""] * (len(header) - len(cells))]))
    default = rows[0][1]["splits"][0]
    lines += ["", "By category, the default:", "", _line(("", "videos", "AUC", "AP")), "|---|---|---|---|"]
    for label in sorted({one["label"] for one in default["videos"]}):
        own = [one for one in default["videos"] if one["label"] == label]
        numbers = (_with_interval(own, auc_of), _with_interval(own, average_precision_of))
        lines.append(_line((label, str(len(own)), *numbers)))
    return [*lines, "", "The whole trade-off of the default:", "", *trade_off_table(default["videos"])]


def validation_of(measured: dict[str, Any]) -> str:
    """The mean AUC on held-out training videos. It is empty for a logistic regression, which has none."""
    known = [split["validation"] for split in measured["splits"] if split["validation"] is not None]
    return f"{np.mean(known):.3f}" if known else ""


def trade_off_table(scored: Scored) -> list[str]:
    """The price of finding a given share of the anomalous frames: false alarms by frames, and by the hour."""
    header = ("anomalous frames found", "score above", "normal frames that alarm", "of normal videos", "alarms an hour")
    lines = [_line(header), "|---" * len(header) + "|"]
    truth, scores = frames_of(scored)
    hours = sum(len(one["scores"]) / one["fps"] for one in scored) / 3600
    for recall in RECALLS:
        threshold = float(np.quantile(scores[truth], 1 - recall, method="lower")) - 1e-6
        alarms = sum(
            false_alarms(intervals(truth_of(one)), intervals(np.array(one["scores"]) > threshold)) for one in scored
        )
        rates = (false_alarm_rate(truth, scores, threshold), false_alarm_rate_of(scored, threshold))
        lines.append(_line((f"{recall:.0%}", f"{threshold:.2f}", *map(_percent, rates), f"{alarms / hours:.0f}")))
    return lines


def resampled(scored: Scored, number: Callable[[Scored], float | None]) -> tuple[float, float] | None:
    """The 95 % interval of a number, by bootstrap over the sources. None: there is only one source.

    Sources are drawn with replacement. Each draw takes all videos of its source.

    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    by_source: dict[str, list[dict[str, Any]]] = {}
    for one in scored:
        by_source.setdefault(one["source"], []).append(one)
    sources = sorted(by_source)
    if len(sources) < 2:
        return None
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLINGS):
        picked = random.integers(len(sources), size=len(sources))
        drawn.append(number([one for index in picked for one in by_source[sources[index]]]))
    known = [value for value in drawn if value is not None]
    low, high = np.percentile(known, LEVELS)
    return float(low), float(high)


def auc_of(scored: Scored) -> float | None:
    return roc_auc(*frames_of(scored))


def average_precision_of(scored: Scored) -> float | None:
    return average_precision(*frames_of(scored))


def false_alarm_rate_of(scored: Scored, threshold: float) -> float | None:
    normal = [one for one in scored if not one["events"]]
    return false_alarm_rate(*frames_of(normal), threshold) if normal else None


def recall_of(scored: Scored, threshold: float) -> float | None:
    truth, scores = frames_of(scored)
    return float((scores[truth] > threshold).mean()) if truth.any() else None


def _with_interval(scored: Scored, number: Callable[[Scored], float | None]) -> str:
    value, interval = number(scored), resampled(scored, number)
    if value is None:
        return ""
    return f"{value:.3f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _mean(found: Sequence[dict[str, Any]], key: str) -> str:
    known = [one[key] for one in found if one[key] is not None]
    return f"{np.mean(known):.3f}" if known else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw_calibration(path: Path, splits: Sequence[dict[str, Any]]) -> None:
    """Draw how reliable the scores are, over the test frames of all splits."""
    scored = [one for split in splits for one in split["videos"]]
    bins = reliability(*frames_of(scored)) or []
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#8d99ae", linestyle=":", linewidth=1)
    axes.plot([one["score"] for one in bins], [one["anomalous"] for one in bins], color="#1d3557", marker="o")
    for one in bins:
        axes.annotate(f"{one['frames']}", (one["score"], one["anomalous"]), textcoords="offset points", xytext=(6, -9),
                      fontsize=7, color="#8d99ae")  # fmt: skip
    title = f"Test frames, {calibration_error(bins):.3f} off on average"
    axes.set(xlabel="score", ylabel="share of anomalous frames", xlim=(0, 1), ylim=(0, 1.02), title=title)
    figure.savefig(path, dpi=80)


def draw_trade_off(path: Path, rows: Sequence[tuple[Row, dict[str, Any]]]) -> None:
    """Draw the share of anomalous frames found against the share of alarms in normal videos.

    The first three rows have a curve each. That of the default has its interval too.
    """
    rates = np.linspace(0, 1, 101)

    def found_at(scored: Scored) -> np.ndarray:
        truth, scores = frames_of(scored)
        normal = frames_of([one for one in scored if not one["events"]])[1]
        thresholds = np.quantile(normal, 1 - rates)
        return np.array([(scores[truth] > threshold).mean() for threshold in thresholds])

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    for number, (row, measured) in enumerate(rows[:3]):
        scored = measured["splits"][0]["videos"]
        axes.plot(rates, found_at(scored), label=row.name, linewidth=2 if number == 0 else 1)
        if number == 0:
            by_source: dict[str, list[dict[str, Any]]] = {}
            for one in scored:
                by_source.setdefault(one["source"], []).append(one)
            random, curves = np.random.default_rng(0), []
            for _ in range(RESAMPLINGS):
                some = [one for key in random.choice(sorted(by_source), len(by_source)) for one in by_source[key]]
                if any(not one["events"] for one in some) and any(one["events"] for one in some):
                    curves.append(found_at(some))
            axes.fill_between(rates, *np.percentile(curves, LEVELS, axis=0), alpha=0.15)
    axes.set(xlabel="frames of normal videos that alarm", ylabel="anomalous frames found", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    figure.savefig(path, dpi=80)


def draw_worst(path: Path, name: str, row: Row, data: Path, measured: dict[str, Any]) -> None:
    """Draw the worst errors of the first split."""
    videos = [video for video in load_splits(name, row, data)[0].videos if video.split == "test"]
    scores = {one["video"]: np.array(one["scores"]) for one in measured["splits"][0]["videos"]}
    alarms, misses = (find_errors(videos, scores, missed, ERRORS_SHOWN) for missed in (False, True))
    draw_errors(path, alarms, misses, measured["splits"][0]["metrics"]["threshold"])
