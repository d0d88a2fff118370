"""A command from start to end: configuration checked, videos known, work directory held, one stage after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lad.config import Config, ConfigError
from lad.dataset import dataset_text
from lad.device import network_threads, resolve_device
from lad.errors import LadError
from lad.features.recipe import EXTRACT, FeatureRecipe, make_recipe, missing_weights
from lad.files import write_bytes, write_json
from lad.models import weights
from lad.ours import CONFIG, DATASET
from lad.pipeline.checks import check_config
from lad.pipeline.inventory import check_headers
from lad.pipeline.labels import check_labels_of, warn_of_misfits, warn_of_missing
from lad.pipeline.project import NO_VIDEOS, NOT_REVIEWED, Asked, Project, load_project, with_normal
from lad.pipeline.reporter import Bar, Reporter, StageError, StageResult
from lad.pipeline.reviewed import with_verdicts
from lad.pipeline.splits import set_aside
from lad.work.layout import Work
from lad.work.manifest import open_manifest

Stage = Callable[[Project, FeatureRecipe, Work, Asked, Reporter], StageResult]


def stages() -> dict[str, Stage]:
    """The stages of the chain, in order."""
    from lad.pipeline.evaluate import evaluate_videos
    from lad.pipeline.extract import extract_features
    from lad.pipeline.score import score_videos
    from lad.pipeline.train import train_detector

    return {"extract": extract_features, "train": train_detector, "score": score_videos, "evaluate": evaluate_videos}


@contextmanager
def open_project(
    config: Config, work: Path, arguments: Sequence[str] = (), *, reporter: Reporter, asked: Asked
) -> Iterator[tuple[Project, Work]]:
    """Check a configuration, find its videos (of a shard, its own) and hold its work directory.

    With `asked.force`, other people's files are replaced.

    Raises:
        ConfigError, dataset.DatasetError, manifest.ManifestError: before anything is written.
        StageError: a file that `lad` did not write is in the way.
    """
    import yaml

    check_config(config, named=bool(arguments))
    project = load_project(config, arguments, reporter.say)
    if asked.shard:
        project = replace(project, videos=asked.shard.videos(project.videos))
    if asked.normal:
        project = with_normal(project, asked.normal, reporter.say)
    with open_manifest(work, force=asked.force) as manifest:
        held = Work(manifest)
        reviewed = with_verdicts(project, held, reporter.say)
        if not reviewed.videos and not asked.shard:
            scored = not arguments and held.manifest.items("score")
            raise ConfigError(NOT_REVIEWED.format(work) if scored else NO_VIDEOS)
        if not arguments and project.videos:
            _write_videos(project, held, force=asked.force)
        settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_own(held, work / CONFIG, settings.encode(), force=asked.force)
        yield reviewed, held


def write_own(work: Work, path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that belongs to no item, unless somebody else wrote or changed the one that is there.

    Raises:
        StageError: somebody did; nothing is written.
    """
    if not force and not work.manifest.is_own(path):
        raise StageError(f"{path}: is not as lad wrote it: move it away, or give --force to replace it")
    work.manifest.record_own(path, content)
    write_bytes(path, content)


def _write_videos(project: Project, work: Work, *, force: bool) -> None:
    videos = project.unreviewed.videos  # labels.csv says the rest
    first = videos[0].path
    root = (project.config.data.root or (first.parent if isinstance(first, Path) else work.home)).absolute()
    absolute = [replace(video, path=video.path.absolute()) for video in videos]
    write_own(work, work.folder / DATASET, dataset_text(absolute, root), force=force)


def ready_recipe(project: Project, reporter: Reporter) -> FeatureRecipe:
    """What the project's features depend on; weights that are not here yet are fetched first.

    Raises:
        weights.WeightsError: they cannot be had.
    """
    config = project.config
    if not project.all_given:
        for name in missing_weights(config.extract):
            reporter.say(f"fetching the weights {name} (once)")
            with reporter.progress(f"weights {name}", None, "MB") as bar:
                weights.fetch(name, on_progress=_in_megabytes(bar))
    device, threads = resolve_device(config.device), network_threads(config.threads)
    return make_recipe(config.extract, device=device, threads=threads, given=project.all_given)


def _in_megabytes(bar: Bar) -> Callable[[int, int | None, str], None]:
    return lambda done, total, _: bar.show(done=done / 1e6, total=None if total is None else total / 1e6)


@dataclass(frozen=True)
class Part:
    """A project and its place: the whole of it, or one random split."""

    project: Project
    work: Work
    reporter: Reporter


def split_parts(project: Project, work: Work, reporter: Reporter) -> list[Part]:
    """The project itself, or one part for each random split of its benchmark: with the same features."""
    splits = project.random_splits()
    if not splits:
        return [Part(project, work, reporter)]
    # Numbered from 0, whatever their seeds, so that more splits leave those that are done alone.
    places = [work.of_split(number) for number in range(len(splits))]
    return [Part(split, place, reporter.within(place.name)) for split, place in zip(splits, places, strict=True)]


def run_stages(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    names: Sequence[str],
    announce: Callable[[str], None],
) -> list[StageResult]:
    """Run the named stages in order, as long as a video is left; `announce` gets one line for each.

    Features are extracted once; what depends on a random split is done for each of them, one after the other.

    Raises:
        LadError: a stage cannot begin.
    """
    from lad.pipeline.score import check_detector_fits

    if project.reviews and "train" in names and not any(video.split == "test" for video in project.videos):
        # Footage of one's own that was reviewed: there is enough to teach, and nothing to measure.
        if "evaluate" in names:
            reporter.say("evaluate: left out, no video is in the split `test`")
        names = [name for name in names if name != "evaluate"]
    total = {name: StageResult(name) for name in names}
    later = [name for name in names if name != "extract"]
    parts = split_parts(project, work, reporter) if later else []
    for part in parts:
        _check_labels(names, part)
    check_headers(project, recipe)
    if "extract" in names and not project.named:
        warn_of_missing(project.videos, reporter.say)
    if "extract" in names and later:
        known = {item.partition("/")[2] for _, item in work.manifest.items(EXTRACT)}
        new = [video for video in project.videos if video.id not in known]
        if new and "score" in later and "train" not in later:
            for part in parts:
                check_detector_fits(part.project, recipe, part.work)
        warn_of_misfits(new, project.config, reporter.say)

    def run_stage(name: str, part: Part) -> bool:
        prefix = f"{part.work.name}: " if part.work.name else ""
        try:
            result = stages()[name](part.project, recipe, part.work, asked, part.reporter)
        except LadError as error:
            if not prefix:
                raise
            raise StageError(f"{prefix}{error}") from error
        total[name].add(result)
        announce(f"{prefix}{result.summary()}")
        # Else nothing is left, and the failures say why. Normal footage may have failed, too.
        return any(video.id not in result.failed for video in part.project.videos)

    measures = not project.named and not {"train", "evaluate"}.isdisjoint(names)
    if measures and (kept := set_aside(work, [part.work for part in parts])):
        reporter.say(kept)

    whole = Part(project, work, reporter)
    reached = [name for name in names if name == "extract"]
    if reached and not run_stage("extract", whole):
        return [total["extract"]]
    several = len(parts) > 1
    if several and "evaluate" in later:
        work.metrics.unlink(missing_ok=True)  # written anew below, unless a split cannot be done
    finished = True
    for part in parts:
        if several:
            _write_videos(part.project, part.work, force=asked.force)
        for name in later:
            reached += [name] if name not in reached else []
            if not run_stage(name, part):
                finished = False
                break
            if name == "train" and "score" in later:
                _tell_gain(part, recipe, asked, announce)
    if several and "evaluate" in reached and finished:
        write_json(work.metrics, summarise_splits(parts))
    return [total[name] for name in reached]


def _tell_gain(part: Part, recipe: FeatureRecipe, asked: Asked, announce: Callable[[str], None]) -> None:
    """Say what verdicts of `lad review` changed, where there are any."""
    from lad.pipeline.review_gain import review_gain

    gain = review_gain(part.project, recipe, part.work, asked, part.reporter) if part.project.reviews else None
    if gain:
        announce(f"{f'{part.work.name}: ' if part.work.name else ''}{gain['said']}")


def _check_labels(names: Sequence[str], part: Part) -> None:
    project = part.project
    try:
        check_labels_of(names, project.videos, project.classes, project.config, part.reporter.say)
    except StageError as error:
        raise StageError(f"{part.work.name}: {error}" if part.work.name else str(error)) from error


def summarise_splits(parts: Sequence[Part]) -> dict[str, Any]:
    """What `metrics.json` of several random splits says."""
    from lad.evaluation.results import summarise

    metrics = [json.loads(part.work.metrics.read_text(encoding="utf-8")) for part in parts]
    seeds = [part.project.config.protocol.seed for part in parts]
    first = metrics[0]
    summary = summarise([{"seed": seed, **one} for seed, one in zip(seeds, metrics, strict=True)])
    return {
        **summary,
        "protocol": {**first["protocol"], "split": None, "splits": len(parts), "seed": seeds[0]},
        "weights": first["weights"],
        "lad": first["lad"],
    }
