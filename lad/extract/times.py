"""When each frame is on display, in seconds since the first one, and how many frames there are in a second."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_FPS = 25.0  # of a video that says nothing of time


class Clock:
    """The times of frames as they are decoded.

    Args:
        fps: frames a second as the container says, for frames without a time; 0: it does not say.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / (fps or DEFAULT_FPS)
        self._start: float | None = None
        self._last: float | None = None

    def read(self, stamp: float | None) -> float:
        """Seconds since the first frame of the next one, whose time stamp this is; never less than the one before."""
        if self._start is None and stamp is not None:
            self._start = stamp
        last = -self._step if self._last is None else self._last
        time = last + self._step if stamp is None or self._start is None else stamp - self._start
        self._last = max(time, last)  # a damaged file may claim that time runs backwards
        return self._last


def average_fps(times: Sequence[float], nominal: float) -> float:
    """Frames a second by their times; `nominal`, what the container says, where it is about that."""
    if len(times) < 2 or times[-1] <= times[0]:
        return nominal or DEFAULT_FPS
    measured = (len(times) - 1) / (times[-1] - times[0])
    return nominal if abs(measured - nominal) < 0.01 * measured else measured
