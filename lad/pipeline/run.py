"""A configuration made ready to work: checked whole, its videos known, its work directory held."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lad.clip import CLIP_FRAMES
from lad.config import Config, ConfigError
from lad.dataset import MAX_PROBLEMS, DatasetError, Video, find_videos, read_dataset, write_dataset
from lad.datasets import BENCHMARKS, Options
from lad.datasets.released import read_released
from lad.extract.flow import FLOW_METHODS
from lad.extract.runtime import MAX_PIECE_CLIPS
from lad.files import write_json, write_text
from lad.models import weights
from lad.models.registry import BACKBONES, DETECTORS
from lad.pipeline.project import Run, StageError, StageResult, say, weights_name
from lad.work.manifest import Manifest, open_manifest

ALLOW_MISSING = "lad prepare --allow-missing; -o data.allow_missing=true with every other command"

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
    if config.protocol.splits > 1 and not (data.benchmark in BENCHMARKS and BENCHMARKS[data.benchmark].random_split):
        problems.append("protocol.splits: only a benchmark whose split is drawn at random can be split again")
    if data.layout == "released" and data.benchmark in (None, "folder"):
        problems.append("data.layout: released features are those of a data.benchmark of the authors' code")
    if data.layout == "released" and config.protocol.splits > 1:
        problems.append("protocol.splits: the released layout comes with its own split: set it to 1")
    if data.root and not data.root.is_dir():
        problems.append(f"data.root: {data.root} is not a folder")
    if data.dataset and _dataset_path(config) is None:
        problems.append(
            f"data.dataset: no file {data.dataset}" + (f", nor {data.root / data.dataset}" if data.root else "")
        )
    if known("extract.flow", extract.flow, list(FLOW_METHODS)) and extract.flow_weights:
        try:
            weights.check(extract.flow_weights, backbone=extract.flow, stream="flow")
        except weights.WeightsError as error:
            problems.append(f"extract.flow_weights: {error}")
    known("train.detector", train.detector, list(DETECTORS))
    if len(set(extract.streams)) != len(extract.streams):
        problems.append("extract.streams: a stream stands twice")
    if extract.crops > 1 and extract.rgb_short_side:
        problems.append("extract.rgb_short_side: crops have a size of their own: set extract.crops=1")
    if extract.context == "batch" and extract.clip_stride != CLIP_FRAMES:
        problems.append(f"extract.context: clips that overlap are no piece of video: set clip_stride={CLIP_FRAMES}")
    if extract.context == "batch" and extract.batch_clips > MAX_PIECE_CLIPS:
        problems.append(f"extract.batch_clips: a network sees at most {MAX_PIECE_CLIPS} clips as one")
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


def load_videos(
    config: Config, arguments: Sequence[str] = (), warn: Callable[[str], None] = lambda _: None
) -> list[Video]:
    """The videos that a command works on: those of the configuration, or its arguments alone.

    An argument that is a video of the configuration keeps what that says of it (its frame rate, its labels). `warn`
    gets a line for each thing that the benchmark's download lacks and `data.allow_missing` lets it lack.

    Raises:
        ConfigError, dataset.DatasetError: there are none, or their description is wrong.
    """
    data = config.data
    configured: list[Video] = []
    if data.benchmark:
        configured = _benchmark_videos(config, warn)
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


def _benchmark_videos(config: Config, warn: Callable[[str], None]) -> list[Video]:
    data = config.data
    assert data.benchmark is not None and data.root is not None  # check_config saw to it
    benchmark = BENCHMARKS[data.benchmark]
    if data.layout == "released":
        classes = data.classes or benchmark.classes
        listing = read_released(data.root, data.benchmark, classes, config.extract.streams)
    else:
        listing = benchmark.read(data.root, Options(seed=config.protocol.seed, normal=data.normal))
    if listing.missing:
        count = len(listing.missing)
        shown = listing.missing[:MAX_PROBLEMS]
        first = f", the first {len(shown)}" if len(shown) < count else ""
        said = [f"{data.root}: missing of {data.benchmark}: {count}{first} (docs/datasets.md says what belongs there)"]
        said += [f"missing: {line}" for line in shown]
        if not data.allow_missing:
            raise DatasetError("\n".join([*said, f"to go on without: {ALLOW_MISSING}"]))
        for line in said:
            warn(line)
    if not listing.videos:
        raise DatasetError(f"{data.root}: no video of {data.benchmark} is here")
    return listing.videos


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
    console = Console(file=sys.stderr, quiet=quiet)
    manifest: Manifest
    videos = load_videos(config, arguments, lambda text: say(console, text))
    with open_manifest(work) as manifest:
        run = Run(
            config,
            work,
            manifest,
            videos,
            console,
            named=bool(arguments),
            force=force,
            verify=verify,
            verbose=verbose,
        )
        if not arguments:
            _write_videos(run)
        write_text(work / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        yield run


def _write_videos(run: Run) -> None:
    root = (run.config.data.root or run.videos[0].path.parent).absolute()
    absolute = [replace(video, path=video.path.absolute()) for video in run.videos]
    write_dataset(run.work / "dataset.csv", absolute, root)


def random_splits(run: Run) -> list[Run]:
    """The run itself, or one for each random split of its benchmark, below `splits/`: with the same features."""
    protocol = run.config.protocol
    if protocol.splits == 1 or run.named:
        return [run]
    runs = []
    for number in range(protocol.splits):
        changed = protocol.model_copy(update={"splits": 1, "seed": protocol.seed + number})
        config = run.config.model_copy(update={"protocol": changed})
        name = str(number)  # whatever their number, so that more splits leave those that are done alone
        part = replace(
            run, config=config, work=run.work / "splits" / name, videos=load_videos(config), split=f"split_{name}"
        )
        runs.append(part)
    return runs


def run_stages(run: Run, names: Sequence[str], announce: Callable[[str], None]) -> list[StageResult]:
    """Run the named stages in order, as long as a video is left to go on with; `announce` gets a line for each.

    Features are extracted once; what depends on a random split is done for each of them, one after the other.

    Raises:
        StageError: a stage cannot begin.
    """
    total = {name: StageResult(name) for name in names}

    def run_stage(name: str, part: Run) -> bool:
        try:
            result = stages()[name](part, part.videos)
        except StageError as error:
            raise StageError(f"{part.split}: {error}" if part.split else str(error)) from error
        total[name].add(result)
        announce(f"{part.split}: {result.summary()}" if part.split else result.summary())
        return len(result.failed) < len(part.videos)  # else nothing is left to go on with, and the failures say why

    reached = [name for name in names if name == "extract"]
    if reached and not run_stage("extract", run):
        return [total["extract"]]
    parts = random_splits(run) if len(names) > len(reached) else []
    later = [name for name in names if name != "extract"]
    finished = True
    if len(parts) > 1 and "evaluate" in later:
        (run.work / "metrics.json").unlink(missing_ok=True)  # written anew below, unless a split cannot be done
    for part in parts:
        if part.split:
            _write_videos(part)
        for name in later:
            reached += [name] if name not in reached else []
            if not run_stage(name, part):
                finished = False
                break
    if len(parts) > 1 and "evaluate" in reached and finished:
        write_json(run.work / "metrics.json", summarise_splits(parts))
    return [total[name] for name in reached]


def summarise_splits(parts: Sequence[Run]) -> dict[str, Any]:
    """What `metrics.json` of several random splits says."""
    from lad.evaluation.results import summarise

    metrics = [json.loads((part.work / "metrics.json").read_text()) for part in parts]
    first = metrics[0]
    summary = summarise([{"seed": part.config.protocol.seed, **one} for part, one in zip(parts, metrics, strict=True)])
    seeds = [part.config.protocol.seed for part in parts]
    return {
        **summary,
        "protocol": {**first["protocol"], "split": None, "splits": len(parts), "seed": seeds[0]},
        "weights": first["weights"],
        "lad": first["lad"],
    }
