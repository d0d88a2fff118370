"""`lad report`, and `--report` of the commands that score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lad.options import CONFIG, JSON, PLACE, QUIET, WORK, Number, default_work
from lad.text import printable

if TYPE_CHECKING:
    from lad.pipeline.reporter import Reporter
    from lad.report.build import Report
    from lad.work.layout import Work

FOLDER = "report"  # in the work directory
REPORT = click.option("--report", is_flag=True, help="Write a page that shows what was found: WORK/report/index.html.")


@click.command()
@CONFIG
@WORK
@click.option("--out", type=PLACE, help="Folder to write to [default: WORK/report].")
@click.option("--split", type=click.IntRange(min=0), help="Which of several random splits [default: 0].")
@click.option(
    "--videos",
    type=click.Choice(["clips", "link", "none"]),
    default="clips",
    show_default=True,
    help="clips: small clips of the moments, so that the folder can be sent. link: the videos where they lie, clips of "
    "those that browsers do not play. none: thumbnails alone.",
)
@click.option("--before", type=Number(min=0), default=5.0, show_default=True, help="Seconds before an event.")
@click.option("--after", type=Number(min=0), default=5.0, show_default=True, help="Seconds after it.")
@click.option("--minutes", type=Number(min=0), default=30.0, show_default=True, help="Of clips, at most.")
@click.option("--thumbnails", type=click.IntRange(min=0), default=500, show_default=True, help="Thumbnails, at most.")
@click.option("--force", is_flag=True, help="Replace files that lad did not write.")
@JSON
@QUIET
def report(
    config_path: Path | None,
    work: Path | None,
    out: Path | None,
    split: int | None,
    as_json: bool,
    quiet: bool,
    **choices: object,
) -> int:
    """Write a page that shows what was scored: events, videos beside their curves, and how good the run is.

    The page opens from the disk in any browser, without a server and without a network. The folder is complete and can
    be sent to somebody. What is there already is not made again.

    \b
    Examples:
      lad report --work runs/surveillance
      lad report --work runs/score --out for_anna --minutes 5
    """
    from lad.console import make_reporter
    from lad.report.build import Choices, build_report
    from lad.work.layout import Work
    from lad.work.manifest import read_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    place = work or default_work(config_path)
    with read_manifest(place) as manifest:
        whole = Work(manifest)
        part = part_of(whole, split)
        made = build_report(part, out or part.folder / FOLDER, Choices(**choices), make_reporter(quiet=quiet))  # type: ignore[arg-type]
    print_report(made, as_json=as_json)
    return 1 if made.failed else 0


def part_of(work: Work, split: int | None) -> Work:
    """The part of a work directory that a report shows: one of its random splits, or the whole.

    Raises:
        click.UsageError: there is no such split.
    """
    splits = work.home / "splits"
    if not splits.is_dir():
        if split is not None:
            raise click.UsageError(f"--split {split}: {work.home} has no random splits")
        return work
    number = split or 0
    if not (splits / str(number)).is_dir():
        known = sorted(int(folder.name) for folder in splits.iterdir() if folder.name.isdigit())
        raise click.UsageError(f"--split {number}: {work.home} has {', '.join(map(str, known)) or 'none'}")
    return work.of_split(number)


def write_report(work: Work, reporter: Reporter) -> Report:
    """The report of `--report`: into the work directory, with everything as `lad report` has it by default."""
    from lad.report.build import Choices, build_report

    part = part_of(work, None)
    return build_report(part, part.folder / FOLDER, Choices(), reporter)


def report_data(made: Report) -> dict[str, object]:
    """What came of a report, as plain data."""
    counts = {"videos": made.videos, "events": made.events, "made": made.made, "kept": made.kept}
    return {"page": str(made.page), "address": made.page.absolute().as_uri(), **counts, "failed": made.failed}


def print_report(made: Report, *, as_json: bool) -> None:
    """Print what came of a report; last the address of its page, which a browser opens."""
    if as_json:
        click.echo(json.dumps(report_data(made), indent=2))
        return
    click.echo(made.summary())
    for reason in made.failed.values():
        click.echo(f"  without pictures: {printable(reason)}", err=True)
    click.echo(made.page.absolute().as_uri())
