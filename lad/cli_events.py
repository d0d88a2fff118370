"""`lad clips` and `lad export`: what was found and what is known, for eyes and for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad.options import (
    CONFIG,
    EXIT_DONE,
    EXIT_SOME_FAILED,
    JSON,
    PLACE,
    QUIET,
    SPLIT,
    VERBOSE,
    Number,
    begin,
    common_options,
)

if TYPE_CHECKING:
    from lad.pipeline.reporter import StageResult

SCORED = Path("runs/score")  # where `lad score` works without a configuration
SECONDS = Number(min=0, max=1e6)


@click.command()
@CONFIG
@click.option("--work", type=PLACE, help=f"Work directory [default: runs/<config name>, or {SCORED}].")
@SPLIT
@click.option("--out", type=PLACE, required=True, help="Folder to write to.")
@click.option("--before", type=SECONDS, default=5.0, show_default=True, help="Seconds to show before an event.")
@click.option("--after", type=SECONDS, default=5.0, show_default=True, help="Seconds to show after an event.")
@click.option(
    "--merge", type=SECONDS, default=2.0, show_default=True, help="Events with a shorter gap, in seconds, are one clip."
)
@click.option("--overlay", is_flag=True, help="Draw the score, its curve and the category into the picture.")
@click.option("--video", "videos", multiple=True, metavar="ID", help="Of these videos only; 'yard/*' is a pattern.")
@click.option("--category", "categories", multiple=True, help="Of events of this category only.")
@click.option("--min-peak", type=Number(), default=0.0, help="Of events that reach this score only.")
@click.option("--limit", type=click.IntRange(min=1), help="So many clips, the worst first.")
@click.option("--force", is_flag=True, help="Cut them again, and replace other people's files.")
@click.option("--verify", is_flag=True, help="Trust no size or time stamp: hash the clips that are there.")
@JSON
@VERBOSE
@QUIET
def clips(
    config_path: Path | None,
    work: Path | None,
    split: int | None,
    out: Path,
    force: bool,
    verify: bool,
    as_json: bool,
    verbose: int,
    quiet: bool,
    **wanted: Any,
) -> int:
    """Cut each event that was found out of its video: OUT/<video>_<start>_<category>.mp4.

    A clip shows the right frames, exactly, at their own times. Where it begins and ends as the file allows it, it is a
    copy of the stream; else it is encoded anew (H.264). A second run does what is missing.

    \b
    Examples:
      lad clips --out clips
      lad clips --work runs/surveillance --out worst --limit 20 --overlay
      lad clips --out fights --category Fighting --min-peak 0.9 --before 10
    """
    from lad import console
    from lad.pipeline.clips import Wanted, cut_clips
    from lad.pipeline.project import Asked
    from lad.work.layout import Work
    from lad.work.manifest import open_manifest

    place = _scored_place(config_path, work)
    reporter = console.make_reporter(verbose=bool(verbose), quiet=quiet)
    with open_manifest(place) as manifest, reporter.log.kept_in(place, reporter.print):
        result = cut_clips(Work(manifest, split), Wanted(**wanted), out, Asked(force, verify), reporter)
    if as_json:
        click.echo(json.dumps({"out": str(out), **_stage_data(result), "clips": result.clips}, indent=2))
    else:
        console.print_clips(result.clips)
        click.echo(result.summary())
        console.print_failures(result.failed)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


@click.command()
@common_options
@click.option(
    "--layout", type=click.Choice(["released", "srt", "eaf", "fiftyone"]), required=True, help="How files are laid out."
)
@click.option("--out", type=PLACE, help="Folder to write to.")
@SPLIT
@click.option("--beside-videos", is_flag=True, help="srt: write beside the videos themselves, for players to find.")
def export(layout: str, out: Path | None, split: int | None, beside_videos: bool, **options: Any) -> int:
    """Write what other people's programs read.

    \b
    released   features, labels and splits as the LAD2000 authors' code keeps them
    srt        found events as subtitles, <video>.srt: any player shows them
    eaf        found and true events for ELAN, <video>.eaf; `lad prepare eaf` reads them back
    fiftyone   found and true events for FiftyOne; `lad prepare fiftyone` reads them back

    All but the first are of the videos that were scored in a work directory, and need no configuration.

    \b
    Examples:
      lad export -c ped2-paper -o protocol.splits=1 --data ~/data/ped2 --layout released --out exported
      lad export --work runs/score --layout srt --beside-videos
      lad export --work runs/surveillance --layout eaf --out to_check
    """
    if beside_videos and (layout != "srt" or out is not None):
        raise click.UsageError("--beside-videos: for --layout srt, in place of --out")
    if out is None and not beside_videos:
        raise click.UsageError("say where to: --out DIR" + (", or --beside-videos" if layout == "srt" else ""))
    result = _export_released(out, options) if layout == "released" else _export_events(layout, out, split, options)
    if options["as_json"]:
        click.echo(json.dumps({"out": str(out) if out else None, **_stage_data(result)}, indent=2))
    else:
        from lad import console

        click.echo(f"{result.summary()}\n{out or 'beside the videos'}")
        console.print_failures(result.failed)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _export_released(out: Path | None, options: dict[str, Any]) -> StageResult:
    from lad.pipeline.export import export_released
    from lad.pipeline.run import ready_recipe

    assert out is not None
    session = begin(options)
    reporter = session.reporter
    with session.open() as (project, work):
        result = export_released(project, ready_recipe(project, reporter), work, session.asked, reporter, out)
        session.end([result])
    return result


def _export_events(layout: str, out: Path | None, split: int | None, options: dict[str, Any]) -> StageResult:
    from lad import console
    from lad.pipeline.export_events import LAYOUTS
    from lad.work.layout import Work
    from lad.work.manifest import open_manifest

    place = _scored_place(options["config_path"], options["work"])
    reporter = console.make_reporter(quiet=options["quiet"])
    with open_manifest(place) as manifest, reporter.log.kept_in(place, reporter.print):
        return LAYOUTS[layout](Work(manifest, split), out, reporter, force=options["force"])


def _scored_place(config_path: Path | None, work: Path | None) -> Path:
    """The work directory that a command looks into.

    Raises:
        ManifestError: nothing was done there.
    """
    from lad.config import load_config
    from lad.work.manifest import read_manifest

    place = work or (Path("runs") / load_config(config_path, []).name if config_path else SCORED)
    with read_manifest(place):  # it is not made
        return place


def _stage_data(result: StageResult) -> dict[str, Any]:
    from lad.pipeline.outcome import stages_data

    return {"stages": stages_data([result])}
