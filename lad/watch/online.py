"""Clips to scores as they come: the networks and the detector of `lad score`, fed with one batch after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.config import Config, ConfigError
from lad.detector.checkpoint import load_checkpoint, other_features
from lad.detector.known_camera import Camera
from lad.detector.looks import Looks, looks_of
from lad.detector.online import CausalScorer, ClipScorer, ClipScores, FrameScores, FrameSpread, PastScorer, WindowScorer
from lad.detector.scoring import ScoreError, Scorer, make_scorer
from lad.device import STEADY_THREADS, network_threads, repeatable, resolve_device
from lad.errors import LadError
from lad.extract.clips import ClipBatch, ClipSpec
from lad.features.recipe import FeatureRecipe, load_extractor, make_recipe, missing_weights, recipe_problems
from lad.models import weights
from lad.models.registry import is_causal
from lad.watch.cameras import Latency

if TYPE_CHECKING:
    from lad.extract.extractor import FeatureExtractor
    from lad.models.registry import Detector, VideoDetector


SMOOTHED = "this detector smooths its scores over whole videos, which lad watch does not do yet"


class WatchError(LadError):
    """Nothing can be watched so."""


def open_eye(path: Path, config: Config, latency: Latency, say: Callable[[str], None]) -> Eye:
    """The detector in a file with the networks that its features need, whose weights are fetched if they are not here.

    Args:
        path: of the detector.
        config: as `scoring_config` makes it of that.
        latency: of its scores.
        say: gets a line for each reason to doubt the scores.

    Raises:
        CheckpointError, ConfigError, WeightsError, WatchError: it cannot be used so.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.cameras:
        raise WatchError(SMOOTHED)
    if problems := list(recipe_problems(config.extract)):
        raise ConfigError("\n".join(problems))
    for name in missing_weights(config.extract):
        weights.fetch(name)
    device = resolve_device(config.device)
    recipe = make_recipe(config.extract, device=device, threads=network_threads(config.threads))
    if differences := other_features(checkpoint, config.extract, recipe.identities, given=False):
        say(f"warning: {path} was trained on other features: {'; '.join(differences)}")
    scorer = make_scorer(
        checkpoint,
        device,
        merge=config.score.merge,
        threshold=config.score.threshold,
        classes=config.data.classes or (),
        allowed=config.train.detector,
    )
    if scorer.doubt:
        say(f"warning: {path} may be worth nothing: {scorer.doubt}")
    if config.extract.still == "skip":
        say("extract.still: lad watch sees every clip, still ones too")
    with repeatable(device, STEADY_THREADS):
        return Eye(recipe, load_extractor(recipe), scorer, latency, looks_of(recipe))


@dataclass(frozen=True)
class Eye:
    """All that turns clips into scores, for all cameras.

    Attributes:
        recipe: of features.
        extractor: its networks.
        scorer: the detector.
        latency: `exact`: the scores of `lad score`; `low`: each clip by what came before it.
        looks: says what clips look like; None: their features cannot tell.
    """

    recipe: FeatureRecipe
    extractor: FeatureExtractor
    scorer: Scorer
    latency: Latency
    looks: Looks | None = None

    def __post_init__(self) -> None:
        if self._sees_videos and not is_causal(self.scorer.detector):
            raise WatchError(
                "this detector sees whole videos, and a camera's never ends: take one that sees windows, or mil_causal"
            )
        if self.scorer.tail:
            raise WatchError(SMOOTHED)
        if self.scorer.reference_clips:
            raise WatchError(
                "this detector compares clips with the start of their video, and a camera's began long ago: take one "
                "that was trained with train.reference_clips=0"
            )
        spec = self.recipe.clips
        if self.latency == "low" and spec.together > 1 and spec.stride > CLIP_FRAMES:
            raise WatchError(
                "with low latency a network sees each clip after those before it, and there are gaps between them: set "
                f"the latency to exact, or extract.clip_stride={CLIP_FRAMES}"
            )

    def check_known(self) -> None:
        """Raise WatchError where it can know no camera."""
        if self.scorer.known_cameras is None:
            raise WatchError(
                "known: this detector was not trained to get to know cameras: leave it out, or train with "
                "-o train.adapt=source"
            )
        if self.latency == "low":
            raise WatchError("known: what lad score knows of a camera is of exact scores: set the latency to exact")

    def at(self, camera: Camera) -> Eye:
        """It for a camera that its detector got to know."""
        return replace(self, scorer=self.scorer.at(camera))

    @property
    def _sees_videos(self) -> bool:
        return hasattr(self.scorer.detector, "max_clips")

    @property
    def spec(self) -> ClipSpec:
        """How frames become batches of clips, still ones too: a batch that is dropped could hold their reference."""
        clips = replace(self.recipe.clips, still=0)
        return replace(clips, batch_clips=1) if self.latency == "low" else clips

    @property
    def delay_frames(self) -> int:
        """Sampled frames from one until its score can be there, at most: its clip, its windows, their last batch."""
        late = self.latency == "exact" and not self._sees_videos
        window = cast("Detector", self.scorer.detector).window if late else 1
        return (window + self.spec.batch_clips - 2) * self.spec.stride + max(self.spec.stride, CLIP_FRAMES)

    def pieces(self) -> Pieces:
        """What the network sees of the next stretch of a camera."""
        return Pieces(self.recipe.clips.batch_clips if self.latency == "low" and self.recipe.context == "batch" else 1)

    def stretch(self) -> StretchScorer:
        """What scores the next stretch of a camera."""
        detector, clips = self.scorer.detector, self._clip_scorer()
        columns = detector.classes + (len(self.looks.actions.names) if self.looks else 0)
        return StretchScorer(self.scorer, clips, FrameSpread(self.spec.stride, columns, self.spec.together), self.looks)

    def _clip_scorer(self) -> ClipScorer:
        if self._sees_videos:
            return PastScorer(cast("VideoDetector", self.scorer.detector))
        detector = cast("Detector", self.scorer.detector)
        return CausalScorer(detector) if self.latency == "low" else WindowScorer(detector, self.scorer.merge)

    def features(self, piece: ClipBatch, clips: int) -> dict[str, np.ndarray]:
        """Features of the last clips of a piece: stream -> `(crops, clips, dim)` float32. Several threads may call it.

        Raises:
            NotFinite, RuntimeError, MemoryError: the network failed.
        """
        found = {}
        for stream, pixels in piece.items():
            for part, features in self.extractor.by_layer(stream, pixels).items():
                found[part] = (features if features.ndim == 3 else features[None])[:, -clips:]
        return found


@dataclass
class Pieces:
    """What the network sees of a stretch: batches, or each with the clips before it.

    Attributes:
        clips: that it sees at least, where so many have come.
    """

    clips: int
    _last: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, batch: ClipBatch) -> ClipBatch:
        if self.clips <= 1:
            return batch
        joined = {
            stream: np.concatenate((self._last[stream], clips)) if self._last else clips
            for stream, clips in batch.items()
        }
        self._last = {stream: clips[-(self.clips - 1) :] for stream, clips in joined.items()}
        return joined


@dataclass
class StretchScorer:
    """Scores of one stretch of a camera.

    Attributes:
        scorer: the detector, with its calibration.
        clips, frames: what it does to them.
        looks: says what clips look like.
    """

    scorer: Scorer
    clips: ClipScorer
    frames: FrameSpread
    looks: Looks | None = None
    _actions: list[np.ndarray] = field(default_factory=list)  # of clips whose scores are not final

    def add(self, features: Mapping[str, np.ndarray], times: np.ndarray, places: np.ndarray) -> FrameScores:
        """The features of the next clips and the frames that they cover -> the frames whose scores are final now.

        Raises:
            ScoreError: scores are not finite.
        """
        parts = list(features.values())
        if self.looks:
            crops = [self.looks.actions.probabilities(crop) for crop in parts[self.looks.part]]
            self._actions.extend(np.mean(crops, axis=0))
        rows = np.concatenate(parts, axis=2)
        return self._scored(self.clips.add(rows), times, places)

    def end(self, times: np.ndarray, places: np.ndarray, sampled: int) -> FrameScores:
        """The stretch is over -> the scores of all frames that are left."""
        part = self._scored(self.clips.end(), times[:0], places[:0])
        rest = self._calibrated(self.frames.end(times, places, sampled))
        actions = None
        if part.actions is not None and rest.actions is not None:
            actions = np.concatenate((part.actions, rest.actions))
        return FrameScores(
            np.append(part.times, rest.times),
            np.append(part.scores, rest.scores),
            np.concatenate((part.classes, rest.classes)),
            actions,
        )

    def _scored(self, found: ClipScores, times: np.ndarray, places: np.ndarray) -> FrameScores:
        if not (np.isfinite(found.clips).all() and np.isfinite(found.classes).all()):
            raise ScoreError("the detector gives scores that are not finite: its features are not what it learned from")
        classes, count = found.classes, len(found.clips)
        if self.looks:  # both belong to clips, and are spread over their frames together
            known = np.reshape(self._actions[:count], (count, len(self.looks.actions.names)))
            classes = np.hstack((classes, known)).astype(np.float32)
            del self._actions[:count]
        return self._calibrated(self.frames.add(found.clips, classes, times, places))

    def _calibrated(self, frames: FrameScores) -> FrameScores:
        categories = self.scorer.detector.classes
        classes, actions = frames.classes[:, :categories], frames.classes[:, categories:]
        scores = self.scorer.calibration(frames.scores)
        return FrameScores(frames.times, scores, classes, actions if self.looks else None)
