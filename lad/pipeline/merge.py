"""`lad merge`: the features that several machines extracted, in one work directory."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lad.features.recipe import EXTRACT
from lad.files import link
from lad.ours import DATABASE, SHARDS
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.work.journal import Item, ManifestError, Output
from lad.work.layout import Work
from lad.work.manifest import Manifest, open_manifest, read_manifest

STAGE = "merge"
FOLDER = re.compile(r"([1-9][0-9]*)-of-([1-9][0-9]*)")
FINISHED = ("done", "failed")


def check_parts(work: Path, parts: Sequence[Path]) -> None:
    """To be asked before anything is written to a work directory, whose name may be a slip.

    Raises:
        StageError: there is nothing to merge.
    """
    if not parts and not any((work / SHARDS).glob("*-of-*")):
        raise StageError(f"{work}: no parts here: run lad extract --shard 1/N and so on first, or name them")


def merge_parts(work: Work, parts: Sequence[Path], reporter: Reporter, *, verify: bool = False) -> StageResult:
    """Take the features that were extracted in other work directories, which stay as they are.

    A file becomes the same file under a second name where both lie on one disk, else a copy. Its hash is taken and
    compared with that of when it was made. What is there already is not taken again: a merge that was stopped is
    resumed by the next one. Where two were made of one video in different ways, the newer stays.

    Args:
        work: where to.
        parts: work directories; none: those of `lad extract --shard`.
        reporter: says how far it is.
        verify: what is there already is hashed again.

    Returns:
        of videos and streams how many were taken, how many were there, and which failed; with parts that are missing,
        in use or not finished among those that failed.
    """
    result = StageResult(STAGE)
    folders = list(parts) or _shards(work.home, result)
    others = 0
    with reporter.progress(STAGE, len(folders), "parts") as bar:
        for folder in folders:
            bar.show(note=str(folder))
            for row in _finished_rows(folder, work, result):
                if row.status == "failed":
                    _take_failure(row, work, result)
                    continue
                mine = work.manifest.get(EXTRACT, row.item)
                others += mine is not None and mine.status == "done" and mine.fingerprint != row.fingerprint
                _take(folder, row, mine, work, result, verify=verify)
            bar.advance()
    if others:
        reporter.say(
            f"merge: {others} videos and streams were here already, made otherwise (of other content, with other "
            "settings or by another lad): the newer ones are kept"
        )
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
    if folder.resolve() == work.home.resolve():
        result.failed[str(folder)] = f"{folder}: it is the work directory itself"
        return []
    if not (folder / DATABASE).exists():
        result.failed[str(folder)] = f"{folder}: no work directory of lad (there is no {DATABASE})"
        return []
    try:
        with _opened(folder) as part:
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


def _opened(folder: Path) -> AbstractContextManager[Manifest]:
    """A part's manifest. Where nothing can be written, as on a disk that is mounted so, nobody can work there."""
    return open_manifest(folder) if os.access(folder, os.W_OK) else read_manifest(folder)


def _take(folder: Path, row: Item, mine: Item | None, work: Work, result: StageResult, *, verify: bool) -> None:
    """Take the files of an item that is done, and then its row; `mine` is the row that is here."""
    manifest = work.manifest
    newer = mine is not None and (mine.started or 0) > (row.started or 0)
    if mine and manifest.is_done(mine, mine.fingerprint if newer else row.fingerprint, verify=verify):
        result.skipped += 1
        return
    for output in row.outputs:
        source, place = folder / output.path, work.home / output.path
        if not _is_of_features(output, work):
            result.failed[row.item] = f"{folder}: it names {source}, which is not where features lie: it is not taken"
            return
        if source != place and not manifest.is_intact(output):  # its times may have come with another stream
            if not source.is_file():
                result.failed[row.item] = f"{source}: it is not there any more"
                return
            try:
                link(source.resolve(), place)  # the file itself, not a link to it
            except PermissionError as error:
                result.failed[row.item] = f"{source}: it cannot be taken: {error.strerror}"
                return
        if not manifest.is_intact(output, verify=True):
            if source != place:
                place.unlink(missing_ok=True)  # what is there is believed to be complete
            result.failed[row.item] = f"{source}: it is not as it was made: run lad extract there again"
            return
    manifest.adopt(row)
    result.done += 1


def _is_of_features(output: Output, work: Work) -> bool:
    """Whether a file is below the folder of features, or somebody else's, which stays where it is: a part is believed
    only so far."""
    path = Path(output.path)
    return path.is_absolute() or (".." not in path.parts and (work.home / path).is_relative_to(work.home / "features"))


def _take_failure(row: Item, work: Work, result: StageResult) -> None:
    """Take the row of an item that failed, so that nothing tries the same again, unless it could be done here."""
    mine = work.manifest.get(EXTRACT, row.item)
    if mine is None or mine.status != "done":
        work.manifest.adopt(row)
        result.failed[row.item] = row.error or ""
