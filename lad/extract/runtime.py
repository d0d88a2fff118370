"""What a feature network runs on: torch, or OpenVINO, which on a CPU is faster where torch has no fast form of it.

Which of them a run uses, and in which precision, is decided here and nowhere else.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from lad.device import kind_of
from lad.errors import LadError

Runtime = Literal["torch", "openvino"]
Dtype = Literal["float32", "float16", "bfloat16"]
Preset = Literal["kinetics", "wan2021"]

# What the network is to see as one: each clip by itself, or the clips of a batch as the piece of video that they are.
Context = Literal["clip", "batch"]

# Pieces of video `(n, 16 k, height, width, channels)`, uint8 or float32, to features `(n * k, dim)` float32.
ClipFunction = Callable[[np.ndarray], np.ndarray]


# Backbones whose fast form, see `lad.models.cpu.inception`, makes torch faster on a CPU than OpenVINO is.
FASTER_IN_TORCH = ("i3d",)

# Batches that are computed at a time. A GPU copies one while it computes the other; the threads of a CPU go on to the
# next one's clips.
BATCHES_AT_ONCE = 2

# What a CPU computes side by side, each on its share of the threads: the clips of a batch of `extract.batch_clips`, or
# the batches themselves.
AT_ONCE: dict[Context, int] = {"clip": 4, "batch": BATCHES_AT_ONCE}

# Sizes of frames that OpenVINO's network is kept for: an archive may have any number, and each takes memory.
COMPILED_SIZES = 3


class RuntimeMissing(LadError):
    """A runtime that was asked for cannot be had here; the message says why and what to do."""


def choose_runtime(wanted: Literal["auto"] | Runtime, device: str, backbone: str) -> Runtime:
    """`auto` -> OpenVINO on a CPU where it is installed and faster with this backbone, else torch. Imports neither.

    Raises:
        RuntimeMissing: OpenVINO was asked for, and is not installed or not for this device.
    """
    on_cpu = kind_of(device) == "cpu"
    installed = find_spec("openvino") is not None
    if wanted == "openvino" and not on_cpu:
        raise RuntimeMissing(f"extract.runtime openvino is for a CPU, and the device is {device}: use auto or torch")
    if wanted == "openvino" and not installed:
        raise RuntimeMissing("extract.runtime openvino: it is not installed; get it with `pip install 'lad[cpu]'`")
    if wanted == "auto":
        return "openvino" if on_cpu and installed and backbone not in FASTER_IN_TORCH else "torch"
    return wanted


def choose_dtype(wanted: Literal["auto"] | Dtype, device: str, preset: Preset, runtime: Runtime) -> Dtype:
    """`auto` -> float16 on a GPU where pixels are scaled to [-1, 1], else float32.

    Raw pixels, as the preset `wan2021` has them, make activations that float16 cannot hold.

    Raises:
        RuntimeMissing: OpenVINO is to run in another precision than float32.
    """
    if wanted == "auto":
        return "float16" if device.startswith("cuda") and preset == "kinetics" else "float32"
    if runtime == "openvino" and wanted != "float32":
        raise RuntimeMissing(f"extract.dtype {wanted}: OpenVINO runs in float32 here; add extract.runtime: torch")
    return wanted


def has_fast_form(device: str, runtime: Runtime, dtype: Dtype) -> bool:
    """Whether a network runs in its fast form: not on a GPU, in OpenVINO, or in half precision, too coarse for it."""
    return kind_of(device) == "cpu" and runtime == "torch" and dtype == "float32"


def torch_function(network: Any, device: str, dtype: Dtype, threads: int, at_once: int) -> ClipFunction:
    """A network run by torch.

    Args:
        network: a module from pieces of video, as in `ClipFunction`, to features; taken over and changed.
        device: `cpu`, `cuda` or `cuda:<index>`.
        dtype: of the weights and activations; pixels are scaled in float32.
        threads: on a CPU, of all pieces together.
        at_once: pieces that a CPU computes side by side.
    """
    import torch

    network = network.to(device=device, dtype=getattr(torch, dtype), memory_format=torch.channels_last_3d)
    return _on_cpu(network, threads, at_once) if kind_of(device) == "cpu" else _on_gpu(network, device)


def _on_cpu(network: Any, threads: int, at_once: int) -> ClipFunction:
    """Every piece by itself, and several side by side, so that a piece's features do not depend on its company.

    A thread a piece needs no waiting for other threads after each small operation, which costs most where decoders
    need the same cores.
    """
    import torch

    def alone(piece: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(piece[None])).float().numpy()

    return lambda pieces: np.concatenate(list(_workers(threads, at_once).map(alone, pieces)))


@lru_cache(maxsize=1)
def _workers(threads: int, at_once: int) -> ThreadPoolExecutor:
    """The same for all networks: each keeps some memory for its next piece."""
    import torch

    workers = min(threads, at_once)
    # How many threads torch has is a thread's own.
    return ThreadPoolExecutor(workers, "clip", initializer=torch.set_num_threads, initargs=(threads // workers,))


def _on_gpu(network: Any, device: str) -> ClipFunction:
    """Each thread that calls it has a stream of its own, so that one batch is copied while another is computed."""
    import torch

    from lad.extract.cuda_graphs import Graphs

    local = threading.local()

    def features(pieces: np.ndarray) -> np.ndarray:
        if not hasattr(local, "stream"):
            local.stream, local.network = torch.cuda.Stream(device), Graphs(network)
        with torch.inference_mode(), torch.cuda.stream(local.stream):
            pixels = torch.from_numpy(pieces).pin_memory().to(device, non_blocking=True)
            return local.network(pixels).float().cpu().numpy()

    return features


def openvino_function(network: Any, threads: int) -> ClipFunction:
    """A network run by OpenVINO on the CPU, in float32.

    It is compiled for each size of frame, for one piece: more at once are no faster, and so a piece's features
    do not depend on its company.
    """
    import openvino

    core, one_at_a_time = openvino.Core(), threading.Lock()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # by default it is bfloat16 where the CPU has that
        "ENABLE_CPU_PINNING": False,  # decoders need the same cores
    }

    @lru_cache(maxsize=COMPILED_SIZES)
    def request(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        model = _converted(network, np.zeros((1, *shape), dtype))
        return core.compile_model(model, "CPU", settings).create_infer_request()

    def features(pieces: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            compiled = request(pieces.shape[1:], pieces.dtype)
            return np.concatenate([compiled.infer([piece[None]])[0] for piece in pieces])

    return features


def _converted(network: Any, example: np.ndarray) -> Any:
    """OpenVINO's model of a torch module, by its front end itself: `convert_model` reports its use to its makers."""
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; sizes become constants, as they should here
        traced = torch.jit.trace(network, torch.from_numpy(example), check_trace=False)
        front_end = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # needed until the end of `convert`
        model = front_end.convert(front_end.load(decoder))
    model.reshape(list(example.shape))
    return model
