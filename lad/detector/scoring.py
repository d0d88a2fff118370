"""Features to scores: a score for every frame, a category, events. The same for a command and for the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.detector.calibration import Calibration
from lad.detector.checkpoint import Checkpoint, CheckpointError
from lad.detector.familiar import Familiar, familiar_of, told_of
from lad.detector.known_camera import Camera, KnownCameras, camera_of
from lad.detector.looks import Looks
from lad.detector.online import WINDOWS_A_BLOCK, ClipScorer, ClipScores, Merge, PastScorer, WindowScorer, join
from lad.detector.tail import ALARMS_PER_DAY, Tail, smoothed, tail_of
from lad.errors import LadError
from lad.extract.sampling import Timeline
from lad.features.video import ClipFeatures
from lad.intervals import events_above
from lad.models.registry import is_causal
from lad.names import is_normal

if TYPE_CHECKING:
    from lad.models.registry import Detector, VideoDetector

TOO_SHORT = (
    "it has no more clips than its scores are relative to, {} (train.reference_clips of its detector): they say nothing"
)


class ScoreError(LadError):
    """A video cannot be scored, though its features are there."""


def score_features(
    detector: Detector | VideoDetector,
    features: ClipFeatures,
    *,
    merge: Merge = "mean",
    on_part: Callable[[float], None] = lambda share: None,
) -> ClipScores:
    """Score a video: windows of K consecutive clips, stride 1, merged where they overlap, the mean of all crops.

    A detector that sees whole videos gets pieces instead, as long as it takes and overlapping by half. A causal one
    gives each clip one score, by the clips before it.
    Features are read block by block; time and memory are linear in the video's length. A video shorter than K clips is
    filled up with its last clip, whose copies count for nothing.

    Args:
        detector: on the device where it is to run.
        features: of the video's clips.
        merge: of the scores that overlapping windows give a frame; category probabilities are always averaged.
        on_part: told after each block how much is done, from 0 to 1.
    """
    if not hasattr(detector, "max_clips"):
        return join(_in_blocks(WindowScorer(detector, merge), detector.window - 1, features, on_part))
    of_videos = cast("VideoDetector", detector)
    if is_causal(detector):
        return join(_in_blocks(PastScorer(of_videos), 0, features, on_part))
    return _score_pieces(of_videos, features, merge, on_part)


def _in_blocks(
    scorer: ClipScorer, ahead: int, features: ClipFeatures, on_part: Callable[[float], None]
) -> Iterator[ClipScores]:
    """Scores as features are read block by block; of the first block so many clips are no window's first."""
    clips = features.clips
    starts = [0, *range(WINDOWS_A_BLOCK + ahead, clips, WINDOWS_A_BLOCK)]
    for start, end in pairwise([*starts, clips]):
        rows = [features.rows(crop, slice(start, end)) for crop in range(features.crops)]
        yield scorer.add(np.stack(rows))
        on_part(end / clips)
    yield scorer.end()


def _score_pieces(
    detector: VideoDetector, features: ClipFeatures, merge: Merge, on_part: Callable[[float], None]
) -> ClipScores:
    import torch

    from lad.models.mil import pool_top

    clips, piece = features.clips, min(detector.max_clips, features.clips)
    scores, class_sums = np.zeros(clips), np.zeros((clips, detector.classes))
    counts, votes = np.zeros(clips), np.zeros(detector.classes, dtype=np.int64)
    starts = [*range(0, clips - piece, max(piece // 2, 1)), clips - piece]
    real = torch.ones((features.crops, piece), dtype=torch.bool, device=detector.feature_mean.device)
    for number, start in enumerate(starts, 1):
        place = slice(start, start + piece)
        rows = np.stack([features.rows(crop, place) for crop in range(features.crops)])
        with torch.inference_mode():
            found = detector.by_clip(torch.from_numpy(rows).to(real.device), real)
            score = torch.sigmoid(found[..., -1]).mean(dim=0).cpu().numpy()
            category = torch.softmax(pool_top(found, real)[1], dim=1).mean(dim=0).cpu().numpy()
        scores[place] = np.maximum(scores[place], score) if merge == "max" else scores[place] + score
        class_sums[place] += category
        votes[category.argmax()] += 1
        counts[place] += 1
        on_part(number / len(starts))
    merged = scores if merge == "max" else scores / counts
    frames = np.repeat(merged[:, None], CLIP_FRAMES, axis=1).astype(np.float32)
    return ClipScores(frames, (class_sums / counts[:, None]).astype(np.float32), votes)


@dataclass(frozen=True)
class EventRule:
    """What makes an event of frames that score above a threshold.

    Attributes:
        merge_seconds: events with a shorter gap between them are one.
        min_seconds: shorter events are left out.
    """

    merge_seconds: float = 0.0
    min_seconds: float = 0.0


@dataclass(frozen=True)
class Event:
    """An interval of frames that scores above the threshold, short gaps included.

    Attributes:
        start, end: frames, half-open: `end` is not part of it.
        start_time, end_time: seconds since the first frame.
        category: what it looks like most.
        peak: the highest score in it.
        looks_like: the likeliest three of Kinetics' 400 actions; empty where its features cannot tell.
        confidence: 1 where all of it is like what the detector was trained on, less where it is not; None: nobody
            knows.
    """

    start: int
    end: int
    start_time: float
    end_time: float
    category: str
    peak: float
    looks_like: tuple[str, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True)
class Scores:
    """What a detector says of one video.

    Attributes:
        frames: `(n,)` float64, the score of each frame, in [0, 1]: a probability as far as the detector is calibrated.
        times: `(n,)` float64, seconds of each frame since the first.
        fps: average frames a second.
        seconds: how long the video lasts.
        threshold: what a frame has to exceed to be part of an event.
        events: the intervals that do, in order; near ones are one, and very short ones are left out.
        classes: names of the categories.
        clip_classes: `(clips, C)` float32, the probability of each category in each clip.
        clip_of_frame: `(n,)` int64, a clip that holds each frame, or is nearest to it.
        votes: `(C,)` int64, windows that each category won.
        peak: the frame with the highest score, the first of several; where clips lie apart, one that a clip shows.
        warnings: what was odd about the video.
        unfamiliar: how many of the clips are unlike all that the detector was trained on; None: nobody knows.
    """

    frames: np.ndarray
    times: np.ndarray
    fps: float
    seconds: float
    threshold: float
    events: list[Event]
    classes: list[str]
    clip_classes: np.ndarray
    clip_of_frame: np.ndarray
    votes: np.ndarray
    peak: int
    warnings: list[str] = field(default_factory=list)
    unfamiliar: int | None = None

    @property
    def category(self) -> str:
        """The category with the highest mean probability over the clips."""
        return self.classes[int(self.clip_classes.mean(axis=0).argmax())]

    def clips_above(self, score: float) -> dict[str, int]:
        """How many `clips` there are, and how many are `beyond` a score, each by the frame in its middle."""
        clips = np.unique(self.clip_of_frame)
        first, end = (np.searchsorted(self.clip_of_frame, clips, side=side) for side in ("left", "right"))
        return {"clips": len(clips), "beyond": int((self.frames[(first + end) // 2] > score).sum())}


def event_category(classes: Sequence[str], probabilities: np.ndarray) -> str:
    """The likeliest category of an event: of those that are none of normal videos, where there are any."""
    events = [index for index, name in enumerate(classes) if not is_normal(name)] or range(len(classes))
    return classes[max(events, key=lambda index: float(probabilities[index]))]


@dataclass(frozen=True)
class Scorer:
    """A detector with all that turns features into `Scores`.

    Attributes:
        detector: on its device.
        calibration: of its scores.
        threshold: of the calibrated scores.
        classes: names of its categories.
        merge: of the scores that overlapping windows give a frame.
        rule: of events.
        doubt: why the detector may be worth nothing; empty: nothing speaks against it.
        looks: says what an event looks like; None: the features cannot tell.
        tail: of a detector that knows normal footage alone: how rare its numbers are there. It takes the place of the
            calibration, and there are no categories that could win votes.
        alarms_per_day: of normal footage, that the threshold is for; None: it was chosen otherwise.
        familiar: tells how familiar clips are; None: nobody knows.
        known_cameras: how it scores a camera whose normal footage it was shown; None: it was not trained for that.
        reference_clips: the detector takes features relative to the mean of so many first clips; 0: as they are.
    """

    detector: Detector | VideoDetector
    calibration: Calibration
    threshold: float
    classes: list[str]
    merge: Merge
    rule: EventRule = EventRule()
    doubt: str = ""
    looks: Looks | None = None
    tail: Tail | None = None
    alarms_per_day: float | None = None
    familiar: Familiar | None = None
    known_cameras: KnownCameras | None = None
    reference_clips: int = 0

    def at(self, camera: Camera) -> Scorer:
        """It for a camera that it knows; as it is where it was not trained for that, or there is no footage."""
        if self.known_cameras is None or not camera.clips:
            return self
        return replace(self, calibration=self.known_cameras.calibration(camera))

    def get_to_know(self, features: ClipFeatures, timeline: Timeline) -> Camera:
        """A camera by a video of it in which nothing happens.

        Raises:
            CheckpointError, ScoreError: as scoring it.
        """
        found = self._found(features.relative_to_start(self.reference_clips))
        return camera_of(timeline.by_frame(found.clips), timeline.frames_a_clip)

    def check(self, features: ClipFeatures) -> None:
        """Raise CheckpointError where the detector is for features of another length."""
        if features.dim != self.detector.feature_dim:
            raise CheckpointError(
                f"made for features of {self.detector.feature_dim} numbers a clip, these have {features.dim}"
            )

    def _found(self, features: ClipFeatures, on_part: Callable[[float], None] = lambda share: None) -> ClipScores:
        self.check(features)
        found = score_features(self.detector, features, merge=self.merge, on_part=on_part)
        if not (np.isfinite(found.clips).all() and np.isfinite(found.classes).all()):
            raise ScoreError("the detector gives scores that are not finite: its features are not what it learned from")
        return found

    def _final(self, frames: np.ndarray, timeline: Timeline) -> np.ndarray:
        """The scores of frames, from the detector's numbers."""
        if self.tail is None:
            return self.calibration(frames)
        return self.tail.scores(smoothed(frames, timeline.times, self.tail.smooth_seconds))

    def _looks_like(self, features: ClipFeatures, clips: np.ndarray) -> tuple[str, ...]:
        return self.looks(features, int(clips[0]), int(clips[-1])) if self.looks else ()

    def __call__(
        self,
        features: ClipFeatures,
        timeline: Timeline,
        warnings: Sequence[str] = (),
        on_part: Callable[[float], None] = lambda share: None,
    ) -> Scores:
        """Score one video; `on_part` is told on the way how much of it is done, from 0 to 1.

        Raises:
            CheckpointError: the detector is for features of another length.
            ScoreError: its scores are not finite.
        """
        relative = features.relative_to_start(self.reference_clips)
        found = self._found(relative, on_part)
        short = 0 < features.clips <= self.reference_clips  # all of its clips are relative to themselves
        familiar = self.familiar(relative) if self.familiar and not short else None
        frames = self._final(timeline.by_frame(found.clips), timeline)
        clip_of_frame = timeline.clip_of_frame(len(found.clips))
        ends, peak = timeline.ends, int(frames.argmax())
        if timeline.stride > CLIP_FRAMES:
            peak = int(timeline.seen([peak])[0])
        events = [
            Event(
                start,
                end,
                start_time=float(timeline.times[start]),
                end_time=float(ends[end - 1]),
                category=event_category(self.classes, found.classes[clip_of_frame[start:end]].mean(axis=0)),
                peak=float(frames[start:end].max()),
                looks_like=self._looks_like(features, clip_of_frame[start:end]),
                confidence=None if familiar is None else float(familiar[clip_of_frame[start:end]].mean()),
            )
            for start, end in events_above(
                frames,
                self.threshold,
                times=timeline.times,
                ends=ends,
                merge_seconds=self.rule.merge_seconds,
                min_seconds=self.rule.min_seconds,
            )
        ]
        return Scores(
            frames=frames,
            times=timeline.times,
            fps=timeline.fps,
            seconds=float(ends[-1]),
            threshold=self.threshold,
            events=events,
            classes=self.classes,
            clip_classes=found.classes,
            clip_of_frame=clip_of_frame,
            votes=found.votes if self.tail is None else np.zeros_like(found.votes),
            peak=peak,
            warnings=[*warnings, *told_of(familiar), *([TOO_SHORT.format(self.reference_clips)] if short else [])],
            unfamiliar=None if familiar is None else int((familiar < 1).sum()),
        )


def make_scorer(
    checkpoint: Checkpoint,
    device: str,
    *,
    merge: Merge = "mean",
    threshold: float | None = None,
    alarms_per_day: float | None = None,
    classes: Sequence[str] = (),
    rule: EventRule = EventRule(),
    allowed: str = "",
    looks: Looks | None = None,
) -> Scorer:
    """A checkpoint's detector, ready to score.

    Args:
        checkpoint: as `load_checkpoint` reads it.
        device: where it runs.
        merge: of the scores that overlapping windows give a frame.
        threshold: of events; None: the checkpoint's.
        alarms_per_day: the threshold is the one that normal footage exceeds so often; None: it is not.
        classes: names for the categories of a checkpoint that does not say them, where they are as many.
        rule: of events.
        allowed: the class from outside that the user named in `train.detector`.
        looks: says what an event looks like.

    Raises:
        CheckpointError: the detector is a class from outside that the user did not name, or it does not know how often
            normal footage exceeds a threshold.
    """
    detector = checkpoint.detector(allowed).to(device)
    try:
        tail = tail_of(detector)
    except ValueError as error:
        raise CheckpointError(f"it cannot be used: {error}") from error
    if alarms_per_day is not None:
        if tail is None:
            raise CheckpointError(
                "its detector does not know how often normal footage would alarm, so that score.alarms_per_day sets no "
                "threshold: set score.threshold, or train with train.detector=normality"
            )
        threshold = tail.threshold(alarms_per_day)
    elif tail is not None and threshold is None:  # as its training chose it
        alarms_per_day = ALARMS_PER_DAY
    names = list(checkpoint.classes)
    if not names:
        fits = len(classes) == detector.classes
        names = list(classes) if fits else [f"class_{index}" for index in range(detector.classes)]
    return Scorer(
        detector,
        Calibration(**checkpoint.calibration),
        checkpoint.threshold if threshold is None else threshold,
        names,
        merge,
        rule,
        checkpoint.doubt,
        looks,
        tail,
        alarms_per_day,
        familiar_of(detector, checkpoint.familiar),
        KnownCameras(**checkpoint.known_cameras) if checkpoint.known_cameras else None,
        checkpoint.reference_clips,
    )
