"""`lad compare`: the numbers of several runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lad.options import JSON, Place
from lad.text import printable


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Place(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "csv", "markdown", "latex"]),
    default="table",
    show_default=True,
    help="How it is printed; csv has every number.",
)
@JSON
def compare(runs: tuple[Path, ...], layout: str, as_json: bool) -> None:
    """Compare the numbers of runs: RUN is a work directory. Mean and deviation over splits, 95 % intervals.

    Of two runs of the same test videos, the difference too, with its interval and how often it is above 0: by a paired
    bootstrap over sources (over videos that have none). Nothing but the work directories is read, nothing is written.

    \b
    Examples:
      lad compare runs/*
      lad compare runs/ped2 runs/ped2-paper
      lad compare runs/* --format latex > table.tex
    """
    from lad import console
    from lad.pipeline.compare import compare_runs
    from lad.pipeline.compare_text import as_text, notes, tables

    data = compare_runs(runs)
    if as_json:
        click.echo(json.dumps(data, indent=2))
    elif layout == "table":
        console.print_tables(tables(data, separator="\n"), "mean ± deviation over splits; 95 % interval over sources")
    else:
        click.echo(as_text(data, layout), nl=False)
    for line in notes(data):
        click.echo(printable(line), err=True)
