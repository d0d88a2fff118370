"""Whole videos for training: drawn by their label, brought to a bounded length, and what they teach."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lad.config import TrainConfig
from lad.detector.training_windows import TrainingError, TrainingVideo, draw
from lad.files import READERS
from lad.models.aed import UNKNOWN_CATEGORY
from lad.models.mil import MIL, pool_top

MAX_CLIPS = MIL.max_clips  # of a video in a batch


@dataclass(frozen=True)
class VideoBatch:
    """Whole videos.

    Attributes:
        features: `(batch, T, D)` float32.
        real: `(batch, T)` bool, false for what fills up a shorter video.
        targets: `(batch, T)` float32, the share of a clip's labelled frames that are anomalous.
        abnormal: `(batch,)` float32, 0 or 1.
        labels: `(batch,)` int64, categories.
    """

    features: torch.Tensor
    real: torch.Tensor
    targets: torch.Tensor
    abnormal: torch.Tensor
    labels: torch.Tensor


class VideoSampler:
    """Draws batches of as many abnormal as normal videos; of a video with several crops, one of them.

    Args:
        videos: all that may be drawn from, with the video's label on each of its frames.
        device: where batches are needed.
        located: the labels are of frames, and clips learn from these, too.

    Raises:
        TrainingError: they are all of one kind.
    """

    def __init__(self, videos: Sequence[TrainingVideo], device: str = "cpu", *, located: bool = False) -> None:
        self.videos, self.device, self.located = list(videos), device, located
        used = [video for video in self.videos if video.mask.any()]
        self.abnormal = [video for video in used if video.is_abnormal]
        self.normal = [video for video in used if not video.is_abnormal]
        if not (self.abnormal and self.normal):
            kind = "normal" if self.abnormal else "abnormal"
            raise TrainingError(f"no training video is {kind}: labels of whole videos teach by comparing the two kinds")

    @property
    def feature_dim(self) -> int:
        return self.videos[0].features.dim

    def loss(self, model: Any, config: TrainConfig) -> torch.Tensor:
        """What a batch of them says of a detector: binary cross-entropy of their scores, cross-entropy of categories.

        The scores are those that stand for a video (`pool_top`) and, where frames are labelled, those of all clips. An
        unknown category counts for nothing.
        """
        batch = self.draw(config.abnormal_windows, config.normal_windows)
        by_clip = model.by_clip(batch.features, batch.real)
        scores, logits = pool_top(by_clip, batch.real)
        score_loss = F.binary_cross_entropy(scores, batch.abnormal)
        if self.located:
            located = by_clip[..., -1][batch.real]
            score_loss = score_loss + F.binary_cross_entropy_with_logits(located, batch.targets[batch.real])
        class_loss = F.cross_entropy(logits, batch.labels, ignore_index=UNKNOWN_CATEGORY, reduction="sum")
        class_loss = class_loss / (batch.labels != UNKNOWN_CATEGORY).sum().clamp(min=1)
        return config.class_weight * class_loss + config.score_weight * score_loss

    def draw(self, abnormal: int, normal: int) -> VideoBatch:
        """A batch of so many abnormal and normal videos, from torch's own random numbers."""
        drawn = [self.abnormal[draw(len(self.abnormal))] for _ in range(abnormal)]
        drawn += [self.normal[draw(len(self.normal))] for _ in range(normal)]
        crops = [draw(video.features.crops) if video.features.crops > 1 else 0 for video in drawn]
        features = np.zeros((len(drawn), max(map(_length, drawn)), self.feature_dim), dtype=np.float32)
        real = np.zeros(features.shape[:2], dtype=bool)
        targets = np.zeros(features.shape[:2], dtype=np.float32)

        def fill(place: int) -> None:
            rows, shares = _shortened(drawn[place], crops[place])
            features[place, : len(rows)] = rows  # where features lie in a file, they are read here
            targets[place, : len(rows)] = shares
            real[place, : len(rows)] = True

        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(fill, range(len(drawn))))
        truth = np.array([video.is_abnormal for video in drawn], dtype=np.float32)
        labels = np.array([video.label for video in drawn])
        arrays = (features, real, targets, truth, labels)
        return VideoBatch(*(torch.from_numpy(array).to(self.device) for array in arrays))


def _known_clips(video: TrainingVideo) -> np.ndarray:
    return np.arange(video.features.clips)[video.known_clips]


def _length(video: TrainingVideo) -> int:
    """How many clips a batch has of it."""
    return min(len(_known_clips(video)), MAX_CLIPS)


def _shortened(video: TrainingVideo, crop: int) -> tuple[np.ndarray, np.ndarray]:
    """`(T, D)` float32 of its labelled clips and the share of each that is anomalous, `(T,)`.

    T <= 256: of a longer video, they are means of as many equal runs of clips.
    """
    clips = _known_clips(video)
    shares = (video.targets.sum(axis=1) / np.maximum(video.mask.sum(axis=1), 1))[clips]
    if len(clips) <= MAX_CLIPS:
        return video.features.rows(crop, clips, alone=True), shares
    starts = np.arange(MAX_CLIPS) * len(clips) // MAX_CLIPS
    lengths = np.diff(np.append(starts, len(clips)))
    rows = video.features.rows(crop, clips[starts], alone=True)
    for place in range(1, lengths.max()):  # the clip at this place of each run: a video may be days long
        longer = lengths > place
        rows[longer] += video.features.rows(crop, clips[starts[longer] + place], alone=True)
    return rows / lengths[:, None].astype(np.float32), np.add.reduceat(shares, starts) / lengths
