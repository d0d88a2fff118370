"""The card: its name, and the speed that its maker states."""

from __future__ import annotations

import platform

import torch

from benchmarks.speed.rows import processor
from lad.device import cores, kind_of

# TFLOP/s of dense matrix products, as NVIDIA's data sheets have them; of what a sheet states "with sparsity", half.
# float32 is that of the ordinary units: `lad` never lets torch round it to TF32. The names are those that torch gives,
# without the maker's.
PEAKS: dict[str, dict[str, float]] = {
    "H200": {"float32": 67, "float16": 989.5, "bfloat16": 989.5},
    "H100 80GB HBM3": {"float32": 67, "float16": 989.5, "bfloat16": 989.5},
    "H100 PCIe": {"float32": 51, "float16": 756.5, "bfloat16": 756.5},
    "A100-SXM4-80GB": {"float32": 19.5, "float16": 312, "bfloat16": 312},
    "A100-SXM4-40GB": {"float32": 19.5, "float16": 312, "bfloat16": 312},
    "A100 80GB PCIe": {"float32": 19.5, "float16": 312, "bfloat16": 312},
    "A100-PCIE-40GB": {"float32": 19.5, "float16": 312, "bfloat16": 312},
    "L40S": {"float32": 91.6, "float16": 362, "bfloat16": 362},
    "L4": {"float32": 30.3, "float16": 121, "bfloat16": 121},
    "A10": {"float32": 31.2, "float16": 125, "bfloat16": 125},
    "T4": {"float32": 8.1, "float16": 65},
}


def peak(device: str, dtype: str) -> float | None:
    """Its TFLOP/s; None of a card, or of a number, that is not in the table."""
    return PEAKS.get(_name(device).removeprefix("NVIDIA ").removeprefix("Tesla "), {}).get(dtype)


def of_peak(device: str, dtype: str, flops: float) -> str:
    """A speed in FLOP/s, with its share of the peak where that is known."""
    known = peak(device, dtype)
    speed = f"{flops / 1e12:.3g} TFLOP/s"
    return f"{speed}, {flops / 1e12 / known:.0%} of {known:g}" if known else speed


def describe(device: str) -> str:
    """The device, and what its figures depend on."""
    cpu = f"{cores()} cores of {processor()}"
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    if kind_of(device) == "cpu":
        return f"No card: {cpu}; {software}."
    facts = torch.cuda.get_device_properties(device)
    card = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, compute capability {facts.major}.{facts.minor}"
    cudnn = torch.backends.cudnn.version()
    return f"{card}, beside {cpu}; {software}, CUDA {torch.version.cuda}, cuDNN {cudnn}."


def _name(device: str) -> str:
    return platform.processor() if kind_of(device) == "cpu" else torch.cuda.get_device_name(device)
