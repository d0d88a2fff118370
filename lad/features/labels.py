"""The labels of a video and the frames that its features tell of: which they are, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.events import WHOLE_VIDEO, Event, TimedEvent, in_frames, last_frame, without
from lad.extract.sampling import Timeline


def with_events_in_frames(video: Video, timeline: Callable[[], Timeline]) -> Video:
    """The video as it is, but for events in seconds: they become the frames on display then.

    The one place where times become frames. `timeline` is asked for only where there are such events. What people said
    of such a video in `lad review` counts from here on.

    Raises:
        what `timeline` raises.
    """
    if not any(isinstance(event, TimedEvent) for event in video.events):
        return video
    known = timeline()
    return with_review(replace(video, events=in_frames(video.events, known.times, known.fps)))


def with_review(video: Video) -> Video:
    """The video with the labels that `lad review` gave it; as it is where that said nothing, or its events are times.

    Verdicts override what the dataset says of the same frames. Of the frames that nobody looked at, the dataset's
    labels hold; where it has none of the video (no split and no event), they are unlabelled, and the video trains.
    They are unlabelled too in a weak video that teaches, once an event was found in it. Until then it stays weak, and a
    weak test video does so in any case: it cannot be measured by some of its frames.
    """
    said = video.reviewed
    if said is None or any(isinstance(event, TimedEvent) for event in video.events):
        return video
    if video.is_weak and (not said.events or video.split == "test"):
        return video
    frames = [event for event in video.events if isinstance(event, Event)]
    kept = without(frames, said.stretches)
    events = tuple(sorted([*kept, *(event for event, _ in said.events)], key=lambda event: event.start))
    if kept or video.is_weak:
        names = [*video.categories, *said.categories]
    else:  # what it shows is what people say that it shows
        names = list(said.categories or video.categories)
    label = "|".join(dict.fromkeys(names))
    if (video.split or video.events) and not video.is_weak:
        return replace(video, events=events, label=label)
    unlabelled = without(WHOLE_VIDEO, said.stretches)
    split = video.split if video.split or video.events else "train"
    return replace(video, events=events, label=label, split=split, unlabelled=unlabelled)


def without_found(video: Video) -> Video:
    """It as normal footage: frames in which a review found an event, and nobody else said one, are unlabelled."""
    found = [event for event, _ in video.reviewed.events] if video.reviewed else []
    if not found or not set(video.events) <= set(found):
        return video
    unlabelled = sorted([*video.unlabelled, *found], key=lambda stretch: stretch.start)
    return replace(video, events=(), unlabelled=tuple(unlabelled))


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
    said = [last for event in video.events if (last := last_frame(event)) is not None]
    last = max(said, default=-1) + 1
    last = max(last, *(stretch.start for stretch in video.unlabelled), 0)
    return video.n_frames or max(last, frames)
