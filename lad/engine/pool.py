"""Videos dealt to many processes, on this machine or others: who dies loses nothing but time.

It knows neither what the processes are nor what they do with a video. A `Crew` knows the first, of processes of this
machine (`processes.py`) or of actors of Ray (`ray_crew.py`); its `Job` the other.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lad.engine.messages import (
    Alive,
    Doing,
    Done,
    EngineError,
    Fleet,
    Gone,
    Job,
    Lost,
    Made,
    NotReceived,
    PoolEvent,
    Progressed,
    Ready,
    Refused,
    Task,
    Word,
)
from lad.extract.jobs import Failed, Started
from lad.extract.video import Failure

LOOK_SECONDS = 1.0  # from one look at silent processes to the next
FLEET_SECONDS = 2.0  # from one `Fleet` to the next
IN_FLIGHT = 2  # videos of a process at a time, unless it has more decoders
TRIES = 3  # of a video whose process is lost, or whose file cannot be read where it was tried
STILL = 10  # so many times `stall_seconds` a process that answers may take without one more frame or clip
WAIT_SECONDS = 60.0  # without a process that takes videos until that is said
START_SECONDS = 900.0  # and until it is given up: clusters that grow need minutes for a new machine


class Crew(Protocol):
    """Processes that work on videos, each with a name."""

    def send(self, name: str, task: Task) -> None:
        """Give a process a job. Whether it heard, its answers say."""

    def listen(self, seconds: float) -> Iterable[tuple[str, Word]]:
        """What came of them: waits for so long where nothing did."""

    def collect(self, done: Done, video_id: str) -> Mapping[str, Path]:
        """What was made of a video as complete files where the driver wants them, checked by their hash.

        Raises:
            NotReceived: they are not there as they were made.
            OSError: they cannot be written.
        """

    def restart(self, name: str) -> None:
        """End a process, whatever it does; it is `Ready` again when a new one takes its place."""

    def size(self) -> int:
        """How many processes there are, or shall be."""

    def why_none(self) -> str:
        """What may be the matter where none of them takes videos."""

    def close(self) -> None:
        """End all."""


def in_flight_of(workers: int) -> int:
    """How many videos a process with so many decoders has at a time."""
    return max(IN_FLIGHT, workers)


@dataclass
class _Video:
    """One that is not done yet."""

    job: Job
    tries: int = 0  # that came to nothing
    nodes: set[str] = field(default_factory=set)  # where


@dataclass
class _Member:
    """A process that takes videos."""

    node: str
    trying: dict[str, _Video] = field(default_factory=dict)  # by the name of the try
    doing: dict[str, Doing] = field(default_factory=dict)
    silent: float = 0.0  # seconds since it said anything
    still: float = 0.0  # seconds since it came forward

    @property
    def is_fetching(self) -> bool:
        """Whether a video at a URL is not here yet, as far as anybody knows."""
        return any(video.job.is_remote and name not in self.doing for name, video in self.trying.items())


def deal_out(
    jobs: Sequence[Job], crew: Crew, *, in_flight: int, stall_seconds: float, say: Callable[[str], None]
) -> Iterator[PoolEvent]:
    """Have the processes of `crew` do jobs, in their order, and yield what comes of them.

    A video's events are `Started`, some `Progressed`, and `Made` or `Failed`. Where its process is lost it is `Started`
    again: three times, and then it has failed as `worker`. So is one that cannot be read on one machine and may be on
    another.

    Args:
        jobs: one of each video, from its start.
        crew: who does them; closed at the end.
        in_flight: videos that a process has at a time, at most.
        stall_seconds: a process that says nothing for so long is ended.
        say: gets a line for what is worth knowing.

    Raises:
        EngineError: nobody takes videos.
    """
    pool = _Pool(crew, jobs, in_flight, stall_seconds, say)
    try:
        yield from pool.run()
    finally:
        crew.close()


class _Pool:
    def __init__(
        self, crew: Crew, jobs: Sequence[Job], in_flight: int, stall_seconds: float, say: Callable[[str], None]
    ) -> None:
        self.crew, self.in_flight, self.stall_seconds, self.say = crew, in_flight, stall_seconds, say
        self.waiting = deque(jobs)
        self.again: list[_Video] = []  # those that were lost: each is tried alone, so that it cannot take others along
        self.members: dict[str, _Member] = {}
        self.refused: dict[str, str] = {}  # name -> why
        self.looked = self.told = time.monotonic()
        self.alone = 0.0  # seconds without a process that takes videos

    def run(self) -> Iterator[PoolEvent]:
        while self.waiting or self.again or any(member.trying for member in self.members.values()):
            for name, member in self.members.items():
                while video := self._next(member):
                    task = Task(secrets.token_hex(8), video.job)
                    yield Started(video.job.item, "auto", 0)  # before: what an earlier try left is removed now
                    member.trying[task.name], member.still = video, 0.0
                    self.crew.send(name, task)
            if time.monotonic() - self.told >= FLEET_SECONDS:
                self.told = time.monotonic()
                yield self._fleet()
            for name, word in self.crew.listen(LOOK_SECONDS):
                yield from self._take(name, word)
            yield from self._watch()

    def _next(self, member: _Member) -> _Video | None:
        """The video that a process is given next; None: it has enough."""
        if len(member.trying) >= self.in_flight or any(video.tries for video in member.trying.values()):
            return None
        if not member.trying:
            for video in self.again:
                if self._is_place_for(member.node, video):
                    self.again.remove(video)
                    return video
        if not self.waiting:
            return None
        return _Video(self.waiting.popleft())

    def _is_place_for(self, node: str, video: _Video) -> bool:
        """Whether a video is to be tried on a machine: not where it failed, while there is another one."""
        return node not in video.nodes or self._nodes() <= video.nodes

    def _nodes(self) -> set[str]:
        return {member.node for member in self.members.values()}

    def _take(self, name: str, word: Word) -> Iterator[PoolEvent]:
        """What a process said."""
        member = self.members.get(name)
        if member:
            member.silent = 0.0
        match word:
            case Ready(node):
                if member:  # it died and came back between two words
                    yield from self._lose(name, "its process died")
                self.members[name], self.told = _Member(node), -math.inf  # that is news
                self.refused.pop(name, None)
            case Refused(node, why):
                self._refuse(name, node, why)
            case Gone(why, drained):
                yield from self._lose(name, why, drained=drained)
            case Alive(doing) if member:
                for one in doing:
                    yield from self._progress(member, one)
            case Done() | Failed() | Lost() if member:
                yield from self._end(member, word)

    def _progress(self, member: _Member, doing: Doing) -> Iterator[PoolEvent]:
        before = member.doing.get(doing.name, Doing(doing.name))
        if doing.name in member.trying and doing != before:
            member.still, member.doing[doing.name] = 0.0, doing
            item = member.trying[doing.name].job.item
            yield Progressed(item, doing.clips - before.clips, doing.clips, doing.reached)

    def _end(self, member: _Member, word: Done | Failed | Lost) -> Iterator[PoolEvent]:
        """A try is over."""
        name = word.item if isinstance(word, Failed) else word.name
        video = member.trying.pop(name, None)
        if video is None:  # of a try that was given up
            return
        member.doing.pop(name, None)
        member.still = 0.0
        match word:
            case Done():
                try:
                    files = self.crew.collect(word, video.job.item)
                except NotReceived as error:
                    yield from self._retry(video, member.node, "worker", f"what it made did not arrive: {error}")
                else:
                    yield Made(video.job.item, word, files)
            case Failed(_, "io", error) if not self._nodes() <= {*video.nodes, member.node}:
                yield from self._retry(video, member.node, "io", error)
            case Failed():
                yield replace(word, item=video.job.item)
            case Lost():
                yield from self._retry(video, member.node, "worker", word.why)

    def _lose(self, name: str, why: str, *, drained: bool = False) -> Iterator[PoolEvent]:
        """A process is gone, with all that it was doing; `drained`: whoever is free next does it."""
        member = self.members.pop(name, None)
        if member:
            self.say(f"warning: lost a process on {member.node}: {why}")
            for video in reversed(member.trying.values()):  # what is put in front last is done first
                if drained and not video.tries:
                    self.waiting.appendleft(video.job)
                elif drained:
                    self.again.append(video)
                else:
                    yield from self._retry(video, member.node, "worker", why)

    def _retry(self, video: _Video, node: str, failure: Failure, why: str) -> Iterator[PoolEvent]:
        """Have a video done elsewhere, unless it was tried often enough."""
        video.tries += 1
        video.nodes.add(node)
        if video.tries < TRIES:
            self.again.append(video)
        else:
            yield Failed(video.job.item, failure, f"{why} (on {node}, after {video.tries} tries)")

    def _refuse(self, name: str, node: str, why: str) -> None:
        line = f"{node}: {why}"
        if line not in self.refused.values():
            self.say(f"warning: nothing is done on {line}")
        self.refused[name] = line
        if len(self.refused) >= self.crew.size():
            raise EngineError("\n".join(dict.fromkeys(self.refused.values())))

    def _watch(self) -> Iterator[PoolEvent]:
        """End who says nothing, or does not come forward."""
        # All of us may have been stopped for hours (Ctrl-Z, a paused container): that is nobody's silence.
        now = time.monotonic()
        passed, self.looked = min(now - self.looked, 2 * LOOK_SECONDS), now
        for name, member in list(self.members.items()):
            if not member.trying:
                continue
            member.silent += passed
            if not member.is_fetching:  # which has time limits of its own
                member.still += passed
            for seconds, most in ((member.silent, self.stall_seconds), (member.still, STILL * self.stall_seconds)):
                if seconds > most:
                    self.crew.restart(name)
                    yield from self._lose(name, f"it showed no progress for {most:g} s and was ended")
                    break
        self.alone = 0.0 if self.members else self.alone + passed
        if self.alone > START_SECONDS:
            raise EngineError(f"nobody takes videos for {START_SECONDS / 60:.0f} minutes: {self.crew.why_none()}")
        if self.alone > WAIT_SECONDS >= self.alone - passed:
            self.say(f"nobody takes videos yet: {self.crew.why_none()}")

    def _fleet(self) -> Fleet:
        nodes: dict[str, int] = {}
        for member in self.members.values():
            nodes[member.node] = nodes.get(member.node, 0) + 1
        in_flight = {
            video.job.item: member.node for member in self.members.values() for video in member.trying.values()
        }
        return Fleet(nodes, self.crew.size() - len(self.members), in_flight)
