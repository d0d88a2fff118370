"""The feature network alone: how long a clip takes, against the same network as torch runs it by default."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import numpy as np
import torch

from benchmarks.speed.rows import REPEATS, Row, medians
from lad.extract.extractor import FeatureExtractor
from lad.models import weights

CLIP_GFLOP = 55.6  # of Inception-I3D on 16x224x224, two for a multiplication with its addition
BATCH = 4  # extract.batch_clips


def measure() -> list[Row]:
    """Time the rgb network on 224x224 pixels, with random weights.

    The baseline is eager, in float32, with batch norm as a layer, and takes one clip at a time. It runs in a process of
    its own, where the C library manages memory as it does by default.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return _rows(lambda: process.submit(plain_features).result())


def plain_features() -> np.ndarray:
    """The features of the first clip, `(1, dim)`, as the baseline computes them."""
    network = _plain_network()
    with torch.inference_mode():
        return network(torch.from_numpy(_clips()[:1]).float().permute(0, 4, 1, 2, 3) / 127.5 - 1).numpy()


@lru_cache
def _plain_network() -> torch.nn.Module:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return weights.load("random", backbone="i3d", stream="rgb").eval()


@lru_cache
def _clips() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (BATCH, 16, 224, 224, 3), dtype=np.uint8)


def _rows(eager: Callable[[], np.ndarray]) -> list[Row]:
    clips, threads = _clips(), len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)

    network = weights.load("random", backbone="i3d", stream="rgb")
    ours = FeatureExtractor({"rgb": network}, backbone="i3d", threads=threads)
    square = torch.rand(4096, 4096)
    works = [eager, lambda: ours("rgb", clips), lambda: square @ square]
    baseline, taken, matmul = medians(works, REPEATS)
    peak = 2 * 4096**3 / matmul / 1e9
    expected = eager()
    clip = taken / BATCH
    ratio = baseline / clip
    distance = float(np.abs(ours("rgb", clips[:1]) - expected).max() / np.abs(expected).max())
    achieved = CLIP_GFLOP / clip
    return [
        Row("rgb network", f"{baseline:.2f} s a clip", f"{clip:.2f} s a clip",
            f"{ratio:.1f}x", ">= 2.8x", ratio >= 2.8),
        Row("... features differ, of the largest", "", "", f"{distance:.0e}", "<= 1e-4", distance <= 1e-4),
        Row("... of torch's matrix product's speed", f"{peak:.0f} GFLOP/s", f"{achieved:.0f} GFLOP/s",
            f"{achieved / peak:.0%}", "", None),
    ]  # fmt: skip
