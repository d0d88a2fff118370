"""What a clip costs from file to scores: a benchmark's default against the paper's recipe, in the same run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lad.config import Config
from lad.extract.clips import clip_batches
from lad.extract.decode import VideoInfo, read_frames
from lad.extract.features import FeatureExtractor
from lad.extract.runtime import choose_runtime
from lad.models import weights
from lad.models.registry import BACKBONES, DETECTORS
from lad.pipeline.clip_features import ClipFeatures
from lad.pipeline.score import score_features

REPEATS = 5


@dataclass
class Cost:
    """Seconds a clip, of each repeat: of decoding, resizing, flow and features; and of the detector."""

    features: list[float] = field(default_factory=list)
    detector: list[float] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        return {"features": statistics.median(self.features), "detector": statistics.median(self.detector)}


def measure_cost(configs: dict[str, Config], video: Path) -> dict[str, dict[str, float]]:
    """Medians of five repeats after one to warm up, the configurations taking turns; weights are random.

    Returns:
        Name of the configuration -> `{"features", "detector"}`, seconds a clip.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    passes = {name: _pass(config, video) for name, config in configs.items()}
    costs = {name: Cost() for name in configs}
    for one in passes.values():
        one(Cost())
    for _ in range(REPEATS):
        for name, one in passes.items():
            one(costs[name])
    return {name: cost.medians() for name, cost in costs.items()}


def _pass(config: Config, video: Path) -> Callable[[Cost], None]:
    extract, train = config.extract, config.train
    extractor = FeatureExtractor(
        {stream: weights.load("random", backbone=extract.backbone, stream=stream) for stream in extract.streams},
        backbone=extract.backbone,
        runtime=choose_runtime("auto", "cpu", extract.backbone),
        threads=len(os.sched_getaffinity(0)),
    )
    dim = BACKBONES[extract.backbone].feature_dim * len(extract.streams)
    sizes = {"feature_dim": dim, "classes": 2, "window": train.window, "hidden": train.hidden}
    detector = DETECTORS[train.detector](**sizes, dropout=0.0).eval()

    def once(cost: Cost) -> None:
        began = time.perf_counter()
        batches = clip_batches(
            read_frames(video, VideoInfo()),
            streams=extract.streams,
            flow=extract.flow,
            tail=extract.tail,
            batch_clips=extract.batch_clips,
            rgb_short_side=extract.rgb_short_side,
        )
        found = [np.hstack([extractor(stream, batch[stream]) for stream in extract.streams]) for batch in batches]
        features = np.concatenate(found)
        made = time.perf_counter()
        score_features(detector, ClipFeatures([features[None]]))
        cost.features.append((made - began) / len(features))
        cost.detector.append((time.perf_counter() - made) / len(features))

    return once
