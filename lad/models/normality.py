"""A detector that knows normal footage alone: what is unlike it scores high.

Two things are held against normal footage: how fast the fastest things move (`extract.motion`), and what a clip looks
like (the features of a network, or of each of its layers). Each becomes a z-score, by how normal footage scores that
the model has not seen, and they are added. Nothing here is learned by gradients: `lad.detector.training_normal` fills
the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from lad.clip import CLIP_FRAMES

QUANTILES = 9  # of a frame's motion, see `lad.extract.motion`
MOTION_DIM = CLIP_FRAMES * QUANTILES
SLOWEST_PX = 0.01  # a frame; slower things count as that fast
CLIPS_A_BLOCK = 4096


class Normality(nn.Module):
    """How unlike normal footage each frame is.

    It is a window detector of one clip (`lad.models.registry.Detector`) with one category, whose numbers become scores
    in [0,1] when those of a whole video are together (`lad.detector.tail`).

    Args:
        feature_dim: D, the length of a clip's feature vector; the last 144 numbers are its motion, where it has that.
        classes: number of categories: 1, since normal footage teaches none.
        window: other detectors see several clips at once; this one sees one.
        hidden, dropout: other detectors have them.
        motion: 1 where the features end with motion, else 0.
        bank: normal clips that it knows.
        levels: quantiles of unseen normal footage that it knows.
        looks: where in a feature vector that is which a clip looks like, start and length of each part; None: all of it
            but for the motion, as one part.

    Attributes:
        bank: `(bank, numbers of all parts)` float32, normal clips, standardised.
        motion_mean, motion_std: of the logarithm of the normal frames' speed in pixels a frame.
        motion_quantile: index of the quantile of motion that is a frame's speed.
        part_mean, part_std: `(parts + 1,)` of the distances of unseen normal footage: of looks, of motion.
        smooth_seconds: sigma of the Gaussian by which the frames' numbers are smoothed.
        levels, tail_scale, tail_shape, peaks_a_day, peak_scale, peak_shape: see `lad.detector.tail.Tail`.
    """

    feature_mean: torch.Tensor  # (D,)
    feature_std: torch.Tensor  # (D,)
    bank: torch.Tensor
    motion_mean: torch.Tensor
    motion_std: torch.Tensor
    motion_quantile: torch.Tensor
    part_mean: torch.Tensor
    part_std: torch.Tensor
    smooth_seconds: torch.Tensor

    def __init__(
        self,
        *,
        feature_dim: int,
        classes: int = 1,
        window: int = 1,
        hidden: int = 0,
        dropout: float = 0.0,
        motion: int = 0,
        bank: int = 0,
        levels: int = 2,
        looks: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.feature_dim, self.classes, self.window = feature_dim, classes, 1
        self.motion_from = feature_dim - motion * MOTION_DIM
        self.looks = (
            [(0, self.motion_from)] if looks is None else [(int(start), int(length)) for start, length in looks]
        )
        self.looks = [part for part in self.looks if part[1]]
        outside = any(start < 0 or length < 0 or start + length > self.motion_from for start, length in self.looks)
        if classes != 1 or levels < 2 or motion not in (0, 1) or outside or bool(self.looks) != (bank > 0):
            raise ValueError("not a normality model's sizes")
        self.has_motion = bool(motion)
        parts = max(len(self.looks), 1) + 1
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.register_buffer("bank", torch.zeros(bank, sum(length for _, length in self.looks)))
        self.register_buffer("part_mean", torch.zeros(parts))
        self.register_buffer("part_std", torch.ones(parts))
        self.register_buffer("motion_quantile", torch.tensor(0))
        self.register_buffer("levels", torch.zeros(levels, dtype=torch.float64))
        numbers = ("motion_mean", "smooth_seconds", "tail_shape", "peaks_a_day", "peak_shape")
        for name in numbers:
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        for name in ("motion_std", "tail_scale", "peak_scale"):
            self.register_buffer(name, torch.ones((), dtype=torch.float64))

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """How far clips are from normal ones: `(n, D)` -> `(n, 16, parts + 1)`.

        By each part of their looks, then by motion; 0 of what it has not.
        """
        found = torch.zeros((len(features), CLIP_FRAMES, len(self.part_mean)), device=features.device)
        known = self.bank.split([length for _, length in self.looks], dim=1)
        for number, (start, length) in enumerate(self.looks):
            place = slice(start, start + length)
            standard = (features[:, place] - self.feature_mean[place]) / self.feature_std[place]
            nearest = torch.cdist(standard, known[number]).amin(dim=1) / math.sqrt(length)
            found[..., number] = nearest[:, None]
        if self.has_motion:
            speed = features[:, self.motion_from :].reshape(-1, CLIP_FRAMES, QUANTILES)[..., int(self.motion_quantile)]
            found[..., -1] = (log_speed(speed) - self.motion_mean) / self.motion_std
        return found

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """The sum of the z-scores of each frame: `(n, D)` -> `(n, 16)`."""
        return self.added(self.distances(features))

    def added(self, distances: torch.Tensor) -> torch.Tensor:
        """`(..., parts + 1)` of `distances` -> `(...)`, the sum of their z-scores."""
        return ((distances - self.part_mean) / self.part_std).sum(dim=-1)

    def detect(self, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(1, batch, 16)` from `project` -> logits `(batch, 1)` of the only category, and the same numbers."""
        return torch.zeros((projected.shape[1], 1), device=projected.device), projected[0]

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips `(1, batch, D)` float32 -> logits `(batch, 1)`, the frames' numbers `(batch, 16)`."""
        return self.detect(self.project(windows[0])[None])


def log_speed(pixels: torch.Tensor) -> torch.Tensor:
    """The logarithm of speeds in pixels a frame."""
    return pixels.clamp(min=SLOWEST_PX).log()
