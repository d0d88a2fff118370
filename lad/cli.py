"""The command line: parse, call one function, print."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import click

from lad.cli_compare import compare
from lad.cli_detectors import detectors
from lad.cli_evaluate import evaluate_detections, evaluate_scores
from lad.cli_events import clips, export
from lad.cli_merge import SHARD, merge
from lad.cli_prepare import prepare
from lad.cli_report import REPORT, print_report, report, report_data, write_report
from lad.cli_review import review
from lad.cli_status import status
from lad.cli_watch import watch
from lad.cli_weights import weights
from lad.errors import LadError, reason
from lad.options import (
    ADD,
    ALARM,
    EXIT_DONE,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    PLACE,
    QUIET,
    SOURCE,
    TRACEBACK_VERBOSITY,
    VERBOSITY,
    VERSION,
    Commands,
    Place,
    Session,
    begin,
    common_options,
    engine_options,
)
from lad.text import shortened


def run() -> int:
    """Run the command line; returns the exit status. Users' mistakes are one line each, never a traceback."""
    seen = {VERBOSITY: 0}
    try:
        return cli.main(prog_name="lad", standalone_mode=False, obj=seen) or EXIT_DONE
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return _refused(error.format_message())
    except SystemExit:  # click's, where the reader of our output has seen enough, as `head` does
        return EXIT_DONE
    except (LadError, OSError) as error:
        if seen[VERBOSITY] >= TRACEBACK_VERBOSITY or os.environ.get("LAD_TRACEBACK") == "1":
            traceback.print_exc()
        too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        lines = [
            f"{shortened(line)}{': choose a shorter one' if too_long else ''}" for line in reason(error).splitlines()
        ]
        for line in lines:
            click.echo(f"error: {line}", err=True)
        return _refused("\n".join(lines))


def _refused(error: str) -> int:
    """The exit status of a command that could not begin or go on; with --json the error is JSON on stdout too."""
    words = sys.argv[1:]
    if "--json" in words[: words.index("--") if "--" in words else None]:  # not all of it may have been understood
        click.echo(json.dumps({"error": error, "status": EXIT_USAGE}, indent=2))
    return EXIT_USAGE


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@VERSION
def cli() -> None:
    """Raw video in, anomaly scores out: the LAD2000 system (Wan et al. 2021).

    \b
    lad demo                                        see the whole chain on clips that it makes itself
    lad score VIDEO...                              score your own videos: fights and falls
    lad clips --out clips                           watch the events that were found
    lad watch rtsp://user@camera/stream             the same on a camera, as it happens
    lad run -c ped2 --data DIR                      a benchmark, from videos to metrics

    Every command resumes where it was stopped and does nothing twice. Exit status: 0 all done; 1 some videos
    failed; 2 usage, configuration, or the machine is in the way (full disk, no permission); 130 interrupted.
    """


@cli.command()
@common_options
@engine_options
@SHARD
@click.argument("videos", nargs=-1, type=Place())
def extract(videos: tuple[str, ...], **options: Any) -> int:
    """Extract features: of the configuration's videos, or of VIDEO... (files, folders of frames, globs).

    They are written to features/<stream>/<video>.npy, (clips, 1024) float32. With --json, the seconds at which each
    clip begins and ends are printed.

    \b
    Examples:
      lad extract -c ped2 --data ~/data/ped2
      lad extract street.mp4 yard.mp4 -o 'extract.streams=[rgb,flow]' --work features_of_two
      lad extract -c yard.yaml --shard 3/16
      lad extract -c yard.yaml --engine ray --ray-address auto
    """
    return _run_stages(["extract"], videos, begin(options, videos))


@cli.command()
@common_options
@ADD
def train(**options: Any) -> int:
    """Train a detector on the features of the `train` videos: checkpoints/best.pt.

    Verdicts of `lad review` count as labels. With --work and neither -c nor --data, the configuration is that of the
    last command there.

    \b
    Examples:
      lad train -c surveillance --data ~/my_videos
      lad train --work runs/yard
      lad train --work runs/yard --add gate
    """
    return _run_stages(["train"], (), begin(options, again=True))


@cli.command()
@common_options
@engine_options
@click.option(
    "--checkpoint",
    type=PLACE,
    help="Detector: a file, or a name that `lad detectors list` has [default: the run's best.pt; where nothing was "
    "trained, surveillance].",
)
@SOURCE
@click.option(
    "--normal",
    multiple=True,
    type=Place(),
    metavar="FOOTAGE",
    help="Footage of the same camera in which nothing happens, a few minutes of it: file, folder or glob. The detector "
    "gets to know the camera by it. Can be given several times.",
)
@ALARM
@REPORT
@click.argument("videos", nargs=-1, type=Place())
def score(videos: tuple[str, ...], checkpoint: Path | None, report: bool, **options: Any) -> int:
    """Score every frame: of the configuration's videos, or of VIDEO... (features are made where they are missing).

    Scores are written to scores/<video>.csv. No configuration is needed: a detector knows how its features are made.
    Without -c and --checkpoint, the detector is the one for fights and falls that comes with lad, unless one was
    trained in --work.

    \b
    Examples:
      lad score street.mp4
      lad score street.mp4 --normal ~/footage/quiet_hours
      lad score --checkpoint best.pt street.mp4
      lad score --checkpoint best.pt ~/footage --work ~/footage_scores --report
      lad score --checkpoint best.pt street.mp4 --alarm "python tell_me.py"
      lad score --checkpoint best.pt --source gate today.mp4
      lad score -c yard.yaml --engine ray --ray-address auto
    """
    session = begin(options, videos, checkpoint, scores=True)
    ready = session.config.score.checkpoint and not options["config_path"]
    names = ["extract", "score"] if videos or checkpoint or ready else ["score"]
    return _run_stages(names, videos, session, with_report=report)


@cli.command()
@common_options
@engine_options
@click.option("--checkpoint", type=PLACE, help="Score with this detector first: a file, or a name as in `lad score`.")
@click.option(
    "--scores",
    type=Place(path_type=Path, exists=True),
    help="Scores that somebody else made, one a frame or one a clip: a folder with a CSV or npy for each video, or one "
    "file of all videos, with --list or --gt.",
)
@click.option(
    "--list",
    "listed",
    type=Place(path_type=Path, exists=True, dir_okay=False),
    help="In whose order the videos stand in the file of --scores: a feature file a line, as RTFM's ucf-i3d-test.list.",
)
@click.option(
    "--gt",
    type=Place(path_type=Path, exists=True, dir_okay=False),
    help="Labels for the file of --scores: 0 or 1 for each frame of all videos, as RTFM's gt-ucf.npy. Needs no -c.",
)
@click.option(
    "--regions",
    type=Place(path_type=Path, exists=True, file_okay=False),
    help="Detections in the picture, for RBDC and TBDC: a folder with a .txt for each video, which has "
    "frame,x_min,y_min,x_max,y_max,score on each line. Needs --tracks and --frames, and no -c.",
)
@click.option(
    "--tracks",
    type=Place(path_type=Path, exists=True, file_okay=False),
    help="For --regions: a folder with the true tracks of each video, as published for ShanghaiTech and Street Scene.",
)
@click.option("--frames", type=click.IntRange(min=1), help="For --regions: how many frames all test videos have.")
def evaluate(
    checkpoint: Path | None,
    scores: Path | None,
    listed: Path | None,
    gt: Path | None,
    regions: Path | None,
    tracks: Path | None,
    frames: int | None,
    **options: Any,
) -> int:
    """Compare the scores of the `test` videos with their labels: metrics.json and plots.

    Scores of somebody else are judged at a threshold only with -o score.threshold=T.

    \b
    Examples:
      lad evaluate -c surveillance --data ~/my_videos
      lad evaluate -c ped2-paper -o protocol.splits=1 --data ~/data/ped2 --scores ~/my_scores
      lad evaluate --scores pred.npy --gt gt-ucf.npy --list ucf-i3d-test.list
      lad evaluate -c yard.yaml --engine ray --ray-address auto
      lad evaluate --regions ~/my_boxes --tracks ~/AED/annotations/ShanghaiTech --frames 40791
    """
    if regions or tracks or frames:
        if not (regions and tracks and frames):
            raise click.UsageError("--regions, --tracks and --frames go together: give all three")
        if checkpoint or scores or listed or gt:
            raise click.UsageError("--regions is measured alone: give scores and checkpoints to another call")
        return evaluate_detections(regions, tracks, frames, begin(options, bare=True))
    if scores is None:
        if listed or gt:
            raise click.UsageError("--list and --gt go with --scores FILE")
        names = ["score", "evaluate"] if checkpoint else ["evaluate"]
        return _run_stages(names, (), begin(options, (), checkpoint))
    if checkpoint is not None:
        raise click.UsageError("--scores and --checkpoint: give one of them")
    if scores.is_dir() and (listed or gt):
        raise click.UsageError("--list and --gt go with one file of scores, and --scores is a folder")
    if not scores.is_dir() and not (listed or gt):
        raise click.UsageError(
            "--scores FILE: say with --list LIST in which order the videos stand in it, or with --gt FILE what is true "
            "of its frames"
        )
    return evaluate_scores(scores, listed, gt, begin(options, bare=gt is not None))


@cli.command(name="run")
@common_options
@engine_options
@ALARM
@REPORT
def run_command(report: bool, **options: Any) -> int:
    """The whole chain: extract, train, score, evaluate. Each stage skips what is done.

    After a `lad review` it learns from the verdicts, and says what they changed on the reviewed videos, held out.
    With --work and neither -c nor --data, the configuration is that of the last command there.

    \b
    Examples:
      lad run -c ped2 --data ~/data/ucsd_ped2
      lad run --work runs/ucsd_ped2
      lad run -c surveillance --data ~/my_videos -o train.steps=500
      lad run -c yard.yaml --engine ray --ray-address auto --actors 8 --gpus-per-actor 1
    """
    names = ["extract", "train", "score", "evaluate"]
    return _run_stages(names, (), begin(options, again=True), with_report=report)


@cli.command(name="config")
@click.argument("key", default="")
def config_command(key: str) -> None:
    """Print every key of the configuration with its default and its meaning; or those of a section, or one KEY.

    \b
    Examples:
      lad config
      lad config train
      lad config score.threshold
    """
    from lad.config_help import describe_keys

    click.echo(describe_keys(key))


for command in (clips, compare, detectors, export, merge, prepare, report, review, status, watch, weights):
    cli.add_command(command)


@cli.command()
@click.option("--work", type=PLACE, default=Path("runs/demo"), show_default=True, help="Work directory.")
@QUIET
def demo(work: Path, quiet: bool) -> int:
    """Show the whole chain on clips that it makes itself, with the real networks: a few minutes on a CPU.

    \b
    Example:
      lad demo --work /tmp/demo
    """
    from lad.demo.command import run_demo

    return EXIT_DONE if run_demo(work, quiet=quiet) else EXIT_SOME_FAILED


def _check_temporary_folder() -> None:
    """See that there is one: training needs it."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise LadError("no folder for temporary files can be written to: set TMPDIR to one") from error


def _run_stages(names: list[str], videos: tuple[str, ...], session: Session, *, with_report: bool = False) -> int:
    from lad import console
    from lad.detector.included import card_of
    from lad.pipeline.alarm import alarm_words
    from lad.pipeline.outcome import run_data
    from lad.pipeline.run import ready_recipe, run_stages, split_parts
    from lad.pipeline.score import find_checkpoint

    reporter, asked = session.reporter, session.asked
    # What would stop it after hours of extraction is said before.
    if asked.alarm:
        alarm_words(asked.alarm)
    if "train" in names:
        _check_temporary_folder()
    with session.open(videos) as (project, work):
        if "score" in names and "train" not in names:
            for part in split_parts(project, work, reporter):
                find_checkpoint(part.project, part.work)
        if "score" in names and (card := card_of(project.config.score.checkpoint)):
            reporter.say(card.line)
        recipe = ready_recipe(project, reporter)
        # Text is printed as it comes; JSON must stay one document.
        announce = partial(reporter.announce, on_stderr=session.as_json)
        results = run_stages(project, recipe, work, asked, reporter, names, announce)
        data = run_data(project, recipe, work, asked, reporter, results, with_clips=session.as_json)
        scored = any(result.stage == "score" and result.done + result.skipped for result in results)
        made = write_report(work, reporter) if with_report and scored else None
        status = session.end(results)
    if "score" in names and "evaluate" not in names:
        data.setdefault("scores", {})  # where no video came as far as that
    if session.as_json:
        click.echo(json.dumps(data | ({"report": report_data(made)} if made else {}), indent=2))
    else:
        console.print_run(data)
        if made:
            print_report(made, as_json=False)
    return EXIT_SOME_FAILED if made is not None and made.failed else status
