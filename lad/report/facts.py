"""What the page says of the run itself: how good it is, what was measured on what, with what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from lad.detector.included import name_of
from lad.evaluation.shown import METRIC_NAMES, category_aucs, number_text
from lad.ours import CONFIG
from lad.pipeline.score_facts import is_own
from lad.pipeline.scored import ScoredVideo
from lad.pipeline.train import ITEM
from lad.pipeline.train import STAGE as TRAIN
from lad.version import code_version
from lad.work.layout import Work

PLOTS = ("roc.png", "confusion.png", "reliability.png")


def event_rule(work: Work) -> tuple[float, float]:
    """`score.merge_seconds` and `score.min_seconds` of the run, by which the page finds events at other thresholds."""
    try:
        score = yaml.safe_load((work.home / CONFIG).read_text(encoding="utf-8"))["score"]
        return float(score["merge_seconds"]), float(score["min_seconds"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        from lad.config_keys import ScoreConfig

        return ScoreConfig().merge_seconds, ScoreConfig().min_seconds


def run_facts(work: Work, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
    """The run as plain data: `numbers` and what they rest on where it was evaluated, `made` and `config` always."""
    row = work.manifest.get("score", work.item(videos[0].id))
    info = row.info if row else {}
    detector = _detector(work, info.get("checkpoint", ""))
    made = {
        "scored by": info.get("lad", ""),
        "detector": detector,
        "detector (SHA-256)": info.get("checkpoint", ""),
        "threshold": ", ".join(sorted({f"{video.threshold:.6g}" for video in videos})),
        "page made by": code_version(),
    }
    config = work.home / CONFIG
    facts: dict[str, Any] = {
        "made": [[name, str(value)] for name, value in made.items() if value],
        "detector": detector,
        "doubt": info.get("doubt", ""),
        "config": config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
    }
    if work.metrics.is_file():
        facts |= _evaluation(work)
    return facts


def _detector(work: Work, checkpoint: str) -> str:
    """What the detector is called: by the name it came with, or as the run that trained it says; empty for others."""
    if name := name_of(checkpoint):
        return name
    trained = work.manifest.get(TRAIN, work.item(ITEM))
    if trained is None or not is_own(work, checkpoint):
        return ""
    return f"{trained.info['config']['detector']}, trained in this run"


def _evaluation(work: Work) -> dict[str, Any]:
    metrics = json.loads(work.metrics.read_text(encoding="utf-8"))
    evaluated = work.manifest.get("evaluate", work.item("metrics"))
    beside, undefined = metrics.get("at_0.5", {}), metrics.get("undefined", {})
    numbers = [
        [f"{name[0].upper()}{name[1:]}", metrics[key], beside.get(key), undefined.get(key, "")]
        for key, name in METRIC_NAMES.items()
        if key in metrics  # an older lad wrote fewer
    ]
    if len(categories := category_aucs(metrics)) > 1:
        numbers += [[f"Frame AUC of {name} against normal frames", auc, None, ""] for name, auc in categories.items()]
    for kind in ("precision", "recall"):
        for iou, value in (metrics["events"] or {}).get(kind, {}).items():  # several cameras have no one threshold
            fixed = (beside.get("events") or {}).get(kind, {}).get(iou)
            numbers.append([f"Event {kind} at temporal IoU {iou}", value, fixed, ""])
    protocol = {key: value for key, value in metrics.get("protocol", {}).items() if key != "config"}
    fingerprints = {"evaluation": evaluated.fingerprint} if evaluated else {}
    return {
        "numbers": [[name, _written(value), _written(fixed), why] for name, value, fixed, why in numbers],
        "threshold": metrics.get("threshold"),
        "protocol": [[name.replace("_", " "), _said(value)] for name, value in protocol.items()],
        "weights": [[name, str(value)] for name, value in metrics.get("weights", {}).items()],
        "fingerprints": [[name, value] for name, value in fingerprints.items()],
        "doubt": metrics.get("doubt", ""),
    }


def _written(value: float | None) -> str:
    return "" if value is None else number_text(value)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)
