"""A network as CUDA graphs: all its kernels start at once, where one by one they take longer to start than to run.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

Network = Callable[[torch.Tensor], torch.Tensor]

GRAPHS = 4  # shapes of batches that one is kept for: each holds the memory that its kernels write to
WARM_UP = 3  # runs before a capture, in which cuDNN sets itself up

_capturing = threading.Lock()  # two captures at once would see each other's memory


def capture(network: Network, pixels: torch.Tensor) -> Network:
    """The network for batches of this shape alone, on the current stream. What it gives is its own until it runs again.

    Raises:
        RuntimeError: something in the network cannot be captured.
    """
    stream, given = torch.cuda.current_stream(), pixels.clone()
    for _ in range(WARM_UP):
        network(given)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with _capturing, torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        found = network(given)

    def replay(pixels: torch.Tensor) -> torch.Tensor:
        given.copy_(pixels)
        graph.replay()
        return found

    return replay


class Graphs:
    """A network that is captured for each shape which comes a second time; for one thread, on one stream.

    A network that cannot be captured runs kernel by kernel, with a warning: slower, and with the same features.
    """

    def __init__(self, network: Network, capture: Callable[[Network, torch.Tensor], Network] = capture) -> None:
        self.network, self.capture = network, capture
        self.captured: OrderedDict[Any, Network] = OrderedDict()  # the latest used last
        self.seen: set[Any] = set()
        self.can_be_captured = True

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        shape = pixels.shape
        if shape in self.captured:
            self.captured.move_to_end(shape)
            return self.captured[shape](pixels)
        if shape in self.seen and self.can_be_captured:
            if len(self.captured) == GRAPHS:
                self.captured.popitem(last=False)
            try:
                self.captured[shape] = self.capture(self.network, pixels)
                return self.captured[shape](pixels)
            except RuntimeError as error:
                self.can_be_captured = False
                warnings.warn(f"no CUDA graph of the feature network, it runs without: {error}", stacklevel=2)
        self.seen.add(shape)
        return self.network(pixels)
