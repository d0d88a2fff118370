"""`lad review`: what people say of what was found."""

from __future__ import annotations

import json
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lad.errors import LadError, reason
from lad.options import CONFIG, EXIT_DONE, JSON, QUIET, WORK, Number, default_work
from lad.text import printable

if TYPE_CHECKING:
    from lad.pipeline.reporter import Reporter
    from lad.pipeline.review_next import NextMoment
    from lad.review.app import Served
    from lad.work.layout import Work

SHOWN = 20  # moments of `--next` without a number
FOLDER = "review"  # in the work directory: the page
NEEDS = "lad review needs a web server: pip install starlette uvicorn"


@click.command()
@CONFIG
@WORK
@click.option(
    "--next",
    "count",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=SHOWN,
    metavar="[N]",
    help="Open no page: print the N moments that nobody has labelled of which a verdict would teach most "
    f"[default: {SHOWN}].",
)
@click.option("--split", type=click.IntRange(min=0), help="Which of several random splits.")
@click.option("--read-only", is_flag=True, help="Show verdicts and take none.")
@click.option("--who", help="The name that your verdicts get [default: the name of your account].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one].")
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@click.option("--minutes", type=Number(min=0), default=60.0, show_default=True,
              help="Of clips, at most: of videos that browsers do not play.")  # fmt: skip
@JSON
@QUIET
def review(
    config_path: Path | None,
    work: Path | None,
    count: int | None,
    split: int | None,
    read_only: bool,
    who: str | None,
    host: str,
    port: int,
    no_browser: bool,
    minutes: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Look at what was found, and accept or reject it: a page on this machine, until Ctrl-C.

    Verdicts are kept in WORK/labels.csv, and `lad train` and `lad run` learn from them: docs/review.md. The page lists
    events, and moments that are unlike all that is labelled.

    \b
    Examples:
      lad review --work runs/yard
      lad review --work runs/yard --next 50 --json
    """
    from lad.console import make_reporter
    from lad.work.layout import Work
    from lad.work.manifest import read_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    reporter = make_reporter(quiet=quiet)
    with read_manifest(work or default_work(config_path)) as manifest:
        if count is not None:
            return _print_next(Work(manifest, split), count, reporter, as_json=as_json)
        if as_json:
            raise click.UsageError("--json goes with --next")
        served = _served(Work(manifest, split), reporter, minutes=minutes, who=who, read_only=read_only)
    from lad.review.serve import serve

    def ready(address: str) -> None:
        click.echo(f"{address}\nVerdicts go to {printable(str(served.labels))}. Ctrl-C stops.")
        if not no_browser:
            webbrowser.open(address)

    serve(served, host, port, ready)
    return EXIT_DONE


def _print_next(work: Work, count: int, reporter: Reporter, *, as_json: bool) -> int:
    from lad.console import clock
    from lad.pipeline.review_next import moments_to_review

    moments = moments_to_review(work, count, reporter)
    if as_json:
        click.echo(json.dumps({"work": str(work.home), "next": [asdict(one) for one in moments]}, indent=2))
        return EXIT_DONE
    for one in moments:
        times = f"{clock(one.start_time)} - {clock(one.end_time)}"
        click.echo(f"{printable(one.video)}  {times}  frames {one.start}-{one.end}  score {one.score:.3f}")
    if not moments:
        click.echo("nothing to look at: every scored video that can teach is labelled")
    return EXIT_DONE


def _served(work: Work, reporter: Reporter, *, minutes: float, who: str | None, read_only: bool) -> Served:
    """Write the page, and say what the server may show.

    Raises:
        LadError: nothing was scored, labels.csv is not as lad wrote it, or the server is not installed.
    """
    try:
        from lad.review.app import Served
    except ModuleNotFoundError as error:
        raise LadError(NEEDS) from error
    from lad.ours import VERDICTS
    from lad.pipeline.scored import scored_videos
    from lad.report.build import Choices, build_report
    from lad.work.verdicts import Verdict, read, user

    name = (who or user()).strip()
    if problem := Verdict("video", "normal", 0, 1, who=name).problem():
        raise click.UsageError(f"--{problem}")
    read(work.home / VERDICTS)  # one that is not as lad wrote it is told here, and not in the browser
    videos = {video.id: video for video in scored_videos(work)}
    moments = _moments(work, reporter)
    page = work.folder / FOLDER
    made = build_report(work, page, Choices(videos="served", minutes=minutes), reporter, moments)
    return Served(made.files, videos, work.home / VERDICTS, name, read_only)


def _moments(work: Work, reporter: Reporter) -> list[NextMoment]:
    """What to look at next; none, and a line that says why, where that cannot be told."""
    from lad.pipeline.review_next import moments_to_review

    try:
        return moments_to_review(work, SHOWN, reporter)
    except (LadError, OSError) as error:
        reporter.say(f"what to look at next cannot be told: {reason(error)}")
        return []
