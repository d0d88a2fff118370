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
    """Scores and category of each clip of a video, seen in its context. It is for features of any length.

    An event lasts longer than a clip. So what is said of a clip is the mean of what is said of those near it, as a
    window detector's overlapping windows are merged; without that the best clip of a short video is mostly chance.

    Args:
        feature_dim: D, the length of a clip's feature vector.
        classes: number of categories.
        window: K; near a clip are K // 2 clips on each side, and itself; of a causal one, itself and the K - 1 before.
        hidden: width of the attention.
        dropout: share of the embedding that training leaves out.
        causal: nothing that is said of a clip depends on later ones, as a camera needs it.
    """

    max_clips = 256  # clips that it sees at once: attention is quadratic in them
    feature_mean: torch.Tensor  # (D,), of the training split
    feature_std: torch.Tensor  # (D,)

    def __init__(
        self,
        *,
        feature_dim: int,
        classes: int,
        window: int,
        hidden: int = 128,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.feature_dim, self.classes, self.window, self.causal = feature_dim, classes, window, causal
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.embed = nn.Linear(feature_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.attention = NearAndFar(hidden)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, classes + 1)
        nn.init.zeros_(self.head.weight)  # at first all clips are alike, so that none is the best by chance
        nn.init.zeros_(self.head.bias)

    def by_clip(self, features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Class logits and, last, the raw score of each clip.

        Args:
            features: `(batch, T, D)` float32, of T <= `max_clips` consecutive clips of a video each.
            real: `(batch, T)` bool, false for what fills up a shorter video; nothing depends on that.

        Returns:
            `(batch, T, classes + 1)` float32; of clips that are not real, anything.
        """
        standard = (features - self.feature_mean).div_(self.feature_std)
        places = torch.arange(features.shape[1], device=features.device)
        back = places[:, None] - places
        seen = real[:, None, :] | (back == 0)  # itself at least: of nothing there is no mean
        if self.causal:
            seen = seen & (back >= 0)
        near = seen & (back < self.window if self.causal else back.abs() <= self.window // 2)
        embedded = self.dropout(F.gelu(self.embed(standard)))
        context = self.norm(embedded + self.attention(embedded, seen, near))
        return near / near.sum(dim=2, keepdim=True) @ self.head(context)


class NearAndFar(nn.Module):
    """Attention over the whole video beside attention over the clips around each, mixed in a learned proportion.

    Args:
        width: of the clips' vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mix = nn.Parameter(torch.zeros(()))  # its sigmoid is the share of what is far

    def forward(self, clips: torch.Tensor, seen: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """`(batch, T, width)` -> the same; the rest says which clips each one looks at, `(batch, T, T)` bool."""
        queries, keys, values = self.queries_keys_values(clips).chunk(3, dim=-1)
        likeness = queries @ keys.transpose(1, 2) / clips.shape[2] ** 0.5
        far, around = (torch.softmax(likeness.masked_fill(~mask, -torch.inf), dim=-1) for mask in (seen, near))
        share = torch.sigmoid(self.mix)
        return self.out((share * far + (1 - share) * around) @ values)


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
