"""What a cutting process is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lad.cutting.film import Piece
from lad.cutting.overlay import Overlay
from lad.extract.video import DEFAULT_LIMITS, Limits


@dataclass(frozen=True)
class Cut:
    """A clip that is wanted.

    Attributes:
        piece: of the video.
        path: where to write it; it lies beside nothing that anybody needs.
        overlay: what is drawn into it.
    """

    piece: Piece
    path: Path
    overlay: Overlay | None = None


@dataclass(frozen=True)
class CutJob:
    """Clips of one video.

    Attributes:
        path: a video file or a frame folder.
        frames: how many it has, as was found when it was scored.
        fps: average frames a second; of a frame folder, what its times are made of.
        cuts: the clips, in order.
        limits: of its frames.
    """

    path: Path
    frames: int
    fps: float
    cuts: list[Cut]
    limits: Limits = DEFAULT_LIMITS
