"""Runs videos through decoding processes beside the network; one bad file never takes another down.

A decoder lives in a process of its own because readers can crash, hang or leak. The driver hands it one video at a
time; it sends back batches of clips, a few at a time, because a pipe that nobody reads blocks its writer.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from lad.extract.clips import ClipBatch
from lad.extract.container import DEFAULT_LIMITS, Limits
from lad.extract.decode import Reader, VideoInfo
from lad.extract.pipes import receive, send
from lad.memory import keep_freed

PR_SET_PDEATHSIG = 1  # linux/prctl.h
AGAIN = "again"  # what a decoder sends where decord gave up
ALIVE = "alive"  # and while a batch takes it long, as slow flow methods do
ALIVE_SECONDS = 1.0
LOOK_SECONDS = 1.0  # from one look at silent decoders to the next


@dataclass(frozen=True)
class ClipJob:
    """A video to cut into clips, and how: see `clips.clip_batches`; `fps` is the rate of `sampling.resample`.

    `skip_clips` are known from an earlier run, whose decoder was told the same `reader`.
    """

    item: str
    path: Path
    streams: tuple[str, ...]
    flow: str
    tail: Literal["pad", "drop"]
    batch_clips: int
    folder_fps: float
    reader: Reader = "auto"
    stride: int = 16
    crops: int = 1
    rgb_short_side: int | None = None
    fps: float | None = None
    flow_device: str = "cpu"
    flow_weights: str | None = None
    limits: Limits = DEFAULT_LIMITS
    skip_clips: int = 0


@dataclass(frozen=True)
class Started:
    """Its decoding begins with `reader`. Where `skip_clips` is 0, what it gave before is void, in earlier runs too."""

    item: str
    reader: Reader
    skip_clips: int


@dataclass(frozen=True)
class Clips:
    """The next batch of clips of a video."""

    item: str
    batch: ClipBatch


@dataclass(frozen=True)
class Finished:
    """Its last batch has been given."""

    item: str
    info: VideoInfo


@dataclass(frozen=True)
class Failed:
    """It gives no clips. `failure`: `content`, `io`, `limit` or `worker`."""

    item: str
    failure: str
    error: str


Message = Started | Clips | Finished | Failed


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: ClipJob | None = None
    silent: float = 0.0  # seconds since its last message, without those in which nobody could run
    given: int = 0  # clips of its job, those of earlier runs included


def decode_videos(jobs: Sequence[ClipJob], *, workers: int, stall_seconds: float) -> Iterator[Message]:
    """Decode `jobs` in `workers` processes and yield what they send, a video's messages always in order.

    A reader that gives up, dies or stalls gets a second chance with PyAV alone before its video counts as failed. One
    that was killed by somebody else, as for want of memory, goes on from what it gave, once.
    """
    waiting = list(reversed(jobs))
    crew: list[_Worker] = []
    looked = time.monotonic()
    killed: set[str] = set()
    try:
        while waiting or any(worker.job for worker in crew):
            while waiting and len(crew) < workers:
                crew.append(_hire())
            for worker in crew:
                if worker.job is None and waiting:
                    yield from _assign(worker, waiting.pop())
            busy = [worker for worker in crew if worker.job]
            ready = wait([worker.pipe for worker in busy], timeout=LOOK_SECONDS)
            before, looked = looked, time.monotonic()
            # All of us may have been stopped for hours (Ctrl-Z, a paused container): that is nobody's silence.
            passed = min(looked - before, max(LOOK_SECONDS, stall_seconds / 10))
            for worker in busy:
                worker.silent += passed
                message, alive = None, True
                if worker.pipe in ready:
                    try:
                        message = _receive(worker, stall_seconds)
                    except (EOFError, OSError):
                        alive = False
                elif worker.silent > stall_seconds and not worker.pipe.poll():
                    alive = False
                job = worker.job
                assert job is not None
                if not alive:
                    crew.remove(worker)
                    code = _bury(worker)
                    if code == -signal.SIGKILL and job.item not in killed:
                        killed.add(job.item)
                        waiting.append(replace(job, skip_clips=worker.given))
                    elif job.reader == "auto":
                        waiting.append(_with_pyav(job))
                    else:
                        yield Failed(job.item, "worker", _death(code, stall_seconds))
                elif message == AGAIN:
                    yield from _assign(worker, _with_pyav(job))
                elif message is not None and not isinstance(message, str):
                    if isinstance(message, Clips):
                        worker.given += len(message.batch[job.streams[0]])
                    yield message
                    if isinstance(message, Finished | Failed):
                        worker.job = None
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()
            worker.pipe.close()


def _assign(worker: _Worker, job: ClipJob) -> Iterator[Message]:
    worker.job, worker.silent, worker.given = job, 0.0, job.skip_clips
    with suppress(OSError):  # it died while idle: the next wait() finds its pipe at the end
        worker.pipe.send(job)
    yield Started(job.item, job.reader, job.skip_clips)


def _with_pyav(job: ClipJob) -> ClipJob:
    return replace(job, reader="pyav", skip_clips=0)


def _hire() -> _Worker:
    context = multiprocessing.get_context("spawn")  # decord's readers hang after a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
    # Ctrl-C reaches the whole process group: one that is still starting must not die of it with a traceback.
    resource_tracker.ensure_running()  # else process.start() starts it, and that lets Ctrl-C through again
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    theirs.close()
    return _Worker(process, ours)


def _receive(worker: _Worker, stall_seconds: float) -> Message | str:
    """The next message of a decoder that has begun to send it; one that stops halfway is ended.

    Raises:
        EOFError, OSError: it is dead.
    """
    received = threading.Event()
    threading.Thread(target=_end_unless, args=(received, worker.process, stall_seconds), daemon=True).start()
    try:
        message: Message | str = receive(worker.pipe)
        return message
    finally:
        received.set()
        worker.silent = 0.0


def _end_unless(received: threading.Event, process: SpawnProcess, stall_seconds: float) -> None:
    """End a decoder after so many seconds, of which a stop of all of us takes one look at most."""
    for _ in range(math.ceil(stall_seconds / LOOK_SECONDS)):
        if received.wait(min(stall_seconds, LOOK_SECONDS)):
            return
    process.kill()


def _bury(worker: _Worker) -> int | None:
    """How it died; None: it lives, and is ended now."""
    worker.process.join(timeout=0.5)
    code = worker.process.exitcode
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
    return code


def _death(code: int | None, stall_seconds: float) -> str:
    if code is None:
        return f"the decoder showed no progress for {stall_seconds:g} s and was ended"
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"the decoder died ({how})"


def _work(pipe: Connection, driver: int) -> None:
    """A decoding process: takes jobs, sends messages, ends with its driver. Imports no torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:  # it died before that, and its job may be to wait for what never comes
        return
    keep_freed()
    import cv2

    cv2.setNumThreads(1)  # one core a decoder, and the same arithmetic whatever the machine
    try:
        while True:
            _run_job(pipe, pipe.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone


class _Progress:
    """A word to the driver at times, for whoever calls it at every step forward."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > ALIVE_SECONDS:
            send(self._pipe, ALIVE)
            self._last = time.monotonic()


def _reporting(frames: Iterator[ArrayLike], progress: _Progress) -> Iterator[ArrayLike]:
    """The frames as they come: each is progress."""
    for frame in frames:
        yield frame
        progress()


def _run_job(pipe: Connection, job: ClipJob) -> None:
    from lad.extract.clips import clip_batches
    from lad.extract.container import VideoError
    from lad.extract.decode import ReaderGaveUp, read_frames, read_pictures
    from lad.extract.sampling import resample

    info, progress = VideoInfo(), _Progress(pipe)
    read = read_pictures if job.skip_clips else read_frames
    frames = read(job.path, info, reader=job.reader, folder_fps=job.folder_fps, limits=job.limits, on_progress=progress)
    try:
        for batch in clip_batches(
            job.limits.counted(resample(_reporting(frames, progress), info, job.fps)),
            streams=job.streams,
            flow=job.flow,
            tail=job.tail,
            batch_clips=job.batch_clips,
            stride=job.stride,
            crops=job.crops,
            rgb_short_side=job.rgb_short_side,
            flow_device=job.flow_device,
            flow_weights=job.flow_weights,
            skip_clips=job.skip_clips,
        ):
            send(pipe, Clips(job.item, batch))
        send(pipe, Finished(job.item, info))
    except ReaderGaveUp:
        send(pipe, AGAIN)
    except VideoError as error:
        send(pipe, Failed(job.item, error.kind, str(error)))
    except MemoryError:
        send(pipe, Failed(job.item, "worker", "not enough memory to decode it"))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # a reader's surprise must not take the other videos down: it is named and recorded
        message = Failed(job.item, "worker", f"unexpected {type(error).__name__}: {error}")
        send(pipe, AGAIN if job.reader == "auto" else message)
