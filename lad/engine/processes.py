"""Processes of this machine that extract, each on a device of its own."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lad import children
from lad.engine.handover import for_others, placed, prepared, staged
from lad.engine.messages import Done, ExtractSetup, Gone, PoolEvent, Ready, Refused, Task, Word
from lad.engine.pool import deal_out, in_flight_of
from lad.extract.jobs import Job
from lad.extract.pipes import Inbox, send
from lad.features.recipe import FeatureRecipe

PATIENCE_SECONDS = 0.05  # with a message that is half there
END_SECONDS = 2.0  # for a process to end by itself
DEATHS = 3  # of a process that never took a video before it is given up


def extract_on_devices(
    jobs: Sequence[Job],
    recipe: FeatureRecipe,
    home: Path,
    devices: Sequence[str],
    *,
    workers: int,
    stall_seconds: float,
    say: Callable[[str], None],
) -> Iterator[PoolEvent]:
    """`deal_out` to processes of this machine.

    Args:
        jobs: the videos.
        recipe: of their features.
        home: the work directory of this process.
        devices: a process for each.
        workers: decoding processes of each of them.
        stall_seconds: without progress, decoders and processes are ended.
        say: gets a line for what is worth knowing.

    Raises:
        EngineError: none of the processes takes videos.
    """
    with prepared(home, recipe, workers=workers, stall_seconds=stall_seconds) as setup:
        crew, in_flight = Processes(setup, devices), in_flight_of(workers)
        yield from deal_out(jobs, crew, in_flight=in_flight, stall_seconds=stall_seconds, say=say)


@dataclass
class _Process:
    device: str
    process: subprocess.Popen[bytes]
    pipe: socket.socket
    inbox: Inbox
    deaths: int = 0  # since it last was ready


class Processes:
    """A `Crew`: a process for each device, named after it and its number.

    Args:
        setup: what they are told first; its recipe's device is replaced by their own.
        devices: `cuda:0`, `cuda:1`, ... or `cpu`, as often as there are to be processes.
    """

    def __init__(self, setup: ExtractSetup, devices: Sequence[str]) -> None:
        self._setup, self._devices = setup, devices
        self._processes = {f"{device} #{number}": self._start(device) for number, device in enumerate(devices)}

    def _start(self, device: str, deaths: int = 0) -> _Process:
        process, connection = children.start("lad.engine.worker")
        pipe = children.as_socket(connection)
        with suppress(OSError):  # it died: found when it is listened to
            send(pipe.fileno(), replace(self._setup, recipe=replace(self._setup.recipe, device=device)))
        return _Process(device, process, pipe, Inbox(pipe, PATIENCE_SECONDS), deaths)

    def send(self, name: str, task: Task) -> None:
        with suppress(OSError):
            send(self._processes[name].pipe.fileno(), replace(task, job=for_others(task.job)))

    def listen(self, seconds: float) -> Iterator[tuple[str, Word]]:
        poll = select.poll()
        by_pipe = {one.pipe.fileno(): name for name, one in self._processes.items()}
        for pipe in by_pipe:
            poll.register(pipe, select.POLLIN)
        for pipe, _ in poll.poll(seconds * 1000):
            name = by_pipe[pipe]
            try:
                word = self._processes[name].inbox.take()
            except (EOFError, OSError):
                yield name, self._replace(name)
                continue
            if isinstance(word, Ready):
                self._processes[name].deaths = 0
            if isinstance(word, Refused):  # it ends now, and another one would say the same
                _end(self._processes.pop(name))
            if word is not None:
                yield name, word

    def _replace(self, name: str) -> Gone | Refused:
        """Start a process anew that has died, unless it never comes as far as to take videos."""
        dead = self._processes.pop(name)
        how = _end(dead)
        if dead.deaths + 1 == DEATHS:
            return Refused(dead.device, f"its process died {DEATHS} times before its first video ({how})")
        self._processes[name] = self._start(dead.device, dead.deaths + 1)
        return Gone(f"its process died ({how})")

    def collect(self, done: Done, video_id: str) -> Mapping[str, Path]:
        files = {one: staged(self._setup.home, video_id, done.name, one) for one in done.files}
        for one, path in files.items():
            placed(done.files[one], path)
        return files

    def restart(self, name: str) -> None:
        dead = self._processes.pop(name)
        dead.process.kill()
        _end(dead)
        self._processes[name] = self._start(dead.device)

    def size(self) -> int:
        return len(self._devices)

    def why_none(self) -> str:
        return f"processes on {', '.join(self._devices)} are still starting"

    def close(self) -> None:
        for one in self._processes.values():
            one.pipe.shutdown(socket.SHUT_RDWR)
        for one in self._processes.values():
            _end(one)


def _end(one: _Process) -> str:
    """End a process that is dead or about to be, and say how it had ended."""
    with suppress(subprocess.TimeoutExpired):
        one.process.wait(END_SECONDS)
    code = one.process.returncode
    one.process.kill()
    one.process.wait()
    one.pipe.close()
    return "it was ended" if code is None else children.ending(code)
