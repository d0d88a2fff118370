"""What is wrong with a configuration, found before any work starts: files that are not there, names nobody knows.

What can be said of one section alone, its own validators in `lad.config` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lad.config import Config, ConfigError, DataConfig, ExtractConfig
from lad.datasets import BENCHMARKS
from lad.extract.flow import FLOW_METHODS
from lad.features.recipe import weights_name
from lad.models import weights
from lad.models.registry import BACKBONES, DETECTORS


def check_config(config: Config) -> None:
    """Find every impossible combination.

    Raises:
        ConfigError: all of them, one line each.
    """
    problems = [
        *_data_problems(config.data),
        *_split_problems(config),
        *_flow_problems(config.extract),
        *_unknown("train.detector", config.train.detector, DETECTORS),
        *_backbone_problems(config.extract),
    ]
    if config.score.checkpoint and not config.score.checkpoint.is_file():
        problems.append(f"score.checkpoint: no file {config.score.checkpoint}")
    if problems:
        raise ConfigError("\n".join(problems))


def dataset_path(config: Config) -> Path | None:
    """The configured dataset.csv: as given, or below the data root."""
    data = config.data
    assert data.dataset is not None
    candidates = [data.dataset] + ([data.root / data.dataset] if data.root else [])
    return next((path for path in candidates if path.is_file()), None)


def _unknown(key: str, value: str, names: Iterable[str]) -> list[str]:
    known = sorted(names)
    return [] if value in known else [f"{key}: {value!r} is not one of {', '.join(known)}"]


def _data_problems(data: DataConfig) -> Iterator[str]:
    if data.benchmark:
        unknown = _unknown("data.benchmark", data.benchmark, BENCHMARKS)
        yield from unknown
        if not unknown and not data.root:
            yield f"data.root: say where {data.benchmark} lies with --data DIR"
    if data.root and not data.root.is_dir():
        yield f"data.root: {data.root} is not a folder"
    if data.dataset and dataset_path(Config(data=data)) is None:
        yield f"data.dataset: no file {data.dataset}" + (f", nor {data.root / data.dataset}" if data.root else "")


def _split_problems(config: Config) -> Iterator[str]:
    data = config.data
    random = data.benchmark in BENCHMARKS and BENCHMARKS[data.benchmark].random_split
    if config.protocol.splits > 1 and not random:
        yield "protocol.splits: only a benchmark whose split is drawn at random can be split again"
    if config.protocol.splits > 1 and data.layout == "released":
        yield "protocol.splits: the released layout comes with its own split: set it to 1"


def _flow_problems(extract: ExtractConfig) -> Iterator[str]:
    unknown = _unknown("extract.flow", extract.flow, FLOW_METHODS)
    yield from unknown
    if extract.flow_weights and not unknown:
        yield from _weights_problems("extract.flow_weights", extract.flow_weights, extract.flow, "flow")


def _backbone_problems(extract: ExtractConfig) -> Iterator[str]:
    if unknown := _unknown("extract.backbone", extract.backbone, BACKBONES):
        yield from unknown
        return
    backbone = BACKBONES[extract.backbone]
    for stream in extract.streams:
        if stream not in backbone.streams:
            yield f"extract.streams: {extract.backbone} has no {stream} stream"
        else:
            name = weights_name(extract, stream)
            yield from _weights_problems(f"extract.weights.{stream}", name, extract.backbone, stream)
    if (dim := backbone.feature_dim * len(extract.streams)) % 16:
        yield f"extract: {dim} numbers a clip; the detector needs a multiple of 16"


def _weights_problems(key: str, name: str, backbone: str, stream: str) -> Iterator[str]:
    try:
        weights.check(name, backbone=backbone, stream=stream)
    except weights.WeightsError as error:
        yield f"{key}: {error}"
