"""What is wrong with a configuration, found before any work starts: files that are not there, names nobody knows.

What can be said of one section alone, its own validators in `lad.config` say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lad.config import Config, ConfigError, DataConfig, TrainConfig
from lad.dataset import COLUMNS
from lad.datasets import BENCHMARKS
from lad.extract.motion import SHARES
from lad.features.recipe import recipe_problems
from lad.models.registry import DETECTORS, LEARNS_FROM, DetectorMissing, detector_class, is_outside
from lad.remote.url import BUCKETS, Url
from lad.text import unknown


def check_config(config: Config, *, named: bool = False) -> None:
    """Find every impossible combination.

    Args:
        config: resolved.
        named: whether videos were named on the command line: then a dataset.csv need not be there.

    Raises:
        ConfigError: all of them, one line each.
    """
    problems = [
        *_data_problems(config.data, named),
        *_split_problems(config),
        *recipe_problems(config.extract),
        *_detector_problems(config.train),
        *_normality_problems(config),
    ]
    checkpoint = config.score.checkpoint
    if checkpoint and checkpoint.is_dir():
        problems.append(f"score.checkpoint: {checkpoint} is a folder: name the checkpoint in it, such as best.pt")
    elif checkpoint and not checkpoint.is_file():
        problems.append(f"score.checkpoint: no file {checkpoint}")
    if problems:
        raise ConfigError("\n".join(problems))


def dataset_paths(data: DataConfig) -> list[Path]:
    """The files that the configured dataset.csv may be, the one that is used first: below the data root, or as given.

    One that lies in the current folder by chance is not to win over the one beside the videos.
    """
    assert data.dataset is not None
    candidates = [*([data.root / data.dataset] if isinstance(data.root, Path) else []), data.dataset]
    return [path for path in dict.fromkeys(candidates) if path.is_file()]


def _data_problems(data: DataConfig, named: bool) -> Iterator[str]:
    if data.benchmark:
        wrong = unknown("data.benchmark", data.benchmark, BENCHMARKS)
        yield from wrong
        if not wrong and not data.root:
            yield f"data.root: say where {data.benchmark} lies with --data DIR"
    if isinstance(data.root, Url):
        if data.benchmark not in (None, "folder"):
            yield f"data.root: {data.root}: the download of {data.benchmark} is read from a disk only"
        if data.root.scheme not in BUCKETS and "?" in data.root.address:
            yield f"data.root: {data.root}: names below it cannot follow a query: write whole URLs in the dataset.csv"
        if data.root.scheme not in BUCKETS and not data.dataset:
            yield f"data.root: {data.root}: a web server has no listing: name a dataset.csv in data.dataset"
    elif data.root and not data.root.is_dir():
        yield f"data.root: {data.root} is not a folder"
    if data.dataset and not dataset_paths(data) and not named:
        below = data.root / data.dataset if isinstance(data.root, Path) else data.dataset
        nor = f", nor {data.dataset}" if below != data.dataset else ""
        yield (
            f"data.dataset: no file {below}{nor}: say with --data DIR where it lies, or write one, its first line "
            f"{','.join(COLUMNS)}; for a folder for each category no file is needed: -c folder"
        )


def _detector_problems(train: TrainConfig) -> Iterator[str]:
    name = train.detector
    if wrong := [] if is_outside(name) else unknown("train.detector", name, DETECTORS):
        yield from wrong
        return
    if train.dtype != "float32" and name not in ("aed", "aed_t"):
        yield f"train.dtype: {train.dtype} is for the detectors aed and aed_t, and not for {name}: set it to float32"
    if is_outside(name):
        try:
            detector_class(name)
        except DetectorMissing as error:
            yield str(error)


def _normality_problems(config: Config) -> Iterator[str]:
    detector, score = config.train.detector, config.score
    knows_normal = "normal" in LEARNS_FROM.get(detector, ())
    if score.alarms_per_day is not None and not score.checkpoint and not knows_normal:
        yield (
            f"score.alarms_per_day: the detector {detector} does not know how often normal footage alarms: set "
            "train.detector=normality, or score.threshold instead"
        )
    if config.train.motion_quantile not in SHARES:
        yield f"train.motion_quantile: {config.train.motion_quantile}; choose from {', '.join(map(str, SHARES))}"


def _split_problems(config: Config) -> Iterator[str]:
    data = config.data
    random = data.benchmark in BENCHMARKS and BENCHMARKS[data.benchmark].random_split
    if config.protocol.splits > 1 and not random:
        yield "protocol.splits: only a benchmark whose split is drawn at random can be split again"
    one_class = data.benchmark in BENCHMARKS and BENCHMARKS[data.benchmark].one_class
    if config.protocol.official and not (one_class and data.layout == "official"):
        known = ", ".join(name for name, benchmark in BENCHMARKS.items() if benchmark.one_class)
        yield f"protocol.official: only the official downloads of {known} have such a split beside the one that is used"
    if config.protocol.official and config.protocol.splits > 1:
        yield "protocol.splits: there is one official split: set it to 1"
    if config.protocol.by_test and "normal" in LEARNS_FROM.get(config.train.detector, ()):
        yield "protocol.by_test: a detector of normal footage alone learns in one go: there is no step to choose"
    if config.protocol.splits > 1 and data.layout == "released":
        yield "protocol.splits: the released layout comes with its own split: set it to 1"
