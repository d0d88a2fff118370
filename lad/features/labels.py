"""Whether the labels of a video fit the frames that its features tell of."""

from __future__ import annotations

from pathlib import Path

from lad.clip import CLIP_FRAMES
from lad.dataset import Video


def labels_misfit(video: Video, frames: int, counted: Path | None = None) -> str | None:
    """Why a video's labels cannot be used: they are for another number of frames, by more than a clip.

    Args:
        video: with its labels.
        frames: how many there are.
        counted: the file that has so many, which the reason names; by default the video.
    """
    labelled = labelled_frames(video, frames)
    if abs(labelled - frames) <= CLIP_FRAMES:
        return None
    return f"{counted or video.path}: its labels are for {labelled} frames and it has {frames}: more than a clip apart"


def labelled_frames(video: Video, frames: int) -> int:
    """How many frames a video's labels are for: as the dataset says, else `frames`, or more if an event ends later."""
    last = max((event.end or event.start + 1 for event in video.events), default=0)
    return video.n_frames or max(last, frames)
