"""`lad evaluate`: scores and labels to `metrics.json` and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lad import __version__
from lad.dataset import Video
from lad.detector.checkpoint import load_checkpoint
from lad.evaluation.results import ScoredVideo, compute_metrics
from lad.files import fingerprint, write_json
from lad.pipeline.inventory import VideoFeatures, check_labels, find_features, weights_in_use
from lad.pipeline.project import Run, StageError, StageResult
from lad.pipeline.score import STAGE as SCORE
from lad.pipeline.score import read_scores, score_fingerprint, score_path
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.work.manifest import Item

STAGE = "evaluate"
ITEM = "metrics"
CODE_VERSION = 4


def evaluate_videos(run: Run, videos: list[Video]) -> StageResult:
    """Compare the scores of the `test` videos with their labels.

    Raises:
        StageError: there is no test video, or scores are missing.
    """
    result = StageResult(STAGE)
    test = test_videos(videos)
    features, failed = find_features(run, test)
    result.failed = {item: f"not evaluated: {reason}" for item, reason in failed.items()}
    check_labels(run, test, features, result)
    usable = [video for video in test if video.id not in result.failed]
    if not usable:
        raise StageError(f"no test video can be evaluated: {next(iter(result.failed.values()))}")
    rows = _scores_of_today(run, usable, features)
    trained = run.manifest.get(TRAIN, run.item(DETECTOR))
    optimistic = trained.info.get("released_protocol") if trained and run.config.protocol.released else None
    configured = protocol(run, videos, sorted(result.failed))
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "classes": run.classes,
        "protocol": configured,
        "released_protocol": optimistic,
        "videos": [
            [v.id, v.label, [[e.start, e.end] for e in v.events], row.fingerprint, row.outputs[0].sha256]
            for v, row in ((v, rows[v.id]) for v in usable)
        ],
    }
    today = fingerprint(facts)
    if not run.force and run.manifest.is_done(run.manifest.get(STAGE, run.item(ITEM)), today, verify=run.verify):
        result.skipped = 1
        return result
    run.manifest.start(STAGE, run.item(ITEM), today)
    for video_id, said in result.warnings.items():
        run.say(f"warning: {video_id}: {'; '.join(said)}")
    scored = read_scored(run, usable)
    metrics = compute_metrics(scored, run.classes, rows[usable[0].id].info["threshold"])
    made_with = _protocol_of_detector(run, rows[usable[0].id].info["checkpoint"], configured)
    metrics |= {"protocol": made_with, "weights": weights_in_use(run), "lad": __version__}
    if optimistic:
        metrics["released_protocol"] = {
            "auc": optimistic["test_auc"],
            "step": optimistic["step"],
            "how": "the best checkpoint by the test videos themselves, windows merged by their maximum: optimistic",
        }
    outputs = write_evaluation(run, run.work, scored, metrics)
    run.manifest.finish(STAGE, run.item(ITEM), outputs, {"videos": len(scored)})
    result.done = 1
    return result


def _scores_of_today(run: Run, videos: Sequence[Video], features: Mapping[str, VideoFeatures]) -> dict[str, Item]:
    """The rows of the videos' scores by id: of one detector, and of today's features and configuration.

    It is the configured detector; where none is, whichever scored them.

    Raises:
        StageError: a video is not scored, or otherwise, or the run's own detector was trained otherwise.
    """
    found = run.manifest.items(SCORE)
    rows = {video.id: found.get((SCORE, run.item(video.id))) for video in videos}
    done = {video_id: row for video_id, row in rows.items() if row and row.status == "done"}
    if unscored := [video.id for video in videos if video.id not in done]:
        raise StageError(f"{len(unscored)} test videos are not scored ({unscored[0]}, ...): run `lad score` first")
    for video in videos:
        row = done[video.id]
        if row.fingerprint != score_fingerprint(run, features[video.id], row.info["checkpoint"]):
            raise StageError(f"{video.id} was scored with another configuration: run `lad score` first")
    detectors = {row.info["checkpoint"] for row in done.values()}
    named = run.config.score.checkpoint
    if len(detectors) > 1:
        raise StageError("the test videos were not all scored by the same detector: run `lad score` first")
    if named and detectors != {run.manifest.content_sha256(named, verify=run.verify)}:
        raise StageError(f"the test videos were not scored by {named}: run `lad score` first")
    trained = run.manifest.get(TRAIN, run.item(DETECTOR))
    if trained and _is_own(run, *detectors):
        now = run.config.train.model_dump(mode="json")
        then = trained.info.get("config", dict.fromkeys(now))  # not in rows of older versions, which are stale
        changed = sorted(key for key, value in then.items() if now.get(key) != value)
        if changed:
            keys = ", ".join(f"train.{key}" for key in changed)
            raise StageError(f"the detector was trained with another configuration ({keys}): run `lad train` first")
    return done


def _is_own(run: Run, checkpoint_sha256: str) -> bool:
    """Whether a detector is one that this run trained."""
    trained = run.manifest.get(TRAIN, run.item(DETECTOR))
    return trained is not None and checkpoint_sha256 in [output.sha256 for output in trained.outputs]


def _protocol_of_detector(run: Run, checkpoint_sha256: str, configured: dict[str, Any]) -> dict[str, Any]:
    """The protocol, its part on training as the detector was really trained, None where its file does not say.

    The run's own detector was trained as configured; one that was named was not, and its checksum is given.
    """
    if _is_own(run, checkpoint_sha256):
        return configured
    named = run.config.score.checkpoint
    checkpoint = load_checkpoint(named) if named else None
    train = checkpoint.config["train"] if checkpoint and checkpoint.config else None
    made_with = {**configured, "checkpoint": checkpoint_sha256}
    for name, key in {"detector": "detector", "selection": "selection", "train_seed": "seed"}.items():
        made_with[name] = train[key] if train else None
    made_with["window"] = checkpoint.detector().window if checkpoint else None
    made_with["config"] = {**configured["config"], "train": train}
    return made_with


def test_videos(videos: Sequence[Video]) -> list[Video]:
    """The videos to evaluate.

    Raises:
        StageError: there is none.
    """
    test = [video for video in videos if video.split == "test"]
    if not test:
        raise StageError("no video is in the split `test`: there is nothing to evaluate")
    return test


def write_evaluation(run: Run, folder: Path, scored: Sequence[ScoredVideo], metrics: dict[str, Any]) -> list[Path]:
    """Write `metrics.json` and the plots below `folder`; returns the files."""
    from lad.evaluation import plots

    write_json(folder / "metrics.json", metrics)
    with run.progress("plots", len(scored)) as (bar, task):
        drawn = plots.draw_evaluation(folder / "plots", scored, metrics, run.classes, on_plot=lambda: bar.advance(task))
    return [folder / "metrics.json", *drawn]


def protocol(run: Run, videos: Sequence[Video], left_out: Sequence[str]) -> dict[str, Any]:
    """What the numbers were measured on, and with what."""
    data, extract, train = run.config.data, run.config.extract, run.config.train
    given = all(video.is_features for video in videos)  # nobody says how those were made
    return {
        "data": data.benchmark or (str(data.dataset) if data.dataset else "folder"),
        "split": run.split or None,
        "seed": run.config.protocol.seed,
        "videos": {split: sum(video.split == split for video in videos) for split in ("train", "val", "test")},
        "left_out": list(left_out),
        "streams": list(extract.streams),
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
        "train_seed": train.seed,
        "merge": run.config.score.merge,
        "threshold": "the detector's: chosen on its validation videos, else 0.5"
        if run.config.score.threshold is None
        else "configured",
        "events": "runs of frames above the threshold; matched one to one, greedily by their peak, at temporal IoU",
        "false_alarms_hour": "found events that overlap no true one, an hour of all test videos",
        "accuracy_window": "windows of K clips, stride 1, counted by the category that the detector gives each",
        "accuracy_video": "the category with the highest mean probability over the video's clips",
        "config": run.config.model_dump(mode="json", include={"extract", "train", "score"}),
    }


def read_scored(run: Run, videos: Sequence[Video]) -> list[ScoredVideo]:
    """The scores and labels of those of `videos` that are scored.

    Raises:
        StageError: the detector's categories are not the data's.
    """
    rows = run.manifest.items(SCORE)
    found = {video.id: rows.get((SCORE, run.item(video.id))) for video in videos}
    return [_read(run, video, row) for video in videos if (row := found[video.id]) and row.status == "done"]


def _read(run: Run, video: Video, row: Item) -> ScoredVideo:
    scores = read_scores(score_path(run.work, video.id))
    votes = np.array([row.info["votes"].get(name, 0) for name in run.classes])
    if row.info["category"] not in run.classes:
        raise StageError(
            f"the detector's categories are {', '.join(row.info['votes'])}, the data's {', '.join(run.classes)}"
        )
    return ScoredVideo(
        video=video,
        truth=video.frame_labels(len(scores)),
        scores=scores,
        seconds=row.info["seconds"],
        labels=label_indices(run, video),
        predicted=run.classes.index(row.info["category"]),
        votes=votes,
    )


def label_indices(run: Run, video: Video) -> tuple[int, ...]:
    """Where the categories of a video stand among those of the run, the foremost first."""
    return tuple(run.classes.index(name) for name in video.categories if name in run.classes)
