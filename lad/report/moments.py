"""Which moments of which videos the page shows as pictures: a bounded number, the worst first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Interval = tuple[int, int]  # of frames, half-open
WHOLE_SECONDS = 60.0  # a video up to that is shown whole


@dataclass(frozen=True)
class Moment:
    """An event that may be shown.

    Attributes:
        video: its place among the videos.
        start, end: frames, half-open.
        frame: the one that stands for it.
        peak: how high it scores.
    """

    video: int
    start: int
    end: int
    frame: int
    peak: float


@dataclass
class Shown:
    """What is shown of one video.

    Attributes:
        stills: frames that become thumbnails.
        parts: frames that become clips: disjoint and in order.
    """

    stills: set[int] = field(default_factory=set)
    parts: list[Interval] = field(default_factory=list)


def choose_stills(moments: Sequence[Moment], most: int) -> dict[int, set[int]]:
    """The frames of each video that stand for the `most` first moments."""
    chosen: dict[int, set[int]] = {}
    for moment in moments[:most]:
        chosen.setdefault(moment.video, set()).add(moment.frame)
    return chosen


def choose_parts(
    moments: Sequence[Moment], times: Callable[[int], np.ndarray], *, before: float, after: float, budget: float
) -> dict[int, list[Interval]]:
    """The frames of each video that are shown moving: those around its moments, or all of a short one.

    Args:
        moments: the worst first.
        times: of a video, `(frames,)` seconds.
        before, after: seconds around an event.
        budget: seconds of video in all; what comes later is left out.
    """
    chosen: dict[int, list[Interval]] = {}
    for moment in moments:
        stamps, parts = times(moment.video), chosen.get(moment.video, [])
        if stamps[-1] <= WHOLE_SECONDS:
            part = (0, len(stamps))
        else:
            part = _around(moment, stamps, before, after)
        added = [*parts, part]
        cost = _seconds(_merged(added), stamps) - _seconds(parts, stamps)
        if cost > budget:
            break
        budget -= cost
        chosen[moment.video] = _merged(added)
    return chosen


def place_of(parts: Sequence[Interval], frame: int) -> int | None:
    """Which of disjoint parts in order holds a frame; None: none of them."""
    place = bisect_right(parts, frame, key=lambda part: part[0]) - 1
    return place if place >= 0 and frame < parts[place][1] else None


def _around(moment: Moment, times: np.ndarray, before: float, after: float) -> Interval:
    start = int(np.searchsorted(times, times[moment.start] - before))
    end = int(np.searchsorted(times, times[moment.end - 1] + after, side="right"))
    return start, end


def _merged(parts: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _seconds(parts: Sequence[Interval], times: np.ndarray) -> float:
    return sum(float(times[end - 1] - times[start]) for start, end in parts)
