"""The feature network: clips a second at each precision and size of batch, and how far from a CPU's features."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.card import of_peak
from benchmarks.gpu.size import Size, distance, timed
from benchmarks.speed.rows import Row
from lad.device import STEADY_THREADS, cores, repeatable
from lad.extract.extractor import FeatureExtractor
from lad.extract.runtime import Dtype
from lad.models import weights

COMPARED = 4  # clips whose features are compared
CONTEXT = 4  # clips that are one piece of video with `context: batch`
MAX_DISTANCE = 0.01


def measure(device: str, size: Size) -> Iterator[Row]:
    """Time the rgb network on 224x224 pixels with random weights, and compare its features with a CPU's."""
    work, some = flops_of_a_clip(size.backbone), _clips(COMPARED)
    expected = extractor(size, "cpu", "float32")("rgb", some)
    with repeatable(device, STEADY_THREADS):
        for dtype in get_args(Dtype):
            yield _matrix_product(device, dtype, size)
            network = extractor(size, device, dtype)
            for batch in size.batches:
                yield _speed(f"rgb network, {dtype}, batches of {batch}", network, batch, work, size)
            apart = distance(network("rgb", some), expected)
            # bfloat16, which has two or three digits, is no default.
            target, met = ("", None) if dtype == "bfloat16" else (f"<= {MAX_DISTANCE:.0%}", apart <= MAX_DISTANCE)
            yield Row(f"... its features, from a CPU's in float32, {dtype}", "", "", f"{apart:.2%}", target, met)
        piece = extractor(size, device, "float16", context="batch")
        yield _speed(f"rgb network, float16, {CONTEXT} clips as one piece", piece, CONTEXT, work, size)


def flops_of_a_clip(backbone: str) -> int:
    """What torch counts for a clip of 16x224x224: two for a multiplication with its addition."""
    network = weights.load("random", backbone=backbone, stream="rgb").eval().to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 16, 224, 224, device="meta"))
    return int(counter.get_total_flops())


def extractor(size: Size, device: str, dtype: Dtype, context: str = "clip") -> FeatureExtractor:
    """The network as `lad extract` has it."""
    network = weights.load("random", backbone=size.backbone, stream="rgb")
    return FeatureExtractor(
        {"rgb": network},
        backbone=size.backbone,
        device=device,
        dtype=dtype,
        threads=cores(),
        context=context,  # type: ignore[arg-type]
    )


def _matrix_product(device: str, dtype: Dtype, size: Size) -> Row:
    square = torch.rand(size.matrix, size.matrix, device=device).to(getattr(torch, dtype))
    flops = 2 * size.matrix**3 / timed(lambda: square @ square, device, size)
    what = f"matrix product, {dtype}, {size.matrix} x {size.matrix}"
    return Row(what, "", "", of_peak(device, dtype, flops), "", None)


def _speed(what: str, network: FeatureExtractor, batch: int, work: int, size: Size) -> Row:
    """Clips from this machine's memory to features in it, as `lad extract` does it: several batches at once."""
    clips = _clips(batch)
    try:
        # The first two calls of a thread set its kernels up, and capture them.
        with ThreadPoolExecutor(network.batches_at_once(batch)) as threads:
            list(threads.map(lambda _: network("rgb", clips), range(8)))
            done, began = 0, time.perf_counter()
            while not done or time.perf_counter() - began < size.seconds:
                done += sum(len(one) for one in threads.map(lambda _: network("rgb", clips), range(8)))
            rate = done / (time.perf_counter() - began)
    except RuntimeError as error:  # no memory, or a precision that the device does not have
        return Row(what, "", "", f"failed: {str(error).partition(chr(10))[0]}", "", False)
    return Row(what, "", f"{rate:,.0f} clips/s", of_peak(network.device, network.dtype, rate * work), "", None)


def _clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 224, 224, 3), dtype=np.uint8)
