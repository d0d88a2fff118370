"""Decoding processes at work: one bad file never takes another down.

Each worker has one video at a time and sends back batches of clips. Messages are taken as they come, a few at a time,
because a pipe that nobody reads blocks its writer.
"""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lad import children
from lad.extract.ahead import Ahead, Unfetched
from lad.extract.jobs import Again, Alive, Answer, Clips, Failed, Finished, Job, Message, Started
from lad.extract.pipes import Inbox, send

LOOK_SECONDS = 1.0  # from one look at silent workers to the next
PATIENCE_SECONDS = 0.05  # with a worker that is in the middle of a message
BURIAL_SECONDS = 0.5  # for one whose pipe has ended to end itself


@dataclass(frozen=True)
class Died:
    """A worker is gone. `code`: its exit status, negative for a signal; None: it stalled and was ended."""

    code: int | None


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: socket.socket
    inbox: Inbox
    job: Job | None = None
    silent: float = 0.0  # seconds since it last sent anything, without those in which nobody could run
    given: int = 0  # clips of its job, those of earlier runs included


def decode_videos(
    jobs: Iterable[Job | None], *, workers: int, stall_seconds: float
) -> Generator[Message | None, None, None]:
    """Decode `jobs` in `workers` processes and yield what they send, a video's messages always in order.

    A reader that gives up, dies or stalls gets a second chance with PyAV alone before its video counts as failed. One
    that was killed by somebody else, as for want of memory, continues after what it gave, once. The file of a video at
    a URL is fetched before its turn comes, and removed when it is done. None: nothing came for a second, which leaves
    the caller a moment for what else it does.

    Args:
        jobs: the videos. None among them: there is none now, and there will be more; it is answered by None.
        workers: processes.
        stall_seconds: one that shows no progress for so long is ended.
    """
    ahead = Ahead(jobs)
    again: list[Job] = []  # whose decoder gave up or died
    crew: list[_Worker] = []
    killed: set[str] = set()
    events = _events(crew, stall_seconds)
    try:
        while again or ahead or any(worker.job for worker in crew):
            while (again or ahead) and _has_room(crew, workers):
                match again.pop() if again else ahead.next():
                    case Job() as waiting:
                        yield _assign(_idle(crew), waiting)
                    case Unfetched(waiting, reason):
                        yield Started(waiting.item, waiting.choice, waiting.skip_clips)
                        yield Failed(waiting.item, "io", reason)
                    case None:
                        if ahead:
                            yield None
                        break
            if not any(worker.job for worker in crew):
                if ahead:
                    ahead.wait()
                continue
            heard = next(events)
            if heard is None:
                yield None
                continue
            worker, event = heard
            job = worker.job
            assert job is not None
            match event:
                case Alive():
                    pass
                case Clips():
                    worker.given += event.count
                    yield event
                case Finished() | Failed():
                    worker.job = None
                    ahead.drop(job.item)
                    yield event
                case Again():
                    yield _assign(worker, _with_pyav(job))
                case Died(code) if code == -signal.SIGKILL and job.item not in killed:
                    killed.add(job.item)
                    again.append(replace(job, skip_clips=worker.given))
                case Died() if job.choice == "auto":
                    again.append(_with_pyav(job))
                case Died(code):
                    ahead.drop(job.item)
                    yield Failed(job.item, "worker", _how(code, stall_seconds))
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.wait()
            worker.pipe.close()
        ahead.close()


def _has_room(crew: Sequence[_Worker], most: int) -> bool:
    """Whether a worker has no job, or there may be one more."""
    return len(crew) < most or any(worker.job is None for worker in crew)


def _idle(crew: list[_Worker]) -> _Worker:
    """A worker without a job: one of the crew, or a new one."""
    for worker in crew:
        if worker.job is None:
            return worker
    process, connection = children.start("lad.extract.worker")
    pipe = children.as_socket(connection)
    crew.append(_Worker(process, pipe, Inbox(pipe, PATIENCE_SECONDS)))
    return crew[-1]


def _assign(worker: _Worker, job: Job) -> Started:
    worker.job, worker.silent, worker.given = job, 0.0, job.skip_clips
    with suppress(OSError):  # it died while idle: the next look finds its pipe at the end
        send(worker.pipe.fileno(), replace(job, before={}))  # features are no business of a decoder
    return Started(job.item, job.choice, job.skip_clips)


def _with_pyav(job: Job) -> Job:
    return replace(job, choice="pyav", skip_clips=0)


def _events(crew: list[_Worker], stall_seconds: float) -> Iterator[tuple[_Worker, Answer | Died] | None]:
    """What comes of the crew, for ever; one that died is not in it any more. None: nothing came for a second."""
    looked = time.monotonic()
    while True:
        busy = [worker for worker in crew if worker.job]
        ready = _ready(busy)
        before, looked = looked, time.monotonic()
        # All of us may have been stopped for hours (Ctrl-Z, a paused container): that is nobody's silence.
        passed = min(looked - before, max(LOOK_SECONDS, stall_seconds / 10))
        for worker in busy:
            worker.silent = 0.0 if worker in ready else worker.silent + passed
            if worker in ready:
                try:
                    message = worker.inbox.take()
                except (EOFError, OSError):
                    crew.remove(worker)
                    yield worker, Died(_bury(worker))
                else:
                    if message is not None:
                        yield worker, message
            elif worker.silent > stall_seconds:
                crew.remove(worker)
                yield worker, Died(_bury(worker))
        if not ready:
            yield None


def _ready(busy: Sequence[_Worker]) -> list[_Worker]:
    """Those that have sent something, or died, within a second."""
    poll = select.poll()
    by_pipe = {worker.pipe.fileno(): worker for worker in busy}
    for pipe in by_pipe:
        poll.register(pipe, select.POLLIN)
    return [by_pipe[pipe] for pipe, _ in poll.poll(LOOK_SECONDS * 1000)]


def _bury(worker: _Worker) -> int | None:
    """How it died; None: it lives, and is ended now."""
    with suppress(subprocess.TimeoutExpired):
        worker.process.wait(BURIAL_SECONDS)
    code = worker.process.returncode
    worker.process.kill()
    worker.process.wait()
    worker.pipe.close()
    return code


def _how(code: int | None, stall_seconds: float) -> str:
    if code is None:
        return f"the decoder showed no progress for {stall_seconds:g} s and was ended"
    return f"the decoder died ({children.ending(code)})"
