"""A network as CUDA graphs: all its kernels start at once, where one by one they take longer to start than to run.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lad.extract.failures import is_out_of_memory

Network = Callable[[torch.Tensor], torch.Tensor]
Pool = Any  # what `torch.cuda.graph_pool_handle` gives
Capture = Callable[[Network, torch.Tensor, Pool], Network]

GRAPHS = 4  # shapes of batches that one is kept for: each holds its input and its result
WARM_UP = 3  # runs before a capture, in which cuDNN sets itself up

_capturing = threading.Lock()  # two captures at once would see each other's memory
_local = threading.local()


@dataclass(frozen=True)
class Lane:
    """What one thread has on one GPU.

    Attributes:
        stream: of all that it starts there.
        pool: memory that the kernels of all its graphs write to. Its graphs never run at the same time, so they can
            share it: it is as large as the largest of them needs, not as all of them together.
    """

    stream: Any
    pool: Pool


def lane(device: str) -> Lane:
    """That of the calling thread."""
    lanes = _local.__dict__.setdefault("lanes", {})
    if device not in lanes:
        lanes[device] = Lane(torch.cuda.Stream(device), torch.cuda.graph_pool_handle())
    return lanes[device]


def capture(network: Network, pixels: torch.Tensor, pool: Pool) -> Network:
    """The network for batches of this shape alone, on the current stream.

    What it gives is its own until any graph of the same pool runs.

    Raises:
        RuntimeError: something in the network cannot be captured, or there is no memory for it.
    """
    stream, given = torch.cuda.current_stream(), pixels.clone()
    for _ in range(WARM_UP):
        network(given)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with _capturing, torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        found = network(given)

    def replay(pixels: torch.Tensor) -> torch.Tensor:
        given.copy_(pixels)
        graph.replay()
        return found

    return replay


class Graphs:
    """A network that is captured for each shape which comes a second time; for one thread, on one stream.

    A network that cannot be captured runs kernel by kernel, with a warning: slower, and with the same features. So does
    a shape that there is no memory to capture for, without keeping others from it.
    """

    def __init__(self, network: Network, pool: Pool, capture: Capture = capture) -> None:
        self.network, self.pool, self.capture = network, pool, capture
        self.captured: OrderedDict[Any, Network] = OrderedDict()  # the latest used last
        self.seen: set[Any] = set()
        self.too_large: set[Any] = set()
        self.can_be_captured = True

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        shape = pixels.shape
        if shape in self.captured:
            self.captured.move_to_end(shape)
            return self.captured[shape](pixels)
        if shape in self.seen and self.can_be_captured and shape not in self.too_large:
            if len(self.captured) == GRAPHS:
                self.captured.popitem(last=False)
            try:
                self.captured[shape] = self.capture(self.network, pixels, self.pool)
            except RuntimeError as error:
                self._give_up(shape, error)
            else:
                return self.captured[shape](pixels)
        self.seen.add(shape)
        return self.network(pixels)

    def _give_up(self, shape: Any, error: RuntimeError) -> None:
        """`shape` could not be captured; but for want of memory, none can."""
        if is_out_of_memory(error):
            self.too_large.add(shape)
            said = f"of batches of {shape[0]}: no memory for it"
        else:
            self.can_be_captured = False
            said = str(error)
        warnings.warn(f"no CUDA graph of the feature network, it runs without: {said}", stacklevel=3)
