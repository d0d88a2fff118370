"""`lad evaluate`: scores and labels to `metrics.json` and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lad.config import Config, ScoreConfig
from lad.dataset import SPLITS, Video
from lad.detector.checkpoint import Checkpoint, load_checkpoint
from lad.detector.included import card_of
from lad.evaluation import plots
from lad.evaluation.results import UNJUDGED, ScoredVideo, alarm_budget, compute_metrics, label_indices
from lad.features.recipe import FeatureRecipe, configured_streams
from lad.features.video import VideoFeatures
from lad.files import fingerprint, write_json
from lad.pipeline.curves import draw_curves_on_ray
from lad.pipeline.facts import FACTS, LATER_KEYS, UNCHANGED_BY, kept, pairs
from lad.pipeline.heat import draw_events
from lad.pipeline.inventory import check_labels, find_features
from lad.pipeline.known_cameras import KeptCameras
from lad.pipeline.labels import test_videos
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.pipeline.reviewed import verdicts_on
from lad.pipeline.score_facts import detector_repairs, is_own, score_facts
from lad.pipeline.scored import STAGE as SCORE
from lad.pipeline.scored import read_times_and_scores
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.pipeline.train import unused_keys
from lad.version import code_version
from lad.work.layout import Work
from lad.work.manifest import Item

STAGE = "evaluate"
ITEM = "metrics"
CODE_VERSION = 8  # recall of each category of a video, events by the real times of frames


def evaluate_videos(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter
) -> StageResult:
    """Compare the scores of the `test` videos with their labels.

    Raises:
        StageError: there is no test video, or scores are missing.
    """
    result = StageResult(STAGE)
    manifest, item = work.manifest, work.item(ITEM)
    test = test_videos(project.videos)
    features, failed = find_features(project, recipe, work, asked, reporter, test)
    result.failed = {video_id: f"not evaluated: {reason}" for video_id, reason in failed.items()}
    usable = check_labels(work, test, features, result)
    if not usable:
        raise StageError(f"no test video can be evaluated: {next(iter(result.failed.values()))}")
    rows = _scores_of_today(project, recipe, work, asked, usable, features)
    facts = metrics_facts(project, work, usable, rows, result.failed)
    configured, optimistic = facts["protocol"], facts["released_protocol"]
    today = fingerprint(facts)
    if not asked.force and manifest.is_done(manifest.get(STAGE, item), today, verify=asked.verify):
        result.skipped = 1
        return result
    before = manifest.get(STAGE, item)
    manifest.start(STAGE, item, today)
    if before:
        remove_files(
            work, [output.path for output in before.outputs]
        )  # there may be pictures of videos that are tested no more
    for video_id, said in result.warnings.items():
        reporter.say(f"warning: {video_id}: {'; '.join(said)}")
    scored = read_scored(project, work, usable)
    first = rows[usable[0].id].info
    metrics = _measured(project, scored, rows)
    made_with = _protocol_of_detector(project, work, first["checkpoint"], configured)
    if made_with["supervision"] == "normal":
        for numbers in (metrics, *metrics.get("cameras", {}).values()):
            numbers |= {"calibration_error": None, "reliability": None}
            numbers["undefined"]["calibration_error"] = "a score is a share of normal frames here, and no probability"
    metrics |= {"protocol": made_with, "weights": dict(recipe.identities), "lad": code_version()}
    metrics["doubt"] = first.get("doubt", "") or _taught_by(project, work, usable)
    if not first.get("doubt") and metrics["doubt"]:
        reporter.say(f"warning: {metrics['doubt']}")
    if by_test := facts.get("selected_by_test"):
        metrics["selected_by_test"] = by_test | {
            "how": "the best evaluations of the training by the test videos themselves: optimistic"
        }
    if optimistic:
        metrics["released_protocol"] = {
            "auc": optimistic["test_auc"],
            "step": optimistic["step"],
            "how": "the best checkpoint by the test videos themselves, windows merged by their maximum: optimistic",
        }
    outputs = write_evaluation(
        work.folder, scored, metrics, project.config, work, asked, reporter, then=", then `lad evaluate --force`"
    )
    has_heat = made_with["supervision"] == "normal" and plots.can_draw()
    if has_heat and (checkpoint := _that_scored(project, work, first["checkpoint"])):
        heat, fps = work.folder / "plots" / "heat", {one.video.id: project.folder_fps(one.video) for one in scored}
        outputs += draw_events(heat, scored, rows, features, checkpoint, fps, reporter.say)
    manifest.finish(STAGE, item, outputs, {"videos": len(scored), FACTS: kept(facts)})
    result.done = 1
    return result


def _measured(project: Project, scored: Sequence[ScoredVideo], rows: Mapping[str, Item]) -> dict[str, Any]:
    """The numbers of the test videos; of several cameras also those of each, which has a threshold of its own.

    Args:
        project: of the videos.
        scored: the videos.
        rows: of their scores, by video id.
    """
    score = project.config.score
    by_camera: dict[str, list[ScoredVideo]] = {}
    for one in scored:
        by_camera.setdefault(rows[one.video.id].info.get("camera", ""), []).append(one)
    thresholds = {one.video.id: rows[one.video.id].info["threshold"] for one in scored}
    threshold = thresholds[scored[0].video.id] if len(set(thresholds.values())) == 1 else None
    metrics = compute_metrics(
        scored, project.classes, threshold, merge_seconds=score.merge_seconds, min_seconds=score.min_seconds
    )
    if threshold is None:
        own = "each camera has a threshold of its own: see `cameras`"
        metrics["undefined"] |= {name: own for name, why in metrics["undefined"].items() if why == UNJUDGED}
    if asked_for := rows[scored[0].video.id].info.get("alarms_per_day"):
        metrics["alarms_per_day"] = alarm_budget(scored, asked_for, thresholds, score.merge_seconds, score.min_seconds)
    if len(by_camera) > 1:
        metrics["cameras"] = {camera: _measured(project, own, rows) for camera, own in sorted(by_camera.items())}
    return metrics


def remove_files(work: Work, paths: Sequence[str]) -> None:
    """Remove files that an evaluation left, named from the work directory, and the folders that are empty then."""
    for path in paths:
        (work.home / path).unlink(missing_ok=True)
        for folder in Path(path).parents[:-1]:
            with suppress(OSError):  # something else is in it
                (work.home / folder).rmdir()


def metrics_facts(
    project: Project, work: Work, videos: Sequence[Video], rows: Mapping[str, Item], left_out: Iterable[str]
) -> dict[str, Any]:
    """What the metrics of these videos depend on, whose events are in frames; `rows`: of their scores."""
    trained, by_test = work.manifest.get(TRAIN, work.item(DETECTOR)), project.config.protocol.by_test
    configured = protocol(project, work, sorted(left_out))
    if trained:
        configured["selection"] = trained.info.get("selection", configured["selection"])
        configured["supervision"] = trained.info.get("supervision", "frames")
    return {
        "stage": STAGE,
        "code": CODE_VERSION,
        "classes": project.classes,
        "protocol": configured,
        "released_protocol": trained.info.get("released_protocol")
        if trained and project.config.protocol.released
        else None,
        "videos": [
            [
                *(v.id, v.label, pairs(v.events), row.fingerprint, row.outputs[0].sha256, *mended(row)),
                *([v.group] if row.info.get("alarms_per_day") else []),  # the interval of which is over sources
            ]
            for v, row in ((v, rows[v.id]) for v in videos)
        ],
        # As older results have it, where it is not asked for.
        **({"selected_by_test": trained.info.get("selected_by_test")} if trained and by_test else {}),
    }


def mended(row: Item) -> list[int]:
    """What is added to the facts of who read a row's files, since they may have been altered ones: nothing mostly."""
    return [row.repairs] if row.repairs else []


def _scores_of_today(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    asked: Asked,
    videos: Sequence[Video],
    features: Mapping[str, VideoFeatures],
) -> dict[str, Item]:
    """The rows of the videos' scores by id: of one detector, and of today's features and configuration.

    It is the configured detector; where none is, whichever scored them.

    Raises:
        StageError: a video is not scored, or otherwise, or the run's own detector was trained otherwise.
    """
    found = work.manifest.items(SCORE)
    rows = {video.id: found.get((SCORE, work.item(video.id))) for video in videos}
    done = {video_id: row for video_id, row in rows.items() if row and row.status == "done"}
    if unscored := [video.id for video in videos if video.id not in done]:
        raise StageError(f"{len(unscored)} test videos are not scored ({unscored[0]}, ...): run `lad score` first")
    known = KeptCameras(project, work)
    for video in videos:
        row = done[video.id]
        detector = row.info["checkpoint"]
        repairs = detector_repairs(work, detector)
        camera = known(video, detector)
        today = score_facts(project, recipe, video, features[video.id], detector, repairs, camera)
        if row.fingerprint not in map(fingerprint, today):
            raise StageError(f"{video.id} was scored with another configuration: run `lad score` first")
        if not all(work.manifest.is_intact(output, verify=asked.verify) for output in row.outputs):
            raise StageError(f"{work.scores(video.id)}: not as lad made it, or gone: run `lad score` first")
    detectors = {row.info["checkpoint"] for row in done.values()}
    named = project.config.score.checkpoint
    if len(detectors) > 1:
        raise StageError("the test videos were not all scored by the same detector: run `lad score` first")
    if named and detectors != {work.manifest.content_sha256(named, verify=asked.verify)}:
        raise StageError(f"the test videos were not scored by {named}: run `lad score` first")
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    if trained and is_own(work, *detectors):
        now = project.config.train.model_dump(mode="json")
        then = trained.info.get("config", dict.fromkeys(now))  # not in rows of older versions, which are stale
        then = UNCHANGED_BY | then
        used = then.keys() - unused_keys(project.config.train) | UNCHANGED_BY.keys()
        changed = sorted(key for key in used if now.get(key) != then[key])
        if changed:
            keys = ", ".join(f"train.{key}" for key in changed)
            raise StageError(f"the detector was trained with another configuration ({keys}): run `lad train` first")
    return done


def _protocol_of_detector(
    project: Project, work: Work, checkpoint_sha256: str, configured: dict[str, Any]
) -> dict[str, Any]:
    """The protocol, its part on training as the detector was really trained, None where its file does not say.

    The run's own detector was trained as configured; one that was named was not, and its checksum is given.
    """
    if is_own(work, checkpoint_sha256):
        return configured
    named = project.config.score.checkpoint
    checkpoint = load_checkpoint(named) if named else None
    train = checkpoint.config["train"] if checkpoint and checkpoint.config else None
    made_with = {**configured, "checkpoint": checkpoint_sha256}
    for name, key in {"detector": "detector", "window": "window", "train_seed": "seed"}.items():
        made_with[name] = train[key] if train else None
    made_with["supervision"] = train.get("supervision", "frames") if train else None
    made_with["selection"] = (checkpoint.selection or None) if checkpoint else None
    if checkpoint and not train:
        made_with["window"] = checkpoint.detector().window
    made_with["config"] = {**configured["config"], "train": train and _without_later(train)}
    return made_with


def _without_later(train: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of training without those that came later and change nothing: numbers of before them stay valid."""
    return {key: value for key, value in train.items() if key not in LATER_KEYS or value != UNCHANGED_BY[key]}


def _that_scored(project: Project, work: Work, checkpoint_sha256: str) -> Checkpoint | None:
    """The detector that scored the test videos, where it is still there."""
    path = project.config.score.checkpoint or work.best
    if not path.is_file() or work.manifest.content_sha256(path) != checkpoint_sha256:
        return None
    return load_checkpoint(path)


def _taught_by(project: Project, work: Work, videos: Sequence[Video]) -> str:
    """What is to be said where the detector that comes with `lad` learned from test videos; empty where it did not."""
    if not (card := card_of(project.config.score.checkpoint)):
        return ""
    contents = work.manifest.contents
    known = sum(card.learned_from(contents.of_input(v.path)) for v in videos if not v.is_features)
    return (
        f"{known} of the {len(videos)} test videos taught the detector {card.name}: its numbers on them say nothing "
        "about other videos"
    ) if known else ""  # fmt: skip


def write_evaluation(
    folder: Path,
    scored: Sequence[ScoredVideo],
    metrics: dict[str, Any],
    config: Config,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    *,
    then: str = "",
) -> list[Path]:
    """Write `metrics.json` and the plots below `folder`; returns the files.

    `then`: what to run once Matplotlib is there.
    """
    write_json(folder / "metrics.json", metrics)
    if not plots.can_draw():
        reporter.say(f"evaluate: no plots: {plots.NEEDS}{then}")
        return [folder / "metrics.json"]
    with reporter.progress("plots", len(scored)) as bar:
        draw: plots.DrawCurves = partial(plots.draw_curves, on_plot=bar.advance)
        if asked.ray is not None:
            stall_seconds = config.extract.stall_seconds
            draw = partial(
                draw_curves_on_ray,
                asked=asked.ray,
                home=work.home,
                stall_seconds=stall_seconds,
                reporter=reporter,
                bar=bar,
            )
        drawn = plots.draw_evaluation(folder / "plots", scored, metrics, draw)
    return [folder / "metrics.json", *drawn]


def protocol(project: Project, work: Work, left_out: Sequence[str]) -> dict[str, Any]:
    """What the numbers are measured on, and with what."""
    config, given = project.config, project.all_given  # nobody says how given features were made
    data, extract, train = config.data, config.extract, config.train
    whole = config.model_dump(mode="json", include={"extract", "train", "score"})
    return {
        "data": data.benchmark or (str(data.dataset) if data.dataset else "folder"),
        "split": work.name or None,
        "seed": None if config.protocol.official else config.protocol.seed,
        **({"official": True} if config.protocol.official else {}),
        "videos": {split: sum(video.split == split for video in project.videos) for split in ("train", "val", "test")},
        "left_out": list(left_out),
        "streams": list(configured_streams(extract)),
        "features": "given" if given else "made by lad",
        "preset": None if given else extract.preset,
        "flow": extract.flow if "flow" in extract.streams and not given else None,
        "crops": None if given else extract.crops,
        "rgb_short_side": None if given else extract.rgb_short_side,
        "context": None if given else extract.context,
        "fps": None if given else extract.fps,
        "clip_stride": None if given else extract.clip_stride,
        "detector": train.detector,
        "window": train.window,
        "selection": train.selection,
        "supervision": train.supervision,
        "train_seed": train.seed,
        "merge": config.score.merge,
        "threshold": _threshold(config.score),
        "events": "runs of frames above the threshold; matched one to one, greedily by their peak, at temporal IoU",
        "merge_seconds": config.score.merge_seconds,
        "min_seconds": config.score.min_seconds,
        "false_alarms_hour": "found events that overlap no true one, an hour of all test videos",
        "latency": "from an event's first frame to its first one in a found event; the median of those alarmed",
        "accuracy_window": "clips, counted by the category of each"
        if train.detector == "mil_causal"
        else "windows of K clips, stride 1, or pieces of 256 for mil, counted by the category of each",
        "accuracy_video": "the category with the highest mean probability over the video's clips",
        "config": {**whole, "train": _without_later(whole["train"])},
        **_verdicts(project),
    }


def _threshold(score: ScoreConfig) -> str:
    if score.alarms_per_day is not None:
        return f"for {score.alarms_per_day:g} alarms a day of normal footage"
    return "the detector's: chosen on its validation videos, else 0.5" if score.threshold is None else "configured"


def _verdicts(project: Project) -> dict[str, Any]:
    """What `lad review` was told of the videos that taught and of those that are measured; nothing without that."""
    said = {split: verdicts_on(project, split) for split in SPLITS}
    return {"verdicts": {split: counts for split, counts in said.items() if counts}} if any(said.values()) else {}


def read_scored(project: Project, work: Work, videos: Sequence[Video]) -> list[ScoredVideo]:
    """The scores and labels of those of `videos` that are scored; events are in frames.

    Raises:
        StageError: the detector's categories are not the data's.
    """
    rows = work.manifest.items(SCORE)
    found = {video.id: rows.get((SCORE, work.item(video.id))) for video in videos}
    return [_read(project, work, video, row) for video in videos if (row := found[video.id]) and row.status == "done"]


def _read(project: Project, work: Work, video: Video, row: Item) -> ScoredVideo:
    (times, scores), classes = read_times_and_scores(work.scores(video.id)), project.classes
    votes = np.array([row.info["votes"].get(name, 0) for name in classes])
    named = any(row.info["votes"].values())  # a detector of normal footage alone knows no category
    if named and row.info["category"] not in classes:
        raise StageError(
            f"the detector's categories are {', '.join(row.info['votes'])}, the data's {', '.join(classes)}: to "
            f"measure without them, add --scores {work.folder / 'scores'} and leave --checkpoint out"
        )
    return ScoredVideo(
        video=video,
        truth=video.frame_labels(len(scores)),
        scores=scores,
        seconds=row.info["seconds"],
        labels=label_indices(video, classes),
        predicted=classes.index(row.info["category"]) if named else None,
        votes=votes,
        times=times,
    )
