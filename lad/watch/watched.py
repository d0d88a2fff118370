"""One camera while it is watched: its process, its clips on their way through the network, its scores, its events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lad.detector.online import FrameScores
from lad.extract.clips import ClipBatch
from lad.extract.readers import Choice
from lad.extract.video import DEFAULT_LIMITS, Limits
from lad.watch.cameras import Camera
from lad.watch.events import Events
from lad.watch.messages import Again, Batch, Ended, Failed, Open, StretchEnd, Take
from lad.watch.online import Eye, Pieces, StretchScorer
from lad.watch.process import CameraProcess

Step = Batch | StretchEnd | Ended | Failed | Again  # what has to be taken in its turn
Features = Future[dict[str, np.ndarray]]
SAY_SECONDS = 60.0  # between two lines of one kind
RING_SLACK_SECONDS = 30.0  # of packets beyond a clip's beginning: an event is known later than it is filmed


@dataclass
class Waiting:
    """A step of a camera, and the features of its clips, which are being computed or not yet."""

    step: Step
    piece: ClipBatch | None = None
    features: Features | None = None


@dataclass
class Watched:
    """A camera while it is watched.

    Attributes:
        camera: as the user named it.
        eye: what scores it.
        events: of it.
        limits: of its frames.
        folder_fps: of a folder of images.
        process: its own; None: there is none now.
        restart_at: when a process that died is started anew, on the monotonic clock.
        waiting: steps in their order.
        status: None: not known yet.
        failure: why a file could not be read.
        frames: decoded so far, and when that was heard.
        scored: frames that have a score, since the last look.
        dropped: clips that were given up.
        damaged: frames that lacked parts.
    """

    camera: Camera
    eye: Eye
    events: Events
    limits: Limits = DEFAULT_LIMITS
    folder_fps: float = 25.0
    process: CameraProcess | None = None
    restart_at: float = 0.0
    pause: float = 1.0
    waiting: deque[Waiting] = field(default_factory=deque)
    status: Literal["online", "offline", "ended"] | None = None
    failure: str = ""
    frames: tuple[int, float] = (0, 0.0)
    scored: int = 0
    dropped: int = 0
    damaged: int = 0
    _told: dict[str, tuple[float, int]] = field(default_factory=dict)  # complaints: when, and how many by then
    _choice: Choice = "auto"
    _pieces: Pieces | None = None  # of the stretch that is being computed
    _piece_at: tuple[int, int] = (-1, 0)  # its number, and the clip that comes next
    _scorer: StretchScorer | None = None  # of the stretch that is being scored
    _base: int = 0  # its first clip
    _scored_at: tuple[int, int] = (-1, 0)
    _offset: float | None = None
    _newest: float = 0.0  # time of the newest frame that came
    _seen: int = 0  # frames of a file that have a score
    _passed_over: int = 0  # those that it had before it was begun again

    def start(self) -> None:
        """Start its process, and ask for its first batch."""
        camera, keep = self.camera, self.camera.clips
        delay = self.eye.delay_frames / (self.eye.spec.fps or 5.0)
        ring = camera.pre_seconds + RING_SLACK_SECONDS + delay if keep else 0.0
        job = Open(
            camera.address,
            self.eye.spec,
            self.limits,
            self._choice,
            self.folder_fps,
            offline_seconds=camera.offline_seconds,
            latest=self._newest,
            ring_seconds=ring,
        )
        self.process = CameraProcess(job)
        self.want()

    def want(self) -> None:
        """One more batch may come."""
        if self.process:
            self.process.ask(Take())

    @property
    def now(self) -> float:
        """On the clock of its frames; of a file, whose time goes with its frames, the newest of them."""
        return self._newest if self._offset is None else time.monotonic() + self._offset

    @property
    def is_silent(self) -> bool:
        """Whether no frame is under way."""
        return not self.waiting and self._scorer is None

    def complaints(self, now: float) -> Iterator[str]:
        """What a person should do something about, at a time of the monotonic clock: of each kind one line a minute."""
        slow, lost = "-o extract.fps=8 or fewer cameras may help", "the network or the camera is at fault"
        if self.camera.address.transport == "udp":
            lost = "transport: tcp may help"
        for count, text in (
            (self.dropped, f"falls behind: {{}} clips left out; {slow}"),
            (self.damaged, f"{{}} frames were damaged: parts of them did not come; {lost}"),
        ):
            at, before = self._told.get(text, (-SAY_SECONDS, 0))
            if count > before and now - at > SAY_SECONDS:
                self._told[text] = (now, count)
                yield text.format(count - before)

    def put(self, step: Step) -> None:
        """What has come, in its turn."""
        if isinstance(step, Batch):
            self.dropped += step.dropped
            self._offset = step.offset
            if len(step.times):
                self._newest = max(self._newest, float(step.times[-1]))
        self.waiting.append(Waiting(step))

    def next_to_compute(self) -> Waiting | None:
        """The oldest batch that nobody computes yet."""
        return next((one for one in self.waiting if isinstance(one.step, Batch) and one.features is None), None)

    def compute(self, waiting: Waiting, submit: Callable[..., Future[Any]]) -> None:
        """Have the features of a batch computed, and ask for the next batch."""
        batch = waiting.step
        assert isinstance(batch, Batch)
        if self._pieces is None or self._piece_at != (batch.stretch, batch.first):
            self._pieces = self.eye.pieces()
        self._piece_at = (batch.stretch, batch.first + batch.count)
        waiting.features = submit(self.eye.features, self._pieces.add(batch.clips), batch.count)
        self.want()

    @property
    def computing(self) -> int:
        """Batches that are in the networks."""
        return sum(one.features is not None and not one.features.done() for one in self.waiting)

    @property
    def is_ready(self) -> bool:
        """Whether the oldest step can be taken."""
        if not self.waiting:
            return False
        first = self.waiting[0]
        return not isinstance(first.step, Batch) or (first.features is not None and first.features.done())

    def score_batch(self, batch: Batch, features: dict[str, np.ndarray]) -> list[FrameScores]:
        """The scores that are final with the next batch: the last of an older stretch, and those of its own.

        Raises:
            ScoreError: they are not finite.
        """
        found = []
        if self._scored_at != (batch.stretch, batch.first):  # it does not follow on what was scored last
            found += self.cut()
        if self._scorer is None:
            self._scorer, self._base = self.eye.stretch(), batch.first
        self._scored_at = (batch.stretch, batch.first + batch.count)
        found.append(self._scorer.add(features, batch.times, batch.places - self.eye.spec.start(self._base)))
        return [self._new(part) for part in found]

    def score_end(self, end: StretchEnd) -> list[FrameScores]:
        """The last scores of a stretch."""
        if self._scorer is None or self._scored_at[0] != end.stretch:
            return []
        scorer, base, self._scorer = self._scorer, self.eye.spec.start(self._base), None
        return [self._new(scorer.end(end.times, end.places - base, end.sampled - base))]

    def cut(self) -> list[FrameScores]:
        """Clips are missing: the scores of those before them."""
        scorer, self._scorer = self._scorer, None
        if scorer is None:
            return []
        none = np.zeros(0)
        return [scorer.end(none, none.astype(np.int64), self.eye.spec.start(self._scored_at[1] - self._base))]

    def again(self) -> bool:
        """Begin a file once more, with the other reader, and pass over what has a score; whether that is possible."""
        if self.camera.address.kind != "file" or self._choice == "pyav":
            return False
        self.forget()
        self._choice, self._passed_over = "pyav", self._seen
        self.start()
        return True

    def forget(self) -> None:
        """Its process is to be another one: nothing of the old one counts any more."""
        if self.process:
            self.process.end()
            self.process = None
        self.waiting.clear()
        self._scorer, self._scored_at, self._piece_at = None, (-1, 0), (-1, 0)

    def _new(self, frames: FrameScores) -> FrameScores:
        """Without those that a file had before it was begun again."""
        over = min(self._passed_over, len(frames))
        self._passed_over -= over
        frames = frames.after(over)
        self._seen += len(frames)
        self.scored += len(frames)
        return frames
