"""When an event begins, changes and ends: scores of frames in, notices out. Nothing here waits or reads a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lad.detector.online import FrameScores
from lad.detector.scoring import event_category
from lad.watch.budget import Budget
from lad.watch.payload import Notice, Payload, Severity, new_id

GAP_SECONDS = 1.0  # between two frames: more is footage that is missing
RISE = 0.01  # of the top score: less is not worth an update


@dataclass(frozen=True)
class Rule:
    """What makes an event. Scores are in [0, 1], times in seconds.

    Attributes:
        threshold: what a score has to pass for an event to begin.
        alert_threshold: what the top score has to pass for it to be an alert.
        hysteresis: an event lasts while scores pass `threshold - hysteresis`, or half of the threshold where that is
            more: every score passes what lies below 0.
        cutoff_seconds: it ends when no score has done so for so long.
        cooldown_seconds: for so long after an event the camera begins no other one.
        smooth_seconds: a score is the mean over so many seconds up to its frame; 0: its own.
        update_seconds: from one update of an event to the next, at least. A higher severity is told at once.
    """

    threshold: float
    alert_threshold: float
    hysteresis: float = 0.05
    cutoff_seconds: float = 2.0
    cooldown_seconds: float = 0.0
    smooth_seconds: float = 0.0
    update_seconds: float = 5.0

    def with_threshold(self, threshold: float) -> Rule:
        """The same with another threshold, and the other one as far between it and 1 as it was."""
        share = (self.alert_threshold - self.threshold) / (1 - self.threshold) if self.threshold < 1 else 0.0
        return replace(self, threshold=threshold, alert_threshold=threshold + share * (1 - threshold))


@dataclass
class Cooldown:
    """Over all cameras: for `seconds` after an event began, none begins on any camera. Times are their frames'."""

    seconds: float = 0.0
    _last: float = -np.inf

    def over(self, time: float) -> bool:
        return self.seconds <= 0 or not 0 <= time - self._last < self.seconds

    def begin(self, time: float) -> None:
        self._last = max(self._last, time)


@dataclass
class _Open:
    """The event that lasts.

    Attributes:
        now: what is known of it.
        told: what the last notice said; None: there was none.
        above: the last frame that kept it open.
        until: when that went off display, as far as is known.
        peak: the frame with its top score.
        classes: sum over its frames of the probabilities of categories.
        actions: likewise, of what they look like; None: nobody can tell.
    """

    now: Payload
    above: float
    until: float
    peak: float
    classes: np.ndarray
    actions: np.ndarray | None
    told: Payload | None = None


@dataclass
class Events:
    """The events of one camera.

    Attributes:
        camera: its name.
        rule: of its events.
        classes: names of the detector's categories.
        model_sha256: of the detector.
        cooldown: of all cameras.
        likeliest: names of the likeliest actions, by their probabilities.
        budget: gets every score, and gives the threshold; None: that of the rule holds.
    """

    camera: str
    rule: Rule
    classes: Sequence[str]
    model_sha256: str
    cooldown: Cooldown = field(default_factory=Cooldown)
    likeliest: Callable[[np.ndarray], tuple[str, ...]] | None = None
    budget: Budget | None = None
    _open: _Open | None = None
    _recent: deque[tuple[float, float]] = field(default_factory=deque)  # times and scores that are smoothed over
    _last: float = -np.inf  # the frame before
    _ended: float = -np.inf  # the last event

    def __post_init__(self) -> None:
        self._configured = self.rule

    @property
    def current(self) -> Payload | None:
        """The event that lasts."""
        return self._open.now if self._open else None

    def cut(self) -> None:
        """The next frame does not follow the last one: nothing is smoothed across the gap."""
        self._recent.clear()

    def add(self, frames: FrameScores, now: float) -> list[Notice]:
        """The next frames -> what is to be told. Times never decrease.

        Args:
            frames: with the probabilities of categories.
            now: on the clock of the frames' times.
        """
        notices: list[Notice] = []
        rows = zip(frames.times.tolist(), frames.scores.tolist(), frames.classes, strict=True)
        for number, (time, raw, classes) in enumerate(rows):
            actions = None if frames.actions is None else frames.actions[number]
            score = self._smoothed(time, raw)
            if self.budget:
                self.budget.add(time, score)
                if not self._open and self.budget.threshold != self.rule.threshold:
                    self.rule = self._configured.with_threshold(self.budget.threshold)
            if self._open and (self._is_over(time, score) or self._is_gap(time)):
                notices += self._end(now)
            if self._open:
                self._go_on(self._open, time, score, classes, actions)
            elif score > self.rule.threshold and self._may_begin(time):
                self._begin(time, score, classes, actions)
            self._last = time
        if self._open:
            notices += self._tell(self._open, now)
        return notices

    def silence(self, time: float, now: float) -> list[Notice]:
        """No frame has come up to `time`: an event that waits for longer than the cutoff ends."""
        over = self._open and time - self._open.above >= max(self.rule.cutoff_seconds, GAP_SECONDS)
        return self._end(now) if over else []

    def close(self, now: float) -> list[Notice]:
        """Nothing more comes: the event that lasts ends with its newest frame."""
        return self._end(now) if self._open else []

    def attach(self, event_id: str, **files: object) -> None:
        """What is known of an event's files (`clip`, `thumb`, `has_clip`, `looks_like`), for its next notice."""
        if self._open and self._open.now.id == event_id:
            self._open.now = replace(self._open.now, **files)  # type: ignore[arg-type]

    def _smoothed(self, time: float, score: float) -> float:
        if self.rule.smooth_seconds <= 0:
            return score
        if time - self._last > max(GAP_SECONDS, self.rule.smooth_seconds):
            self._recent.clear()
        self._recent.append((time, score))
        while self._recent[0][0] <= time - self.rule.smooth_seconds:
            self._recent.popleft()
        return sum(score for _, score in self._recent) / len(self._recent)

    def _is_over(self, time: float, score: float) -> bool:
        assert self._open
        return not self._keeps_open(score) and time - self._open.above >= self.rule.cutoff_seconds

    def _is_gap(self, time: float) -> bool:
        """Whether so much footage is missing that nobody knows whether the event went on."""
        return time - self._last > max(GAP_SECONDS, self.rule.cutoff_seconds)

    def _keeps_open(self, score: float) -> bool:
        return score > max(self.rule.threshold - self.rule.hysteresis, self.rule.threshold / 2)

    def _may_begin(self, time: float) -> bool:
        return time - self._ended >= self.rule.cooldown_seconds and self.cooldown.over(time)

    def _severity(self, score: float) -> Severity:
        return "alert" if score > self.rule.alert_threshold else "detection"

    def _begin(self, time: float, score: float, classes: np.ndarray, actions: np.ndarray | None) -> None:
        self.cooldown.begin(time)
        payload = Payload(
            id=new_id(self.camera, time),
            camera=self.camera,
            label=event_category(self.classes, classes),
            severity=self._severity(score),
            score=score,
            top_score=score,
            threshold=self.rule.threshold,
            start_time=time,
            end_time=None,
            frame_time=time,
            delay_seconds=0.0,
            has_clip=False,
            clip="",
            thumb="",
            model_sha256=self.model_sha256,
        )
        self._open = _Open(payload, time, time, time, classes.astype(np.float64), actions)

    def _go_on(self, event: _Open, time: float, score: float, classes: np.ndarray, actions: np.ndarray | None) -> None:
        if score > event.now.top_score:
            event.peak = time
        top = max(event.now.top_score, score)
        if event.until == event.above:  # the frame before kept it open, and goes off display now
            event.until = time
        if self._keeps_open(score):
            event.above = event.until = time
            event.classes = event.classes + classes
            event.actions = None if event.actions is None or actions is None else event.actions + actions
        label = event_category(self.classes, event.classes)
        event.now = replace(
            event.now, score=score, top_score=top, severity=self._severity(top), label=label, frame_time=time
        )

    def _tell(self, event: _Open, now: float) -> list[Notice]:
        """The event's beginning, or what changed, where that is worth a notice."""
        told = event.told
        if told:
            rose = event.now.top_score >= told.top_score + RISE
            due = rose and event.now.frame_time - told.frame_time >= self.rule.update_seconds
            if event.now.severity == told.severity and not due:
                return []
        after = replace(self._known(event), delay_seconds=now - event.now.frame_time)
        event.told = after
        return [Notice("update" if told else "new", told, after, event.peak)]

    def _known(self, event: _Open) -> Payload:
        if self.likeliest is None or event.actions is None:
            return event.now
        return replace(event.now, looks_like=self.likeliest(event.actions))

    def _end(self, now: float) -> list[Notice]:
        event, self._open = self._open, None
        assert event
        notices = [] if event.told else self._tell(event, now)
        self._ended = event.until
        after = replace(self._known(event), end_time=event.until, delay_seconds=now - event.now.frame_time)
        return [*notices, Notice("end", event.told, after, event.peak)]
