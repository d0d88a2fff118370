"""When each frame is on display: from the time stamps of a file's packets, whatever they are worth, to seconds.

There is one rule for every reader. Pictures follow each other in the order of their stamps. A clock that starts again
or jumps back goes on where it was. Stamps that are missing, equal or beyond belief are made up from their neighbours
or from the stated rate. So times always rise, and no frame is lost to `extract.fps` for a fault of its times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

DEFAULT_FPS = 25.0  # of a video that says nothing of time
MAX_STATED_FPS = 240.0  # that is believed where frames have no times; more is a clock's ticks, or nonsense
MAX_FPS = 1000.0  # of times that are believed
EQUAL = 1e-6  # seconds; stamps that are as near as that are the same
MAX_PAUSE = 86400.0  # seconds between two frames; more is a clock that was set
# A pause is no frame's duration: it is longer than 10 frames and than a second.
PAUSE_FRAMES, PAUSE_SECONDS = 10, 1.0


@dataclass
class Stamps:
    """What demuxing showed of the packets of a track, in the order of the file; NaN where a packet says nothing.

    Attributes:
        shown: `(n,)` float64, seconds at which their pictures are said to be shown.
        decoded: `(n,)` float64, seconds at which they are said to be decoded: in the order of the file these never
            fall, unless the clock does.
        keys: `(n,)` bool, whether a picture needs no other: those before it in the file are shown before it.
        fps: frames a second as the container or the stream says, 0 if neither does.
        delay: packets that the decoder must see beyond a picture before it can give it.
        expected: frames of such a file have times, so that it is a fault if they have none.
    """

    shown: np.ndarray
    decoded: np.ndarray
    keys: np.ndarray
    fps: float
    delay: int = 0
    expected: bool = True


@dataclass
class Schedule:
    """When pictures are shown.

    Attributes:
        slots: `(n,)` float64, seconds, rising: one for each packet, in the order in which pictures are shown.
        place: `(n,)` int64, the slot of each packet; None where stamps do not say how pictures are reordered.
        step: seconds that a frame lasts.
        delay: as in `Stamps`.
        faults: what was wrong with the stamps, one line each.
        exact: nothing was made up.
    """

    slots: np.ndarray
    place: np.ndarray | None
    step: float
    delay: int = 0
    faults: list[str] = field(default_factory=list)
    exact: bool = True


class Clock:
    """The times of frames as they are decoded: each has its packet's, so one that vanishes shifts none after it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._next = 0
        self._origin: float | None = None
        self.missed = 0  # slots before the first frame

    def read(self, packet: int | None, sent: int) -> float:
        """Seconds since the first frame of the next one.

        Args:
            packet: the number of the packet that it was decoded from, if that is known.
            sent: how many packets the decoder has been given: a picture is shown after all that come before it.
        """
        plan, slot = self._schedule, self._next
        if packet is not None and packet < len(plan.slots):
            reached = int(plan.place[packet]) if plan.place is not None else packet - plan.delay
            slot = max(slot, min(reached, sent - 1))
        over = slot - len(plan.slots) + 1
        stamp = float(plan.slots[slot]) if over <= 0 else float(plan.slots[-1]) + over * plan.step
        if self._origin is None:
            self._origin, self.missed = stamp, slot
        self._next = slot + 1
        return stamp - self._origin


def schedule(stamps: Stamps) -> Schedule:
    """When the pictures of a track are shown. There is at least one packet."""
    fps = stamps.fps if 0 < stamps.fps <= MAX_STATED_FPS else 0.0
    shown, decoded = stamps.shown.copy(), stamps.decoded.copy()
    if np.isnan(shown).all():
        shown = _delayed(decoded, stamps.delay, 1 / (fps or DEFAULT_FPS))
        decoded = shown.copy()
    known = np.sort(shown[~np.isnan(shown)])
    steps = np.diff(known)
    step = float(np.median(steps[steps > EQUAL])) if (steps > EQUAL).any() else 0.0
    if len(shown) > 1 and step < (1 - EQUAL) / MAX_FPS:
        return _by_rate(stamps, fps, bool(len(known)))
    return _by_stamps(shown, decoded, stamps, step or 1 / (fps or DEFAULT_FPS), fps)


def _by_rate(stamps: Stamps, fps: float, any_known: bool) -> Schedule:
    rate = fps or DEFAULT_FPS
    why = "its time stamps are all the same, or beyond belief" if any_known else "it has no time stamps"
    whose = "as it states" if fps else "since it states no rate that can be believed"
    faults = [f"{why}: taken for {rate:g} frames a second, {whose}"] if stamps.expected else []
    slots = np.arange(len(stamps.shown)) / rate
    place = None if stamps.delay else np.arange(len(slots))
    return Schedule(slots, place, 1 / rate, stamps.delay, faults, exact=False)


def _by_stamps(shown: np.ndarray, decoded: np.ndarray, stamps: Stamps, step: float, fps: float) -> Schedule:
    faults: list[str] = []
    absent = int(np.isnan(shown).sum())
    if absent and stamps.expected:
        faults.append(f"{absent} of {len(shown)} frames have no time stamp: they are placed between their neighbours")
    if not stamps.delay:
        decoded = np.where(np.isnan(decoded), shown, decoded)
    strange = _strays(decoded, step)
    if strange.any():
        faults.append(f"{int(strange.sum())} time stamps are far from those around them: they are not believed")
        shown[strange] = decoded[strange] = np.nan
    stretch = _stretches(shown, decoded, stamps.keys, step)
    if jumps := int(stretch[-1]):
        faults.append(f"its clock starts again or jumps back {jumps} times: times go on where it does")
    slots, order = np.empty(len(shown)), np.empty(len(shown), np.int64)
    changed, leaps = bool(absent or strange.any() or jumps), 0
    for begin, end in pairwise([0, *(np.flatnonzero(np.diff(stretch)) + 1).tolist(), len(shown)]):
        filled = _filled(shown[begin:end], min(step, 1 / fps) if fps else step)
        by_time = np.argsort(filled, kind="stable")
        apart, spread = _apart(filled[by_time], step)
        times, leapt = _without_leaps(apart, step)
        changed, leaps = changed or spread or leapt > 0, leaps + leapt
        slots[begin:end] = times + (slots[begin - 1] + step - times[0]) if begin else times
        order[begin:end] = begin + by_time
    if leaps:
        faults.append(f"its clock leaps by more than a day {leaps} times: the frames after it follow at once")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    # Stamps that rise in the order of the file say nothing of the order of pictures, where a codec reorders them.
    told = not stamps.delay or bool((order != np.arange(len(order))).any())
    return Schedule(_rising(slots), place if told else None, step, stamps.delay, faults, not changed)


def _delayed(decoded: np.ndarray, delay: int, step: float) -> np.ndarray:
    """When pictures are shown, in that order, by when they are decoded: each as the last one that it waits for."""
    if not delay or np.isnan(decoded).any():
        return decoded
    steps = np.diff(decoded)
    step = float(np.median(steps)) if len(steps) else step
    later = decoded[-1] + step * np.arange(1, delay + 1)
    return np.concatenate((decoded, later))[delay:][: len(decoded)]


def _strays(stamps: np.ndarray, step: float) -> np.ndarray:
    """`(n,)` bool: stamps that are out of line while the one before and the one after are in line."""
    strange = np.zeros(len(stamps), bool)
    known = np.flatnonzero(~np.isnan(stamps))
    before, here, after = stamps[known[:-2]], stamps[known[1:-1]], stamps[known[2:]]
    rises = (after > before) & (after - before < PAUSE_FRAMES * step)
    strange[known[1:-1]] = rises & ((here < before - step / 2) | (here > after + step / 2))
    return strange


def _stretches(shown: np.ndarray, decoded: np.ndarray, keys: np.ndarray, step: float) -> np.ndarray:
    """`(n,)` int64: how often the clock has started again before each packet."""
    by_key = np.where(
        np.isnan(decoded) & keys, shown, np.nan
    )  # such a picture is shown after all before it in the file
    falls = (decoded < np.fmax.accumulate(decoded) - step / 2) | (by_key < np.fmax.accumulate(shown) - step / 2)
    if not falls.any():  # nearly always
        return np.zeros(len(decoded), np.int64)
    number, highest, highest_shown = 0, -np.inf, -np.inf
    stretch = np.empty(len(decoded), np.int64)
    for place, (time, show, key) in enumerate(zip(decoded.tolist(), shown.tolist(), by_key.tolist(), strict=True)):
        if time < highest - step / 2 or key < highest_shown - step / 2:  # nothing is less than NaN
            number, highest, highest_shown = number + 1, -np.inf, -np.inf
        highest, highest_shown = max(highest, time), max(highest_shown, show)  # of a number and NaN, the number
        stretch[place] = number
    return stretch


def _filled(times: np.ndarray, step: float) -> np.ndarray:
    """Times in the order of the file, those that are missing spread between their neighbours, `step` apart at most."""
    known = np.flatnonzero(~np.isnan(times))
    if len(known) == len(times):
        return times
    if not len(known):
        return np.arange(len(times)) * step
    filled = times.copy()
    filled[: known[0]] = times[known[0]] - step * np.arange(known[0], 0, -1)
    for here, there in zip(known, [*known[1:], len(times)], strict=True):
        missing = int(there - here - 1)
        room = times[there] - times[here] if there < len(times) else np.inf
        apart = min(step, room / (missing + 1)) if room > 0 else step
        filled[here + 1 : there] = times[here] + apart * np.arange(1, missing + 1)
    return filled


def _apart(times: np.ndarray, step: float) -> tuple[np.ndarray, bool]:
    """Sorted times with equal ones spread until the next, `step` apart at most; and whether there were any."""
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > EQUAL)
    if len(starts) == len(times):
        return times, False
    counts = np.diff(starts, append=len(times))
    room = np.diff(times[starts], append=np.inf)
    apart = np.minimum(step, room / counts)
    within = np.arange(len(times)) - np.repeat(starts, counts)
    return np.repeat(times[starts], counts) + within * np.repeat(apart, counts), True


def _without_leaps(times: np.ndarray, step: float) -> tuple[np.ndarray, int]:
    """Sorted times without the days that a clock leapt by when it was set; and how often it was."""
    gaps = np.diff(times)
    leaps = np.flatnonzero(gaps > max(MAX_PAUSE, PAUSE_FRAMES * step))
    times = times.copy()
    for leap in leaps:
        times[leap + 1 :] -= gaps[leap] - step
    return times, len(leaps)


def _rising(slots: np.ndarray) -> np.ndarray:
    """The same, where numbers so large that they hold no such difference are moved on to the next that they can."""
    if (np.diff(slots) > 0).all():
        return slots
    rising = slots - slots[0]
    for place in range(1, len(rising)):
        rising[place] = max(rising[place], np.nextafter(rising[place - 1], np.inf))
    return rising


def average_fps(times: Sequence[float], nominal: float) -> float:
    """Frames a second by their times, pauses left out; `nominal`, what the container says, where it is about that."""
    if len(times) < 2 or times[-1] <= times[0]:
        return nominal if 0 < nominal <= MAX_STATED_FPS else DEFAULT_FPS
    gaps = np.diff(times)
    pauses = gaps[gaps > max(PAUSE_SECONDS, PAUSE_FRAMES * float(np.median(gaps)))]
    measured = (len(times) - 1 - len(pauses)) / (times[-1] - times[0] - float(pauses.sum()))
    return nominal if abs(measured - nominal) < 0.01 * measured else measured
