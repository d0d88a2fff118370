"""`lad status`: what is done, what failed, what is left, and what of it is stale."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad.options import CONFIG, DATA, DEVICE, EXIT_DONE, EXIT_SOME_FAILED, JSON, OVERRIDES, WORK, default_work
from lad.text import name_splits, printable

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

    While several processes or machines are at work, it says which, how fast, and how long still.

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
        _print_status(data, failed_only=failed)
        for line in [] if failed else drift_lines(data.get("drift", []), place):
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


def _print_status(data: dict[str, Any], *, failed_only: bool) -> None:
    """What is done, failed and left; `failed_only`: one line for each failure and nothing else."""
    from lad.console import print_tables

    if rebuilt := data.get("rebuilt"):
        _print_rebuilt(rebuilt)
    if not failed_only:
        states = list(next(iter(data["stages"].values()), ()))
        rows = [[stage, *(str(counts[name]) for name in states)] for stage, counts in data["stages"].items()]
        print_tables([(["stage", *states], rows)], printable(data["work"]))
        if numbers := data.get("splits_not_counted"):
            click.echo(f"{name_splits(numbers)} of an earlier run and not counted")
        if data["held"]:
            click.echo(printable(f"at work now: {data['holder']}"))
        if "fleet" in data:
            _print_fleet(data["fleet"])
        for state in ("running", "interrupted"):
            for one in data[state]:
                click.echo(printable(f"{state}: {one['stage']} {one['item']}, begun {one['since']}"))
        if data["interrupted"]:
            click.echo("the next run resumes from there")
        if "compared" in data:
            _print_compared(data["compared"])
    for failure in data["failed"]:
        click.echo(printable(f"{failure['stage']} {failure['item']}: {failure['error']} ({failure['failure']})"))


def _print_fleet(fleet: dict[str, Any]) -> None:
    """Which nodes are at work, how fast, for how long still."""
    from lad.progress import duration

    nodes, in_flight = fleet["nodes"], fleet["in_flight"]
    said = [f"{len(nodes)} node{'s' * (len(nodes) != 1)}", f"{sum(nodes.values())} processes at work"]
    said += [f"{fleet['away']} not there"] if fleet["away"] else []
    said += [f"{len(in_flight)} videos in flight"]
    if fleet["clips_per_second"] is not None:
        said.append(f"{fleet['clips_per_second']:.1f} clips/s")
    if fleet["seconds_left"] is not None:
        said.append(f"about {duration(fleet['seconds_left'])} left")
    click.echo(f"{fleet.get('what', 'extracting')}: {', '.join(said)}")
    for node, count in nodes.items():
        videos = sorted(video for video, where in in_flight.items() if where == node)
        click.echo(printable(f"  {node}: {count} at work: {', '.join(videos) or 'nothing'}"))


def _print_compared(data: dict[str, Any]) -> None:
    if "error" in data:
        click.echo(printable(f"not compared with {data['config']}: {data['error']}"))
        return
    click.echo(printable(f"compared with {data['config']}:"))
    for stage, one in data["stages"].items():
        of = f" of {one['wanted']}" if one["wanted"] > 1 else ""
        lines = [f"{count}{of} stale: {reason}" for reason, count in one["why"].items()]
        lines += [f"{one['not_done']}{of} not done"] if one["not_done"] else []
        lines += [f"{one['current']}{of} as it would be made now"] if one["current"] else []
        for line in lines:
            click.echo(printable(f"  {stage}: {line if of else line.removeprefix('1 ')}"))


def _print_rebuilt(data: dict[str, Any]) -> None:
    said = f"manifest made anew: {data['verified']} items verified, {len(data['dropped'])} dropped"
    said += f", {data['failures']} failures kept" if data["failures"] else ""
    said += f", {data['unreadable']} unreadable lines left out" if data["unreadable"] else ""
    click.echo(said + (f"; the old one is {data['old']}" if data["old"] else ""))
    for item in data["dropped"]:
        click.echo(f"  dropped, its files are missing or others: {printable(item)}")
