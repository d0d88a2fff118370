"""A threshold from a budget of alarms: so many a day, by what the camera itself showed in the last week.

Peaks over threshold, as `lad.detector.tail` has it, of the highest score of each minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lad.detector.tail import PEAK_SHAPES, fit_pareto
from lad.files import read_npy, replacing

HOUR, DAY = 60, 24 * 60  # minutes
KEPT = 7 * DAY  # minutes of scores
PEAKS = 30  # the highest minutes, whose tail tells of rarer ones
LEAST = 1e-6  # from 0 and from 1, of a score
RISE = 0.005  # of the threshold: less is not said


@dataclass
class Budget:
    """The highest score of each minute of a camera, and the threshold that they come to.

    All that the camera showed counts, its true events too: they are what a person has to look at. The threshold is
    never below `least`. It is reckoned anew after each hour of scores; before the first one it is `least`.

    Attributes:
        camera: its name.
        alarms_per_day: that it may raise.
        least: the threshold where nothing else is known.
        path: of the `.npy` file that keeps the scores, `(minutes,)` float32, from run to run.
        say: gets a line where the threshold changes, or the file cannot be read or written.
    """

    camera: str
    alarms_per_day: float
    least: float
    path: Path
    say: Callable[[str], None]
    threshold: float = 0.0
    _minutes: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    _minute: int = -1  # the one that is not over
    _highest: float = 0.0
    _fresh: int = 0  # minutes since the threshold was reckoned

    def __post_init__(self) -> None:
        self.threshold = self.least
        try:
            kept = np.array(read_npy(self.path), np.float32)
            if kept.ndim != 1 or not ((kept >= 0) & (kept <= 1)).all():
                raise ValueError(f"{self.path}: holds no scores")
            self._minutes.extend(kept.tolist())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.say(f"{self.camera}: {error}: its scores count from now on")
        if len(self._minutes) < HOUR:
            left = HOUR - len(self._minutes)
            self.say(f"{self.camera}: alarms_per_day counts in {left} minutes; until then {self.least:.3f} holds")
        else:
            self._reckon()

    def add(self, time: float, score: float) -> None:
        """The next frame's score, as it is compared with the threshold."""
        minute = int(time / 60)
        if minute != self._minute:
            if self._minute >= 0:
                self._minutes.append(self._highest)
                self._fresh += 1
            self._minute, self._highest = minute, 0.0
        self._highest = max(self._highest, score)
        if self._fresh >= HOUR or (self._fresh and len(self._minutes) == HOUR):
            self._fresh = 0
            self._keep()
            self._reckon()

    def _reckon(self) -> None:
        # On the scale of logits, on which a tail has no end: a threshold is never beyond the highest score there is.
        scores = np.clip(np.sort(np.array(self._minutes, np.float64)), LEAST, 1 - LEAST)
        logits, wanted = np.log(scores / (1 - scores)), self.alarms_per_day * len(scores) / DAY
        peaks = min(max(PEAKS, round(wanted)), len(scores) - 1)
        start = float(logits[-peaks - 1])
        excesses = logits[logits > start] - start
        rarer = fit_pareto(excesses, PEAK_SHAPES).exceeded_by(min(wanted / peaks, 1.0)) if len(excesses) else 0.0
        rare = min(float(1 / (1 + np.exp(-start - rarer))), 1 - LEAST)  # which is 1 where the tail is heavy
        before, self.threshold = self.threshold, max(self.least, rare)
        if abs(self.threshold - before) > RISE:
            self.say(
                f"{self.camera}: threshold {self.threshold:.3f}, for {self.alarms_per_day:g} alarms a day, by "
                f"{len(scores) / HOUR:.0f} hours of its scores"
            )

    def _keep(self) -> None:
        try:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.save(file, np.array(self._minutes, np.float32))
        except OSError as error:
            self.say(f"{self.path}: {error.strerror or error}: the scores of {self.camera} are not kept")
