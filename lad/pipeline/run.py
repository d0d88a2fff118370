"""A configuration made ready to work: checked whole, its videos known, its work directory held."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from lad.config import Config, ConfigError
from lad.dataset import Video, find_videos, read_dataset, write_dataset
from lad.datasets import BENCHMARKS
from lad.extract.flow import FLOW_METHODS
from lad.files import write_text
from lad.models import weights
from lad.models.registry import BACKBONES, DETECTORS
from lad.pipeline.manifest import Manifest, open_manifest
from lad.pipeline.stage import Run, StageResult, weights_name

Stage = Callable[[Run, list[Video]], StageResult]


def stages() -> dict[str, Stage]:
    """The stages of the chain, in order."""
    from lad.pipeline.evaluate import evaluate_videos
    from lad.pipeline.extract import extract_features
    from lad.pipeline.score import score_videos
    from lad.pipeline.train import train_detector

    return {"extract": extract_features, "train": train_detector, "score": score_videos, "evaluate": evaluate_videos}


def check_config(config: Config) -> None:
    """Find every impossible combination before any work starts.

    Raises:
        ConfigError: all of them, a line each.
    """
    problems: list[str] = []
    data, extract, train = config.data, config.extract, config.train

    def known(key: str, value: str, names: Sequence[str]) -> bool:
        if value not in names:
            problems.append(f"{key}: {value!r} is not one of {', '.join(sorted(names))}")
        return value in names

    if data.benchmark and data.dataset:
        problems.append("data.benchmark and data.dataset: give one of them")
    if data.benchmark and known("data.benchmark", data.benchmark, list(BENCHMARKS)) and not data.root:
        problems.append(f"data.root: say where {data.benchmark} lies with --data DIR")
    if data.root and not data.root.is_dir():
        problems.append(f"data.root: {data.root} is not a folder")
    if data.dataset and _dataset_path(config) is None:
        problems.append(
            f"data.dataset: no file {data.dataset}" + (f", nor {data.root / data.dataset}" if data.root else "")
        )
    known("extract.flow", extract.flow, list(FLOW_METHODS))
    known("train.detector", train.detector, list(DETECTORS))
    if len(set(extract.streams)) != len(extract.streams):
        problems.append("extract.streams: a stream stands twice")
    if known("extract.backbone", extract.backbone, list(BACKBONES)):
        backbone = BACKBONES[extract.backbone]
        for stream in extract.streams:
            if stream not in backbone.streams:
                problems.append(f"extract.streams: {extract.backbone} has no {stream} stream")
                continue
            name = weights_name(extract, stream)
            try:
                weights.check(name, backbone=extract.backbone, stream=stream)
            except weights.WeightsError as error:
                problems.append(f"extract.weights.{stream}: {error}")
        if (dim := backbone.feature_dim * len(extract.streams)) % 16:
            problems.append(f"extract: {dim} numbers a clip; the detector needs a multiple of 16")
    if data.classes is not None and len(set(data.classes)) != len(data.classes):
        problems.append("data.classes: a class stands twice")
    if config.score.checkpoint and not config.score.checkpoint.is_file():
        problems.append(f"score.checkpoint: no file {config.score.checkpoint}")
    if problems:
        raise ConfigError("\n".join(problems))


def _dataset_path(config: Config) -> Path | None:
    assert config.data.dataset is not None
    candidates = [config.data.dataset] + ([config.data.root / config.data.dataset] if config.data.root else [])
    return next((path for path in candidates if path.is_file()), None)


def load_videos(config: Config, arguments: Sequence[str] = ()) -> list[Video]:
    """The videos that a command works on: those of the configuration, or its arguments alone.

    An argument that is a video of the configuration keeps what that says of it (its frame rate, its labels).

    Raises:
        ConfigError, dataset.DatasetError: there are none, or their description is wrong.
    """
    data = config.data
    configured: list[Video] = []
    if data.benchmark:
        assert data.root is not None  # check_config saw to it
        configured = BENCHMARKS[data.benchmark](data.root, data.seed)
    elif data.dataset:
        path = _dataset_path(config)
        assert path is not None
        configured = read_dataset(path, data.root)
    elif data.root and not arguments:
        configured = find_videos([str(data.root)], data.root)
    if arguments:
        known = {video.path.absolute(): video for video in configured}
        return [known.get(video.path, video) for video in find_videos(arguments, data.root)]
    if not configured:
        raise ConfigError("no videos: name some, or give -c CONFIG with data.benchmark or data.dataset, or --data DIR")
    return configured


@contextmanager
def open_run(
    config: Config,
    work: Path,
    arguments: Sequence[str] = (),
    *,
    force: bool = False,
    verify: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> Iterator[Run]:
    """Check a configuration, find its videos and hold its work directory.

    Raises:
        ConfigError, dataset.DatasetError, manifest.ManifestError: before anything is written.
    """
    import yaml

    check_config(config)
    videos = load_videos(config, arguments)
    console = Console(file=sys.stderr, quiet=quiet)
    manifest: Manifest
    with open_manifest(work) as manifest:
        if not arguments:
            root = (config.data.root or videos[0].path.parent).absolute()
            absolute = [Video(**{**vars(video), "path": video.path.absolute()}) for video in videos]
            write_dataset(work / "dataset.csv", absolute, root)
        write_text(work / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        yield Run(config, work, manifest, videos, console, force=force, verify=verify, verbose=verbose)


def run_stages(run: Run, names: Sequence[str], announce: Callable[[str], None]) -> list[StageResult]:
    """Run the named stages in order, as long as a video is left to go on with; `announce` gets a line for each.

    Raises:
        StageError: a stage cannot begin.
    """
    results: list[StageResult] = []
    for name in names:
        result = stages()[name](run, run.videos)
        results.append(result)
        announce(result.summary())
        if len(result.failed) == len(run.videos):
            break  # nothing is left to go on with, and the failures say why
    return results
