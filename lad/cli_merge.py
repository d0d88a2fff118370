"""`lad merge`, and what `--shard` takes: one run on several machines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from lad.options import CONFIG, EXIT_DONE, EXIT_SOME_FAILED, JSON, PLACE, QUIET, WORK, default_work


class ShardType(click.ParamType):
    """`3/16` as a `Shard`."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from lad.pipeline.shards import Shard

        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is no part: the parts of 16 are 1/16 to 16/16", param, ctx)
        return Shard(int(match[1]), int(match[2]))


SHARD = click.option(
    "--shard",
    type=ShardType(),
    help="Of the videos only this part, such as 3/16; in WORK/shards/3-of-16. Parts may run on several machines; "
    "`lad merge` joins them.",
)


@click.command()
@CONFIG
@WORK
@click.option("--verify", is_flag=True, help="Hash what is there already, too.")
@JSON
@QUIET
@click.argument("parts", nargs=-1, type=PLACE)
def merge(
    config_path: Path | None, work: Path | None, verify: bool, as_json: bool, quiet: bool, parts: tuple[Path, ...]
) -> int:
    """Bring together what `lad extract --shard` extracted, in WORK; or the features of other work directories, PART...

    Parts stay as they are, and can be removed afterwards. Every file's hash is compared with that of when it was made.
    On one disk nothing is copied: the features get a second name. Exit status 1: a part is missing or not finished, or
    videos failed.

    \b
    Examples:
      lad extract -c yard.yaml --work runs/yard --shard 3/16      on each machine its own part
      lad merge --work runs/yard
      lad run -c yard.yaml --work runs/yard
      lad merge --work runs/yard /mnt/usb/runs/yard
    """
    from lad import console
    from lad.pipeline.merge import check_parts, merge_parts
    from lad.pipeline.outcome import stages_data
    from lad.work.layout import Work
    from lad.work.manifest import open_manifest

    if config_path is None and work is None:
        raise click.UsageError("give --work DIR, or -c CONFIG")
    place = work or default_work(config_path)
    check_parts(place, parts)
    reporter = console.make_reporter(quiet=quiet)
    with open_manifest(place) as manifest, reporter.log.kept_in(place, reporter.print):
        result = merge_parts(Work(manifest), parts, reporter, verify=verify)
    if as_json:
        click.echo(json.dumps({"work": str(place), "stages": stages_data([result])}, indent=2))
    else:
        click.echo(result.summary())
        console.print_failures(result.failed, "item")
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE
