"""What `lad compare` prints: tables of text, for a terminal or other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lad.evaluation.bootstrap import NUMBERS
from lad.evaluation.shown import number_text
from lad.pipeline.compare import COMPARED
from lad.tables import csv_table, latex_table, markdown_table

# Where there is no room for all: of frames and videos, of events, of regions; a table each.
SHOWN = (
    ("auc", "auc_macro", "ap", "accuracy_video"),
    ("false_alarms_hour", "latency", "never_alarmed"),
    ("rbdc", "tbdc"),
)


def csv_text(data: Mapping[str, Any]) -> str:
    """A line for each run with every number; that of the second of two has what it has more than the first."""
    header = ["run", "work", "splits"]
    for key in COMPARED:
        header += [key, f"{key}_sd", *([f"{key}_low", f"{key}_high"] if key in NUMBERS else [])]
    categories = _categories(data["runs"])
    header += [f"auc_of_{name}{end}" for name in categories for end in ("", "_low", "_high")]
    paired = data["paired"] or {}
    more = ("difference", "low", "high", "above_zero")
    header += [f"{key}_difference{'' if name == 'difference' else f'_{name}'}" for key in NUMBERS for name in more]
    rows: list[list[str | float | None]] = []
    for number, run in enumerate(data["runs"]):
        row: list[str | float | None] = [run["name"], run["work"], run["splits"]]
        for key, value in run["metrics"].items():
            row += [value["mean"], value["sd"], *([value["low"], value["high"]] if key in NUMBERS else [])]
        for name in categories:
            one = run["categories"].get(name, {})
            row += [one.get("mean"), one.get("low"), one.get("high")]
        row += [paired.get(key, {}).get(name) if number == 1 else None for key in NUMBERS for name in more]
        rows.append(row)
    return csv_table(header, rows)


def tables(data: Mapping[str, Any], separator: str = " ") -> list[tuple[list[str], list[list[str]]]]:
    """The headers and rows of the runs, of their categories where there are several, and of the difference of two.

    Args:
        data: of `compare_runs`.
        separator: between mean, deviation and interval.
    """
    runs = data["runs"]
    known = [[key for key in keys if any(run["metrics"][key]["mean"] is not None for run in runs)] for keys in SHOWN]
    found = [_of_runs(runs, keys, separator) for keys in [keys for keys in known if keys] or [[]]]
    if len(categories := _categories(runs)) > 1:
        of_category = [[name, *(_cell(run["categories"].get(name), separator) for run in runs)] for name in categories]
        found.append((["AUC against normal frames", *(run["name"] for run in runs)], of_category))
    paired = data["paired"]
    if not paired or "reason" in paired:
        return found
    differences = [
        [
            COMPARED[key],
            "" if one["difference"] is None else f"{one['difference']:+.4f}",
            "" if one["low"] is None else f"{one['low']:+.4f} .. {one['high']:+.4f}",
            "" if one["above_zero"] is None else f"{one['above_zero']:.1%}",
        ]
        for key, one in paired.items()
        if key in NUMBERS
    ]
    head = [f"{paired['second']} - {paired['first']}", "difference", "95 % interval", "above 0"]
    return [*found, (head, differences)]


def _of_runs(
    runs: Sequence[Mapping[str, Any]], keys: Sequence[str], separator: str
) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each run."""
    several = any(run["splits"] > 1 for run in runs)
    header = ["run", *(["splits"] if several else []), *(_head(runs, key, separator) for key in keys)]
    rows = [
        [
            run["name"],
            *([str(run["splits"])] if several else []),
            *(_cell(run["metrics"][key], separator) for key in keys),
        ]
        for run in runs
    ]
    return header, rows


def _categories(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The categories of all runs."""
    return sorted({name for run in runs for name in run["categories"]})


def _head(runs: Sequence[Mapping[str, Any]], key: str, separator: str) -> str:
    bounded = separator == " " and any(run["metrics"][key]["low"] is not None for run in runs)
    return COMPARED[key] + (" (95 % interval)" if bounded else "")


def _cell(number: Mapping[str, float | None] | None, separator: str) -> str:
    if number is None or number["mean"] is None:
        return ""
    parts = [number_text(number["mean"])]
    if number["sd"] is not None:
        parts.append(f"± {number['sd']:.4f}")
    if number["low"] is not None:
        bounds = f"{number['low']:.3f}..{number['high']:.3f}"
        parts.append(bounds if separator == "\n" else f"({bounds})")
    return separator.join(parts)


def notes(data: Mapping[str, Any]) -> list[str]:
    """What is missing and why, a line each."""
    lines = [f"{run['name']}: no interval: {run['reason']}" for run in data["runs"] if run["reason"]]
    tested = [(run["name"], run["tested"]) for run in data["runs"] if None not in run["tested"].values()]
    if any(one != tested[0][1] for _, one in tested):
        sets = ", ".join(f"{name} {one['frames']:,} ({one['anomalous_frames']:,} anomalous)" for name, one in tested)
        lines.append(f"the test sets differ, so their numbers cannot be compared: frames of {sets}")
    paired = data["paired"]
    if paired and "reason" in paired:
        lines.append(f"no difference between the two: {paired['reason']}")
    return lines


def as_text(data: Mapping[str, Any], layout: str) -> str:
    """The comparison as `csv`, `markdown` or `latex`."""
    if layout == "csv":
        return csv_text(data)
    write = {"markdown": markdown_table, "latex": latex_table}[layout]
    return "\n".join(write(header, rows) for header, rows in tables(data))
