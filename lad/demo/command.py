"""`lad demo`: the whole chain on clips that it makes itself, and what came of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import click

from lad import console
from lad.config import load_config
from lad.demo import make_clips
from lad.evaluation.plots import can_draw, draw_overview
from lad.pipeline.evaluate import read_scored
from lad.pipeline.outcome import run_data
from lad.pipeline.project import Asked
from lad.pipeline.run import open_project, ready_recipe, run_stages
from lad.report.build import Choices, build_report

OVERVIEW = "overview.png"


def run_demo(work: Path, *, quiet: bool = False, overrides: Sequence[str] = ()) -> bool:
    """Make the clips, run every stage on them and print the result; true where every clip was done.

    `overrides` are `key=value` changes to `demo.yaml`.

    Raises:
        StageError, weights.WeightsError: as the stages do.
    """
    clips = work / "clips"
    say = click.echo if not quiet else lambda text, err: None
    say("making 24 short clips: people in three places, some with a panic, a fall or a fire", err=True)
    make_clips(clips)
    with as_file(files("lad.demo") / "demo.yaml") as settings:
        config = load_config(settings, list(overrides), options={"data.root": clips})
    asked, reporter = Asked(), console.make_reporter(quiet=quiet)
    opened = open_project(config, work, reporter=reporter, asked=asked)
    with opened as (project, place), reporter.log.kept_in(work, reporter.print):
        recipe = ready_recipe(project, reporter)
        names = ["extract", "train", "score", "evaluate"]
        results = run_stages(project, recipe, place, asked, reporter, names, reporter.say)
        data = run_data(project, recipe, place, asked, reporter, results, with_clips=False)
        scored = read_scored(project, place, [video for video in project.videos if video.split == "test"])
        if can_draw():
            draw_overview(work / "plots" / OVERVIEW, scored, data["metrics"]["threshold"])
        failed = any(result.failed for result in results)
        report = build_report(place, work / "report", Choices(), reporter)
        reporter.log.end(int(failed))
    click.echo()
    click.echo("Scores of the test clips, one block for each clip of 16 frames; the line below marks the true event:")
    for one in scored:
        console.print_curve(one.video.id.removeprefix("videos/"), one.scores, one.truth)
    click.echo()
    console.print_run(data)
    if can_draw():
        click.echo(f"picture {work / 'plots' / OVERVIEW}")
    click.echo("\nTo watch the events beside their scores, open this in a browser:")
    click.echo(f"  {report.page.absolute().as_uri()}")
    click.echo("\nNow your own video:")
    click.echo(f"  {command()} score --report VIDEO")
    click.echo("  (with a detector for fights and falls that comes with lad; the one of the demo knows made-up events)")
    return not failed


def command() -> str:
    """How this command was called, so that the next one can be typed as it is printed."""
    return "lad" if shutil.which("lad") else str(Path(sys.argv[0]))
