"""One video scored, from its feature files to its CSV: in the process of `lad score` as in one of another machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lad.detector.cameras import of_camera
from lad.detector.checkpoint import Checkpoint, CheckpointError
from lad.detector.known_camera import NOBODY, Camera
from lad.detector.looks import Looks, looks_of
from lad.detector.online import Merge
from lad.detector.scores_file import scores_info, write_scores
from lad.detector.scoring import EventRule, Scorer, make_scorer
from lad.detector.tail import BEYOND
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures

DRIFT = "drift"  # of what is told of a video: how many of its clips normal footage rarely has


@dataclass(frozen=True)
class ScoreSettings:
    """How the videos of a run are scored.

    Attributes:
        recipe: of their features; the detector runs on its device.
        threads: of the detector, on a CPU.
        merge, threshold, alarms_per_day, classes, rule, allowed: as `make_scorer` has them.
    """

    recipe: FeatureRecipe
    threads: int
    merge: Merge
    threshold: float | None
    alarms_per_day: float | None
    classes: Sequence[str]
    rule: EventRule
    allowed: str


@dataclass(frozen=True)
class ToScore:
    """A video to score.

    Attributes:
        item: its id.
        features: where they lie.
        are_given: somebody else made them, so that nobody knows what they look like.
        camera: whose detector is to score it; empty: there is one for all.
        known: how well the detector knows its camera.
    """

    item: str
    features: VideoFeatures
    are_given: bool = False
    camera: str = ""
    known: Camera = NOBODY

    is_remote: ClassVar[bool] = False  # its features are on a disk, wherever the video is


@dataclass(frozen=True)
class ToKnow:
    """A video in which nothing happens, for the detector to get to know its camera.

    Attributes:
        item: its id.
        features: where they lie.
    """

    item: str
    features: VideoFeatures

    camera: ClassVar[str] = ""  # a detector that gets to know cameras is one for all
    is_remote: ClassVar[bool] = False


class VideoScorer:
    """A detector that scores one video after the other. It is read when it is first needed.

    Args:
        settings: what is the same for all videos.
        read: gives the detector's checkpoint.
        path: the checkpoint, as errors name it.
    """

    def __init__(self, settings: ScoreSettings, read: Callable[[], Checkpoint], path: Path) -> None:
        self.settings, self.path, self._read = settings, path, read
        self._scorers: dict[str, Scorer] = {}

    @cached_property
    def looks(self) -> Looks | None:
        """Says what events look like; None: the features cannot tell."""
        return looks_of(self.settings.recipe)

    def of_camera(self, camera: str) -> Scorer:
        """The detector for the footage of a camera.

        Raises:
            UnknownCamera: it does not know the camera.
            CheckpointError: it cannot be used.
        """
        if camera not in self._scorers:
            settings = self.settings
            try:
                self._scorers[camera] = make_scorer(
                    of_camera(self._read(), camera),
                    settings.recipe.device,
                    merge=settings.merge,
                    threshold=settings.threshold,
                    alarms_per_day=settings.alarms_per_day,
                    classes=settings.classes,
                    rule=settings.rule,
                    allowed=settings.allowed,
                )
            except CheckpointError as error:
                raise type(error)(f"{self.path}: {error}") from error
        return self._scorers[camera]

    def on_cpu(self) -> VideoScorer:
        """The same to look at, where only others may have a GPU."""
        settings = replace(self.settings, recipe=replace(self.settings.recipe, device="cpu"))
        return VideoScorer(settings, self._read, self.path)

    def check(self, video: ToScore | ToKnow) -> None:
        """See that the detector can be used, and is for features of this length.

        Raises:
            UnknownCamera: it does not know the video's camera.
            CheckpointError: it is not.
            OSError, FeaturesError: the features cannot be read.
        """
        scorer = self.of_camera(video.camera)
        try:
            scorer.check(video.features.open())
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error} ({' + '.join(self.settings.recipe.streams)})") from error

    def score(self, video: ToScore, csv: Path, on_part: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
        """Score a video and write its CSV; returns what is to be told of it.

        The caller sees to it that torch repeats its results (`lad.device.repeatable`). `on_part` is told on the way how
        much is done, from 0 to 1.

        Raises:
            UnknownCamera, ScoreError: it cannot be scored.
            CheckpointError: the detector cannot be used, or is for features of another length.
            OSError, FeaturesError: its features cannot be read, or the CSV cannot be written.
        """
        self.check(video)
        features, scorer = video.features.open(), self.of_camera(video.camera)
        of_video = replace(scorer.at(video.known), looks=None if video.are_given else self.looks)
        scores = of_video(features, video.features.timeline(), video.features.warnings, on_part)
        write_scores(csv, scores)
        return {
            **scores_info(scores),
            "doubt": scorer.doubt,
            **({"alarms_per_day": scorer.alarms_per_day} if scorer.alarms_per_day else {}),
            **({DRIFT: scores.clips_above(BEYOND)} if scorer.tail else {}),
        }

    def get_to_know(self, video: ToKnow) -> Camera:
        """A camera by a video of it in which nothing happens; the caller sees to it that torch repeats its results.

        Raises:
            ScoreError: it cannot be scored.
            CheckpointError: the detector cannot be used, or is for features of another length.
            OSError, FeaturesError: its features cannot be read.
        """
        return self.of_camera(video.camera).get_to_know(video.features.open(), video.features.timeline())
