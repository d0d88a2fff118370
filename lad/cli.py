"""The command line: parse, call one function, print."""

from __future__ import annotations

import errno
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad import __version__
from lad.errors import LadError
from lad.files import path_problem
from lad.text import printable

if TYPE_CHECKING:
    from lad.console import ConsoleReporter
    from lad.pipeline.project import Asked

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2
LONG_WORD = re.compile(r"(\S{90})\S{70,}(\S{90})")  # a path too long to be one, or what somebody pasted


class _Place(click.Path):
    """A path that can be one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if problem := path_problem(value):
            self.fail(f"{_shown(str(value))}: {problem}", param, ctx)
        return super().convert(value, param, ctx)


PLACE = _Place(path_type=Path)


def run() -> int:
    """Run the command line; returns the exit status. Users' mistakes are one line each, never a traceback."""
    try:
        return cli.main(standalone_mode=False) or EXIT_DONE
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except SystemExit:  # click's, where the reader of our output has seen enough, as `head` does
        return EXIT_DONE
    except Exception as error:
        if not isinstance(error, LadError | OSError):
            raise
        too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        for line in str(error).splitlines():
            click.echo(f"error: {_shown(line)}{': choose a shorter one' if too_long else ''}", err=True)
        return EXIT_USAGE


def _shown(line: str) -> str:
    return printable(LONG_WORD.sub(r"\1...\2", line))


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every stage takes."""
    for option in reversed(
        [
            click.option("-c", "--config", "config_path", type=PLACE, help="Configuration (YAML)."),
            click.option("--work", type=PLACE, help="Work directory [default: runs/<config name>]."),
            click.option("--data", type=PLACE, help="Data root: where the videos lie."),
            click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any configuration key."),
            click.option("--device", metavar="auto|cpu|cuda[:i]", help="Where networks run [default: auto]."),
            click.option("--workers", type=click.IntRange(min=1), help="Decoding processes [default: 2]."),
            click.option("--force", is_flag=True, help="Do it again even where it is done or has failed."),
            click.option("--verify", is_flag=True, help="Trust no size or time stamp: hash inputs and outputs again."),
            click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
            click.option("-v", "--verbose", is_flag=True, help="Say more: each step of training."),
            click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors."),
        ]
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="lad")
def cli() -> None:
    """Raw video in, anomaly scores out: the LAD2000 system (Wan et al. 2021).

    \b
    lad demo                                        see the whole chain on clips that it makes itself
    lad run -c configs/ped2.yaml --data DIR         a benchmark from videos to metrics
    lad score --checkpoint best.pt VIDEO...         scores for your own videos

    Every command goes on where it was stopped and does nothing twice. Exit status: 0 all done, 1 some
    videos failed, 2 usage or configuration, or the machine is in the way (full disk, no permission), 130 interrupted.
    """


@cli.command()
@click.argument("name")
@click.option("--root", type=PLACE, required=True, help="Folder of the official download.")
@click.option("--out", type=PLACE, default=Path("dataset.csv"), show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of a random split.")
@click.option(
    "--layout",
    type=click.Choice(["official", "released"]),
    default="official",
    show_default=True,
    help="released: features and labels as the authors' code keeps them.",
)
@click.option("--streams", default="rgb,flow", show_default=True, help="Of released features.")
@click.option("--normal", default="*normal*", show_default=True, help="folder: names that mean a normal video.")
@click.option("--allow-missing", is_flag=True, help="Go on without what the download lacks.")
def prepare(name: str, root: Path, out: Path, seed: int, streams: str, **options: Any) -> None:
    """Turn a benchmark's official download into a dataset.csv.

    NAME is lad2000, ucf_crime, shanghaitech, avenue, ped1, ped2, xd_violence, or folder: any tree of videos, a folder a
    category. What is missing is listed by name. docs/datasets.md says where each comes from and how it must lie.
    """
    from lad.config import load_config
    from lad.dataset import write_dataset
    from lad.datasets import BENCHMARKS
    from lad.pipeline.checks import check_config
    from lad.pipeline.project import load_project

    if name not in BENCHMARKS:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(sorted(BENCHMARKS))}", param_hint="NAME")
    if not root.is_dir():
        raise click.BadParameter(f"{root} is not a folder", param_hint="--root")
    data = {"benchmark": name, "root": str(root), **options}
    extract = {"streams": [stream.strip() for stream in streams.split(",")]}
    base = {"data": data, "protocol": {"seed": seed}, "extract": extract}
    config = load_config(None, [], base=base)
    check_config(config)
    videos = load_project(config, warn=lambda text: click.echo(printable(text), err=True)).videos
    try:
        # Beside the data its paths are relative to the file; elsewhere whoever reads it says where the data lie.
        write_dataset(out, videos, root)
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from error
    counts = {s: sum(v.split == s for v in videos) for s in ("train", "val", "test", "")}
    splits = ", ".join(f"{count} {split or 'in no split'}" for split, count in counts.items() if count)
    abnormal = sum(video.is_abnormal for video in videos)
    click.echo(f"{out}: {len(videos)} videos ({splits}), {abnormal} abnormal")
    if not 0 < abnormal < len(videos):
        which = "abnormal" if abnormal else "normal"
        click.echo(f"warning: every video is {which}" + ("; see --normal" if name == "folder" else ""), err=True)
    if out.absolute().parent != root.absolute():
        one = "-o protocol.splits=1 " if BENCHMARKS[name].random_split else ""  # the split is in the file now
        place = f"{one}-o data.benchmark=null -o data.dataset={shlex.quote(str(out))} --data {shlex.quote(str(root))}"
        click.echo(f"use it with: -c configs/{name}.yaml {place}", err=True)


@cli.command()
@common_options
@click.argument("videos", nargs=-1, type=_Place())
def extract(videos: tuple[str, ...], **options: Any) -> int:
    """Extract features: of the configuration's videos, or of VIDEO... (files, folders of frames, globs)."""
    return _run_stages(["extract"], videos, options)


@cli.command()
@common_options
def train(**options: Any) -> int:
    """Train a detector on the features of the `train` videos."""
    return _run_stages(["train"], (), options)


@cli.command()
@common_options
@click.option("--checkpoint", type=PLACE, help="Detector [default: the run's best.pt].")
@click.argument("videos", nargs=-1, type=_Place())
def score(videos: tuple[str, ...], checkpoint: Path | None, **options: Any) -> int:
    """Score every frame: of the configuration's videos, or of VIDEO... (features are made where they are missing).

    With --checkpoint no configuration is needed: the checkpoint knows how its features are made.
    """
    names = ["extract", "score"] if videos or checkpoint else ["score"]
    return _run_stages(names, videos, options, checkpoint)


@cli.command()
@common_options
@click.option("--checkpoint", type=PLACE, help="Score with this detector first.")
@click.option(
    "--scores",
    type=_Place(path_type=Path, file_okay=False, exists=True),
    help="Anybody's scores: a CSV or npy a video.",
)
def evaluate(checkpoint: Path | None, scores: Path | None, **options: Any) -> int:
    """Compare the scores of the `test` videos with their labels: metrics.json and plots."""
    if scores is None:
        return _run_stages(["score", "evaluate"] if checkpoint else ["evaluate"], (), options, checkpoint)
    if checkpoint is not None:
        raise click.UsageError("--scores and --checkpoint: give one of them")
    return _evaluate_given(scores, options)


@cli.command(name="run")
@common_options
def run_command(**options: Any) -> int:
    """The whole chain: extract, train, score, evaluate. Each stage skips what is done."""
    return _run_stages(["extract", "train", "score", "evaluate"], (), options)


@cli.command()
@common_options
@click.option("--layout", type=click.Choice(["released"]), required=True, help="How files are laid out.")
@click.option("--out", type=PLACE, required=True, help="Folder to write to.")
def export(layout: str, out: Path, **options: Any) -> int:
    """Write features, labels and splits as the LAD2000 authors' code keeps them, for other people's programs."""
    from lad import console
    from lad.pipeline.export import export_released
    from lad.pipeline.outcome import stages_data
    from lad.pipeline.run import open_project, ready_recipe

    config, work = _load(options, None)
    reporter, asked = _reporter(options), _asked(options)
    with open_project(config, work, reporter=reporter) as (project, place):
        result = export_released(project, ready_recipe(project, reporter), place, asked, reporter, out)
    if options["as_json"]:
        click.echo(json.dumps({"out": str(out), "stages": stages_data([result])}, indent=2))
    else:
        click.echo(f"{result.summary()}\n{out}")
        console.print_failures(result.failed)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


@cli.command()
@click.option("-c", "--config", "config_path", type=PLACE, help="Configuration (YAML).")
@click.option("--work", type=PLACE, help="Work directory [default: runs/<config name>].")
@click.option("--failed", is_flag=True, help="List what failed and why, a line each.")
@click.option("--rebuild", is_flag=True, help="First make a damaged manifest anew from what is on disk, verified.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def status(config_path: Path | None, work: Path | None, failed: bool, rebuild: bool, as_json: bool) -> int:
    """Say what is done, what failed and what is left."""
    from lad import console
    from lad.pipeline.outcome import rebuilt_data, status_data
    from lad.work.manifest import read_manifest
    from lad.work.rebuild import rebuild_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    place = work or _default_work(config_path)
    rebuilt = None
    if rebuild:
        with console.verify_bar() as on_progress:
            rebuilt = rebuild_manifest(place, on_progress)
    with read_manifest(place) as manifest:
        data = status_data(manifest)
    if rebuilt:
        data["rebuilt"] = rebuilt_data(rebuilt)
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_status(data, failed_only=failed)
    return EXIT_SOME_FAILED if data["failed"] else EXIT_DONE


@cli.group()
def weights() -> None:
    """Pretrained weights of the feature networks."""


@weights.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def weights_list(as_json: bool) -> None:
    """What there is, and what of it is here."""
    from lad import console
    from lad.models.weights import list_weights

    data = list_weights()
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_weights(data)


@weights.command(name="fetch")
@click.argument("name")
@click.option("--from", "from_file", type=PLACE, help="A file that you have, instead of a download.")
def weights_fetch(name: str, from_file: Path | None) -> None:
    """Download weights (or take them from a file), verify, convert and keep them."""
    from lad import console
    from lad.models.weights import fetch

    with console.download_bar(name) as on_progress:
        found = fetch(name, from_file=from_file, on_progress=on_progress)
    click.echo(f"{name}: {found.path}\n  from {found.source}\n  sha256 {found.sha256}")


@weights.command(name="path")
@click.argument("name")
def weights_path(name: str) -> None:
    """Where converted weights lie; exit status 2 where they are not here."""
    from lad.models.weights import WeightsError, find

    found = find(name)
    if found is None:
        raise WeightsError(f"{name} is not here yet: lad weights fetch {name}")
    click.echo(found.path)


@cli.command()
@click.option("--work", type=PLACE, default=Path("runs/demo"), show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
def demo(work: Path, quiet: bool) -> int:
    """The whole chain on clips that it makes itself, with the real networks: a few minutes on a CPU."""
    from lad.demo.command import run_demo

    return EXIT_DONE if run_demo(work, quiet=quiet) else EXIT_SOME_FAILED


def _default_work(config_path: Path | None) -> Path:
    from lad.config import load_config

    return Path("runs") / (load_config(config_path, []).name if config_path else "run")


def _load(options: dict[str, Any], checkpoint: Path | None) -> tuple[Any, Path]:
    """The configuration that the options describe, and the work directory."""
    from lad.config import load_config

    given = {
        "data.root": options["data"],
        "device": options["device"],
        "workers": options["workers"],
        "score.checkpoint": checkpoint,
    }
    given = {key: value for key, value in given.items() if value is not None}
    overrides = list(options["overrides"])
    if checkpoint is not None and options["config_path"] is None:
        from lad.detector.checkpoint import scoring_config

        config = scoring_config(checkpoint, overrides, given)
    else:
        config = load_config(options["config_path"], overrides, options=given)
    return config, options["work"] or Path("runs") / config.name


def _reporter(options: dict[str, Any]) -> ConsoleReporter:
    from lad.console import make_reporter

    return make_reporter(verbose=options["verbose"], quiet=options["quiet"])


def _asked(options: dict[str, Any]) -> Asked:
    from lad.pipeline.project import Asked

    return Asked(force=options["force"], verify=options["verify"])


def _evaluate_given(scores: Path, options: dict[str, Any]) -> int:
    from lad import console
    from lad.pipeline.evaluate_given import evaluate_given
    from lad.pipeline.outcome import stages_data
    from lad.pipeline.run import open_project

    config, work = _load(options, None)
    if config.protocol.splits > 1:
        raise click.UsageError("--scores: of which split? Give -o protocol.splits=1 -o protocol.seed=N")
    reporter = _reporter(options)
    with open_project(config, work, reporter=reporter) as (project, held):
        result, metrics, place = evaluate_given(project, held, reporter, scores)
    data = {"work": str(place), "splits": 1, "stages": stages_data([result]), "metrics": metrics}
    if options["as_json"]:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_run(data)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _run_stages(
    names: list[str], videos: tuple[str, ...], options: dict[str, Any], checkpoint: Path | None = None
) -> int:
    from lad import console
    from lad.pipeline.outcome import run_data
    from lad.pipeline.run import open_project, ready_recipe, run_stages, split_parts
    from lad.pipeline.score import find_checkpoint

    if not (options["config_path"] or options["overrides"] or options["data"] or videos or checkpoint):
        raise click.UsageError("give -c CONFIG")
    config, work = _load(options, checkpoint)
    reporter, asked = _reporter(options), _asked(options)
    with open_project(config, work, videos, reporter=reporter) as (project, place):
        if "score" in names and "train" not in names:
            for part in split_parts(project, place, reporter):
                find_checkpoint(part.project, part.work)  # before hours of extraction, not after
        recipe = ready_recipe(project, reporter)
        # Text is printed as it comes; JSON must stay one document.
        announce = reporter.say if options["as_json"] else click.echo
        results = run_stages(project, recipe, place, asked, reporter, names, announce)
        data = run_data(project, recipe, place, asked, reporter, results)
    if options["as_json"]:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_run(data)
    return EXIT_SOME_FAILED if any(result.failed for result in results) else EXIT_DONE
