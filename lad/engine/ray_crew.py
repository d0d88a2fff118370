"""Actors of Ray that work on videos, as the driver sees them: https://docs.ray.io/en/latest/ray-core/actors.html

Ray starts them, and starts them again elsewhere when they or their node are lost. Whether one takes videos is asked of
the actor itself: it has, once it has answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lad.engine.handover import placed
from lad.engine.messages import (
    Done,
    EngineError,
    Gone,
    Lost,
    NotReceived,
    Ready,
    Refused,
    Setup,
    Task,
    Unseen,
    Word,
    one_line,
)
from lad.engine.ray_cluster import OnRay, node_name, reach
from lad.models import weights

if TYPE_CHECKING:
    import ray

    from lad.engine.ray_actor import Worker

ASK_SECONDS, MOST_ASKED = 1.0, 50  # from one question to an actor to the next; so many actors a second are asked
LOOK_SECONDS = 5.0  # from one look at the cluster's nodes to the next
HEAD_SECONDS = 30.0  # without the cluster's head until the run ends; Ray would end this process after 60
CLOSE_SECONDS = 3.0
FETCH_SECONDS = 120.0  # for a block of a file
DEATHS = 3  # of an actor that never took a video before it is given up
CALLS_BESIDE = 2  # of an actor, beside its videos: how far it is, and whether it is there

Put = Callable[[bytes], Any]  # a block of a file to what stands for it


@dataclass(frozen=True)
class Assignment:
    """A kind of work for actors.

    Attributes:
        setup: what they are told first.
        begin: makes a worker of that, in an actor.
        place: where the driver wants a file: of the video id, the name of the try, and what is in the file.
        pack: a job as an actor is told it. Where that does not see its files, it gets what stands for a file's block.
    """

    setup: Setup
    begin: Callable[[Any], Worker]
    place: Callable[[str, str, str], Path]
    pack: Callable[[Any, Put | None], Any]


@dataclass
class _Actor:
    handle: Any
    node: str = ""  # where it last was ready
    is_ready: bool = False
    is_refused: bool = False
    deaths: int = 0  # for good, since one in its place last was ready
    asked: ray.ObjectRef | None = None  # what it answers to `hello` or `look`
    asked_at: float = 0.0
    tasks: dict[ray.ObjectRef, Task] = field(default_factory=dict)  # its results -> what it was given
    is_apart: bool = False  # files are sent to it: one of the driver's was not there as it is here

    def forget(self) -> None:
        """Wait for nothing of it any more."""
        self.is_ready, self.asked = False, None
        self.tasks.clear()


class RayCrew:
    """A `Crew` of actors.

    Args:
        work: what they do.
        asked: how many there are, and on what.
        cpus: that an actor takes.
        gpus: that an actor takes.
        in_flight: videos that one has at a time.
        most: actors that are of use.
        say: gets a line for what is worth knowing.
    """

    def __init__(
        self,
        work: Assignment,
        asked: OnRay,
        *,
        cpus: int,
        gpus: float,
        in_flight: int,
        most: int,
        say: Callable[[str], None],
    ) -> None:
        import ray

        from lad.engine.ray_actor import Actor

        self._ray, self._work, self._say = ray, work, say
        self._cpus, self._gpus, self._count, self._most = cpus, gpus, asked.actors, most
        self._setup = ray.put(work.setup)  # once, however many actors there are: a detector may be in it
        self._new = ray.remote(Actor).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=0,  # a video that was lost is given to another one, by the driver
            max_concurrency=in_flight + CALLS_BESIDE,
            scheduling_strategy="SPREAD",
        )
        self._actors: dict[str, _Actor] = {}
        self._nodes: dict[str, str] = {}  # that are there: identity -> name
        self._leaving: set[str] = set()  # names of those that are about to go, or went after that
        self._weights: dict[str, ray.ObjectRef] = {}  # those that a node lacks
        self._looked = 0.0
        self._head = ray.get_runtime_context().gcs_address
        self._headless = 0.0  # seconds

    def send(self, name: str, task: Task) -> None:
        self._give(self._actors[name], task)

    def _give(self, actor: _Actor, task: Task) -> None:
        packed = replace(task, job=self._work.pack(task.job, self._put if actor.is_apart else None))
        actor.tasks[actor.handle.do.remote(packed)] = task

    def _put(self, block: bytes) -> ray.ObjectRef:
        return self._ray.put(np.frombuffer(block, np.uint8))

    def listen(self, seconds: float) -> Iterator[tuple[str, Word]]:
        yield from self._look_round()
        self._ask()
        names = {reference: name for name, actor in self._actors.items() for reference in actor.tasks}
        names |= {actor.asked: name for name, actor in self._actors.items() if actor.asked is not None}
        if not names:  # of an actor that was just lost nothing is waited for
            time.sleep(seconds)
            return
        waiting = list(names)
        some, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds, fetch_local=False)
        if some:
            some, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        for reference in some:
            word = self._answer(self._actors[names[reference]], reference)
            if word is not None:
                yield names[reference], word

    def _look_round(self) -> Iterator[tuple[str, Word]]:
        """See which nodes are there, and have as many actors as were asked for, or as they have room for today."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if not self._has_head():
            return
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._miss(nodes)
        yield from self._leave()
        for number in range(len(self._actors), min(self._most, self._count or self._room(nodes))):
            self._actors[f"actor {number}"] = _Actor(self._new.remote(self._work.begin))

    def _has_head(self) -> bool:
        """Whether the cluster's head is there. Where it is not, calls of Ray wait for it.

        Raises:
            EngineError: it was not for too long.
        """
        try:
            reach(self._head, LOOK_SECONDS)
        except OSError as error:
            self._headless += LOOK_SECONDS
            if self._headless > HEAD_SECONDS:
                reason = f"the head of the cluster, {self._head}, is lost: {error.strerror or error}"
                raise EngineError(f"{reason}; the same command resumes from here") from error
            return False
        self._headless = 0.0
        return True

    def _miss(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Say which nodes are not among these any more, and nobody had said that they would go."""
        before = self._nodes
        self._nodes = {node["NodeID"]: node_name(node["NodeManagerHostname"], node["NodeID"]) for node in nodes}
        for name in set(before.values()) - set(self._nodes.values()) - self._leaving:
            self._say(f"warning: lost the node {name}")

    def _leave(self) -> Iterator[tuple[str, Word]]:
        """Give back the videos of nodes that are about to go: preempted, or drained by somebody."""
        from ray._private.state import state  # nothing public tells of them; Ray's own Train asks this, too

        self._leaving |= {self._nodes[one] for one in state.get_draining_nodes() if one in self._nodes}
        for name, actor in self._actors.items():
            if actor.is_ready and actor.node in self._leaving:
                self.restart(name)
                yield name, Gone("its node is about to go", drained=True)

    def _room(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """How many actors the nodes have room for."""
        resources = [node["Resources"] for node in nodes]
        by_cpu = [int(one.get("CPU", 0) / self._cpus) for one in resources]
        by_gpu = [int(one.get("GPU", 0) / self._gpus) if self._gpus else self._most for one in resources]
        return sum(map(min, by_cpu, by_gpu))

    def _ask(self) -> None:
        """Ask those that are away whether they are there, and the others how far they are."""
        now = time.monotonic()
        seconds = max(ASK_SECONDS, len(self._actors) / MOST_ASKED)
        for actor in self._actors.values():
            if actor.asked is None and not actor.is_refused and now - actor.asked_at >= seconds:
                if not actor.is_ready:
                    actor.asked, actor.asked_at = actor.handle.hello.remote(self._setup, self._weights), now
                elif actor.tasks:
                    actor.asked, actor.asked_at = actor.handle.look.remote(), now

    def _answer(self, actor: _Actor, reference: ray.ObjectRef) -> Word | None:
        """What came of a call."""
        from lad.engine.ray_actor import Lacking

        errors = self._ray.exceptions
        task = actor.tasks.pop(reference, None)
        if task is None:
            if reference != actor.asked:  # from before it was lost
                return None
            actor.asked = None
        try:
            word = self._ray.get(reference)
        except (errors.RayTaskError, errors.ObjectLostError) as error:  # the actor itself may be well
            if task is None:
                return self._lose(actor, error)
            return Lost(task.name, one_line(error))
        except errors.RayError as error:
            return self._lose(actor, error)
        match word:
            case Lacking(names):
                for name in names:
                    if name not in self._weights:
                        self._weights[name] = self._ray.put(weights.packed(name))
                actor.asked_at = 0.0
                return None
            case Ready(node):
                actor.node, actor.is_ready, actor.deaths, actor.is_apart = node, True, 0, False
            case Refused():
                actor.is_refused = True
            case Unseen() if task:
                actor.is_apart = True
                self._give(actor, task)
                return None
            case Gone():
                actor.forget()
        return word

    def _lose(self, actor: _Actor, error: Exception) -> Gone | Refused | None:
        """An actor that cannot be reached; Ray starts it again, but for one that fails as it starts."""
        was_ready = actor.is_ready
        actor.forget()
        if was_ready:
            is_plain = isinstance(error, self._ray.exceptions.ActorUnavailableError)  # Ray's words for it are no help
            return Gone("it died or cannot be reached" if is_plain else one_line(error))
        if isinstance(error, self._ray.exceptions.ActorDiedError):  # for good
            actor.deaths += 1
            if actor.deaths == DEATHS:
                actor.is_refused = True
                return Refused("an actor", f"it died {DEATHS} times before its first video: {one_line(error)}")
            actor.handle = self._new.remote(self._work.begin)
        return None

    def collect(self, done: Done, video_id: str) -> Mapping[str, Path]:
        def fetch(block: ray.ObjectRef) -> memoryview:
            try:
                return memoryview(self._ray.get(block, timeout=FETCH_SECONDS))
            except self._ray.exceptions.RayError as error:
                raise NotReceived(one_line(error)) from error

        files = {one: self._work.place(video_id, done.name, one) for one in done.files}
        for one, path in files.items():
            placed(done.files[one], path, fetch)
        return files

    def restart(self, name: str) -> None:
        actor = self._actors[name]
        self._ray.kill(actor.handle, no_restart=False)
        actor.forget()

    def size(self) -> int:
        return max(1, len(self._actors))

    def why_none(self) -> str:
        has = self._ray.cluster_resources()
        takes = f"{self._cpus} CPUs" + (f" and {self._gpus:g} GPUs" if self._gpus else "")
        return f"an actor takes {takes}; the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"

    def close(self) -> None:
        if self._headless:  # nobody is there to be told; nodes without a head end their actors themselves
            return
        ended = [actor.handle.close.remote() for actor in self._actors.values() if actor.is_ready]
        with suppress(self._ray.exceptions.RayError):
            if ended:
                self._ray.wait(ended, num_returns=len(ended), timeout=CLOSE_SECONDS)
        for actor in self._actors.values():
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor.handle)
