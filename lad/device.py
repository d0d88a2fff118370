"""Where networks run, and what makes their results repeat."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lad.errors import LadError

# Threads of torch where their number moves the last digits, unless configured: no matter how many cores there are.
STEADY_THREADS = 2
ALL_GPUS = "cuda:all"
CPUINFO = Path("/proc/cpuinfo")


class DeviceError(LadError):
    """A device that was asked for is not there."""


@cache
def resolve_device(device: str) -> str:
    """`auto` -> `cuda` where the NVIDIA driver shows a device, else `cpu`. Asks the driver, not torch: it is quick.

    `cuda:all` -> `cuda`: only extraction uses several (`extraction_devices`).
    """
    if device == ALL_GPUS:
        return "cuda"
    if device != "auto":
        return device
    return "cuda" if _count_gpus() else "cpu"


def extraction_devices(device: str) -> list[str]:
    """Where feature networks run: `cuda:all` -> `cuda:0`, `cuda:1`, ...; another one alone."""
    if device == ALL_GPUS and (count := _count_gpus()):
        return [f"cuda:{number}" for number in range(count)]
    return [resolve_device(device)]


def _count_gpus() -> int:
    """Those that the NVIDIA driver shows this process."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def kind_of(device: str) -> str:
    """`cuda:1` -> `cuda`."""
    return device.partition(":")[0]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def network_threads(threads: int | None) -> int:
    """Of feature networks on a CPU: as configured, else one for every core. They move no feature."""
    return threads or cores()


def detector_threads(threads: int | None) -> int:
    """Of training and scoring on a CPU: as configured, else the same on every machine."""
    return threads or STEADY_THREADS


def let_threads_go() -> None:
    """Have threads of torch let their cores go soon; of use before torch is imported, and moves no number.

    A thread waits for the others in so many turns. By default these are so many that beside other work, which the
    others are waiting for, a training step takes two to five times as long. An environment that says otherwise counts.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def numerics(device: str, threads: int) -> dict[str, object]:
    """What moves the last digits of results, beside parameters and weights: part of fingerprints."""
    facts: dict[str, object] = {"device": kind_of(device), "dtype": "float32"}
    return {**facts, "threads": threads} if kind_of(device) == "cpu" else facts


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device has instructions for bfloat16: without them, products take 2 to 60 times as long as in float32.

    Of a processor, /proc/cpuinfo says so: `avx512_bf16` and `amx_bf16` of x86, `bf16` of Arm. Where nobody can tell, it
    is taken to have them. NVIDIA's GPUs have them from compute capability 8.0 on.
    """
    if kind_of(device) == "cuda":
        import torch

        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        said = CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return True
    return bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", said))


def check_device(device: str) -> None:
    """Check that torch finds a device.

    Raises:
        DeviceError: it does not.
    """
    if kind_of(device) != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(f"device {device!r}: torch {torch.__version__} finds no usable GPU; pass --device cpu")
    index = torch.device(device).index or 0
    if index >= torch.cuda.device_count():
        raise DeviceError(f"device {device!r}: there are {torch.cuda.device_count()} GPUs")


@contextmanager
def repeatable(device: str, threads: int) -> Iterator[None]:
    """Have torch give the same results every time, with so many threads in this thread of Python.

    The number of threads is put back at the end. What is set for a GPU stays: other threads may compute still.

    Raises:
        DeviceError: the device is not there.
    """
    import torch

    check_device(device)
    if kind_of(device) == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
