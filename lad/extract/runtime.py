"""How torch runs a feature network on a device: in which precision, and how much at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from lad.device import kind_of
from lad.extract.failures import is_out_of_memory

Dtype = Literal["float32", "float16", "bfloat16", "int8"]
Preset = Literal["kinetics", "wan2021"]

# What the network is to see as one: each clip by itself, or the clips of a batch as the piece of video that they are.
Context = Literal["clip", "batch"]

# Pieces of video `(n, 16 k, height, width, channels)`, uint8 or float32, to features `(n * k, dim)` float32.
ClipFunction = Callable[[np.ndarray], np.ndarray]

# Batches that are computed at a time, at least. A GPU copies one while it computes the other; the threads of a CPU go
# on to the next one's clips.
BATCHES_AT_ONCE = 2


def choose_dtype(wanted: Literal["auto"] | Dtype, device: str, preset: Preset) -> Dtype:
    """`auto` -> float16 on a GPU where pixels are scaled to [-1, 1], else float32.

    Raw pixels, as the preset `wan2021` has them, make activations that float16 cannot hold.
    """
    if wanted == "auto":
        return "float16" if kind_of(device) == "cuda" and preset == "kinetics" else "float32"
    return wanted


def float_type(dtype: Dtype) -> Any:
    """torch's type of what enters a network, and of its floating-point weights. With `int8` it rounds by itself."""
    import torch

    return torch.float32 if dtype == "int8" else getattr(torch, dtype)


def has_fast_form(device: str, dtype: Dtype) -> bool:
    """Whether a network runs in its fast form: not on a GPU, or in half precision, which is too coarse for it."""
    return kind_of(device) == "cpu" and dtype in ("float32", "int8")


def batches_at_once(device: str, threads: int, pieces: int) -> int:
    """How many batches are computed at a time.

    Args:
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: of a CPU, each with a piece of its own.
        pieces: that a batch comes to. Where they are several, one batch more is there for threads that are done with
            their share of the others.
    """
    if kind_of(device) != "cpu":
        return BATCHES_AT_ONCE
    return max(BATCHES_AT_ONCE, -(-threads // pieces) + (pieces > 1))


def torch_function(network: Any, device: str, dtype: Dtype, threads: int) -> ClipFunction:
    """A network run by torch.

    Args:
        network: a module from pieces of video, as in `ClipFunction`, to features; taken over and changed.
        device: `cpu`, `cuda` or `cuda:<index>`.
        dtype: of the weights and activations; pixels are scaled in float32.
        threads: on a CPU, each with a piece at a time.
    """
    import torch

    network = network.to(device=device, dtype=float_type(dtype), memory_format=torch.channels_last_3d)
    return _on_cpu(network, threads) if kind_of(device) == "cpu" else halving(_on_gpu(network, device))


def _on_cpu(network: Any, threads: int) -> ClipFunction:
    """Every piece by itself and on one thread, and several side by side.

    So a piece's features depend neither on its company nor on the number of threads. And nobody waits for other threads
    after each small operation, which costs most where decoders need the same cores.
    """
    import torch

    def alone(piece: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(piece[None])).float().numpy()

    return lambda pieces: np.concatenate(list(_workers(threads).map(alone, pieces)))


@lru_cache(maxsize=1)
def _workers(threads: int) -> ThreadPoolExecutor:
    """The same for all networks: each keeps some memory for its next piece."""
    import torch

    # How many threads torch has is a thread's own.
    return ThreadPoolExecutor(threads, "clip", initializer=torch.set_num_threads, initargs=(1,))


def halving(run: ClipFunction) -> ClipFunction:
    """`run`, and where that has no memory for several pieces, each half of them by itself.

    A piece's features do not depend on its company, so they stay what they are.
    """

    def features(pieces: np.ndarray) -> np.ndarray:
        try:
            return run(pieces)
        except RuntimeError as error:
            if len(pieces) < 2 or not is_out_of_memory(error):
                raise
        # Not within `except`: there the error would hold on to the memory of what failed.
        half = len(pieces) // 2
        return np.concatenate([run(pieces[:half]), run(pieces[half:])])

    return features


def _on_gpu(network: Any, device: str) -> ClipFunction:
    """Each thread that calls it has a stream of its own, so that one batch is copied while another is computed."""
    import torch

    from lad.extract.cuda_graphs import Graphs, lane

    local = threading.local()

    def features(pieces: np.ndarray) -> np.ndarray:
        here = lane(device)
        if not hasattr(local, "network"):
            local.network = Graphs(network, here.pool)
        with torch.inference_mode(), torch.cuda.stream(here.stream):
            pixels = torch.from_numpy(pieces).pin_memory().to(device, non_blocking=True)
            return local.network(pixels).float().cpu().numpy()

    return features
