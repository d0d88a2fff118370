"""`lad review`: what people say of what was found."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lad.options import CONFIG, EXIT_DONE, JSON, QUIET, WORK, default_work
from lad.text import printable

SHOWN = 20  # moments of `--next` without a number


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
    help=f"Print the N moments that nobody has labelled of which a verdict would teach most [default: {SHOWN}].",
)
@click.option("--split", type=click.IntRange(min=0), help="Which of several random splits was scored.")
@JSON
@QUIET
def review(
    config_path: Path | None, work: Path | None, count: int | None, split: int | None, as_json: bool, quiet: bool
) -> int:
    """Say what to look at next: moments near the threshold, and unlike all that is labelled.

    Verdicts are kept in WORK/labels.csv, and `lad train` and `lad run` learn from them: docs/review.md.

    \b
    Examples:
      lad review --work runs/yard --next
      lad review --work runs/yard --next 50 --json
    """
    from lad.console import clock, make_reporter
    from lad.pipeline.review_next import moments_to_review
    from lad.work.layout import Work
    from lad.work.manifest import read_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    if count is None:
        raise click.UsageError("give --next")
    place = work or default_work(config_path)
    with read_manifest(place) as manifest:
        moments = moments_to_review(Work(manifest, split), count, make_reporter(quiet=quiet))
    if as_json:
        click.echo(json.dumps({"work": str(place), "next": moments}, indent=2))
        return EXIT_DONE
    for one in moments:
        times = f"{clock(one['start_time'])} - {clock(one['end_time'])}"
        frames = f"frames {one['start']}-{one['end']}"
        click.echo(f"{printable(one['video'])}  {times}  {frames}  score {one['score']:.3f}")
    if not moments:
        click.echo("nothing to look at: every scored video that can teach is labelled")
    return EXIT_DONE
