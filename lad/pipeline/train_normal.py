"""Training on normal footage alone: a detector of all of it, or one for each camera, in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lad.config import Config, TrainConfig
from lad.dataset import Video
from lad.detector.cameras import join_cameras
from lad.detector.checkpoint import (
    Checkpoint,
    by_camera,
    load_checkpoint,
    other_features,
    save_checkpoint,
)
from lad.detector.validation import divide_normal
from lad.features.recipe import FeatureRecipe
from lad.files import fingerprint, link
from lad.models.registry import LEARNS_FROM
from lad.pipeline.project import Project
from lad.pipeline.reporter import StageError
from lad.text import shortened
from lad.work.journal import Item
from lad.work.layout import Work

if TYPE_CHECKING:
    from lad.detector.training import Setup
    from lad.detector.training_normal import Learned
    from lad.detector.training_windows import TrainingVideo


@dataclass(frozen=True)
class Cameras:
    """Which cameras get a detector each.

    Attributes:
        fingerprints: camera -> hash of what its detector depends on, of those that are kept too; none: one detector of
            all footage.
        of_video: video id -> camera.
        kept: detectors that stay as they are.
    """

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    of_video: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Checkpoint] = field(default_factory=dict)


def facts_of_normal(facts: dict[str, Any], videos: Sequence[Video], config: Config) -> dict[str, Any]:
    """The facts of a detector; with normal footage alone, what makes an event too, since alarms are counted.

    Of one for each camera, `cameras`: a hash of the facts of each, which have its footage.

    Args:
        facts: of one detector; `videos` are in the order of the videos.
        videos: those that teach.
        config: names the detector.

    Raises:
        StageError: some videos name their camera and others do not.
    """
    if LEARNS_FROM.get(config.train.detector) != ("normal",):
        return facts
    facts = facts | {"events": [config.score.merge_seconds, config.score.min_seconds]}
    if config.train.cameras == "one":
        return facts
    teaching = [video for video in videos if video.split != "test"]  # no other footage is looked at
    unnamed = [video.id for video in teaching if not video.source]
    if len(unnamed) == len(teaching):
        return facts
    if unnamed:
        raise StageError(
            f"{shortened(', '.join(unnamed))}: which camera filmed them? The column source names that of other videos: "
            "fill it in, or set train.cameras=one for one detector of all footage"
        )
    common = {key: value for key, value in facts.items() if key not in ("videos", "classes")}  # it knows no category
    own: dict[str, list[Any]] = {}
    for video, of_video in zip(videos, facts["videos"], strict=True):
        if video.split == "test":
            continue
        own.setdefault(video.source, []).append(of_video)
    return common | {"cameras": {camera: fingerprint({**common, "videos": own[camera]}) for camera in sorted(own)}}


def of_added(project: Project, work: Work, camera: str) -> Project:
    """The part of a project that teaches the camera of `lad train --add`.

    Raises:
        StageError: there is no detector that it could be added to, or nothing that teaches it.
    """
    train = project.config.train
    if LEARNS_FROM.get(train.detector) != ("normal",) or train.cameras == "one":
        raise StageError("--add: only train.detector=normality with train.cameras=each has a detector for each camera")
    if not work.best.is_file():
        raise StageError(f"--add: no detector {work.best} that a camera could be added to: `lad train` makes one")
    videos = [video for video in project.videos if video.source == camera]
    if not any(video.split == "train" for video in videos):
        known = sorted({video.source for video in project.videos if video.source and video.split == "train"})
        there = f"there are {shortened(', '.join(known))}" if known else "none names its camera"
        raise StageError(
            f"--add {camera}: no training video has this camera in the column source of the dataset.csv: {there}"
        )
    return replace(project, videos=videos)


def other_cameras(project: Project, recipe: FeatureRecipe, work: Work, before: Item | None) -> dict[str, Checkpoint]:
    """The detectors of the run's file but for that of the camera that is added: they stay.

    Args:
        before: the row of the file, where there is one.

    Raises:
        StageError: the file is not as `lad` made it, is of other features, or is no detector of several cameras.
        CheckpointError: it cannot be read.
    """
    done = before is not None and before.status == "done"
    if before and done and not all(work.manifest.is_intact(output) for output in before.outputs):
        raise StageError(f"{work.best}: not as lad made it: run `lad train` again, without --add")
    checkpoint = load_checkpoint(work.best)
    if not checkpoint.cameras:
        raise StageError(
            f"{work.best}: is one detector of all footage: name the cameras in the column source, and run `lad train` "
            "once without --add"
        )
    if differ := other_features(checkpoint, project.config.extract, recipe.identities, given=project.all_given):
        raise StageError(f"{work.best}: its cameras were learned from other features: {'; '.join(differ)}")
    return by_camera(checkpoint)


def learn_normal(
    setup: Setup,
    videos: Sequence[Video],
    loaded: Mapping[str, TrainingVideo],
    cameras: Cameras,
    work: Work,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Learn from normal footage, and say how much of it says what is usual. That takes seconds, in one go.

    Raises:
        TrainingError: there is too little footage of a camera.
    """
    from lad.detector.training_windows import TrainingError

    if cameras.fingerprints:
        detectors, told = dict(cameras.kept), {}
        for camera in sorted(set(cameras.of_video.values())):
            own = [video for video in videos if cameras.of_video[video.id] == camera]
            of_own = replace(
                setup, fingerprint=cameras.fingerprints[camera], selection=held_out_of_normal(setup.train, own)
            )
            try:
                learned = _learn(of_own, own, loaded)
            except TrainingError as error:
                raise TrainingError(f"camera {camera}: {error}; or set train.cameras=one for one of all") from error
            detectors[camera], told[camera] = learned.checkpoint(of_own), learned.describe()
            say(f"train: {camera}: {_told(told[camera])}")
        checkpoint, validation = join_cameras(detectors, setup.fingerprint, setup.config), {"cameras": told}
        selection = checkpoint.selection
    else:
        learned = _learn(setup, videos, loaded)
        checkpoint, validation, selection = learned.checkpoint(setup), learned.describe(), setup.selection
        say(f"train: {_told(validation)}")
    save_checkpoint(work.best, checkpoint)
    link(work.best, work.checkpoints / "last.pt")
    train = sum(video.split == "train" for video in videos)
    outcome = {"steps": 0, "selection": selection, "supervision": "normal", "validation": validation}
    return outcome | {"videos": train, "doubt": ""}


def _learn(setup: Setup, videos: Sequence[Video], loaded: Mapping[str, TrainingVideo]) -> Learned:
    """A detector of all the videos."""
    from lad.detector.training_normal import in_time, learn, stretches
    from lad.detector.training_windows import TrainingError

    train = [video for video in videos if video.split == "train"]
    if not train:
        raise TrainingError("there is no training video of it, only validation videos")
    val = [video for video in videos if video.split == "val"]
    taught = stretches([loaded[video.id] for video in train])
    if val:
        held_out = [stretches([loaded[video.id] for video in val])]
    elif len(train) == 1:
        held_out = in_time(loaded[train[0].id], setup.train.folds)
        taught = [stretch for part in held_out for stretch in part]
    else:
        place = {video.id: stretch for video, stretch in zip(train, taught, strict=True)}
        parts = divide_normal(train, setup.train.folds, setup.train.seed)
        held_out = [[place[video.id] for video in part] for part in parts]
    return learn(setup, taught, held_out)


def _told(learned: Mapping[str, Any]) -> str:
    return (
        f"{learned['normal_hours']:.3g} h of normal footage held out say what is usual; "
        f"the detector's threshold is for one alarm in {learned['extrapolated']:.3g} times as much"
    )


def held_out_of_normal(train: TrainConfig, videos: Sequence[Video]) -> str:
    """Which footage says what is usual, in words."""
    if any(video.split == "val" for video in videos):
        return "normal: the `val` videos"
    taught = [video for video in videos if video.split == "train"]
    parts = len(divide_normal(taught, train.folds, train.seed)) if len(taught) > 1 else train.folds
    return f"normal: the training videos, in {parts} parts"
