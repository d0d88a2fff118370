"""The command line: parse, call one function, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lad import __version__

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2


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
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        sys.stderr.close()
        return EXIT_DONE
    except Exception as error:
        if not _is_explained(error):
            raise
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return EXIT_USAGE


def _is_explained(error: Exception) -> bool:
    """Whether an error was raised for the user to read."""
    from lad.config import ConfigError
    from lad.dataset import DatasetError
    from lad.models.weights import WeightsError
    from lad.pipeline.manifest import ManifestError
    from lad.pipeline.stage import StageError

    return isinstance(error, ConfigError | DatasetError | WeightsError | ManifestError | StageError | OSError)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every stage takes."""
    for option in reversed(
        [
            click.option(
                "-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (YAML)."
            ),
            click.option(
                "--work", type=click.Path(path_type=Path), help="Work directory [default: runs/<config name>]."
            ),
            click.option("--data", type=click.Path(path_type=Path), help="Data root: where the videos lie."),
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
    videos failed, 2 usage or configuration, 130 interrupted.
    """


@cli.command()
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Folder of the official download.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("dataset.csv"), show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of a random split.")
def prepare(name: str, root: Path, out: Path, seed: int) -> None:
    """Turn a benchmark's official download into a dataset.csv."""
    from lad.config import Config, DataConfig
    from lad.dataset import write_dataset
    from lad.pipeline.run import check_config, load_videos

    config = Config(data=DataConfig(benchmark=name, root=root, seed=seed))
    check_config(config)
    videos = load_videos(config)
    # Beside the data its paths are relative to the file; elsewhere whoever reads it says where the data lie.
    write_dataset(out, videos, root)
    splits = ", ".join(f"{sum(v.split == s for v in videos)} {s}" for s in ("train", "val", "test"))
    click.echo(f"{out}: {len(videos)} videos ({splits}), {sum(v.is_abnormal for v in videos)} abnormal")
    if out.absolute().parent != root.absolute():
        click.echo(f"use it with: -o data.dataset={out} --data {root}", err=True)


@cli.command()
@common_options
@click.argument("videos", nargs=-1)
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
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Detector [default: the run's best.pt].")
@click.argument("videos", nargs=-1)
def score(videos: tuple[str, ...], checkpoint: Path | None, **options: Any) -> int:
    """Score every frame: of the configuration's videos, or of VIDEO... (features are made where they are missing).

    With --checkpoint no configuration is needed: the checkpoint knows how its features are made.
    """
    names = ["extract", "score"] if videos or checkpoint else ["score"]
    return _run_stages(names, videos, options, checkpoint)


@cli.command()
@common_options
def evaluate(**options: Any) -> int:
    """Compare the scores of the `test` videos with their labels: metrics.json and plots."""
    return _run_stages(["evaluate"], (), options)


@cli.command(name="run")
@common_options
def run_command(**options: Any) -> int:
    """The whole chain: extract, train, score, evaluate. Each stage skips what is done."""
    return _run_stages(["extract", "train", "score", "evaluate"], (), options)


@cli.command()
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (YAML).")
@click.option("--work", type=click.Path(path_type=Path), help="Work directory [default: runs/<config name>].")
@click.option("--failed", is_flag=True, help="List what failed and why, a line each.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def status(config_path: Path | None, work: Path | None, failed: bool, as_json: bool) -> int:
    """Say what is done, what failed and what is left."""
    from lad import report
    from lad.pipeline.manifest import read_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    with read_manifest(work or _default_work(config_path)) as manifest:
        data = report.status_data(manifest)
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        report.print_status(data, failed_only=failed)
    return EXIT_SOME_FAILED if data["failed"] else EXIT_DONE


@cli.group()
def weights() -> None:
    """Pretrained weights of the feature networks."""


@weights.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def weights_list(as_json: bool) -> None:
    """What there is, and what of it is here."""
    from lad import report
    from lad.models.weights import list_weights

    data = list_weights()
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        report.print_weights(data)


@weights.command(name="fetch")
@click.argument("name")
@click.option(
    "--from", "from_file", type=click.Path(path_type=Path), help="A file that you have, instead of a download."
)
def weights_fetch(name: str, from_file: Path | None) -> None:
    """Download weights (or take them from a file), verify, convert and keep them."""
    from lad import report
    from lad.models.weights import fetch

    with report.download_bar(name) as on_progress:
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
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
def demo(work: Path, quiet: bool) -> int:
    """The whole chain on clips that it makes itself, with the real networks: a few minutes on a CPU."""
    from lad.pipeline.demo import run_demo

    return EXIT_DONE if run_demo(work, quiet=quiet) else EXIT_SOME_FAILED


def _default_work(config_path: Path | None) -> Path:
    from lad.config import load_config

    return Path("runs") / (load_config(config_path, []).name if config_path else "run")


def _load(options: dict[str, Any], checkpoint: Path | None) -> tuple[Any, Path]:
    """The configuration that the options describe, and the work directory."""
    from lad.config import load_config

    overrides = list(options["overrides"])
    direct = {"data.root": options["data"], "device": options["device"], "workers": options["workers"]}
    overrides += [
        f"{key}={json.dumps(str(v)) if key != 'workers' else v}" for key, v in direct.items() if v is not None
    ]
    if checkpoint is not None:
        overrides.append(f"score.checkpoint={json.dumps(str(checkpoint))}")
    if checkpoint is not None and options["config_path"] is None:
        from lad.pipeline.checkpoint import scoring_config

        config = scoring_config(checkpoint, overrides)
    else:
        config = load_config(options["config_path"], overrides)
    return config, options["work"] or Path("runs") / config.name


def _run_stages(
    names: list[str], videos: tuple[str, ...], options: dict[str, Any], checkpoint: Path | None = None
) -> int:
    from lad import report
    from lad.pipeline.run import open_run, run_stages
    from lad.pipeline.score import find_checkpoint

    if not (options["config_path"] or options["overrides"] or options["data"] or videos or checkpoint):
        raise click.UsageError("give -c CONFIG")
    config, work = _load(options, checkpoint)
    flags = {name: options[name] for name in ("force", "verify", "verbose", "quiet")}
    with open_run(config, work, videos, **flags) as run:
        if "score" in names and "train" not in names:
            find_checkpoint(run)  # before hours of extraction, not after
        # Text is printed as it comes; JSON must stay one document.
        results = run_stages(run, names, run.say if options["as_json"] else click.echo)
        data = report.run_data(run, results)
    if options["as_json"]:
        click.echo(json.dumps(data, indent=2))
    else:
        report.print_run(data)
    return EXIT_SOME_FAILED if any(result.failed for result in results) else EXIT_DONE
