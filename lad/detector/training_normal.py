"""Training on normal footage alone: what it looks like, and how it scores where it was not learned from.

Footage is divided into parts. Each part is held out once, and scored by what the others teach. Those scores say what is
usual: they make z-scores of distances, scores of z-scores, and a threshold of scores. The detector itself knows all of
the footage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lad.clip import CLIP_FRAMES
from lad.config import ExtractConfig, ScoreConfig
from lad.detector.checkpoint import Checkpoint
from lad.detector.tail import ALARMS_PER_DAY, LEVELS, SECONDS_A_DAY, Tail, fit_tail, keep_tail, smoothed
from lad.detector.training import STD_FLOOR, Setup
from lad.detector.training_windows import TrainingError, TrainingVideo
from lad.extract import motion
from lad.features.recipe import configured_streams, stream_dim
from lad.models.normality import CLIPS_A_BLOCK, MOTION_DIM, QUANTILES, Normality, log_speed
from lad.models.registry import build_detector

MAX_BANK = 10_000  # normal clips that a detector keeps; of more footage, evenly many of each part
MIN_FRAMES = 100  # above the tail's start there are 5 of them


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some clips of a video, `(clips,)` int64. It is itself and equal to no other one."""

    video: TrainingVideo
    clips: np.ndarray

    @property
    def normal_clips(self) -> np.ndarray:
        """Those of which every frame is known to be normal: they teach."""
        if self.video.labelled is None:
            return self.clips
        timeline = self.video.source.timeline()
        real, _ = timeline.by_clip(np.ones_like(self.video.labelled), self.video.features.clips)
        known = np.flatnonzero((self.video.mask >= real).all(axis=1))
        return self.clips[np.isin(self.clips, known)]


@dataclass(frozen=True)
class Learned:
    """A detector of normal footage, and what it was made of.

    Attributes:
        model: on the CPU or where it was trained.
        tail: what footage that it did not know scored.
        frames, days: how much of that there was.
    """

    model: Normality
    tail: Tail
    frames: int
    days: float

    def describe(self) -> dict[str, Any]:
        """What is to be said of it; `extrapolated`: how many times what was held out the threshold is for."""
        return {
            "normal_frames": self.frames,
            "normal_hours": self.days * 24,
            "peaks_a_day": self.tail.peaks_a_day,
            "threshold": self.tail.threshold(ALARMS_PER_DAY),
            "extrapolated": 1 / (ALARMS_PER_DAY * self.days),
        }

    def checkpoint(self, setup: Setup) -> Checkpoint:
        """What its file holds."""
        model = self.model
        sizes = {
            "feature_dim": model.feature_dim,
            "classes": model.classes,
            "window": model.window,
            "motion": int(model.has_motion),
            "bank": len(model.bank),
            "levels": len(self.tail.levels),
            **({"looks": model.looks} if setup.config["extract"].get("layers") else {}),
        }
        return Checkpoint(
            model=model.state_dict(),
            classes=list(setup.classes),
            config=setup.config,
            metrics=self.describe(),
            threshold=self.tail.threshold(ALARMS_PER_DAY),
            weights=setup.weights,
            network={"name": setup.train.detector, "sizes": sizes},
            selection=setup.selection,
            fingerprint=setup.fingerprint,
        )


def stretches(videos: Sequence[TrainingVideo]) -> list[Stretch]:
    """All clips of each video."""
    return [Stretch(one, np.arange(one.features.clips)) for one in videos]


def in_time(video: TrainingVideo, parts: int) -> list[list[Stretch]]:
    """The clips of the only video in so many parts, one after the other."""
    (whole,) = stretches([video])
    return [[Stretch(video, clips)] for clips in np.array_split(whole.clips, parts) if len(clips)]


def learn(setup: Setup, train: Sequence[Stretch], held_out: Sequence[Sequence[Stretch]]) -> Learned:
    """A detector of all `train`, by what `held_out` scores.

    Args:
        setup: of the training run.
        train: normal footage.
        held_out: parts of it, each of which is scored by what all others teach; or other normal footage, which is
            scored by what all of `train` teaches.

    Raises:
        TrainingError: the footage is too short, or its features are not finite.
    """
    if not held_out or (len(held_out) == 1 and held_out[0][0] in train):
        raise TrainingError("all of the normal footage is one clip: there is nothing to hold out; add footage")
    model = _known(setup, train)
    found: dict[int, tuple[TrainingVideo, np.ndarray]] = {}  # distances of all clips of a video, by its identity
    for part in held_out:
        own = set(part)
        teacher = model if own.isdisjoint(train) else _known(setup, [one for one in train if one not in own])
        for one in part:
            nothing = np.zeros((one.video.features.clips, CLIP_FRAMES, len(model.part_mean)))
            _, of_video = found.setdefault(id(one.video), (one.video, nothing))
            of_video[one.clips] = _distances(teacher, one)
    _standardise(model, [video_distances[video.mask > 0] for video, video_distances in found.values()])
    numbers, seconds = [], []
    for video, distances in found.values():
        timeline = video.source.timeline()
        by_clip = model.added(torch.from_numpy(distances).to(model.bank.device)).cpu().numpy()
        if not video.mask.any():
            continue
        frames = smoothed(timeline.by_frame(by_clip), timeline.times, setup.train.smooth_seconds)
        numbers.append(video.known(frames))
        seconds.append(float(timeline.ends[-1]) * len(numbers[-1]) / len(frames))
    count = sum(map(len, numbers))
    if count < MIN_FRAMES:
        raise TrainingError(
            f"{count} frames of normal footage are held out, and {MIN_FRAMES} at least say what is usual: add footage"
        )
    rule = ScoreConfig.model_validate(setup.config.get("score", {}))
    tail = fit_tail(
        numbers,
        seconds,
        setup.train.smooth_seconds,
        merge_seconds=rule.merge_seconds,
        min_seconds=rule.min_seconds,
    )
    keep_tail(model, tail)
    return Learned(model, tail, count, sum(seconds) / SECONDS_A_DAY)


def _known(setup: Setup, train: Sequence[Stretch]) -> Normality:
    """A detector that knows footage, and not yet what is usual."""
    features = train[0].video.features
    has_motion = bool(setup.config["extract"]["motion"])
    looks = _looks(setup.config["extract"], features.dim - has_motion * MOTION_DIM)
    rows = _rows(train, MAX_BANK)
    model: Normality = build_detector(
        setup.train.detector,
        feature_dim=features.dim,
        classes=len(setup.classes),
        motion=int(has_motion),
        bank=len(rows) if looks else 0,
        levels=LEVELS,
        looks=looks,
    )
    known = model.bank.split([length for _, length in looks], dim=1)
    for (start, length), bank in zip(looks, known, strict=True):
        place = slice(start, start + length)
        part = torch.from_numpy(rows[:, place].copy())
        deviation = part.std(dim=0, unbiased=False)
        model.feature_mean[place] = part.mean(dim=0)
        model.feature_std[place] = deviation.clamp(min=max(float(deviation.mean()) * STD_FLOOR, 1e-12))
        bank.copy_((part - model.feature_mean[place]) / model.feature_std[place])
    if has_motion:
        quantile = motion.SHARES.index(setup.train.motion_quantile)
        speeds = rows[:, model.motion_from :].reshape(-1, QUANTILES)[:, quantile]
        of_frames = log_speed(torch.from_numpy(speeds.astype(np.float64)))
        model.motion_quantile.fill_(quantile)
        model.motion_mean.copy_(of_frames.mean())
        model.motion_std.copy_(of_frames.std(unbiased=False).clamp(min=STD_FLOOR))
    model.smooth_seconds.fill_(setup.train.smooth_seconds)
    return model.to(setup.device).eval()


def _looks(extract: Mapping[str, Any], dim: int) -> list[tuple[int, int]]:
    """Start and length of each part of the first `dim` features that says what a clip looks like.

    Where there are layers, it is each of them, and not the network's own features.
    """
    if not extract.get("layers"):
        return [(0, dim)] if dim else []
    found, start = [], 0
    for stream in configured_streams(ExtractConfig.model_validate(extract)):
        length = stream_dim(extract.get("backbone", "i3d"), stream)
        if "." in stream:
            found.append((start, length))
        start += length
    return found


def _rows(train: Sequence[Stretch], most: int) -> np.ndarray:
    """`(n, D)` float32 of clips of all crops: all of them, or evenly many of them."""
    clips = [one.normal_clips for one in train]
    total = sum(len(of_one) * one.video.features.crops for one, of_one in zip(train, clips, strict=True))
    if not total:
        raise TrainingError("no clip is known to be normal from end to end: add footage")
    step, passed, found = -(-total // most), 0, []
    for one, of_one in zip(train, clips, strict=True):
        for crop in range(one.video.features.crops):
            rows = one.video.features.rows(crop, of_one[-passed % step :: step])  # across videos, however short
            if not np.isfinite(rows).all():
                raise _not_finite(one.video)
            passed += len(of_one)
            found.append(rows)
    return np.concatenate(found)


def _not_finite(video: TrainingVideo) -> TrainingError:
    """The error for features that are no numbers."""
    return TrainingError(f"{video.source.paths[0]}: holds numbers that are not finite")


def _distances(model: Normality, stretch: Stretch) -> np.ndarray:
    """`(clips, 16, parts + 1)` float64 of its clips, the mean over crops."""
    features, clips = stretch.video.features, stretch.clips
    found: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(clips), CLIPS_A_BLOCK):
            block = clips[start : start + CLIPS_A_BLOCK]
            crops = [torch.from_numpy(features.rows(crop, block)) for crop in range(features.crops)]
            by_crop = torch.stack([model.distances(rows.to(model.bank.device)) for rows in crops])
            found.append(by_crop.mean(dim=0).double().cpu().numpy())
    distances = np.concatenate(found)
    if not np.isfinite(distances).all():
        raise _not_finite(stretch.video)
    return distances


def _standardise(model: Normality, unseen: Sequence[np.ndarray]) -> None:
    """Make z-scores of distances, by those of unseen normal frames, `(frames, parts + 1)` each."""
    frames = np.concatenate(unseen)
    deviation = frames.std(axis=0)
    model.part_mean.copy_(torch.from_numpy(frames.mean(axis=0)))
    model.part_std.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1.0)))
