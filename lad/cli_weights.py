"""`lad weights`: pretrained weights of the feature networks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lad.options import JSON, PLACE, Commands


@click.group(cls=Commands)
def weights() -> None:
    """Pretrained weights of the feature networks.

    \b
    Example:
      lad weights list
    """


@weights.command(name="list")
@JSON
def weights_list(as_json: bool) -> None:
    """List the weights that are known, and which of them are here.

    \b
    Example:
      lad weights list --json
    """
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
    """Download weights (or take them from a file), verify, convert and keep them.

    \b
    Examples:
      lad weights fetch kinetics400-rgb
      lad weights fetch kinetics400-flow --from i3d_flow.pt
    """
    from lad import console
    from lad.models.weights import fetch

    with console.download_bar(name) as on_progress:
        found = fetch(name, from_file=from_file, on_progress=on_progress)
    click.echo(f"{name}: {found.path}\n  from {found.source}\n  sha256 {found.sha256}")


@weights.command(name="path")
@click.argument("name")
def weights_path(name: str) -> None:
    """Say where converted weights lie; exit status 2 where they are not here.

    \b
    Example:
      lad weights path kinetics400-rgb
    """
    from lad.models.weights import WeightsError, find

    found = find(name)
    if found is None:
        raise WeightsError(f"{name} is not here yet: lad weights fetch {name}")
    click.echo(found.path)
