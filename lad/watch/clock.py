"""When a camera's frames were taken: seconds on one clock that never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SET_SECONDS = 1.0  # a wall clock that is so far ahead was set forward: a machine without a battery gets its time late
STEP_SECONDS = 30.0  # from one look at how camera and machine drift apart to the next
JUMP_SECONDS = 3.0  # a stamp that is farther from its arrival counts for nothing
LEAST_STEP = 1e-3  # from one frame to the next


@dataclass
class WallClock:
    """Unix seconds by the monotonic clock, so that nobody sets them back.

    `begin` reads the wall clock anew, at each connection. Where that is set forward, time follows at once; where it is
    set back, time goes on as before.

    Attributes:
        latest: what was told last: no time is before it.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    latest: float = -float("inf")
    _offset: float | None = None

    def begin(self) -> None:
        now = self.monotonic()
        before = -float("inf") if self._offset is None else self._offset  # a time without a connection counts, too
        self._offset = max(self.wall() - now, self.latest - now, before)

    def now(self) -> float:
        if self._offset is None:
            self.begin()
        assert self._offset is not None
        now = self.monotonic()
        if self.wall() - now - self._offset > SET_SECONDS:
            self._offset = self.wall() - now
        self.latest = now + self._offset
        return self.latest


@dataclass
class PacketClock:
    """When the pictures of one connection were taken.

    Packets arrive in bursts, and a camera's own stamps are even, but of a clock that nobody set and that drifts. So a
    picture has its camera's stamp, moved by the least difference between arrival and stamp of the last half a minute:
    that of the packets that were under way for the shortest time.

    Attributes:
        believes: whether there are stamps that can be believed; otherwise a picture has the time of its arrival.
    """

    believes: bool = True
    _offset: float | None = None
    _least: float = float("inf")
    _since: float = -float("inf")
    _last: float = -float("inf")
    _stray: int = field(default=0)

    def learn(self, stamp: float | None, arrival: float) -> None:
        """Take note of a packet before any is asked for: the first ones come at once, from before the connection."""
        if stamp is not None:
            self._least = min(self._least, arrival - stamp)
            self._offset, self._since = self._least, arrival

    def read(self, stamp: float | None, arrival: float) -> float:
        """When a packet's picture was taken.

        Args:
            stamp: the camera's, in seconds; None: it has none.
            arrival: of the packet, on the clock that the answer is on.
        """
        if not self.believes or (stamp is None and self._offset is None):
            return arrival
        if stamp is None:
            return self._last
        difference = arrival - stamp
        if self._offset is None or not -JUMP_SECONDS < difference - self._offset < 10 * JUMP_SECONDS:
            self._offset, self._least, self._since = difference, difference, arrival  # its clock was set, or it paused
        self._least = min(self._least, difference)
        if difference < self._offset:  # no picture arrives before it was taken
            self._offset = difference
        elif arrival - self._since > STEP_SECONDS:
            self._offset, self._least, self._since = self._least, difference, arrival
        self._last = stamp + self._offset
        return self._last


@dataclass
class Rising:
    """Times of frames in the order in which they are shown: each later than the one before."""

    _last: float = -float("inf")

    def __call__(self, time: float) -> float:
        self._last = max(time, self._last + LEAST_STEP)
        return self._last
