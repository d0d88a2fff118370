"""The feature network: clips a second at each precision and size of batch, and how far from a CPU's features."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.card import of_peak
from benchmarks.gpu.size import Size, distance, per_second, timed
from benchmarks.speed.rows import Row
from lad.device import STEADY_THREADS, cores, repeatable
from lad.extract.extractor import FeatureExtractor
from lad.extract.runtime import Dtype
from lad.models import weights

COMPARED = 4  # clips whose features are compared
CONTEXT = 4  # clips that are one piece of video with `context: batch`
BATCHES = 8  # that are given together
MAX_DISTANCE = 0.01
PRECISIONS: tuple[Dtype, ...] = ("float32", "float16", "bfloat16")  # int8 is for CPUs


def measure(device: str, size: Size) -> Iterator[Row]:
    """Time the rgb network on 224x224 pixels with random weights, and compare its features with a CPU's."""
    work, some = flops_of_a_clip(size.backbone), _clips(COMPARED)
    expected = extractor(size, "cpu", "float32")("rgb", some)
    with repeatable(device, STEADY_THREADS):
        for dtype in PRECISIONS:
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
    """The network alone, whose clips are on the device already, and as `lad extract` runs it."""
    clips = _clips(batch)
    try:
        alone, fed = batch / _seconds_alone(network, clips, size), _rate(network, clips, size)
    except RuntimeError as error:  # no memory, or a precision that the device does not have
        return Row(what, "", "", f"failed: {str(error).partition(chr(10))[0]}", "", False)
    share = of_peak(network.device, network.dtype, alone * work)
    baseline, ours = f"{per_second(alone, 'clips')} (network alone)", per_second(fed, "clips")
    return Row(what, baseline, ours, share, "", None)


def _seconds_alone(network: FeatureExtractor, clips: np.ndarray, size: Size) -> float:
    whole = clips if network.context == "clip" else clips.reshape(1, -1, *clips.shape[2:])
    pixels = torch.from_numpy(whole).to(network.device)
    with torch.inference_mode():
        return timed(lambda: network.networks["rgb"](pixels), network.device, size)


def _rate(network: FeatureExtractor, clips: np.ndarray, size: Size) -> float:
    """Clips a second from this machine's memory to features in it, several batches at once."""
    with ThreadPoolExecutor(network.batches_at_once(len(clips))) as threads:
        # The first calls of a thread set its kernels up, and capture them.
        list(threads.map(lambda _: network("rgb", clips), range(BATCHES)))
        done, began = 0, time.perf_counter()
        while not done or time.perf_counter() - began < size.seconds:
            done += sum(len(one) for one in threads.map(lambda _: network("rgb", clips), range(BATCHES)))
        return done / (time.perf_counter() - began)


def _clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 224, 224, 3), dtype=np.uint8)
