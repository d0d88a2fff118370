"""`lad watch`: cameras to scores to events to sinks, until it is told to stop or every file has ended."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from lad.detector.online import FrameScores
from lad.detector.scoring import ScoreError
from lad.errors import LadError
from lad.extract.failures import NotFinite, has_broken_device, why_it_failed
from lad.watch.clips import Clips
from lad.watch.messages import (
    Again,
    Alive,
    Answer,
    Batch,
    Ended,
    Failed,
    Offline,
    Online,
    Recorded,
    Snapped,
    StretchEnd,
    Trouble,
)
from lad.watch.metrics import Metrics
from lad.watch.outbox import Outbox
from lad.watch.payload import Notice
from lad.watch.retention import sweep
from lad.watch.stop import Stop
from lad.watch.watched import Features, Watched

LOOK_SECONDS = 0.5  # from one look at what does not happen to the next
SWEEP_SECONDS = 600.0  # from one look for old events to the next
# Of the four in which a command has to stop (`lad.__main__`); MQTT's goodbye and the metrics take up to 1.5 more.
CLOSE_CLIPS_SECONDS, CLOSE_SINKS_SECONDS = 1.0, 1.0
LONGEST_PAUSE = 30.0  # before a process that dies again and again is started anew


class WatchFailed(LadError):
    """Nothing can be watched any more."""


class Watcher(Protocol):
    """Who is told what happens."""

    def say(self, text: str) -> None:
        """A line for a person."""

    def event(self, notice: Notice) -> None:
        """An event changed."""

    def scores(self, camera: str, frames: FrameScores) -> None:
        """Frames have their scores."""


@dataclass(frozen=True)
class Keep:
    """Which events stay in the folder: so many days, so many gigabytes; None: all."""

    folder: Path | None = None
    days: float | None = None
    gigabytes: float | None = None


class Watch:
    """The loop.

    Args:
        cameras: to watch; files wait their turn.
        files_at_once: that are read beside one another.
        outbox: gets notices.
        watcher: is told what happens.
        stop: ends it.
        keep: of the folder of events.
        metrics: count.
    """

    def __init__(
        self,
        cameras: Sequence[Watched],
        outbox: Outbox,
        watcher: Watcher,
        stop: Stop,
        *,
        files_at_once: int = 2,
        keep: Keep = Keep(),
        metrics: Metrics | None = None,
    ) -> None:
        eye = cameras[0].eye
        self._at_once = eye.extractor.batches_at_once(eye.spec.batch_clips)
        self._cameras = list(cameras)
        self._files = deque(one for one in cameras if one.camera.address.kind == "file")
        self._files_at_once = files_at_once
        self._turns = deque(cameras)
        self._outbox, self._watcher, self._stop, self._metrics = outbox, watcher, stop, metrics
        self._keep = keep
        self._clips = Clips(keep.folder)
        self._swept = -SWEEP_SECONDS
        self._looked = time.monotonic()

    def run(self) -> dict[str, str]:
        """Watch; returns the files that failed, with the reason.

        Raises:
            WatchFailed: the device of the networks is broken.
        """
        network = ThreadPoolExecutor(self._at_once, thread_name_prefix="network")
        try:
            for watched in self._cameras:
                if watched.camera.address.kind != "file":
                    watched.start()
            while not self._stop.asked and not self._is_over():
                self._start_files()
                self._listen()
                self._submit(network)
                self._take_steps()
                self._look()
        finally:
            self._close()
            network.shutdown(wait=False, cancel_futures=True)
        return {watched.camera.name: watched.failure for watched in self._cameras if watched.failure}

    def _is_over(self) -> bool:
        return all(watched.status == "ended" for watched in self._cameras) and not self._clips.waiting

    def _start_files(self) -> None:
        running = sum(
            watched.camera.address.kind == "file" and watched.process is not None and watched.status != "ended"
            for watched in self._cameras
        )
        while self._files and running < self._files_at_once:
            self._files.popleft().start()
            running += 1

    # What cameras say

    def _listen(self) -> None:
        """Take what has come, of every camera at most one message; waits for one for a moment."""
        poll = select.poll()
        by_pipe = {one.process.fileno(): one for one in self._cameras if one.process}
        for pipe in (*by_pipe, self._stop.fileno()):
            poll.register(pipe, select.POLLIN)
        ready = [pipe for pipe, _ in poll.poll(LOOK_SECONDS * 1000)]
        self._stop.clear()
        for pipe in ready:
            if (watched := by_pipe.get(pipe)) and watched.process:
                try:
                    message = watched.process.take()
                except (EOFError, OSError):
                    self._died(watched)
                else:
                    if message is not None:
                        self._heard(watched, message)

    def _heard(self, watched: Watched, message: Answer) -> None:
        name, metrics = watched.camera.name, self._metrics
        match message:
            case Alive(frames, damaged):
                before, at = watched.frames
                now = time.monotonic()
                watched.frames = (frames, now)
                watched.damaged += damaged
                if metrics and now > at:
                    metrics.camera_fps(name, max(frames - before, 0) / (now - at) if at else 0.0)
                    metrics.damaged_frames(name, damaged)
                    if watched.status == "online":
                        metrics.online(name, True)
            case Online(what, again):
                watched.pause = 1.0
                if metrics and (again or watched.status):
                    metrics.reconnected(name)
                self._set_status(watched, "online", f"online: {what}")
            case Offline():
                seconds = watched.camera.offline_seconds
                self._set_status(watched, "offline", f"offline: no frame for {seconds:g} s")
            case Trouble(text):
                self._watcher.say(f"{name}: {text}")
            case Recorded(event, path, why):
                self._clips.recorded(event, path, why)
            case Snapped(event, path, why):
                self._clips.snapped(event, path, why)
            case Batch() | StretchEnd() | Ended() | Failed() | Again() if watched.status != "ended":
                watched.put(message)
                if isinstance(message, Batch) and metrics:
                    metrics.online(name, True)
                    metrics.dropped_clips(name, message.dropped)
        for event, problem in self._clips.problems():
            self._watcher.say(f"{name}: {event}: {problem}")

    def _set_status(self, watched: Watched, status: Literal["online", "offline"], text: str) -> None:
        if watched.camera.address.kind == "file" or watched.status == "ended":
            return
        name = watched.camera.name
        self._watcher.say(f"{name}: {text}")
        watched.status = status
        self._outbox.status(name, status)
        if self._metrics:
            self._metrics.online(name, status == "online")

    def _died(self, watched: Watched) -> None:
        """Its process is gone: a camera's is started anew, a file is tried once more with the other reader."""
        assert watched.process
        how = watched.process.bury() or "it said nothing any more"
        watched.process = None
        if watched.status == "ended":
            return
        if watched.camera.address.kind != "live":
            if not watched.again():
                watched.put(Failed("worker", f"the decoder died ({how})"))
            return
        self._restart(watched, f"its process ended ({how})")

    def _restart(self, watched: Watched, why: str) -> None:
        """Begin again with a camera, after a pause that grows."""
        self._score_rest(watched, watched.cut)
        watched.forget()
        self._watcher.say(f"{watched.camera.name}: {why} and is started anew")
        watched.restart_at = time.monotonic() + watched.pause
        watched.pause = min(2 * watched.pause, LONGEST_PAUSE)

    # Clips to scores to events

    def _submit(self, network: ThreadPoolExecutor) -> None:
        """Give the networks what they have room for, one batch of each camera after the other."""
        idle = 0
        computing = sum(watched.computing for watched in self._cameras)
        while computing < self._at_once and idle < len(self._turns):
            watched = self._turns[0]
            self._turns.rotate(-1)
            waiting = watched.next_to_compute()
            if waiting is None:
                idle += 1
                continue
            idle = 0
            watched.compute(waiting, network.submit)
            computing += 1
            assert waiting.features
            waiting.features.add_done_callback(self._stop.wake)

    def _take_steps(self) -> None:
        for watched in self._cameras:
            while watched.is_ready:
                waiting = watched.waiting.popleft()
                match waiting.step:
                    case Batch():
                        assert waiting.features
                        self._score_batch(watched, waiting.step, waiting.features)
                    case StretchEnd():
                        self._score_rest(watched, partial(watched.score_end, waiting.step))
                        watched.events.cut()
                    case Ended(warnings):
                        for warning in warnings:
                            self._watcher.say(f"{watched.camera.address}: {warning}")
                        self._end(watched)
                    case Failed(_, error) if watched.camera.address.kind == "live":
                        self._restart(watched, f"its process failed ({error})")
                    case Failed(_, error):
                        self._fail(watched, error)
                    case Again():
                        watched.again()

    def _score_batch(self, watched: Watched, batch: Batch, features: Features) -> None:
        try:
            found = watched.score_batch(batch, features.result())
        except (NotFinite, ScoreError, RuntimeError, MemoryError) as error:
            why = str(error) if isinstance(error, ScoreError) else why_it_failed(error)
            if isinstance(error, NotFinite):
                why = f"the {error.stream} features are not finite"
            if has_broken_device(error):
                raise WatchFailed(
                    f"{why}: the GPU can do nothing more for this process; run the command again"
                ) from error
            self._unscored(watched, f"{batch.count} clips have no score", why)
            if watched.status != "ended":
                self._score_rest(watched, watched.cut)
            return
        self._score(watched, found)
        if self._metrics and found and len(found[-1]):
            self._metrics.latency(watched.camera.name, max(watched.now - float(found[-1].times[-1]), 0.0))

    def _score_rest(self, watched: Watched, scores: Callable[[], list[FrameScores]]) -> None:
        """What is left of a stretch that is over."""
        try:
            self._score(watched, scores())
        except ScoreError as error:
            self._unscored(watched, "its last clips have no score", str(error))

    def _unscored(self, watched: Watched, what: str, why: str) -> None:
        """A file fails; a camera goes on."""
        if watched.camera.address.kind == "file":
            self._fail(watched, why)
        else:
            self._watcher.say(f"{watched.camera.name}: {what}: {why}")

    def _fail(self, watched: Watched, why: str) -> None:
        watched.failure = f"{watched.camera.address}: {why}"
        self._watcher.say(f"failed: {watched.failure}")
        self._end(watched)

    def _score(self, watched: Watched, found: Sequence[FrameScores]) -> None:
        for place, frames in enumerate(found):
            if place:
                watched.events.cut()
            self._watcher.scores(watched.camera.name, frames)
            self._tell(watched, watched.events.add(frames, watched.now))

    def _end(self, watched: Watched) -> None:
        """Nothing more comes of it."""
        self._tell(watched, watched.events.close(watched.now))
        watched.waiting.clear()
        watched.status = "ended"
        if self._metrics:
            self._metrics.finished(watched.camera.name)

    def _tell(self, watched: Watched, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.type == "new" and self._metrics:
                self._metrics.event(watched.camera.name, notice.after.severity)
            for ready in self._clips.add(watched, notice):
                self._send(ready)

    def _send(self, notice: Notice) -> None:
        self._watcher.event(notice)
        self._outbox.send(notice)

    # What does not happen

    def _look(self) -> None:
        now = time.monotonic()
        for notice in self._clips.released(now):
            self._send(notice)
        if now - self._looked < LOOK_SECONDS:
            return
        passed, self._looked = now - self._looked, now
        for watched in self._cameras:
            self._look_at(watched, now, passed)
        if self._keep.folder and now - self._swept > SWEEP_SECONDS:
            self._swept = now
            swept = sweep(self._keep.folder, days=self._keep.days, gigabytes=self._keep.gigabytes, now=time.time())
            if swept.problem:
                self._watcher.say(swept.problem)

    def _look_at(self, watched: Watched, now: float, passed: float) -> None:
        if watched.process is None and watched.restart_at and now >= watched.restart_at:
            watched.restart_at = 0.0
            watched.start()
        if watched.process:
            watched.process.excuse(max(passed - 2 * LOOK_SECONDS, 0.0))
            if watched.process.is_stuck:
                self._died(watched)
        if watched.status == "ended" and watched.process and not self._clips.need(watched):
            watched.process.end()
            watched.process = None
        if watched.is_silent and watched.status != "ended":
            self._tell(watched, watched.events.silence(watched.now, watched.now))
        if self._metrics:
            self._metrics.processed_fps(watched.camera.name, watched.scored / passed)
        watched.scored = 0
        for complaint in watched.complaints(now):
            self._watcher.say(f"{watched.camera.name}: {complaint}")

    def _close(self) -> None:
        """End what is open, and let go of everything, within four seconds."""
        for watched in self._cameras:
            if watched.status != "ended":
                self._tell(watched, watched.events.close(watched.now))
                watched.status = "ended"  # what comes now begins no event
        self._clips.stop_all()
        end = time.monotonic() + CLOSE_CLIPS_SECONDS
        while self._clips.waiting and time.monotonic() < end:
            self._listen()
            for notice in self._clips.released(time.monotonic()):
                self._send(notice)
        for notice in self._clips.released(float("inf")):
            self._send(notice)
        for watched in self._cameras:
            if watched.process:
                watched.process.end()
                watched.process = None
        for sink, left in self._outbox.close(CLOSE_SINKS_SECONDS).items():
            if left:
                self._watcher.say(f"{sink}: {left} notices are not delivered yet")
