"""Found events held against the true ones: which are right, which are false alarms, which true events were missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lad.detector.scoring import Event as FoundEvent
from lad.events import Event
from lad.extract.sampling import Timeline
from lad.features.labels import with_events_in_frames, with_review
from lad.pipeline.scored import ScoredVideo
from lad.report.curves import Curve

UNKNOWN, HIT, FALSE_ALARM = 0, 1, 2
Interval = tuple[int, int]


@dataclass(frozen=True)
class Missed:
    """A true event that no found one overlaps.

    Attributes:
        start, end: frames, half-open.
        frame: the one with the highest score in it.
        peak: that score.
    """

    start: int
    end: int
    frame: int
    peak: float


def has_labels(videos: Sequence[ScoredVideo]) -> bool:
    """Whether anything is known of what is true: a list of videos without any label says nothing."""
    return any(video.known and (video.known.label or video.known.events) for video in videos)


def true_events(video: ScoredVideo, curve: Curve) -> list[Interval]:
    """The true events of a labelled video, in frames that it has; what people said in `lad review` counts."""
    if video.known is None:
        return []
    frames = len(curve.scores)
    known = with_events_in_frames(with_review(video.known), partial(Timeline, curve.times, video.fps))
    events = [event for event in known.events if isinstance(event, Event)]
    bounded = [(event.start, frames if event.end is None else min(event.end, frames)) for event in events]
    return [(start, end) for start, end in bounded if start < end]


def verdict(event: FoundEvent, truth: Sequence[Interval]) -> int:
    """Whether a found event of a labelled video overlaps a true one."""
    return HIT if any(event.start < end and start < event.end for start, end in truth) else FALSE_ALARM


def missed(video: ScoredVideo, truth: Sequence[Interval], scores: np.ndarray) -> list[Missed]:
    """The true events that no found event overlaps."""
    found = []
    for start, end in truth:
        if not any(event.start < end and start < event.end for event in video.events):
            frame = start + int(scores[start:end].argmax())
            found.append(Missed(start, end, frame, float(scores[frame])))
    return found
