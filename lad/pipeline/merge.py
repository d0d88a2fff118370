"""`lad merge`: the features that several machines extracted, in one work directory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lad.features.recipe import EXTRACT
from lad.files import link
from lad.ours import DATABASE, SHARDS
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.work.journal import Item, ManifestError
from lad.work.layout import Work
from lad.work.manifest import open_manifest

STAGE = "merge"
FOLDER = re.compile(r"([1-9][0-9]*)-of-([1-9][0-9]*)")
FINISHED = ("done", "failed")


def merge_parts(work: Work, parts: Sequence[Path], reporter: Reporter, *, verify: bool = False) -> StageResult:
    """Take the features that were extracted in other work directories, which stay as they are.

    A file becomes the same file under a second name where both lie on one disk, else a copy. Its hash is taken and
    compared with that of when it was made. What is there already is not taken again: a merge that was stopped is
    resumed by the next one.

    Args:
        work: where to.
        parts: work directories; none: those of `lad extract --shard`.
        reporter: says how far it is.
        verify: what is there already is hashed again.

    Returns:
        of videos and streams how many were taken, how many were there, and which failed; with parts that are missing,
        in use or not finished among those that failed.

    Raises:
        StageError: there is nothing to merge.
    """
    result = StageResult(STAGE)
    folders = list(parts) or _shards(work.home, result)
    if not folders:
        raise StageError(f"{work.home}: no parts here: run lad extract --shard 1/N and so on first, or name them")
    with reporter.progress(STAGE, len(folders), "parts") as bar:
        for folder in folders:
            bar.show(note=str(folder))
            for row in _finished_rows(folder, work, result):
                if row.status == "done":
                    _take(folder, row, work, result, verify=verify)
                else:
                    _take_failure(row, work, result)
            bar.advance()
    return result


def _shards(work: Path, result: StageResult) -> list[Path]:
    """The parts of a work directory, in order. If some are missing of as many as their names say, that has failed."""
    by_count: dict[int, dict[int, Path]] = defaultdict(dict)
    for folder in (work / SHARDS).iterdir() if (work / SHARDS).is_dir() else []:
        if match := FOLDER.fullmatch(folder.name):
            by_count[int(match[2])][int(match[1])] = folder
    for count, found in by_count.items():
        if missing := [f"{number}/{count}" for number in range(1, count + 1) if number not in found]:
            result.failed[f"{SHARDS} of {count}"] = f"{work / SHARDS}: parts that did not begin: {', '.join(missing)}"
    return [found[number] for _, found in sorted(by_count.items()) for number in sorted(found)]


def _finished_rows(folder: Path, work: Work, result: StageResult) -> list[Item]:
    """What is done or has failed in a part; nobody may work there. What its videos hold is not hashed again here."""
    if not (folder / DATABASE).exists():
        result.failed[str(folder)] = f"{folder}: no work directory of lad (there is no {DATABASE})"
        return []
    try:
        with open_manifest(folder) as part:
            rows = list(part.items(EXTRACT).values())
            contents = part.contents.rows()
    except ManifestError as error:
        result.failed[str(folder)] = str(error)
        return []
    work.manifest.contents.adopt(contents)
    if unfinished := sum(row.status not in FINISHED for row in rows):
        said = f"{unfinished} of {len(rows)} videos and streams are not finished: run its lad extract again"
        result.failed[str(folder)] = f"{folder}: {said}"
    return [row for row in rows if row.status in FINISHED]


def _take(folder: Path, row: Item, work: Work, result: StageResult, *, verify: bool) -> None:
    """Take the files of an item that is done, and then its row."""
    manifest = work.manifest
    if manifest.is_done(manifest.get(EXTRACT, row.item), row.fingerprint, verify=verify):
        result.skipped += 1
        return
    for output in row.outputs:
        source, place = folder / output.path, work.home / output.path
        if source != place and not manifest.is_intact(output):  # its times may have come with another stream
            try:
                link(source, place)
            except FileNotFoundError:
                result.failed[row.item] = f"{source}: it is not there any more"
                return
        if not manifest.is_intact(output, verify=True):
            result.failed[row.item] = f"{source}: it is not as it was made: run lad extract there again"
            return
    manifest.adopt(row)
    result.done += 1


def _take_failure(row: Item, work: Work, result: StageResult) -> None:
    """Take the row of an item that failed, so that nothing tries the same again, unless it could be done here."""
    mine = work.manifest.get(EXTRACT, row.item)
    if mine is None or mine.status != "done":
        work.manifest.adopt(row)
        result.failed[row.item] = row.error or ""
