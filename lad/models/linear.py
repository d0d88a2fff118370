"""The smallest detector: a window's category and score by logistic regression on the mean of its clips.

It is meant for data sets of a few dozen videos, from which the networks of `lad.models.aed` learn the cameras instead
of the events. It has the same methods as they have (`project`, `detect`) and takes the same windows of K clips, so it
is trained and scored in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lad.clip import CLIP_FRAMES

STATE_KEY = "linear.weight"  # by which its state dicts are told from those of other detectors


class LinearDetector(nn.Module):
    """A window's category and score, both from a linear layer on the mean of its clips' standardised features.

    All frames of a window have the same score. Overlapping windows make it smooth over time.

    Args:
        feature_dim: D, the length of a clip's feature vector.
        classes: number of categories.
        window: K, the number of clips in a window.
        hidden: other detectors have hidden units; this one has none.
        dropout: share of the features that is dropped in training.
    """

    feature_mean: torch.Tensor  # (D,), of the training split
    feature_std: torch.Tensor  # (D,)
    clips: torch.Tensor  # (), K: no other tensor of the state dict tells it

    def __init__(self, *, feature_dim: int, classes: int, window: int, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.feature_dim, self.classes, self.window = feature_dim, classes, window
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.register_buffer("clips", torch.tensor(window))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_dim, classes + 1)
        # Training starts from zero, so that no random direction is left in the rule, and few steps give a simple one.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Each clip's class logits and, last, its raw score: `(n, D)` -> `(n, classes + 1)`.

        They do not depend on the clip's place in a window.
        """
        return self.linear(self.dropout((features - self.feature_mean) / self.feature_std))

    def by_clip(self, features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Whole videos `(batch, T, D)` -> class logits and raw score of each clip `(batch, T, classes + 1)`.

        Training by labels of whole videos takes each clip by itself.
        """
        return self.project(features)

    def detect(self, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(K, batch, classes + 1)` from `project` -> class logits `(batch, classes)`, scores `(batch, 16 K)`."""
        mean = projected.mean(dim=0)
        return mean[:, :-1], torch.sigmoid(mean[:, -1:]).expand(-1, CLIP_FRAMES * self.window)

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows `(K, batch, D)` float32 -> class logits `(batch, classes)`, frame scores `(batch, 16 K)` in [0,1]."""
        return self.detect(self.project(windows))


def linear_from_state(state: Mapping[str, torch.Tensor]) -> LinearDetector:
    """Build the linear detector that a state dict belongs to. Its sizes are inferred from the tensors.

    Raises:
        ValueError: the tensors are not those of such a detector.
    """
    outputs, feature_dim = state[STATE_KEY].shape
    window = state.get("clips")
    if window is None or window.numel() != 1 or not 1 <= int(window) <= 1024 or outputs < 2:
        raise ValueError("not a linear detector's parameters: its number of clips or of categories makes no sense")
    model = LinearDetector(feature_dim=feature_dim, classes=outputs - 1, window=int(window))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"not a linear detector's parameters: {error}") from error
    return model.eval()
