"""An actor of Ray. It runs on any node of the cluster, and again on another one if that is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import ray

from lad.device import let_threads_go
from lad.engine.handover import BLOCK_BYTES
from lad.engine.messages import Alive, Doing, Done, File, Gone, Ready, Refused, Result, Setup, Task, Unseen, one_line
from lad.engine.ray_cluster import node_name
from lad.memory import keep_freed
from lad.models import weights
from lad.version import versions


class Worker(Protocol):
    """What an actor does with videos. Its methods are called in threads beside each other."""

    is_shared: bool  # whether the driver sees the files that it makes, under the same name

    def do(self, task: Task) -> Result | Unseen:
        """Do a job; returns when it is done."""

    def doing(self) -> Sequence[Doing]:
        """How far the jobs are."""

    def close(self) -> None:
        """Leave nothing behind: the process is about to end."""


@dataclass(frozen=True)
class Lacking:
    """A node has no cache with these weights; the driver is to send them."""

    weights: list[str]


class Actor:
    """Works on videos, several at a time: each call of `do` is one of them.

    Its methods are called in threads beside each other. A new process after a loss begins with `hello`, too.

    Args:
        begin: makes a worker of what `hello` gets.
    """

    def __init__(self, begin: Callable[[Any], Worker]) -> None:
        let_threads_go()  # Ray was started by somebody else
        keep_freed()
        self._begin = begin
        self._starting = threading.Lock()
        self._worker: Worker | None = None

    def hello(self, setup: Setup, sent: dict[str, Any]) -> Ready | Refused | Lacking:
        """Get ready, unless this node would make something else.

        Args:
            setup: what is the same for all videos.
            sent: name of weights -> reference to what `weights.install` takes.
        """
        node = node_name(os.uname().nodename, ray.get_runtime_context().get_node_id())
        with self._starting:
            if self._worker is None:
                if problem := _other_versions(setup):
                    return Refused(node, problem)
                try:
                    for name, reference in sent.items():
                        weights.install(name, *ray.get(reference))
                    lacking = [name for name in setup.weights if weights.find(name) is None]
                    if lacking and not sent.keys() >= set(lacking):
                        return Lacking(lacking)
                    if problem := _other_weights(setup):
                        return Refused(node, problem)
                    self._worker = self._begin(setup)
                except Exception as error:  # of torch, CUDA, a disk: the other nodes may do better
                    return Refused(node, one_line(error))
        return Ready(node)

    def do(self, task: Task) -> Result | Unseen | Gone:
        """Do a job; returns when it is done."""
        if self._worker is None:
            return Gone("its process died, and a new one began")
        result = self._worker.do(task)
        if isinstance(result, Done) and not self._worker.is_shared:
            return replace(result, files={one: _in_blocks(file) for one, file in result.files.items()})
        return result

    def look(self) -> Alive:
        """How far its videos are."""
        return Alive(self._worker.doing() if self._worker else [])

    def close(self) -> None:
        """Leave nothing behind on this node."""
        if self._worker:
            self._worker.close()


def _in_blocks(file: File) -> File:
    """A file of this node's own disk as references to its bytes; it is removed."""
    blocks = []
    with file.path.open("rb") as whole:
        while block := whole.read(BLOCK_BYTES):
            blocks.append(ray.put(np.frombuffer(block, np.uint8)))
    file.path.unlink()
    with suppress(OSError):  # other streams are still in it
        file.path.parent.rmdir()
    return replace(file, blocks=blocks)


def _other_versions(setup: Setup) -> str | None:
    """What of this node's software is not the driver's and may make something else."""
    here = versions(*(name for name in setup.versions if name != "lad"))
    wanted = setup.versions.items()
    differ = [f"{name} {here.get(name)} and not {want}" for name, want in wanted if here.get(name) != want]
    return f"it has {', '.join(differ)}: install the same on all nodes" if differ else None


def _other_weights(setup: Setup) -> str | None:
    for name, sha256 in setup.weights.items():
        found = weights.find(name)
        if found is None or found.sha256 != sha256:
            return f"the weights {name} in {weights.cache_folder()} are not those of the driver: remove them"
    return None
