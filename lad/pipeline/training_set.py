"""Which videos a detector can learn from, and that it can: what `lad train` looks at before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lad.dataset import Video
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.pipeline.inventory import check_labels, check_splits, find_features
from lad.pipeline.labels import check_training, teaching_videos
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.work.layout import Work


@dataclass(frozen=True)
class TrainingSet:
    """What a detector can learn from.

    Attributes:
        features: of each video.
        videos: to train and to validate on, with their events in frames.
        test: those that `protocol.released` and `protocol.by_test` try it on.
        copies: the id of a video that holds the same as another one -> the other one's source.
    """

    features: dict[str, VideoFeatures]
    videos: list[Video]
    test: list[Video]
    copies: dict[str, str]

    def grouped(self) -> list[Video]:
        """The videos, where copies are of one source: else one would validate what the other taught."""
        return [replace(video, source=self.copies.get(video.id, video.source)) for video in self.videos]


def find_training(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter, result: StageResult
) -> TrainingSet:
    """The videos that can be used; `result` gets those that cannot.

    Raises:
        StageError: there is nothing to train on, or its features are not there.
    """
    chosen, test = training_videos(project)
    check_training(chosen, project.classes, project.config)
    features, failed = find_features(project, recipe, work, asked, reporter, chosen + test)
    copies: dict[str, str] = {}
    for copy, other in check_splits(project, recipe, work, asked):
        if copy.split == "train":
            copies[copy.id] = other.group
            reporter.say(
                f"warning: {copy.id} holds the same as {other.id}: what it shows counts twice in training; "
                "the two count as one source"
            )
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    fitting = check_labels(work, chosen + test, features, result)
    usable = [video for video in fitting if video.split != "test"]
    if not usable and result.failed:
        raise StageError(f"no training video can be used: {next(iter(result.failed.values()))}")
    found = TrainingSet(features, usable, [video for video in fitting if video.split == "test"], copies)
    with_frames = [replace(video, n_frames=features[video.id].frames) for video in found.grouped()]
    _check(with_frames, project, result.failed)
    return found


def training_videos(project: Project) -> tuple[list[Video], list[Video]]:
    """The videos that a detector is trained and validated on; and those that it is tried on, too.

    `protocol.released` and `protocol.by_test` look at the test videos for numbers that choose nothing.
    """
    chosen = teaching_videos(project.videos, project.config.train)
    tried = [video for video in project.videos if video.split == "test" and not video.is_weak]
    protocol = project.config.protocol
    return chosen, tried if protocol.released or protocol.by_test else []


def _check(videos: Sequence[Video], project: Project, failed: Mapping[str, str]) -> None:
    """Whether a detector can learn from the videos that can be used; if not, the reason is first what the others lack.

    Raises:
        StageError: it cannot.
    """
    try:
        check_training(videos, project.classes, project.config)
    except StageError as error:
        if not failed:
            raise
        reason = next(iter(failed.values()))
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise StageError(f"{reason}{more}; of the other videos: {error}") from error
