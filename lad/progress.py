"""How far long work is, as lines of text: for the log, and for where no bar can be drawn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lad.pipeline.reporter import SETTLED_SECONDS

PROGRESS_SECONDS = 30.0  # from one line to the next


class Clock:
    """When the next line is due: one clock for all bars of a command, so that many short ones are not passed over."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._begun = time.monotonic()

    def left(self) -> float:
        """Seconds until the next line."""
        return max(0.0, self._begun + PROGRESS_SECONDS - time.monotonic())


@dataclass
class Work:
    """Long work and how far it is.

    Attributes:
        what: its name.
        total: of how many parts it is; None: nobody knows.
        unit: what a part is called, in the plural.
        done: parts that are done.
        share: how much of all is done, from 0 to 1, where `done` of `total` does not say.
        speed: how fast it is, in words; empty: parts a second.
        note: what is being worked on.
    """

    what: str
    total: float | None
    unit: str
    done: float = 0.0
    share: float | None = None
    speed: str = ""
    note: str = ""
    _begun: float = field(default_factory=lambda: time.monotonic())
    _done_before: float = 0.0
    _share_before: float = 0.0
    _has_moved: bool = False

    def advance(self, note: str) -> None:
        """One more is done."""
        self.done, self.note, self._has_moved = self.done + 1, note or self.note, True

    def show(
        self, done: float | None, total: float | None, note: str | None, share: float | None, speed: str | None
    ) -> None:
        """What is known now; None: as before. The first that is said to be done was done before this work began."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        self.share = self.share if share is None else share
        self.speed = self.speed if speed is None else speed
        if not self._has_moved and (done is not None or share is not None):
            self._begun, self._has_moved = time.monotonic(), True
            self._done_before, self._share_before = self.done, self._part_done() or 0.0

    def _part_done(self) -> float | None:
        if self.share is not None:
            return min(self.share, 1.0)
        return min(self.done / self.total, 1.0) if self.total else None

    def line(self) -> str:
        """`extract: 12 of 169 videos (7 %), 3.1x real time / 212 frames/s, about 24 min left: street, frame 96`."""
        part, seconds = self._part_done(), time.monotonic() - self._begun
        count = f"{self.done:.0f}" if self.total is None else f"{self.done:.0f} of {self.total:.0f}"
        said = [f"{count} {self.unit}" + ("" if part is None else f" ({100 * part:.0f} %)")]
        settled = seconds >= SETTLED_SECONDS
        rate = (self.done - self._done_before) / seconds if settled else 0.0
        if self.speed or rate >= 0.1:
            said.append(self.speed or f"{rate:.1f} {self.unit}/s")
        if settled and part is not None and part > self._share_before:
            said.append(f"about {duration(seconds * (1 - part) / (part - self._share_before))} left")
        return f"{self.what}: {', '.join(said)}" + (f": {self.note}" if self.note else "")


def duration(seconds: float) -> str:
    """`90` -> `2 min`, `9000` -> `2 h 30 min`: what an estimate is worth."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


@contextmanager
def told(work: Work, clock: Clock, say: Callable[[str], None]) -> Iterator[None]:
    """Say how far `work` is whenever the clock says so, also while its next step takes long."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(clock.left()):
            clock.restart()
            say(work.line())

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
