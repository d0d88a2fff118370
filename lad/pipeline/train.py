"""`lad train`: features to a detector, `checkpoints/best.pt`; resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import filesize

from lad.config import TrainConfig
from lad.dataset import Video
from lad.detector.validation import (
    Evaluation,
    best_by_test,
    best_evaluation,
    divide,
    doubt,
    hold_out,
    mean_curve,
)
from lad.device import detector_threads, multiplies_bfloat16, numerics, repeatable
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint, write_json
from lad.models.registry import detector_source
from lad.pipeline.facts import FACTS, UNCHANGED_BY, kept, pairs
from lad.pipeline.labels import grows, supervision_of
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.train_normal import (
    Cameras,
    facts_of_normal,
    held_out_of_normal,
    learn_normal,
    of_added,
    other_cameras,
)
from lad.pipeline.training_logs import NEEDS, has_tensorboard, open_logs
from lad.pipeline.training_set import find_training
from lad.work.layout import Work

if TYPE_CHECKING:
    from lad.detector.training import Setup
    from lad.detector.training_windows import TrainingVideo

STAGE = "train"
ITEM = "detector"
EVENT = "event"  # the only category of a detector of normal footage alone
CODE_VERSION = 6  # `train.val_fraction` holds out what it says, to one source
CLICKS_CODE = 2  # of `lad.detector.training_clicks`: raised when the same clicks teach otherwise


def train_detector(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter
) -> StageResult:
    """Train on the `train` videos and keep the best checkpoint by validation, never by test.

    Raises:
        StageError, windows.TrainingError: there is nothing to train on, or its features are not there.
    """
    result = StageResult(STAGE)
    config = project.config
    taught = of_added(project, work, asked.add) if asked.add else project
    found = find_training(taught, recipe, work, asked, reporter, result)
    facts = detector_facts(project, recipe, found.videos + found.test, found.features)
    item = work.item(ITEM)
    before = work.manifest.get(STAGE, item)
    others = other_cameras(project, recipe, work, before) if asked.add else {}
    if others:
        facts["cameras"] = {**{camera: one.fingerprint for camera, one in others.items()}, **facts["cameras"]}
    today = fingerprint(facts)
    if not asked.force and work.manifest.is_done(before, today, verify=asked.verify):
        result.skipped = 1
        return result
    work.manifest.start(STAGE, item, today)
    # Nobody shall score with another run's detector by mistake, and nothing goes on from files that were altered.
    if not asked.add and (asked.force or (before and (before.fingerprint != today or before.status == "done"))):
        shutil.rmtree(work.checkpoints, ignore_errors=True)
    for video_id, warnings in result.warnings.items():
        reporter.say(f"warning: {video_id}: {'; '.join(warnings)}")
    with repeatable(recipe.device, detector_threads(config.threads)):
        training = _Training(project, recipe, work, reporter, today, found.grouped(), found.test, found.features)
        cameras = Cameras(facts.get("cameras", {}), {video.id: video.source for video in found.videos}, others)
        info = training.run(cameras)
    if others and before:
        told = before.info.get("validation", {}).get("cameras", {})
        kept_ones = {camera: told[camera] for camera in others if camera in told}
        info["validation"]["cameras"] = kept_ones | info["validation"]["cameras"]
    info |= {"config": config.train.model_dump(mode="json"), "left_out": sorted(result.failed), FACTS: kept(facts)}
    work.manifest.finish(STAGE, item, [work.best, work.checkpoints / "last.pt"], info)
    result.done = 1
    return result


def detector_facts(
    project: Project, recipe: FeatureRecipe, videos: Sequence[Video], features: Mapping[str, VideoFeatures]
) -> dict[str, Any]:
    """What a detector depends on that is trained on these videos, whose events are in frames."""
    config = project.config
    auto = {"supervision"} if config.train.supervision == "auto" else set()
    grown = grows([video for video in videos if video.split != "test"], config.train)
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        # `auto` is what the labels and the detector, which are facts too, make of it.
        "train": config.train.model_dump(mode="json", exclude=unused_keys(config.train) | auto),
        "detector": detector_source(config.train.detector),
        "merge": config.score.merge,  # of the validation videos' scores
        "classes": project.classes,
        "videos": [
            [
                *(v.id, v.split, v.label, v.group, pairs(v.events), features[v.id].fingerprint),
                *([pairs(v.unlabelled)] if v.unlabelled else []),
            ]
            for v in videos
        ],
        "numerics": numerics(recipe.device, detector_threads(config.threads)),
        # As older results have it, where they are not asked for.
        **({"clicks": CLICKS_CODE} if grown else {}),
        **({"clicks_between_frames": True} if grown and recipe.clips.fps else {}),  # once they were lost
        **({"by_test": True} if config.protocol.by_test else {}),
    }
    return facts_of_normal(facts, videos, config)


def unused_keys(train: TrainConfig) -> set[str]:
    """Keys that a detector does not depend on; that there is one for each camera, its facts say by themselves."""
    unused = {"cameras"} if train.detector == "normality" else {"cameras", "motion_quantile", "smooth_seconds"}
    return unused | {key for key, value in UNCHANGED_BY.items() if getattr(train, key) == value}


class _Training:
    """One training run: how its number of steps is chosen, and where its files lie."""

    def __init__(
        self,
        project: Project,
        recipe: FeatureRecipe,
        work: Work,
        reporter: Reporter,
        today: str,
        videos: list[Video],
        test: list[Video],
        features: Mapping[str, VideoFeatures],
    ) -> None:
        from lad.detector.training import Setup
        from lad.detector.training_windows import open_labelled

        self.work, self.reporter, self.config = work, reporter, project.config.train
        self.videos, self.today = videos, today
        supervision = supervision_of(videos, self.config)
        self.selection = how_selected(self.config, videos, supervision)
        taught = self.config.model_copy(update={"supervision": supervision})
        with_supervision = project.config.model_copy(update={"train": taught})  # a checkpoint has no labels to look at
        self.setup: Setup = Setup(
            train=project.config.train,
            merge=project.config.score.merge,
            classes=project.classes if supervision != "normal" else [EVENT],
            device=recipe.device,
            fingerprint=today,
            config=with_supervision.model_dump(mode="json"),
            weights=recipe.remembered,
            selection=self.selection,
            supervision=supervision,
            released=project.config.protocol.released,
            by_test=project.config.protocol.by_test,
        )
        whole = supervision == "videos"
        self.loaded: dict[str, TrainingVideo] = {}
        opening = partial(
            open_labelled, features=features, classes=project.classes, reference_clips=self.config.reference_clips
        )
        with reporter.progress("features", len(videos)) as bar:
            for video, opened in zip(videos, opening(videos, whole=whole), strict=True):
                self.loaded[video.id] = opened
                bar.advance(video.id)
        self.test = list(opening(test))
        for warning in _warnings_of_reference(videos, self.loaded, self.config.reference_clips):
            reporter.say(f"warning: train.reference_clips: {warning}")
        total = sum(path.stat().st_size for video in videos for path in features[video.id].paths)
        clips = sum(opened.features.clips for opened in self.loaded.values())
        coarse = "" if self.config.dtype == "float32" else f", in {self.config.dtype}"
        reporter.say(f"train: {len(videos)} videos, {clips} clips, {filesize.decimal(total)} of features{coarse}")
        if coarse and not multiplies_bfloat16(recipe.device):
            reporter.say("warning: train.dtype: this machine has no instructions for bfloat16: float32 would be faster")

    def run(self, cameras: Cameras) -> dict[str, Any]:
        """Choose the number of steps on held-out videos, train, and say what came of it."""
        if self.setup.supervision == "normal":
            return learn_normal(self.setup, self.videos, self.loaded, cameras, self.work, self.reporter.say)
        if not has_tensorboard():
            self.reporter.say(f"train: no log for TensorBoard: {NEEDS}")
        train = [video for video in self.videos if video.split == "train"]
        val = [video for video in self.videos if video.split == "val"]
        if self.config.selection == "validation":
            if not val:
                train, val = hold_out(train, self.config.val_fraction, self.config.seed)
            history = self._fit("train", self.work.checkpoints, train, val, self.config.steps, validated_on=val)
            return self._outcome(best_evaluation(history), train, val, history)
        curves = []
        folds = [fold for fold in divide(train, self.config.folds, self.config.seed) if fold]
        for number, held_out in enumerate(folds):
            rest = [video for fold in folds if fold is not held_out for video in fold]
            curves.append(self._fold_curve(number, len(folds), rest, held_out))
        best = best_evaluation(mean_curve(curves))
        self.reporter.say(f"train: {best.step} steps by cross-validation ({best.describe()})")
        history = self._fit("train", self.work.checkpoints, train, [], best.step, chosen=best, validated_on=train)
        return self._outcome(best, train, train, history)

    def _outcome(
        self, best: Evaluation, train: list[Video], validated_on: list[Video], history: list[Evaluation]
    ) -> dict[str, Any]:
        why = doubt(best.validation.auc if best.validation else None, *_kinds(validated_on))
        if why:
            self.reporter.say(f"warning: the detector may be worth nothing: {why}")
        outcome = {
            "steps": best.step,
            "selection": self.selection,
            "supervision": self.setup.supervision,
            "validation": best.as_dict(),
            "videos": len(train),
            "doubt": why,
        }
        tested = [(one.test_auc, one) for one in history if one.test_auc is not None]
        if tested:
            outcome["released_protocol"] = max(tested, key=lambda pair: pair[0])[1].as_dict()
        if by_test := best_by_test(history):
            outcome["selected_by_test"] = by_test
        return outcome

    def _fold_curve(self, number: int, folds: int, train: list[Video], val: list[Video]) -> list[Evaluation]:
        """The validation curve of one fold; a finished fold leaves its curve and nothing else."""
        folder = self.work.checkpoints / f"fold_{number}"
        curve = folder / "curve.json"
        history: list[Evaluation] | None = None
        with suppress(OSError, ValueError, LookupError, TypeError):  # not there, or of another version
            saved = json.loads(curve.read_text(encoding="utf-8"))
            if saved["fingerprint"] == self.today:
                history = [Evaluation.from_dict(entry) for entry in saved["history"]]
        if history is None:
            name = f"fold {number + 1}/{folds}"
            history = self._fit(name, folder, train, val, self.config.steps, keep_best=False)
            write_json(curve, {"fingerprint": self.today, "history": [one.as_dict() for one in history]})
        (folder / "last.pt").unlink(missing_ok=True)  # a run that is killed now removes it the next time
        return history

    def _fit(
        self,
        name: str,
        folder: Path,
        train: list[Video],
        val: list[Video],
        steps: int,
        keep_best: bool = True,
        chosen: Evaluation | None = None,
        validated_on: Sequence[Video] = (),
    ) -> list[Evaluation]:
        """Train for `steps` steps, evaluating on `val` on the way; returns the history of evaluations."""
        from lad.detector.training import Fit

        fit = Fit(
            self.setup,
            folder,
            self._pick(train),
            self._pick(val),
            test=self.test,
            keep_best=keep_best,
            chosen=chosen,
            validated_on=_kinds(validated_on),
        )
        verbose = self.reporter.say if self.reporter.verbose else lambda _: None
        verbose(f"{name}: resumes at step {fit.step}" if fit.step else f"{name}: begins")
        place = self.work.folder / "logs" / name.replace("/", "_of_").replace(" ", "_")
        with open_logs(place, name, fit.step) as logs, self.reporter.progress(name, steps, "steps") as bar:
            bar.show(done=fit.step)
            for evaluation in fit.run(steps):
                if evaluation:
                    logs.add(evaluation, fit.history)
                    verbose(f"{name}: step {evaluation.step}, {evaluation.describe()}")
                    bar.show(note=evaluation.describe())
                bar.show(done=fit.step)
        return fit.history

    def _pick(self, videos: Sequence[Video]) -> list[TrainingVideo]:
        return [self.loaded[video.id] for video in videos]


def _warnings_of_reference(
    videos: Sequence[Video], loaded: Mapping[str, TrainingVideo], reference_clips: int
) -> Iterator[str]:
    """What is odd about features relative to so many first clips; 0: nothing."""
    if not reference_clips:
        return
    short = [video.id for video in videos if loaded[video.id].features.clips <= reference_clips]
    if short:
        yield f"{len(short)} videos, such as {short[0]}, have no more clips than {reference_clips}: they teach nothing"
    early = []
    for video in videos:
        one = loaded[video.id]
        if one.clicks or not video.is_weak:  # else nobody knows where its event is
            truth = one.frame_labels if one.clicks else video.frame_labels(one.source.frames)
            clips, _ = one.source.timeline().by_clip(truth, one.features.clips)
            early += [video.id] if clips[:reference_clips].any() else []
    if early:
        yield f"in {len(early)} videos, such as {early[0]}, an event begins before the end of clip {reference_clips}"


def how_selected(config: TrainConfig, videos: Sequence[Video], supervision: str = "frames") -> str:
    """How the number of training steps is chosen, in words; with normal footage alone, what says what is usual."""
    if supervision == "normal":
        return held_out_of_normal(config, videos)
    if config.selection == "cross-validation":
        sources = len({video.group for video in videos if video.split == "train"})
        few = f", one for each source: train.folds is {config.folds}" if sources < config.folds else ""
        return f"cross-validation, {min(config.folds, sources)} folds{few}"
    if any(video.split == "val" for video in videos):
        return "validation on the `val` videos"
    return f"validation on {config.val_fraction:.0%} of the training videos"


def _kinds(videos: Sequence[Video]) -> tuple[int, int]:
    """How many have an event, and how many have none."""
    abnormal = sum(video.is_abnormal for video in videos)
    return abnormal, len(videos) - abnormal
