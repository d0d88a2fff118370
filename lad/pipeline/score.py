"""`lad score`: features and a detector to a score for every frame, `scores/<video id>.csv`, and to events."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lad.config import Config
from lad.dataset import Video
from lad.detector.cameras import UnknownCamera, check_source, of_camera
from lad.detector.checkpoint import Checkpoint, CheckpointError, load_checkpoint, other_features
from lad.detector.known_camera import Camera
from lad.detector.looks import looks_of
from lad.detector.scoring import EventRule, ScoreError, Scorer, Scores, make_scorer
from lad.device import detector_threads, numerics, repeatable
from lad.features.given import GIVEN
from lad.features.recipe import EXTRACT, FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint, replacing, write_text
from lad.models.registry import LEARNS_FROM
from lad.pipeline.alarm import is_due, make_due, sound_alarm
from lad.pipeline.drift import KEY as DRIFT
from lad.pipeline.drift import counted
from lad.pipeline.events import write_events
from lad.pipeline.facts import FACTS, kept
from lad.pipeline.inventory import find_features
from lad.pipeline.known_cameras import camera_facts, get_to_know, normal_footage, told_of
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Bar, Reporter, StageError, StageResult
from lad.pipeline.scored import STAGE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.text import to_cell
from lad.version import code_version
from lad.work.layout import Work
from lad.work.manifest import Item

CODE_VERSION = 6  # a row says what each event looks like


def find_checkpoint(project: Project, work: Work) -> Path:
    """The detector to score with.

    Raises:
        StageError: it is not there.
    """
    path = project.config.score.checkpoint or work.best
    if not path.is_file() and (work.folder / "splits").is_dir():
        raise StageError(f"{work.folder}: holds a detector for each random split: name one with --checkpoint")
    if not path.is_file():
        others = sorted(str(one) for one in work.home.parent.glob("*/checkpoints/best.pt") if one != path)
        known = f": there is {', '.join(others[:3])}" if others else ""
        raise StageError(
            f"{path}: no such checkpoint: a detector has to be trained first (lad train); or name one with "
            f"--checkpoint{known}"
        )
    return path


def check_detector_fits(project: Project, recipe: FeatureRecipe, work: Work) -> None:
    """See that the detector takes features of the configured length, before any are made, and knows a video's camera.

    Raises:
        StageError, CheckpointError: it does not, or it is not there or none.
    """
    path = find_checkpoint(project, work)
    checkpoint = load_checkpoint(path)
    check_source(checkpoint, path, project.config.score.source)
    cameras = list(dict.fromkeys(project.camera(video) for video in project.videos))
    camera = next((one for one in cameras if one in checkpoint.cameras), cameras[0])
    dim = _scorer(project, recipe, checkpoint, path, camera).detector.feature_dim
    wanted = sum(recipe.dims)
    if dim != wanted:
        streams = " + ".join(recipe.streams)
        raise CheckpointError(f"{path}: made for features of {dim} numbers a clip, these have {wanted} ({streams})")


def _check_detector(project: Project, work: Work, path: Path, *, verify: bool) -> None:
    """See that the run's own detector is as training left it; one that somebody names is what it is.

    Raises:
        StageError: it is not.
    """
    row = work.manifest.get(TRAIN, work.item(DETECTOR))
    if project.config.score.checkpoint is not None or row is None or row.status != "done":
        return
    if not all(work.manifest.is_intact(output, verify=verify) for output in row.outputs):
        raise StageError(
            f"{path}: not as lad made it: run `lad train` again; or, if it is meant, name it with --checkpoint"
        )


def is_own(work: Work, checkpoint_sha256: str) -> bool:
    """Whether a detector is one that this run trained."""
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    return trained is not None and checkpoint_sha256 in [output.sha256 for output in trained.outputs]


def detector_repairs(work: Work, checkpoint_sha256: str) -> int:
    """How often a detector of this run was found altered and trained anew; 0 for another one."""
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    return trained.repairs if trained and is_own(work, checkpoint_sha256) else 0


def score_facts(
    project: Project,
    recipe: FeatureRecipe,
    video: Video,
    features: VideoFeatures,
    checkpoint_sha256: str,
    repairs: int,
    known: Camera,
) -> list[dict[str, Any]]:
    """What the scores of a video depend on, with a given detector that had so many repairs and knows its camera so.

    Returns:
        with each kind of detector that it may be: one that names its categories, and one that does not, so that the
            data do; one for all cameras, and, where it is known which camera filmed the video, one for each.
    """
    score = project.config.score
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "checkpoint": checkpoint_sha256,
        "merge": score.merge,
        "threshold": score.threshold,
        "events": [score.merge_seconds, score.min_seconds],
        "numerics": numerics(recipe.device, detector_threads(project.config.threads)),
        "features": features.fingerprint,
        **({"repairs": repairs} if repairs else {}),
        **({"alarms_per_day": score.alarms_per_day} if score.alarms_per_day else {}),
        **camera_facts(known),
    }
    camera = project.camera(video)
    by_camera = [{}, {"camera": camera}] if camera else [{}]
    return [facts | one | {"classes": classes} for one in by_camera for classes in (None, project.classes)]


def _facts_with(checkpoint: Checkpoint, camera: str, today: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of `score_facts` that are true of a detector; `camera`: whose it is, where there is one for each."""
    return next(
        one
        for one in today
        if ("camera" in one) == bool(camera) and (one["classes"] is None) == bool(checkpoint.classes)
    )


def score_videos(project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter) -> StageResult:
    """Score what is missing or stale, and rewrite `scores/summary.csv`, `events.csv` and `events.json`.

    Raises:
        StageError, CheckpointError: there is no checkpoint, it does not fit the features, or videos were not extracted.
    """
    result = StageResult(STAGE)
    path = find_checkpoint(project, work)
    read = cache(lambda: load_checkpoint(path))
    scorer_of = cache(lambda camera: _scorer(project, recipe, read(), path, camera))
    if project.config.score.source:
        check_source(read(), path, project.config.score.source)
    if project.videos and not project.scored:
        raise StageError("score.videos is test, and no video is in the split `test`: set -o score.videos=all")
    needed = {video.id: video for video in (*project.scored, *chain(*normal_footage(project).values()))}
    features, failed = find_features(project, recipe, work, asked, reporter, list(needed.values()))
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    _check_detector(project, work, path, verify=asked.verify)
    checkpoint_sha256 = work.manifest.content_sha256(path, verify=asked.verify)
    repairs = detector_repairs(work, checkpoint_sha256)
    threads = detector_threads(project.config.threads)
    cameras = get_to_know(project, recipe, work, features, checkpoint_sha256, read, partial(scorer_of, ""), reporter)
    rows = work.manifest.items(STAGE)
    todo: list[tuple[Video, list[dict[str, Any]]]] = []
    silent: list[tuple[Video, Item]] = []  # scored before, with an alarm that did not go off
    for video in project.scored:
        if video.id not in features:
            continue
        today = score_facts(project, recipe, video, features[video.id], checkpoint_sha256, repairs, cameras[video.id])
        row = rows.get((STAGE, work.item(video.id)))
        if not asked.force and any(work.manifest.is_done(row, fingerprint(one), verify=asked.verify) for one in today):
            result.skipped += 1
            if row and asked.alarm and is_due(work, video.id):
                silent.append((video, row))
        else:
            todo.append((video, today))
    if todo:
        checkpoint = read()
        given = all(video.is_features for video, _ in todo)
        if differences := other_features(checkpoint, project.config.extract, recipe.identities, given=given):
            reporter.say(f"warning: {path} was trained on other features: {'; '.join(differences)}")
        with repeatable(recipe.device, threads), reporter.progress("score", len(todo)) as bar:
            looks = None if given else looks_of(recipe)
            if checkpoint.doubt:
                reporter.say(f"warning: {path} may be worth nothing: {checkpoint.doubt}")
            if why := _other_rule(checkpoint, project.config):
                reporter.say(f"warning: {path}: {why}")
            if checkpoint.known_cameras:
                for line in told_of(project, cameras, [video for video, _ in todo]):
                    reporter.say(line)
            for number, (video, today) in enumerate(todo):
                source, item = features[video.id], work.item(video.id)
                opened = source.open()
                camera = project.camera(video) if checkpoint.cameras else ""
                facts = _facts_with(checkpoint, camera, today)
                try:
                    scorer = scorer_of(camera)
                except UnknownCamera as error:
                    work.manifest.start(STAGE, item, fingerprint(facts))
                    result.failed[video.id] = f"{video.path}: {error}"
                    work.manifest.fail(STAGE, item, "content", result.failed[video.id])
                    reporter.say(f"failed: {result.failed[video.id]}")
                    continue
                try:
                    scorer.check(opened)
                except CheckpointError as error:
                    raise CheckpointError(f"{path}: {error} ({' + '.join(recipe.streams)})") from error
                work.manifest.start(STAGE, item, fingerprint(facts))
                try:
                    on_part = partial(_show_part, bar, video.id, number, len(todo))
                    of_video = replace(scorer.at(cameras[video.id]), looks=None if video.is_features else looks)
                    scores = of_video(opened, source.timeline(), source.warnings, on_part)
                except ScoreError as error:
                    result.failed[video.id] = f"{video.path}: {error}"
                    work.manifest.fail(STAGE, item, "content", result.failed[video.id])
                    reporter.say(f"failed: {result.failed[video.id]}")
                    continue
                write_scores(work.scores(video.id), scores)
                info = scores_info(scores) | {
                    "path": str(video.path.absolute()),
                    "checkpoint": checkpoint_sha256,
                    "doubt": scorer.doubt,
                    "lad": code_version(),
                    **({"alarms_per_day": scorer.alarms_per_day} if scorer.alarms_per_day else {}),
                    **({"camera": camera} if camera else {}),
                    **({DRIFT: counted(video, scores)} if scorer.tail else {}),
                    FACTS: kept(facts),
                }
                if asked.alarm:
                    make_due(work, video.id, fingerprint(facts))
                work.manifest.finish(STAGE, item, [work.scores(video.id)], info)
                result.done += 1
                bar.advance(video.id)
                if asked.alarm and (problem := sound_alarm(asked.alarm, work, video.id, info, reporter)):
                    result.failed[video.id] = f"{video.id}: {problem}"
    for video, row in silent:
        if problem := sound_alarm(asked.alarm, work, video.id, row.info, reporter):
            result.failed[video.id] = f"{video.id}: {problem}"
    if todo or not work.summary.exists():
        _write_summary(recipe, work, checkpoint_sha256)
    if todo or not (work.events.exists() and work.events_json.exists()):
        write_events(work, checkpoint_sha256)
    return result


def _show_part(bar: Bar, video_id: str, before: int, videos: int, part: float) -> None:
    bar.show(share=(before + part) / videos, note=video_id)


def _other_rule(checkpoint: Checkpoint, config: Config) -> str:
    """Why a threshold that is a budget of alarms does not hold it: alarms were counted otherwise; empty: it does."""
    then = (checkpoint.config or {}).get("score", {})
    keys = [key for key in ("merge_seconds", "min_seconds") if then.get(key, 0) != getattr(config.score, key)]
    named = checkpoint.network.get("name")
    if not keys or LEARNS_FROM.get(str(named)) != ("normal",) or config.score.threshold is not None:
        return ""
    counted = " and ".join(f"score.{key} {then.get(key, 0):g}" for key in keys)
    return f"its budget of alarms is for events with {counted}: with others it alarms more or less often"


def _scorer(project: Project, recipe: FeatureRecipe, checkpoint: Checkpoint, path: Path, camera: str) -> Scorer:
    score = project.config.score
    try:
        return make_scorer(
            of_camera(checkpoint, camera),
            recipe.device,
            merge=score.merge,
            threshold=score.threshold,
            alarms_per_day=score.alarms_per_day,
            classes=project.classes,
            rule=EventRule(score.merge_seconds, score.min_seconds),
            allowed=project.config.train.detector,
        )
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error


def write_scores(path: Path, scores: Scores) -> None:
    """Write the CSV of one video: `frame,time,score` and a probability for each category."""
    class_columns = [",".join(f"{p:.5g}" for p in row) for row in scores.clip_classes.tolist()]
    rows = enumerate(zip(scores.times.tolist(), scores.frames.tolist(), scores.clip_of_frame.tolist(), strict=True))
    # Written line by line, since a day of video has two million of them; numbers need none of csv.writer's quotes.
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(["frame", "time", "score", *map(to_cell, scores.classes)])
        file.writelines(
            f"{frame},{time:.3f},{score:.7g},{class_columns[clip]}\n" for frame, (time, score, clip) in rows
        )


def scores_info(scores: Scores) -> dict[str, Any]:
    """What the manifest's row of a scored video says, and `lad score --json`."""
    peak = scores.peak
    return {
        "frames": len(scores.frames),
        "fps": scores.fps,
        "seconds": round(scores.seconds, 3),
        "peak_score": round(float(scores.frames[peak]), 6),
        "peak_frame": peak,
        "peak_time": round(float(scores.times[peak]), 3),
        "category": scores.category,
        "votes": {name: int(count) for name, count in zip(scores.classes, scores.votes, strict=True)},
        "threshold": scores.threshold,
        "unfamiliar": scores.unfamiliar,
        "events": [
            {
                "start": event.start,
                "end": event.end,
                "start_time": round(event.start_time, 3),
                "end_time": round(event.end_time, 3),
                "category": event.category,
                "peak": round(event.peak, 6),
                "looks_like": list(event.looks_like),
                "confidence": None if event.confidence is None else round(event.confidence, 4),
            }
            for event in scores.events
        ],
        "warnings": scores.warnings,
    }


SUMMARY_COLUMNS = (
    *("video", "frames", "seconds", "peak_score", "peak_time", "category", "events", "warnings", "error"),
    *("looks_like", "unfamiliar"),
)


def _write_summary(recipe: FeatureRecipe, work: Work, checkpoint_sha256: str) -> None:
    """One line for each video: those that this detector scored, and those that have no features, with the reason."""
    lines: dict[str, list[object]] = {}
    for (_, item), row in work.manifest.items(EXTRACT).items():
        stream, _, video_id = item.partition("/")
        if row.status == "failed" and stream in (GIVEN, *recipe.streams):
            lines[video_id] = [video_id, "", "", "", "", "", "", "", row.error, "", ""]
    prefix = work.item("")
    for (_, item), row in work.manifest.items(STAGE).items():
        info, video_id = row.info, item.removeprefix(prefix)
        ours = item.startswith(prefix) and row.status == "done" and info.get("checkpoint") == checkpoint_sha256
        if ours and video_id not in lines:
            events = ";".join(f"{event['start']}-{event['end']}" for event in info["events"])
            facts = [info[key] for key in ("frames", "seconds", "peak_score", "peak_time", "category")]
            looks = "; ".join(", ".join(event.get("looks_like", ())) for event in info["events"])
            unfamiliar = info.get("unfamiliar")  # not in rows of an older lad
            lines[video_id] = [video_id, *facts, events, "; ".join(info["warnings"]), "", looks, unfamiliar]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for video_id in sorted(lines):
        writer.writerow([to_cell(cell) if isinstance(cell, str) else cell for cell in lines[video_id]])
    write_text(work.summary, out.getvalue())


def read_scores(path: Path) -> np.ndarray:
    """A `scores/<video id>.csv` -> scores `(frames,)` float64.

    Raises:
        StageError: as `read_times_and_scores`.
    """
    return read_times_and_scores(path)[1]


def read_times_and_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A `scores/<video id>.csv` -> seconds since the first frame and scores, `(frames,)` float64 each.

    Raises:
        StageError: it is not as `write_scores` writes it.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            next(csv.reader(file))  # the names of categories, which may be of several lines
            times, scores = np.loadtxt(file, delimiter=",", usecols=(1, 2), ndmin=2).T
    except (ValueError, StopIteration, csv.Error) as error:
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first") from error
    if not np.isfinite(scores).all():
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first")
    return times, scores
