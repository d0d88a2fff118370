"""What came of a command, as plain data: what `--json` prints, and what the tables are made of."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lad.detector.included import card_of
from lad.features.recipe import FeatureRecipe
from lad.ours import FLEET
from lad.pipeline.facts import FACTS
from lad.pipeline.inventory import find_features
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.splits import is_item_of, not_counted
from lad.work.layout import Work
from lad.work.lock import holder
from lad.work.manifest import Item, Manifest
from lad.work.rebuild import Rebuilt

FLEET_SECONDS = 60.0  # for which what was said of many processes is believed; while they work it is said anew
STATES = ("done", "failed", "running", "interrupted", "pending")  # of items, as `lad status` counts them


def stages_data(results: Sequence[StageResult]) -> dict[str, Any]:
    """What came of stages."""
    return {
        r.stage: {
            "done": r.done,
            "skipped": r.skipped,
            "failed": r.failed,
            "warnings": r.warnings,
            **({"clips": r.judged_clips, "still": r.still_clips} if r.judged_clips else {}),
        }
        for r in results
    }


def run_data(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    results: Sequence[StageResult],
    *,
    with_clips: bool,
) -> dict[str, Any]:
    """What came of the stages of a command; `with_clips`: every clip of what was extracted, which is for programs."""
    stages = {result.stage: result for result in results}
    splits = 1 if project.named else project.config.protocol.splits
    data: dict[str, Any] = {"work": str(work.home), "splits": splits, "stages": stages_data(results)}
    if project.passed.lines():
        data["passed_over"] = project.passed.data()
    if with_clips and set(stages) == {"extract"}:
        data["videos"] = _clips_data(project, recipe, work, asked, reporter, stages["extract"])
    if "score" in stages and "evaluate" not in stages:
        rows = work.manifest.items("score")
        failed = {video_id for result in results for video_id in result.failed}
        found = {video.id: rows.get(("score", video.id)) for video in project.videos if video.id not in failed}
        data["scores"] = {video_id: _told(row) for video_id, row in found.items() if row and row.status == "done"}
    if "score" in stages or "evaluate" in stages:
        data["weights"] = dict(recipe.identities)
        if card := card_of(project.config.score.checkpoint):
            data["detector"] = {"name": card.name, "sha256": card.sha256, "measured": card.headline}
    if "train" in stages and splits == 1 and (row := work.manifest.get("train", "detector")):
        data["training"] = _told(row)
    if "train" in stages and splits == 1 and project.reviews and (row := work.manifest.get("review", "gain")):
        data["reviewed"] = _told(row)
    if "evaluate" in stages and work.metrics.exists():
        data["metrics"] = json.loads(work.metrics.read_text(encoding="utf-8"))
    return data


def _told(row: Item) -> dict[str, Any]:
    """What is said of an item; why it may become stale is for `lad status` to say."""
    return {key: value for key, value in row.info.items() if key != FACTS}


def _clips_data(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    extracted: StageResult,
) -> dict[str, Any]:
    """Each video's features, and the seconds at which each of its clips begins and ends."""
    there = [video for video in project.videos if video.id not in extracted.failed]
    found, _ = find_features(project, recipe, work, asked, reporter, there)
    videos: dict[str, Any] = {}
    for video_id, source in found.items():
        features = source.open()
        times = source.timeline().clip_times(features.clips)
        videos[video_id] = {
            "features": [str(path) for path in source.paths],
            "frames": source.frames,
            "fps": source.fps,
            "crops": features.crops,
            "dim": features.dim,
            "clips": [{"start": round(float(start), 6), "end": round(float(end), 6)} for start, end in times],
        }
    return videos


def status_data(manifest: Manifest) -> dict[str, Any]:
    """Counts a stage, what is or was running, and every failure, as plain data; without splits that count no more."""
    who = holder(manifest.work)
    unused = not_counted(manifest)
    stages: dict[str, dict[str, int]] = {}
    failed: list[dict[str, Any]] = []
    running: list[dict[str, Any]] = []
    for row in manifest.states():
        if any(is_item_of(place, row["stage"], row["item"]) for place in unused):
            continue
        # `running` under nobody's hand was killed, and will be done again.
        state = "interrupted" if row["status"] == "running" and who is None else row["status"]
        counts = stages.setdefault(row["stage"], dict.fromkeys(STATES, 0))
        counts[state] += 1
        if row["status"] == "running":
            since = datetime.fromtimestamp(row["started"]).astimezone().isoformat(timespec="seconds")
            running.append({"stage": row["stage"], "item": row["item"], "since": since})
        if state == "failed":
            failed.append({key: row[key] for key in ("stage", "item", "failure", "attempt", "error")})
    there = [place.split for place in unused if place.split is not None and place.folder.is_dir()]
    return {
        "work": str(manifest.work),
        "held": who is not None,
        "holder": who,
        "stages": stages,
        "running": running if who is not None else [],
        "interrupted": running if who is None else [],
        "failed": failed,
        **({"splits_not_counted": there} if there else {}),
        **({"fleet": fleet} if who is not None and (fleet := _read_fleet(manifest.work)) else {}),
    }


def _read_fleet(work: Path) -> dict[str, Any] | None:
    """Who was last said to be at work; None: nobody, or by a run that was killed long ago."""
    try:
        fleet: dict[str, Any] = json.loads((work / FLEET).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return fleet if time.time() - fleet["at"] < FLEET_SECONDS else None


def rebuilt_data(rebuilt: Rebuilt) -> dict[str, Any]:
    """What a new manifest was made of, as plain data."""
    return {**vars(rebuilt), "old": str(rebuilt.old) if rebuilt.old else None}
