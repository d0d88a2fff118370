"""The rgb network in 8-bit integers, against the same network in float32 as `lad` runs it on a CPU."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.speed.rows import DATA, REPEATS, Row, medians
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.extractor import FeatureExtractor
from lad.extract.readers import open_reader
from lad.extract.runtime import Dtype
from lad.models import weights
from lad.models.cpu import ranges
from lad.models.cpu.int8 import Int8Error

VIDEO = "v_GGSY1Qvo990.mp4"  # of the samples, which the ranges were not measured on
BATCH = 4  # extract.batch_clips


def measure() -> list[Row]:
    """Time the network on 224x224 pixels of a real video, with the real weights, and compare the features.

    Raises:
        WeightsError: the real weights cannot be had.
    """
    title = "rgb network, int8 against float32"
    spec = ClipSpec(("rgb",), batch_clips=BATCH)
    clips = next(clip_batches(open_reader(DATA / "samples" / VIDEO), spec))["rgb"]
    in_float = _extractor("float32")
    try:
        in_int = _extractor("int8")
    except Int8Error as error:
        return [Row(title, "", str(error), "", ">= 1.8x", None)]
    before, after = medians([lambda: in_float("rgb", clips), lambda: in_int("rgb", clips)], REPEATS)
    expected, found = in_float("rgb", clips), in_int("rgb", clips)
    cosine = float(((expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)).min())
    ratio = before / after
    return [
        Row(title, f"{before / BATCH:.2f} s a clip", f"{after / BATCH:.2f} s a clip",
            f"{ratio:.1f}x", ">= 1.8x", ratio >= 1.8),
        Row("... cosine of features, the least of 4 clips", "", "", f"{cosine:.4f}", ">= 0.995", cosine >= 0.995),
    ]  # fmt: skip


def _extractor(dtype: Dtype) -> FeatureExtractor:
    name = weights.default_name("i3d", "rgb")
    weights.fetch(name)
    network = weights.load(name, backbone="i3d", stream="rgb")
    return FeatureExtractor(
        {"rgb": network},
        backbone="i3d",
        dtype=dtype,
        threads=len(os.sched_getaffinity(0)),
        ranges={"rgb": ranges.load(name)},
    )
