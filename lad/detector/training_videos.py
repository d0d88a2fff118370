"""Whole videos for training: drawn by their label, brought to a bounded length, and what they teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lad.config import TrainConfig
from lad.detector.training_windows import TrainingError, TrainingVideo, draw
from lad.models.aed import UNKNOWN_CATEGORY
from lad.models.mil import MIL, pool_top

MAX_CLIPS = MIL.max_clips  # of a video in a batch


@dataclass(frozen=True)
class VideoBatch:
    """Whole videos: `features` (batch, T, D), `real` (batch, T) bool, `abnormal` (batch,) 0 or 1, `labels` (batch,)."""

    features: torch.Tensor
    real: torch.Tensor
    abnormal: torch.Tensor
    labels: torch.Tensor


class VideoSampler:
    """Draws batches of as many abnormal as normal videos; of a video with several crops, one of them.

    Args:
        videos: all that may be drawn from, with the video's label on each of its frames.
        device: where batches are needed.

    Raises:
        TrainingError: they are all of one kind.
    """

    def __init__(self, videos: Sequence[TrainingVideo], device: str = "cpu") -> None:
        self.videos, self.device = list(videos), device
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

        The scores are those that stand for a video (`pool_top`); an unknown category counts for nothing.
        """
        batch = self.draw(config.abnormal_windows, config.normal_windows)
        scores, logits = pool_top(model.by_clip(batch.features, batch.real), batch.real)
        score_loss = F.binary_cross_entropy(scores, batch.abnormal)
        class_loss = F.cross_entropy(logits, batch.labels, ignore_index=UNKNOWN_CATEGORY, reduction="sum")
        class_loss = class_loss / (batch.labels != UNKNOWN_CATEGORY).sum().clamp(min=1)
        return config.class_weight * class_loss + config.score_weight * score_loss

    def draw(self, abnormal: int, normal: int) -> VideoBatch:
        """A batch of so many abnormal and normal videos, from torch's own random numbers."""
        drawn = [self.abnormal[draw(len(self.abnormal))] for _ in range(abnormal)]
        drawn += [self.normal[draw(len(self.normal))] for _ in range(normal)]
        clips = [_shortened(video, draw(video.features.crops) if video.features.crops > 1 else 0) for video in drawn]
        features = np.zeros((len(drawn), max(map(len, clips)), self.feature_dim), dtype=np.float32)
        real = np.zeros(features.shape[:2], dtype=bool)
        for place, rows in enumerate(clips):
            features[place, : len(rows)] = rows
            real[place, : len(rows)] = True
        truth = np.array([video.is_abnormal for video in drawn], dtype=np.float32)
        labels = np.array([video.label for video in drawn])
        return VideoBatch(*(torch.from_numpy(array).to(self.device) for array in (features, real, truth, labels)))


def _shortened(video: TrainingVideo, crop: int) -> np.ndarray:
    """`(T, D)` float32 of its labelled clips, T <= 256: of a longer video, means of as many equal runs of clips."""
    clips = np.arange(video.features.clips)[video.known_clips]
    if len(clips) <= MAX_CLIPS:
        return video.features.rows(crop, clips)
    starts = np.arange(MAX_CLIPS) * len(clips) // MAX_CLIPS
    runs = np.split(clips, starts[1:])  # read one by one: a video may be days long
    return np.stack([video.features.rows(crop, run).mean(axis=0) for run in runs])
