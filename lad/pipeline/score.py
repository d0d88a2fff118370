"""`lad score`: features and a detector to a score for every frame, `scores/<video id>.csv`, and to events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from lad.config import Config
from lad.dataset import Video
from lad.detector.cameras import check_source
from lad.detector.checkpoint import Checkpoint, CheckpointError, load_checkpoint, other_features
from lad.detector.known_camera import Camera
from lad.detector.score_video import DRIFT, ScoreSettings, ToScore, VideoScorer
from lad.detector.scoring import EventRule
from lad.device import detector_threads
from lad.engine.messages import Made, Progressed, Scored
from lad.extract.jobs import Failed, Started
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint
from lad.models.registry import LEARNS_FROM
from lad.pipeline.alarm import is_due, make_due, sound_alarm
from lad.pipeline.drift import recorded
from lad.pipeline.events import write_events
from lad.pipeline.facts import FACTS, kept
from lad.pipeline.inventory import find_features
from lad.pipeline.known_cameras import get_to_know, normal_footage, told_of
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.pipeline.score_engine import ScoreEngine
from lad.pipeline.score_facts import detector_repairs, facts_with, score_facts
from lad.pipeline.score_summary import write_summary
from lad.pipeline.scored import STAGE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.version import code_version
from lad.work.layout import Work
from lad.work.manifest import Item


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
    scorer = VideoScorer(settings_of(project, recipe), lambda: checkpoint, path).on_cpu()
    dim = scorer.of_camera(camera).detector.feature_dim
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


def settings_of(project: Project, recipe: FeatureRecipe) -> ScoreSettings:
    """How the configuration has videos scored."""
    score = project.config.score
    return ScoreSettings(
        recipe=recipe,
        threads=detector_threads(project.config.threads),
        merge=score.merge,
        threshold=score.threshold,
        alarms_per_day=score.alarms_per_day,
        classes=project.classes,
        rule=EventRule(score.merge_seconds, score.min_seconds),
        allowed=project.config.train.detector,
    )


def score_videos(project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter) -> StageResult:
    """Score what is missing or stale, and rewrite `scores/summary.csv`, `events.csv` and `events.json`.

    Raises:
        StageError, CheckpointError: there is no checkpoint, it does not fit the features, or videos were not extracted.
    """
    result = StageResult(STAGE)
    stage = _Scoring(project, recipe, work, asked, reporter, result)
    if project.config.score.source:
        check_source(stage.checkpoint, stage.path, project.config.score.source)
    if project.videos and not project.scored:
        raise StageError("score.videos is test, and no video is in the split `test`: set -o score.videos=all")
    needed = {video.id: video for video in (*project.scored, *chain(*normal_footage(project).values()))}
    features, failed = find_features(project, recipe, work, asked, reporter, list(needed.values()))
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    due = stage.plan(features)
    if due.todo:
        stage.run(due.todo)
    for video, row in due.silent:
        stage.alarm(video, row.info)
    changed = write_summary(recipe, work, stage.checkpoint_sha256)
    if due.todo or changed or not (work.events.exists() and work.events_json.exists()):
        write_events(work, stage.checkpoint_sha256)
    return result


@dataclass(frozen=True)
class _Todo:
    """A video to score.

    Attributes:
        video: as the dataset has it.
        job: as the detector needs it.
        facts: what its scores will depend on.
    """

    video: Video
    job: ToScore
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Due:
    """What is to be done: videos to score, and the rows of those that were scored with an alarm that did not go off."""

    todo: list[_Todo]
    silent: list[tuple[Video, Item]]


class _Scoring:
    """The stage at work: what is to be done, and what becomes of each video."""

    def __init__(
        self,
        project: Project,
        recipe: FeatureRecipe,
        work: Work,
        asked: Asked,
        reporter: Reporter,
        result: StageResult,
    ) -> None:
        self.project, self.recipe, self.work, self.asked = project, recipe, work, asked
        self.reporter, self.result = reporter, result
        self.path = find_checkpoint(project, work)
        self.engine = ScoreEngine(
            VideoScorer(settings_of(project, recipe), lambda: self.checkpoint, self.path),
            work,
            asked.ray,
            project.config.extract.stall_seconds,
            reporter.say,
        )

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Read where something is to be scored: it may take long."""
        return load_checkpoint(self.path)

    @cached_property
    def checkpoint_sha256(self) -> str:
        """Hash of the detector's file, which is seen to be as training left it."""
        _check_detector(self.project, self.work, self.path, verify=self.asked.verify)
        return self.work.manifest.content_sha256(self.path, verify=self.asked.verify)

    def plan(self, features: dict[str, VideoFeatures]) -> _Due:
        """See what is missing or stale of the videos with these features."""
        work, detector = self.work, self.checkpoint_sha256
        repairs = detector_repairs(work, detector)
        cameras = self._known_cameras(features)
        rows = work.manifest.items(STAGE)
        due = _Due([], [])
        for video in self.project.scored:
            if video.id not in features:
                continue
            known = cameras[video.id]
            today = score_facts(self.project, self.recipe, video, features[video.id], detector, repairs, known)
            row = rows.get((STAGE, work.item(video.id)))
            if not self.asked.force and self._is_done(row, today):
                self.result.skipped += 1
                if row and self.asked.alarm and is_due(work, video.id):
                    due.silent.append((video, row))
                continue
            camera = self.project.camera(video) if self.checkpoint.cameras else ""
            job = ToScore(video.id, features[video.id], video.is_features, camera, known)
            due.todo.append(_Todo(video, job, facts_with(self.checkpoint, camera, today)))
        return due

    def _is_done(self, row: Item | None, today: list[dict[str, Any]]) -> bool:
        return any(self.work.manifest.is_done(row, fingerprint(one), verify=self.asked.verify) for one in today)

    def _known_cameras(self, features: dict[str, VideoFeatures]) -> dict[str, Camera]:
        return get_to_know(
            self.project,
            self.recipe,
            self.work,
            features,
            self.checkpoint_sha256,
            lambda: self.checkpoint,
            self.engine,
            self.reporter,
        )

    def run(self, todo: list[_Todo]) -> None:
        """Score videos, one event after the other."""
        self._warn(todo)
        left = {one.job.item: one for one in todo}

        def on_part(number: int, share: float) -> None:
            bar.show(share=(number + share) / len(todo), note=todo[number].job.item)

        with (
            self.reporter.progress("score", len(todo)) as bar,
            closing(self.engine.run([one.job for one in todo], on_part)) as events,
        ):
            for event in events:
                match event:
                    case Started(item):
                        self.work.manifest.start(STAGE, self.work.item(item), fingerprint(left[item].facts))
                    case Progressed(item):
                        bar.show(note=item)
                    case Failed(item, failure, error):
                        self._fail(left.pop(item).video, failure, error)
                    case Made(item, Scored() as scored):
                        self._record(left.pop(item), scored.info)
                if isinstance(event, Failed | Made):
                    bar.advance(event.item)

    def _fail(self, video: Video, failure: str, error: str) -> None:
        self.result.failed[video.id] = f"{video.path}: {error}"
        self.work.manifest.fail(STAGE, self.work.item(video.id), failure, self.result.failed[video.id])
        self.reporter.say(f"failed: {self.result.failed[video.id]}")

    def _record(self, one: _Todo, told: Mapping[str, Any]) -> None:
        """A video's CSV is there: write its row, and sound its alarm."""
        video, work, alarm = one.video, self.work, self.asked.alarm
        info = {
            **told,
            **({DRIFT: {**told[DRIFT], "recorded": recorded(video)}} if DRIFT in told else {}),
            "path": str(video.path.absolute()),
            "checkpoint": self.checkpoint_sha256,
            "lad": code_version(),
            **({"camera": one.job.camera} if one.job.camera else {}),
            FACTS: kept(one.facts),
        }
        if alarm:
            make_due(work, video.id, fingerprint(one.facts))
        work.manifest.finish(STAGE, work.item(video.id), [work.scores(video.id)], info)
        self.result.done += 1
        if alarm:
            self.alarm(video, info)

    def alarm(self, video: Video, info: dict[str, Any]) -> None:
        """Sound the alarm of a scored video."""
        if problem := sound_alarm(self.asked.alarm, self.work, video.id, info, self.reporter):
            self.result.failed[video.id] = f"{video.id}: {problem}"

    def _warn(self, todo: list[_Todo]) -> None:
        """Say what may be wrong with the detector, and how well it knows the cameras."""
        say, checkpoint = self.reporter.say, self.checkpoint
        given = all(one.job.are_given for one in todo)
        if differences := other_features(checkpoint, self.project.config.extract, self.recipe.identities, given=given):
            say(f"warning: {self.path} was trained on other features: {'; '.join(differences)}")
        if checkpoint.doubt:
            say(f"warning: {self.path} may be worth nothing: {checkpoint.doubt}")
        if why := _other_rule(checkpoint, self.project.config):
            say(f"warning: {self.path}: {why}")
        if checkpoint.known_cameras:
            cameras = {one.video.id: one.job.known for one in todo}
            for line in told_of(self.project, cameras, [one.video for one in todo]):
                say(line)


def _other_rule(checkpoint: Checkpoint, config: Config) -> str:
    """Why a threshold that is a budget of alarms does not hold it: alarms were counted otherwise; empty: it does."""
    then = (checkpoint.config or {}).get("score", {})
    keys = [key for key in ("merge_seconds", "min_seconds") if then.get(key, 0) != getattr(config.score, key)]
    named = checkpoint.network.get("name")
    if not keys or LEARNS_FROM.get(str(named)) != ("normal",) or config.score.threshold is not None:
        return ""
    counted = " and ".join(f"score.{key} {then.get(key, 0):g}" for key in keys)
    return f"its budget of alarms is for events with {counted}: with others it alarms more or less often"
