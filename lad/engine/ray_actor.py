"""An actor of Ray that extracts. It runs on any node of the cluster, and again on another one if that is lost."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray

from lad.engine.extracting import Extracting
from lad.engine.handover import BLOCK_BYTES
from lad.engine.messages import Alive, Extracted, File, Gone, Ready, Refused, Result, Setup, Task, one_line
from lad.engine.ray_cluster import node_name
from lad.memory import keep_freed
from lad.models import weights
from lad.version import versions


@dataclass(frozen=True)
class Lacking:
    """A node has no cache with these weights; the driver is to send them."""

    weights: list[str]


class Actor:
    """Extracts videos, several at a time: each call of `extract` is one of them.

    Its methods are called in threads beside each other. A new process after a loss begins with `hello`, too.
    """

    def __init__(self, setup: Setup) -> None:
        keep_freed()
        self._setup = setup
        self._results: dict[str, Future[Result]] = {}
        self._starting = threading.Lock()
        self._extracting: Extracting | None = None

    def hello(self, sent: dict[str, Any]) -> Ready | Refused | Lacking:
        """Get ready, unless this node would make other features.

        Args:
            sent: name of weights -> reference to what `weights.install` takes.
        """
        node = node_name(os.uname().nodename, ray.get_runtime_context().get_node_id())
        with self._starting:
            if self._extracting is None:
                if problem := _other_versions(self._setup):
                    return Refused(node, problem)
                try:
                    for name, reference in sent.items():
                        weights.install(name, *ray.get(reference))
                    lacking = [name for name in self._setup.weights if weights.find(name) is None]
                    if lacking and not sent.keys() >= set(lacking):
                        return Lacking(lacking)
                    if problem := _other_weights(self._setup):
                        return Refused(node, problem)
                    self._extracting = Extracting(self._setup, self._tell)
                except Exception as error:  # of torch, CUDA, a disk: the other nodes may do better
                    return Refused(node, one_line(error))
                threading.Thread(target=self._extracting.run_to_the_end, daemon=True).start()
        return Ready(node)

    def extract(self, task: Task) -> Result | Gone:
        """Extract a video; returns when it is done."""
        if self._extracting is None:
            return Gone("its process died, and a new one began")
        self._results[task.name] = Future()
        self._extracting.add(task)
        result = self._results[task.name].result()
        del self._results[task.name]
        if isinstance(result, Extracted) and not self._extracting.is_shared:
            return replace(result, files={stream: _in_blocks(file) for stream, file in result.files.items()})
        return result

    def look(self) -> Alive:
        """How far its videos are."""
        return Alive(self._extracting.doing() if self._extracting else [])

    def close(self) -> None:
        """Leave nothing behind on this node."""
        if self._extracting:
            self._extracting.close()

    def _tell(self, result: Result) -> None:
        name = result.name if isinstance(result, Extracted) else result.item
        self._results[name].set_result(result)


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
    """What of this node's software is not the driver's and may make other features."""
    here = versions()
    wanted = setup.versions.items()
    differ = [f"{name} {here.get(name)} and not {want}" for name, want in wanted if here.get(name) != want]
    return f"it has {', '.join(differ)}: install the same on all nodes" if differ else None


def _other_weights(setup: Setup) -> str | None:
    for name, sha256 in setup.weights.items():
        found = weights.find(name)
        if found is None or found.sha256 != sha256:
            return f"the weights {name} in {weights.cache_folder()} are not those of the driver: remove them"
    return None
