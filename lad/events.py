"""Anomalous events: intervals of frames or of seconds, one frame of an event, or that there is one somewhere."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lad.intervals import intervals

FRAME = re.compile(r"[0-9]+")
SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]*)?)s")
CLOCK = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{2}(?:\.[0-9]*)?)")
FORMS = (
    "start-end in frames (61-180), in seconds (12.4s-15s) or as m:ss (0:12.4-0:15), "
    "nor one frame of it (75), nor ? for one somewhere in the video"
)
SOMEWHERE = "?"
SLACK = 1e-3  # seconds by which containers round the times of frames


@dataclass(frozen=True)
class Event:
    """An anomalous interval of frames, half-open: `[start, end)`. Without an end it lasts until the video ends."""

    start: int
    end: int | None = None

    def __str__(self) -> str:
        return f"{self.start}-{'' if self.end is None else self.end}"


@dataclass(frozen=True)
class TimedEvent:
    """An anomalous interval of time, half-open. Without an end it lasts until the video ends.

    Attributes:
        start, end: seconds since the first frame.
        written: as somebody wrote it.
    """

    start: float
    end: float | None
    written: str

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True)
class Click:
    """One frame inside an event; where that begins and ends, nobody said."""

    frame: int

    def __str__(self) -> str:
        return str(self.frame)


@dataclass(frozen=True)
class Somewhere:
    """There are events in the video, and nobody said where: a video label."""

    def __str__(self) -> str:
        return SOMEWHERE


AnyEvent = Event | TimedEvent | Click | Somewhere


@dataclass(frozen=True)
class Reviewed:
    """What people said of the frames of a video in `lad review`; of all other frames they said nothing.

    Attributes:
        events: intervals of frames with their category, which may be empty; in order, disjoint.
        normal: intervals in which nothing happens; in order, disjoint, and apart from `events`.
        verdicts: how many were given and not taken back.
    """

    events: tuple[tuple[Event, str], ...]
    normal: tuple[Event, ...]
    verdicts: int

    @property
    def stretches(self) -> tuple[Event, ...]:
        """All that they said something of, in order."""
        return tuple(sorted([*(event for event, _ in self.events), *self.normal], key=lambda event: event.start))

    @property
    def categories(self) -> tuple[str, ...]:
        """Those of its events, the one with the most frames first."""
        frames: dict[str, int] = {}
        for event, name in self.events:
            if name:
                frames[name] = frames.get(name, 0) + (event.end or event.start + 1) - event.start
        return tuple(sorted(frames, key=lambda name: (-frames[name], name)))


WHOLE_VIDEO = (Event(0),)  # the events of a video that is abnormal from end to end, or taken for it
WEAK = (Somewhere(),)  # the events of an abnormal video about which no more is known


def events_of(frame_labels: np.ndarray) -> tuple[Event, ...]:
    """The events in `(frames,)` labels: the runs of frames that are not zero."""
    return tuple(Event(start, end) for start, end in intervals(np.asarray(frame_labels) != 0))


def parse_events(text: str, n_frames: int | None = None) -> tuple[AnyEvent, ...]:
    """`start-end;start-end`, half-open -> events in order. `start-` lasts until the video ends.

    Whole numbers are frames, from 0; `12.4s`, `0:12.4` and `1:02:03` are times. A frame alone (`812`) is a click inside
    an event; `?` says that there is an event somewhere.

    Raises:
        ValueError: an event is malformed, empty, or reaches beyond `n_frames`; or different kinds stand side by side.
    """
    events = [_parse_event(part) for part in filter(None, text.split(";"))]
    kinds = {type(event) for event in events}
    if Somewhere in kinds and len(events) > 1:
        raise ValueError(f"events {text!r}: ? says that no more is known of the video, and more stands beside it")
    if Click in kinds and len(kinds) > 1:
        raise ValueError(f"events {text!r} are intervals and single frames: write all of a video's in one way")
    if len(kinds) > 1:
        raise ValueError(f"events {text!r} are in frames and in seconds: write all of a video's in one of them")
    for event in events:
        if n_frames is not None and (last_frame(event) or 0) >= n_frames:
            raise ValueError(f"event {str(event)!r} reaches beyond the video's {n_frames} frames")
    return tuple(sorted(events, key=_start))


def last_frame(event: AnyEvent) -> int | None:
    """The last frame that an event is said to have, or to begin at; None: nobody said any."""
    match event:
        case Event():
            return event.start if event.end is None else event.end - 1
        case Click():
            return event.frame
        case _:
            return None


def _start(event: AnyEvent) -> float:
    match event:
        case Event() | TimedEvent():
            return event.start
        case Click():
            return event.frame
        case Somewhere():
            return 0


def _parse_event(text: str) -> AnyEvent:
    written = text.strip().replace("\N{EN DASH}", "-")  # as spreadsheets correct it
    if written == SOMEWHERE:
        return Somewhere()
    if FRAME.fullmatch(written):
        return Click(int(written))
    start, dash, end = written.partition("-")
    if not (dash and _is_time(start) and (_is_time(end) or not end)):
        raise ValueError(f"event {text!r} is not {FORMS}; without an end it lasts until the video ends")
    event: Event | TimedEvent
    if FRAME.fullmatch(start) and FRAME.fullmatch(end or start):
        event = Event(int(start), int(end) if end else None)
        last = "its end is the first frame after it"
    elif FRAME.fullmatch(start) or FRAME.fullmatch(end):
        raise ValueError(f"event {text!r} is partly in frames and partly in seconds: write 12s for a second")
    else:
        event = TimedEvent(_seconds(start), _seconds(end) if end else None, written)
        last = "it ends no later than it starts"
    if event.end is not None and event.start >= event.end:
        raise ValueError(f"event {text!r} is empty: {last}")
    return event


def _is_time(text: str) -> bool:
    clock = CLOCK.fullmatch(text)
    if clock and (float(clock[3]) >= 60 or (clock[1] and int(clock[2]) >= 60)):
        return False
    return bool(clock or FRAME.fullmatch(text) or SECONDS.fullmatch(text))


def _seconds(text: str) -> float:
    if clock := CLOCK.fullmatch(text):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return float(text.removesuffix("s"))


def in_frames(events: Sequence[AnyEvent], times: np.ndarray, fps: float) -> tuple[Event, ...]:
    """Events as intervals of frames: of those that are on display in them, and at least of one.

    An event that begins or ends after the last frame does so as many frames beyond it as its time says. Of a click it
    is that frame, and of `?` the whole video: an event is there.

    Args:
        events: of one video.
        times: `(frames,)` float64, seconds of each frame since the first.
        fps: average frames a second.
    """
    return tuple(_resolved(event, times, fps) for event in events)


def _resolved(event: AnyEvent, times: np.ndarray, fps: float) -> Event:
    if isinstance(event, Event):
        return event
    if isinstance(event, Click):
        return Event(event.frame, event.frame + 1)
    if isinstance(event, Somewhere):
        return WHOLE_VIDEO[0]
    duration = (times[-1] if len(times) else 0.0) + 1 / fps

    def frame(second: float, begun: int) -> int:
        return begun if second < duration + SLACK else len(times) + round((second - duration) * fps)

    start = frame(event.start, max(int(np.searchsorted(times, event.start + SLACK, side="right")) - 1, 0))
    if event.end is None:
        return Event(start)
    end = frame(event.end, int(np.searchsorted(times, event.end - SLACK, side="left")))
    return Event(start, max(end, start + 1))


def without(events: Sequence[Event], removed: Sequence[Event]) -> tuple[Event, ...]:
    """What is left of `events` outside of `removed`, which is in order and disjoint."""
    left: list[tuple[int, int]] = []
    holes = [(hole.start, sys.maxsize if hole.end is None else hole.end) for hole in removed]
    for event in events:
        start, end = event.start, sys.maxsize if event.end is None else event.end
        for number in range(bisect_right(holes, start, key=lambda hole: hole[1]), len(holes)):
            if holes[number][0] >= end:
                break
            if start < holes[number][0]:
                left.append((start, holes[number][0]))
            start = holes[number][1]
        if start < end:
            left.append((start, end))
    return tuple(Event(start, None if end == sys.maxsize else end) for start, end in left)
