"""What the measurements share: a row of the table, and medians of repeats that take turns."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPEATS = 5
HEADER = ("what", "baseline", "lad", "figure", "target", "reached")
DATA = Path(os.environ.get("LAD_DATA", Path(__file__).parents[2] / "../shared/data"))
WORK = Path("runs/speed")  # what a measurement writes; it may be deleted


@dataclass(frozen=True)
class Row:
    """One line of docs/performance.md.

    Attributes:
        what: what was measured, in the user's words.
        baseline, ours: with their units; `baseline` is empty where the target is no ratio.
        value: the figure that the target is for, as it is shown: `3.1x`, `0.31 s`.
        target: as it is shown: `>= 2.8x`.
        met: whether the target is reached. None: there is no target.
    """

    what: str
    baseline: str
    ours: str
    value: str
    target: str
    met: bool | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As they stand below `HEADER`."""
        reached = {True: "yes", False: "NO", None: ""}[self.met]
        return self.what, self.baseline, self.ours, self.value, self.target, reached


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(works: Sequence[Callable[[], object]], repeats: int = REPEATS) -> list[float]:
    """The median seconds of each of `works`, after one call of each to warm up.

    They take turns, so that whatever else the machine does slows all of them alike.
    """
    for work in works:
        work()
    taken = [[seconds(work) for work in works] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def processor() -> str:
    """The name of the machine's processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
