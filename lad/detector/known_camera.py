"""A camera that a detector gets to know: what it scores normal footage of it says how far the camera shifts all scores.

Log-odds of scores are compared. A camera whose normal footage scores higher than normal footage usually does gets all
of its log-odds lowered by the difference, and the other way. Little footage counts for little: of `n` clips the share
`n / (n + SHRINK)` of the difference is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.detector.calibration import Calibration, log_odds

SHRINK = 4.0  # clips of normal footage that count as much as knowing nothing


@dataclass(frozen=True)
class Camera:
    """A camera's normal footage, as a detector scores it.

    Attributes:
        clips: of footage, 16 frames each; 0: nobody knows how it scores.
        level: mean log-odds of its frames' scores, before any calibration.
    """

    clips: float
    level: float

    def without(self, piece: Camera) -> Camera:
        """It by the rest of its footage."""
        clips = self.clips - piece.clips
        return Camera(clips, (self.clips * self.level - piece.clips * piece.level) / clips) if clips > 0 else NOBODY

    def shift(self, usual: float) -> float:
        """What to take off the log-odds of this camera, where normal footage usually has a level of `usual`."""
        return self.clips / (self.clips + SHRINK) * (self.level - usual)


NOBODY = Camera(0.0, 0.0)


@dataclass(frozen=True)
class KnownCameras:
    """How a detector scores cameras whose normal footage it was shown, by held-out cameras of its training.

    Attributes:
        usual: level of normal footage of a camera.
        slope, offset: of the calibration of their shifted scores, which makes probabilities of them, as the detector's
            own does of all others: one threshold is for both.
    """

    usual: float
    slope: float
    offset: float

    def check(self) -> None:
        """Raise ValueError where it cannot be meant."""
        if not all(math.isfinite(number) for number in (self.usual, self.slope, self.offset)):
            raise ValueError("what it says of known cameras is not finite")

    def calibration(self, camera: Camera) -> Calibration:
        """What makes probabilities of a camera's scores."""
        return Calibration(self.slope, self.offset - self.slope * camera.shift(self.usual))


def camera_of(scores: np.ndarray, frames_a_clip: int = CLIP_FRAMES) -> Camera:
    """A camera by the scores of a piece of its normal footage, `(frames,)`."""
    return Camera(len(scores) / frames_a_clip, float(log_odds(scores).mean()) if len(scores) else 0.0)


def joined(pieces: Iterable[Camera]) -> Camera:
    """A camera by several pieces of its footage, maybe none."""
    clips, total = 0.0, 0.0
    for piece in pieces:
        clips += piece.clips
        total += piece.clips * piece.level
    return Camera(clips, total / clips if clips else 0.0)
