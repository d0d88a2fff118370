"""Random splits that an earlier run left in a work directory and that count no more: `protocol.splits` was larger.

What is cheap to make again goes: metrics, plots, the list of videos. What is not stays: detectors and scores. A run
that counts a split again takes it up where it was.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress

from lad.ours import DATASET
from lad.pipeline.evaluate import ITEM as METRICS
from lad.pipeline.evaluate import STAGE as EVALUATE
from lad.pipeline.evaluate import remove_files
from lad.pipeline.scored import STAGE as SCORE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.text import name_splits
from lad.work.layout import Work
from lad.work.manifest import Manifest


def set_aside(work: Work, counted: Sequence[Work]) -> str:
    """Leave nothing of other splits that looks like a part of today's run.

    Args:
        work: the work directory.
        counted: the places of today's splits; of one that is not drawn, the work directory itself.

    Returns:
        what of them is kept, and how to remove it, in a line; empty: nothing.
    """
    others = [place for place in recorded(work.manifest) if place not in counted]
    for place in others:
        if row := work.manifest.get(EVALUATE, place.item(METRICS)):
            # The work directory's metrics.json may be another one by now: that of its splits.
            remove_files(work, [output.path for output in row.outputs if work.home / output.path != work.metrics])
        if place.split is None:
            continue
        place.metrics.unlink(missing_ok=True)
        listed = place.folder / DATASET
        if work.manifest.is_own(listed):
            listed.unlink(missing_ok=True)
    if counted_in_metrics(work) not in (None, len(counted)):
        work.metrics.unlink(missing_ok=True)
    return _kept(work, [place for place in others if place.checkpoints.is_dir()])


def recorded(manifest: Manifest) -> list[Work]:
    """The places that a detector was trained or measured for: the work directory, its splits by number."""
    names = {
        item.rpartition("/")[0]
        for stage, own in ((TRAIN, DETECTOR), (EVALUATE, METRICS))
        for _, item in manifest.items(stage)
        if item.rpartition("/")[2] == own
    }
    numbers = sorted(int(name.removeprefix("split_")) for name in names if name)
    work = Work(manifest)
    return [work] * ("" in names) + [work.of_split(number) for number in numbers]


def not_counted(manifest: Manifest) -> list[Work]:
    """Those of `recorded` that are no part of the last run: a split that counts has its list of videos, or metrics."""
    places = recorded(manifest)
    today = [p for p in places if p.split is not None and ((p.folder / DATASET).exists() or p.metrics.exists())]
    return [place for place in places if place not in (today or [Work(manifest)])]


def is_item_of(place: Work, stage: str, item: str) -> bool:
    """Whether an item belongs to a place alone. What was scored outside of a split may be anybody's videos."""
    if place.split is None:
        return (stage, item) in ((TRAIN, DETECTOR), (EVALUATE, METRICS))
    return stage in (TRAIN, SCORE, EVALUATE) and item.startswith(place.item(""))


def counted_in_metrics(work: Work) -> int | None:
    """How many splits `metrics.json` is of; None where there is none that says so."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return len(json.loads(work.metrics.read_text(encoding="utf-8")).get("splits", [None]))
    return None


def _kept(work: Work, places: Sequence[Work]) -> str:
    numbers = [place.split for place in places if place.split is not None]
    if not places:
        return ""
    if not numbers:
        return (
            f"a detector of an earlier run without random splits is in {work.checkpoints} and does not count: "
            f"to remove it: rm -r {shlex.quote(str(work.checkpoints))}"
        )
    folders = " ".join(shlex.quote(str(work.of_split(number).folder)) for number in numbers)
    return (
        f"{name_splits(numbers)} of an earlier run and not counted: their detectors and scores are kept, and "
        f"-o protocol.splits={max(numbers) + 1} takes them up again; to remove them: rm -r {folders}"
    )
