"""What a clip is: the unit that features are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

CLIP_FRAMES = 16  # consecutive frames; Inception-I3D halves them four times
MAX_PIECE_CLIPS = 16  # that a network may see as one piece of video: the memory that they take grows with them
TOP_SHARE = 16  # of so many clips of a video one more stands for it, where labels are of whole videos

Count = TypeVar("Count", int, "torch.Tensor")


def top_clips(clips: Count) -> Count:
    """How many of a video's clips stand for it: k = T / 16 + 1, as in RTFM (Tian et al., ICCV 2021) and after it."""
    return clips // TOP_SHARE + 1
