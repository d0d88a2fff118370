"""`lad status`: what is done, what failed, what is left, and what of it is stale."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad.options import CONFIG, DATA, DEVICE, EXIT_DONE, EXIT_SOME_FAILED, JSON, OVERRIDES, WORK, default_work
from lad.text import printable

if TYPE_CHECKING:
    from lad.work.manifest import Manifest


@click.command()
@CONFIG
@WORK
@DATA
@OVERRIDES
@DEVICE
@click.option("--failed", is_flag=True, help="List what failed and why, one line each.")
@click.option("--rebuild", is_flag=True, help="First make a damaged manifest anew from what is on disk, verified.")
@JSON
def status(config_path: Path | None, work: Path | None, failed: bool, rebuild: bool, **options: Any) -> int:
    """Say what is done, what failed, what is left, and what is running or was interrupted.

    With -c, say too what of it is stale: not as this configuration would make it today, and why. Nothing is hashed or
    written. Where a detector of normal footage scored, it says how far recent footage has moved from what that learned
    from, and when to train it again. Exit status: 1 where something failed, 0 after a --rebuild that succeeded.

    \b
    Examples:
      lad status --work runs/ped2
      lad status -c ped2 --failed
      lad status -c ped2 --data ~/data/ped2 -o extract.fps=10
    """
    from lad import console
    from lad.pipeline.drift import drift_data, drift_lines
    from lad.pipeline.outcome import rebuilt_data, status_data
    from lad.work.manifest import read_manifest
    from lad.work.rebuild import rebuild_manifest

    if config_path is None and work is None:
        raise click.UsageError("give -c CONFIG or --work DIR")
    if config_path is None and (options["data"] or options["overrides"] or options["device"]):
        raise click.UsageError("--data, -o and --device say what to compare with: give -c CONFIG too")
    place = work or default_work(config_path)
    rebuilt = None
    if rebuild:
        with console.verify_bar() as on_progress:
            rebuilt = rebuild_manifest(place, on_progress)
    with read_manifest(place) as manifest:
        data = status_data(manifest)
        if drift := drift_data(manifest):
            data["drift"] = drift
        if config_path is not None and not failed:
            data["compared"] = {"config": str(config_path), **_compared(manifest, config_path, options)}
    if rebuilt:
        data["rebuilt"] = rebuilt_data(rebuilt)
    if options["as_json"]:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_status(data, failed_only=failed)
        for line in [] if failed else drift_lines(data.get("drift", [])):
            click.echo(printable(line))
    return EXIT_SOME_FAILED if data["failed"] and not rebuilt else EXIT_DONE


def _compared(manifest: Manifest, config_path: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lad import ours
    from lad.config import ConfigError, load_config
    from lad.pipeline.stale import compared_data

    before = None
    with suppress(ConfigError):  # of another version: it says less then
        before = load_config(manifest.work / ours.CONFIG, [])
    given = {"data.root": options["data"], "device": options["device"]}
    given = {key: value for key, value in given.items() if value is not None}
    config = load_config(config_path, list(options["overrides"]), options=given)
    if before and config.data.root is None:  # how it would be made is asked, and not of what
        given["data.root"] = before.data.root
        config = load_config(config_path, list(options["overrides"]), options=given)
    return compared_data(manifest, config, before)
