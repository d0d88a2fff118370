"""The smallest detector: logistic regression on the mean of a window's clips, a category and one score.

For sets of a few dozen videos, where the networks of `aed` learn the cameras and not the events. It keeps to the same
terms as they do (`project`, `detect`, windows of K clips), so that it is trained and scored as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lad.clip import CLIP_FRAMES

STATE_KEY = "linear.weight"  # no other detector has it


class LinearDetector(nn.Module):
    """Category and score of a window, both linear in the mean of its clips' standardised features.

    Args:
        feature_dim: length D of a clip's feature vector.
        classes: number of categories.
        window: K, clips a window; the frames of a window all have the same score, and overlapping windows smooth it.
        dropout: share of the features dropped in training.
    """

    feature_mean: torch.Tensor  # (D,) of the training split
    feature_std: torch.Tensor
    clips: torch.Tensor  # K, so that a state dict says it

    def __init__(self, *, feature_dim: int, classes: int, window: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.feature_dim, self.classes, self.window = feature_dim, classes, window
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.register_buffer("clips", torch.tensor(window))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_dim, classes + 1)
        # From nothing: the fewer steps, the simpler the rule, and no random direction is left in it.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """What each clip contributes wherever it stands in a window: `(n, D)` -> `(n, classes + 1)`."""
        return self.linear(self.dropout((features - self.feature_mean) / self.feature_std))

    def detect(self, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(K, batch, classes + 1)` from `project` -> class logits `(batch, classes)`, scores `(batch, 16 K)`."""
        mean = projected.mean(dim=0)
        return mean[:, :-1], torch.sigmoid(mean[:, -1:]).expand(-1, CLIP_FRAMES * self.window)

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows `(K, batch, D)` float32 -> class logits `(batch, classes)`, frame scores `(batch, 16 K)` in [0,1]."""
        return self.detect(self.project(windows))


def linear_from_state(state: Mapping[str, torch.Tensor]) -> LinearDetector:
    """Build the linear detector that a state dict belongs to, its sizes inferred.

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
