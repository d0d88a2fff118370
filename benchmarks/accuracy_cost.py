"""What a clip costs from the file to its scores: a benchmark's default and the paper's recipe, in the same run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.speed.rows import medians
from lad.config import Config
from lad.detector.scoring import score_features
from lad.extract.clips import ClipBatch, clip_batches
from lad.extract.readers import open_reader
from lad.extract.runtime import BATCHES_AT_ONCE
from lad.features.recipe import configured_streams, load_extractor, make_recipe, stream_dim
from lad.features.video import ClipFeatures
from lad.models.registry import build_detector

if TYPE_CHECKING:
    from lad.models.registry import Detector


def measure_cost(configs: dict[str, Config], video: Path) -> dict[str, dict[str, float]]:
    """The median seconds that a clip of a video takes, with random weights.

    The configurations and their two parts take turns.

    Returns:
        Name of the configuration -> seconds a clip. `features` is decoding, resizing, flow and networks. `detector` is
        the rest.
    """
    torch.set_num_threads(_threads())
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


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _extraction(config: Config, video: Path) -> Callable[[], np.ndarray]:
    """A function that makes the features `(clips, dim)` of a video from its file, anew at each call."""
    random = config.extract.model_copy(update={"weights": dict.fromkeys(config.extract.streams, "random")})
    recipe = make_recipe(random, device="cpu", threads=_threads())
    extractor = load_extractor(recipe)

    def of_batch(batch: ClipBatch) -> np.ndarray:
        return np.hstack([extractor(stream, batch[stream]) for stream in recipe.clips.pixels])

    def features() -> np.ndarray:
        # Several at once, so that no batch is computed alone. In a real run none is, because videos follow each other.
        videos = [clip_batches(open_reader(video), recipe.clips) for _ in range(BATCHES_AT_ONCE)]
        with ThreadPoolExecutor(BATCHES_AT_ONCE) as network:
            return np.concatenate(list(network.map(of_batch, chain.from_iterable(videos))))

    return features


def _detector(config: Config) -> Detector:
    dim = sum(stream_dim(config.extract.backbone, stream) for stream in configured_streams(config.extract))
    train = config.train
    detector: Detector = build_detector(
        train.detector, feature_dim=dim, classes=2, window=train.window, hidden=train.hidden, dropout=0.0
    ).eval()
    return detector
