"""What commands can be told, and what it comes to: a configuration, a work directory, who is told what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad import ours
from lad.files import path_problem
from lad.remote.url import is_url
from lad.text import did_you_mean, shortened

if TYPE_CHECKING:
    from lad.config import Config
    from lad.console import ConsoleReporter
    from lad.engine.ray_cluster import OnRay
    from lad.pipeline.project import Asked, Project
    from lad.pipeline.reporter import StageResult
    from lad.work.layout import Work

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2
VERBOSITY = "verbosity"  # key of click's `obj`: how often -v was given
TRACEBACK_VERBOSITY = 2


class Place(click.Path):
    """A path that can be one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if problem := path_problem(value):
            self.fail(f"{shortened(str(value))}: {problem}", param, ctx)
        return super().convert(value, param, ctx)


class Root(Place):
    """A folder's path, or a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_url(str(value)) else super().convert(value, param, ctx)


PLACE = Place(path_type=Path)


def _note_verbosity(ctx: click.Context, _param: click.Parameter, value: int) -> bool:
    if ctx.obj is not None:
        ctx.obj[VERBOSITY] = value
    return value > 0


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from lad.version import code_version

        click.echo(f"lad, version {code_version()}")
        ctx.exit()


class Commands(click.Group):
    """Commands, of which an unknown one is answered with the one that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            known = self.list_commands(ctx)
            advice = did_you_mean(args[0], known) or f": there are {', '.join(known)}"
            if Path(args[0]).exists():
                advice = ": to score a video write lad score VIDEO"
            raise click.UsageError(f"no command {shortened(args[0])!r}{advice}", ctx) from error


VERSION = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Say which code this is: version, commit, hash of the sources.",
)
CONFIG = click.option(
    "-c", "--config", "config_path", type=PLACE, help="Configuration: a YAML file, or a name such as surveillance."
)
WORK = click.option(
    "--work", type=PLACE, help="Work directory [default: runs/<config name>; runs/score, if `lad score` has none]."
)
SPLIT = click.option("--split", type=click.IntRange(min=0), help="Of this random split, where a run has several.")
ALARM = click.option(
    "--alarm",
    metavar="CMD",
    help="Run this for each event that is found in a newly scored video; it gets the event as JSON on its stdin. No "
    "shell runs it: for pipes write \"sh -c '...'\". One that fails is run again by the next command; exit status 1.",
)
SOURCE = click.option(
    "--source",
    metavar="CAMERA",
    help="Which camera filmed the videos, for a detector that knows cameras [default: the dataset's column source].",
)
ADD = click.option(
    "--add",
    metavar="SOURCE",
    help="Learn the normal footage of this camera alone, and put it into the run's detector of several cameras: the "
    "others stay as they are.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
VERBOSE = click.option(
    "-v",
    "--verbose",
    count=True,
    callback=_note_verbosity,
    help="Say more, as of each evaluation in training. Twice: a traceback where errors are one line (LAD_TRACEBACK=1).",
)
DATA = click.option(
    "--data",
    type=Root(path_type=Path),
    help="Data root: where the videos lie, a folder, or a URL (docs/datasets.md).",
)
OVERRIDES = click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any configuration key.")
DEVICE = click.option(
    "--device",
    metavar="auto|cpu|cuda[:i]",
    help="Where networks run [default: auto]. cuda:all: features are extracted on all GPUs of this machine.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
COMMON = (
    CONFIG,
    WORK,
    DATA,
    OVERRIDES,
    DEVICE,
    click.option("--workers", type=click.IntRange(min=1), help="Decoding processes [default: 2]."),
    click.option("--force", is_flag=True, help="Do it again even where it is done or has failed."),
    click.option("--verify", is_flag=True, help="Trust no size or time stamp: hash inputs and outputs again."),
    JSON,
    VERBOSE,
    QUIET,
)


class Number(click.FloatRange):
    """A number within limits; `nan` is none, though every comparison lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is no number", param, ctx)
        return number


ENGINE = (
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the work on single videos is done: on this machine, or by actors of Ray (docs/scale.md).",
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="The Ray cluster; auto: the one that this machine belongs to [default: $RAY_ADDRESS, else a Ray of this "
        "machine's own].",
    ),
    click.option("--actors", type=click.IntRange(min=1), help="How many [default: what the cluster has room for]."),
    click.option(
        "--gpus-per-actor",
        type=Number(min=0),
        metavar="G",
        help="A part of one is fine [default: 1 where networks run on a GPU].",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where the work on single videos is done."""
    for option in reversed(ENGINE):
        command = option(command)
    return command


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every stage takes."""
    for option in reversed(COMMON):
        command = option(command)
    return command


def default_work(config_path: Path | None) -> Path:
    """The work directory of a configuration where none is named."""
    from lad.config import load_config

    return Path("runs") / (load_config(config_path, []).name if config_path else "run")


@dataclass(frozen=True)
class Session:
    """What the common options of a command come to.

    Attributes:
        config: resolved.
        work: the work directory.
        reporter: who is told what is done.
        asked: how the stages shall work.
        as_json: whether results are printed as JSON.
    """

    config: Config
    work: Path
    reporter: ConsoleReporter
    asked: Asked
    as_json: bool

    @contextmanager
    def open(self, videos: Sequence[str] = ()) -> Iterator[tuple[Project, Work]]:
        """`pipeline.run.open_project`, with a log as long as the work directory is held."""
        from lad.pipeline.run import open_project

        reporter = self.reporter
        with (
            open_project(self.config, self.work, videos, reporter=reporter, asked=self.asked) as (project, work),
            reporter.log.kept_in(work.home, reporter.print),
        ):
            yield project, work

    @contextmanager
    def hold(self) -> Iterator[Work]:
        """The work directory alone, of a command that needs no videos; with a log as `open`."""
        from lad.work.layout import Work
        from lad.work.manifest import open_manifest

        with (
            open_manifest(self.work, force=self.asked.force) as manifest,
            self.reporter.log.kept_in(self.work, self.reporter.print),
        ):
            yield Work(manifest)

    def end(self, results: Sequence[StageResult]) -> int:
        """Log what failed and how the command ends, while its work directory is still held; returns the exit status."""
        failed: dict[str, str] = {}
        for result in results:
            failed = {**result.failed, **failed}  # a later stage only repeats what an earlier one says of a video
        for reason in failed.values():
            self.reporter.log.write(f"not done: {reason}")
        status = EXIT_SOME_FAILED if failed else EXIT_DONE
        self.reporter.log.end(status)
        return status


def begin(
    options: dict[str, Any],
    videos: Sequence[str] = (),
    checkpoint: Path | None = None,
    *,
    bare: bool = False,
    again: bool = False,
    scores: bool = False,
) -> Session:
    """Read the configuration that the options describe; with a checkpoint and no configuration, the checkpoint's.

    Args:
        options: the common ones.
        videos, checkpoint: as the command was given them; the checkpoint may be the name of one that comes with `lad`.
        bare: the command can do without a configuration.
        again: the command trains; where it is told nothing but a work directory, it takes the configuration of the last
            command there, but for a detector that was named.
        scores: the command scores; where nobody names a detector or a configuration, and none was trained in the work
            directory, it takes the one that comes with `lad`.

    Raises:
        click.UsageError: nothing says what to work on.
        ConfigError, CheckpointError: the configuration or the checkpoint is wrong.
    """
    if again and options["work"] and not (options["config_path"] or options["data"]):
        options = _as_before(options)
    if not (options["config_path"] or options["overrides"] or options["data"] or videos or checkpoint or bare):
        raise click.UsageError(
            f"{'name videos, or ' if scores else ''}give -c CONFIG: a file, or a name: surveillance (videos of yours "
            "and their dataset.csv), folder (a folder for each category), ped2 and other benchmarks"
        )
    from lad.config import load_config
    from lad.console import make_reporter
    from lad.detector.included import find_detector
    from lad.pipeline.project import Asked

    own: Path | None = None
    if checkpoint is not None:
        checkpoint = find_detector(checkpoint)
    elif scores and not options["config_path"]:
        checkpoint, own = _without_configuration(options)
    given = {
        "data.root": options["data"],
        "device": options["device"],
        "workers": options["workers"],
        "score.checkpoint": checkpoint,
        "score.source": options.get("source"),
    }
    given = {key: value for key, value in given.items() if value is not None}
    overrides = list(options["overrides"])
    reporter = make_reporter(verbose=options["verbose"], quiet=options["quiet"])
    if (detector := checkpoint or own) is not None and options["config_path"] is None:
        from lad.detector.checkpoint import scoring_config

        config = scoring_config(detector, overrides, given, reporter.say)
    else:
        config = load_config(options["config_path"], overrides, options=given, say=reporter.say)
    work, shard = options["work"] or Path("runs") / config.name, options.get("shard")
    return Session(
        config,
        shard.folder(work) if shard else work,
        reporter,
        Asked(
            force=options["force"],
            verify=options["verify"],
            alarm=options.get("alarm") or "",
            shard=shard,
            ray=_on_ray(options),
            add=options.get("add") or "",
            normal=options.get("normal", ()),
        ),
        options["as_json"],
    )


def _on_ray(options: dict[str, Any]) -> OnRay | None:
    """What was asked of Ray; None: nothing.

    Raises:
        click.UsageError: options of Ray without it.
        EngineError: Ray is not installed.
    """
    from lad.engine.ray_cluster import OnRay, check_ray

    given = [name for name in ("ray_address", "actors", "gpus_per_actor") if options.get(name) is not None]
    if options.get("engine") != "ray":
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --engine ray")
        return None
    check_ray()
    return OnRay(options["ray_address"], options["actors"], options["gpus_per_actor"])


def _without_configuration(options: dict[str, Any]) -> tuple[Path | None, Path | None]:
    """The detector that scores where options name neither one nor a configuration.

    Returns the one that comes with `lad`, or else the one that the work directory has of its own.
    """
    from lad.config import load_config
    from lad.detector.included import DEFAULT, find_detector

    config = load_config(None, list(options["overrides"]))
    work = options["work"] or Path("runs") / config.name
    best = work / "checkpoints" / "best.pt"
    if config.score.checkpoint is not None:
        return None, None
    if any((work / name).exists() for name in ("checkpoints", "splits")):
        return None, best if best.is_file() else None
    return find_detector(DEFAULT), None


def _as_before(options: dict[str, Any]) -> dict[str, Any]:
    """Options with the configuration that a work directory was used with last, where it says one."""
    from lad.config import load_config

    resolved = options["work"] / ours.CONFIG
    if not resolved.is_file():
        return options
    changes = ["score.checkpoint=null", "score.source=null"]
    if load_config(resolved, []).score.checkpoint is not None:
        changes.append("train.adapt=none")  # that detector's sources are not those of the videos here
    return {**options, "config_path": resolved, "overrides": [*changes, *options["overrides"]]}
