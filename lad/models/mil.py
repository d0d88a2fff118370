"""A detector that learns from labels of whole videos, by multiple instance learning (MIL).

Which clips of an abnormal video are abnormal nobody said. So each clip gets a score, the highest ones stand for the
video, and its label is learned from those (Sultani, Chen, Shah, "Real-world anomaly detection in surveillance videos",
CVPR 2018, with the highest clip; RTFM, ICCV 2021, and later ones with several). A clip is seen beside the whole video
and beside the few clips around it, the idea of PEL4VAD (Pu, Wu, Yang, Wang, "Learning prompt-enhanced context features
for weakly-supervised video anomaly detection", IEEE TIP 2024), of whose prompts nothing is here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lad.clip import top_clips


class MIL(nn.Module):
    """Scores and category of each clip of a video: a linear rule of the clip, and what its context adds to that.

    The linear rule alone is the detector `linear`, so that a few dozen videos teach no worse than there. It is for
    features of any length.

    Args:
        feature_dim: D, the length of a clip's feature vector.
        classes: number of categories.
        window: K, how many clips are near one: itself, and half of the rest on each side.
        hidden: width of the attention.
        dropout: share of the embedding that training leaves out.
    """

    max_clips = 256  # clips that it sees at once: attention is quadratic in them
    feature_mean: torch.Tensor  # (D,), of the training split
    feature_std: torch.Tensor  # (D,)

    def __init__(self, *, feature_dim: int, classes: int, window: int, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.feature_dim, self.classes, self.window = feature_dim, classes, window
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.linear = nn.Linear(feature_dim, classes + 1)
        self.embed = nn.Linear(feature_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.attention = NearAndFar(hidden, window)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, classes + 1, bias=False)
        for layer in (self.linear, self.head):  # no random direction is left in the rule
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.linear.bias)

    def by_clip(self, features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Class logits and, last, the raw score of each clip.

        Args:
            features: `(batch, T, D)` float32, of T <= `max_clips` consecutive clips of a video each.
            real: `(batch, T)` bool, false for what fills up a shorter video; nothing depends on that.

        Returns:
            `(batch, T, classes + 1)` float32; of clips that are not real, anything.
        """
        standard = (features - self.feature_mean) / self.feature_std
        embedded = self.dropout(F.gelu(self.embed(standard)))
        context = self.norm(embedded + self.attention(embedded, real))
        return self.linear(standard) + self.head(context)


class NearAndFar(nn.Module):
    """Attention over the whole video beside attention over the clips around each, mixed in a learned proportion.

    Args:
        width: of the clips' vectors.
        window: how many clips are near one.
    """

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.reach = window // 2
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mix = nn.Parameter(torch.zeros(()))  # its sigmoid is the share of what is far

    def forward(self, clips: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """`(batch, T, width)` and `(batch, T)` bool -> `(batch, T, width)`; `real` clips alone are looked at."""
        queries, keys, values = self.queries_keys_values(clips).chunk(3, dim=-1)
        places = torch.arange(clips.shape[1], device=clips.device)
        distance = (places[:, None] - places).abs()
        seen = real[:, None, :] | (distance == 0)  # itself at least: of nothing there is no mean
        likeness = queries @ keys.transpose(1, 2) / clips.shape[2] ** 0.5
        far, near = (
            torch.softmax(likeness.masked_fill(~mask, -torch.inf), dim=-1)
            for mask in (seen, seen & (distance <= self.reach))
        )
        share = torch.sigmoid(self.mix)
        return self.out((share * far + (1 - share) * near) @ values)


def pool_top(by_clip: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What stands for each video: the mean of its `top_clips` highest scores, and of the class logits there.

    Args:
        by_clip: `(batch, T, classes + 1)` from `MIL.by_clip`.
        real: `(batch, T)` bool; one clip of each video at least.

    Returns:
        Scores `(batch,)` in [0,1], and class logits `(batch, classes)`.
    """
    raw = by_clip[..., -1].masked_fill(~real, -torch.inf)
    order = raw.argsort(dim=1, descending=True, stable=True)
    k = top_clips(real.sum(dim=1, keepdim=True))
    weight = (torch.arange(real.shape[1], device=real.device) < k) / k
    scores = torch.sigmoid(raw.gather(1, order))
    logits = by_clip[..., :-1].gather(1, order[..., None].expand(-1, -1, by_clip.shape[-1] - 1))
    return (scores * weight).sum(dim=1), (logits * weight[..., None]).sum(dim=1)
