"""What a clip costs from file to scores: a benchmark's default against the paper's recipe, in the same run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lad.config import Config
from lad.extract.clips import ClipBatch, clip_batches
from lad.extract.decode import VideoInfo, read_frames
from lad.extract.extractor import FeatureExtractor
from lad.extract.runtime import BATCHES_AT_ONCE, choose_runtime
from lad.features.video import ClipFeatures
from lad.models import weights
from lad.models.registry import BACKBONES, DETECTORS
from lad.pipeline.score import score_features

sys.path.append(str(Path(__file__).parent / "speed"))
from rows import medians

if TYPE_CHECKING:
    from lad.models.registry import Detector


def measure_cost(configs: dict[str, Config], video: Path) -> dict[str, dict[str, float]]:
    """Medians of repeats, the configurations and their two parts taking turns; weights are random.

    Returns:
        Name of the configuration -> seconds a clip: `features`, of decoding, resizing, flow and networks, and
        `detector`.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    works: list[Callable[[], object]] = []
    clips: list[int] = []
    for config in configs.values():
        extract = _extraction(config, video)
        features = extract()
        works += [extract, partial(score_features, _detector(config), ClipFeatures([features[None]]))]
        clips += [len(features)] * 2
    taken = [seconds / count for seconds, count in zip(medians(works), clips, strict=True)]
    parts = zip(taken[::2], taken[1::2], strict=True)
    return {name: {"features": made, "detector": scored} for name, (made, scored) in zip(configs, parts, strict=True)}


def _extraction(config: Config, video: Path) -> Callable[[], np.ndarray]:
    """What makes the features `(clips, dim)` of a video from its file, and again."""
    extract = config.extract
    extractor = FeatureExtractor(
        {stream: weights.load("random", backbone=extract.backbone, stream=stream) for stream in extract.streams},
        backbone=extract.backbone,
        runtime=choose_runtime("auto", "cpu", extract.backbone),
        context=extract.context,
        threads=len(os.sched_getaffinity(0)),
    )

    def of_batch(batch: ClipBatch) -> np.ndarray:
        return np.hstack([extractor(stream, batch[stream]) for stream in extract.streams])

    def features() -> np.ndarray:
        videos = [
            clip_batches(
                read_frames(video, VideoInfo()),
                streams=extract.streams,
                flow=extract.flow,
                tail=extract.tail,
                batch_clips=extract.batch_clips,
                rgb_short_side=extract.rgb_short_side,
            )
            for _ in range(BATCHES_AT_ONCE)  # so that no batch is computed alone, as none is where videos follow
        ]
        with ThreadPoolExecutor(BATCHES_AT_ONCE) as network:
            return np.concatenate(list(network.map(of_batch, chain.from_iterable(videos))))

    return features


def _detector(config: Config) -> Detector:
    dim = BACKBONES[config.extract.backbone].feature_dim * len(config.extract.streams)
    train = config.train
    return DETECTORS[train.detector](
        feature_dim=dim, classes=2, window=train.window, hidden=train.hidden, dropout=0.0
    ).eval()
