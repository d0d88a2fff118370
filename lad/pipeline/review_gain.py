"""What verdicts of `lad review` changed: detectors with and without them, tried on reviewed videos that taught neither.

The sources of the reviewed videos are dealt into parts. For each part two detectors are trained on all other sources:
one with the labels that people gave in `lad review`, one with those of before. Both score the part. Either is trained
for as many steps as the run's own detector, and judged by what the verdicts say.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lad.dataset import Video
from lad.detector.validation import divide
from lad.device import detector_threads, repeatable
from lad.errors import LadError
from lad.evaluation.bootstrap import Measured, interval, resampled
from lad.evaluation.metrics import roc_auc
from lad.features.labels import with_events_in_frames
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint
from lad.models.registry import Supervision
from lad.pipeline.facts import FACTS, kept
from lad.pipeline.labels import supervision_of
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.pipeline.train import detector_facts
from lad.pipeline.training_set import TrainingSet, find_training
from lad.work.layout import Work
from lad.work.verdicts import counted

STAGE = "review"
ITEM = "gain"
CODE_VERSION = 1
PARTS = 2  # where the number of steps is not chosen by cross-validation: each part is two trainings


def review_gain(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter
) -> dict[str, Any] | None:
    """What the verdicts on training videos changed, as plain data with a line `said`; None: there are none.

    Raises:
        StageError: the run has no detector of today.
    """
    if not any(video.reviewed and video.split == "train" for video in project.videos):
        return None
    found = find_training(project, recipe, work, asked, reporter.within(""), StageResult(STAGE))
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    assert trained is not None  # it was trained just now
    features = found.features
    pair = _Pair.of(project, found)
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "after": fingerprint(detector_facts(project, recipe, pair.after, features)),
        "before": fingerprint(detector_facts(project, recipe, pair.before, features)),
        "steps": trained.info["steps"],
    }
    item, today = work.item(ITEM), fingerprint(facts)
    row = work.manifest.get(STAGE, item)
    if row and not asked.force and work.manifest.is_done(row, today, verify=asked.verify):
        return {key: value for key, value in row.info.items() if key != FACTS}
    work.manifest.start(STAGE, item, today)
    with repeatable(recipe.device, detector_threads(project.config.threads)):
        try:
            gain = _measure(pair, project, recipe, work, reporter, trained.info["steps"], features)
        except LadError as error:
            gain = _untold(pair, str(error))
    shutil.rmtree(work.checkpoints / STAGE, ignore_errors=True)
    work.manifest.finish(STAGE, item, [], gain | {FACTS: kept(facts)})
    return gain


@dataclass(frozen=True)
class _Pair:
    """The training videos with the verdicts and without them, in frames, and those of them that were reviewed."""

    after: list[Video]
    before: list[Video]
    reviewed: list[Video]

    @classmethod
    def of(cls, project: Project, found: TrainingSet) -> _Pair:
        after = [video for video in found.grouped() if video.split == "train"]
        ids = {video.id for video in after}
        listed = [video for video in project.unreviewed.videos if video.split == "train" and video.id in ids]
        before = [with_events_in_frames(video, found.features[video.id].timeline) for video in listed]
        return cls(after, before, [video for video in after if video.reviewed])

    @property
    def counted(self) -> str:
        return counted(video.reviewed for video in self.reviewed if video.reviewed)


def _untold(pair: _Pair, why: str) -> dict[str, Any]:
    said = f"reviewed videos, held out: nobody can tell what changed ({pair.counted}): {why}"
    return {"before": None, "after": None, "difference_95": None, "videos": len(pair.reviewed), "said": said}


def _measure(
    pair: _Pair,
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    reporter: Reporter,
    steps: int,
    features: Mapping[str, VideoFeatures],
) -> dict[str, Any]:
    from lad.detector.scoring import score_features
    from lad.detector.training import Fit, Setup
    from lad.detector.training_windows import TrainingVideo, open_labelled

    config = project.config
    if supervision_of(pair.after, config.train) == "normal":
        return _untold(pair, "a detector of normal footage alone is not tried on parts of it")
    sources = {video.group for video in pair.reviewed}
    if len(sources) < 2:
        return _untold(pair, "they are of one source, which cannot both teach and be tried")
    parts = config.train.folds if config.train.selection == "cross-validation" else PARTS
    dealt = divide([v for v in pair.after if v.group in sources], min(parts, len(sources)), config.train.seed)

    def opened(side: str, videos: Sequence[Video], supervision: Supervision) -> dict[str, TrainingVideo]:
        opening = open_labelled(
            videos,
            features,
            names[side],
            whole=supervision == "videos",
            reference_clips=config.train.reference_clips,
        )
        return {v.id: one for v, one in zip(videos, opening, strict=True)}

    names = {"before": project.unreviewed.classes, "after": project.classes}
    taught_by = {"before": supervision_of(pair.before, config.train), "after": supervision_of(pair.after, config.train)}
    sides = {side: opened(side, getattr(pair, side), taught_by[side]) for side in ("before", "after")}
    in_frames = opened("after", [video for video in pair.reviewed if not video.is_weak], "frames")
    groups = {video.id: video.group for video in pair.after}
    measured: dict[str, list[Measured]] = {side: [] for side in sides}
    with reporter.progress("what the verdicts changed", 2 * len(dealt), "trainings") as bar:
        for number, part in enumerate(dealt):
            held_out = {video.group for video in part}
            tried = {video.id: in_frames[video.id] for video in part if video.id in in_frames}
            for side, videos in sides.items():
                setup = Setup(
                    train=config.train,
                    merge=config.score.merge,
                    classes=names[side],
                    device=recipe.device,
                    fingerprint=fingerprint([side, number, sorted(videos), steps]),
                    supervision=taught_by[side],
                )
                teach = [one for video_id, one in videos.items() if groups[video_id] not in held_out]
                if not teach:
                    return _untold(pair, "without the verdicts there is nothing to train on")
                folder = work.checkpoints / STAGE / f"{side}_{number}"
                shutil.rmtree(folder, ignore_errors=True)  # of a killed run, maybe of other labels
                fit = Fit(setup, folder, teach, [], keep_best=False)
                for _ in fit.run(steps):
                    pass
                detector = fit.detector()
                for video_id, one in tried.items():
                    found = score_features(detector, one.features, merge=config.score.merge)
                    scores = one.known(one.source.timeline().by_frame(found.clips))
                    measured[side].append(Measured(video_id, groups[video_id], one.known(one.frame_labels), scores))
                bar.advance(f"{side}, part {number + 1} of {len(dealt)}")
    return _told(pair, measured)


def _told(pair: _Pair, measured: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    truth = np.concatenate([one.truth for one in measured["after"]])
    before, after = (roc_auc(truth, np.concatenate([one.scores for one in measured[s]])) for s in ("before", "after"))
    if before is None or after is None:
        return _untold(pair, "what was said of their frames is all the same")
    moved = interval(resampled([measured["after"]])["auc"] - resampled([measured["before"]])["auc"])
    said = f"reviewed videos, held out: AUC {before:.3f} -> {after:.3f} ({pair.counted})"
    if moved:
        chance = ", which may be chance" if moved[0] <= 0 <= moved[1] else ""
        said += f"; difference {after - before:+.3f}, 95 % interval {moved[0]:+.3f} .. {moved[1]:+.3f}{chance}"
    return {
        "before": before,
        "after": after,
        "difference_95": list(moved) if moved else None,
        "videos": len(pair.reviewed),
        "said": said,
    }
