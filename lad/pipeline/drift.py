"""How far recent footage has moved from the normal footage that a detector learned from: what `lad status` says of it.

A clip is beyond it where its score is above 0.99: one in a hundred clips of unseen normal footage is, by the meaning of
these scores (`lad.detector.tail`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lad.dataset import Video, read_dataset
from lad.detector.score_video import DRIFT
from lad.extract.recorded import recorded_at
from lad.files import numeric_order
from lad.ours import DATASET
from lad.pipeline.scored import STAGE as SCORE
from lad.work.journal import Item
from lad.work.manifest import Manifest

USUAL = 0.01  # the share of unseen normal clips above it
RETRAIN = 0.03  # from such a share on the detector no longer fits
ENOUGH = 300  # clips, of which 3 are usual: of fewer no advice is given
WEEK = timedelta(days=7)
PARTS = 4  # where times are not known: the last quarter of the videos is held against the first
DATE = re.compile(r"(?<!\d)(20\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d{3})")  # as recorders write it into names


def recorded(video: Video) -> str | None:
    """When a video was recorded, as far as its file says."""
    here = isinstance(video.path, Path) and not video.is_features
    return recorded_at(video.file) if here else None


@dataclass(frozen=True)
class _Footage:
    """A video that was scored: when it was recorded, its clips, and those that are beyond."""

    id: str
    day: date | None
    clips: int
    beyond: int


def drift_data(manifest: Manifest) -> list[dict[str, Any]]:
    """The drift of each camera, of the videos that the detector scored last; of other detectors there is none.

    Left out are the videos that taught, since a detector knows them, and those that are known to hold an event.
    """
    rows = manifest.telling(SCORE, DRIFT)
    if not rows or (manifest.work / "splits").is_dir():  # random splits are a benchmark's, and no footage of days
        return []
    detector = max(rows, key=lambda row: row.sequence).info["checkpoint"]
    table = manifest.work / DATASET
    known = {video.id: video for video in read_dataset(table)} if table.is_file() else {}
    by_camera: dict[str, list[_Footage]] = {}
    for row in rows:
        video = known.get(row.item)
        teaches = video is not None and (video.split in ("train", "val") or video.is_abnormal)
        if row.info["checkpoint"] == detector and not teaches:
            by_camera.setdefault(row.info.get("camera", ""), []).append(_footage(row))
    return [{"camera": camera, **_compared(footage)} for camera, footage in sorted(by_camera.items())]


def _footage(row: Item) -> _Footage:
    found = row.info[DRIFT]
    return _Footage(row.item, _day(row.item, found["recorded"]), found["clips"], found["beyond"])


def _day(video_id: str, recorded: str | None) -> date | None:
    """The day of a video: as its file says, or its name."""
    if recorded:
        return date.fromisoformat(recorded[:10])
    for year, _, month, day in DATE.findall(video_id):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:  # a number that is no date
            continue
    return None


def _compared(footage: Sequence[_Footage]) -> dict[str, Any]:
    """The last week against the first, or the last videos against the first ones."""
    days = [one.day for one in footage if one.day]
    if len(days) == len(footage) and max(days) - min(days) >= 2 * WEEK:
        first = [one for one in footage if one.day and one.day < min(days) + WEEK]
        last = [one for one in footage if one.day and one.day > max(days) - WEEK]
        by = "weeks"
    else:
        ordered = sorted(footage, key=lambda one: numeric_order(one.id))
        if len(days) == len(footage):
            ordered.sort(key=lambda one: one.day or date.min)
        size = -(-len(ordered) // PARTS)
        first, last = ordered[:size], ordered[-size:]
        by = "videos"
    recent = _share(last)
    enough = recent["clips"] >= ENOUGH
    return {
        "by": by,
        "first": _share(first) if len(footage) > 1 else None,
        "last": recent,
        "usual": USUAL,
        "enough": enough,
        "retrain": enough and recent["share"] >= RETRAIN,
    }


def _share(footage: Sequence[_Footage]) -> dict[str, Any]:
    clips = sum(one.clips for one in footage)
    days = sorted(str(one.day) for one in footage if one.day)
    return {
        "videos": len(footage),
        "from": days[0] if days else None,
        "to": days[-1] if days else None,
        "clips": clips,
        "share": sum(one.beyond for one in footage) / clips if clips else 0.0,
    }


def drift_lines(drift: Sequence[dict[str, Any]], work: Path) -> list[str]:
    """What is to be said of it: a line on each camera, and one on whether it is to be trained again in `work`."""
    lines = []
    for one in drift:
        named = f" of {one['camera']}" if one["camera"] else ""
        last, first = one["last"], one["first"]
        what = ("the last week", "the first") if one["by"] == "weeks" else ("the last videos", "the first ones")
        before = f", in {what[1]} {first['share']:.1%}{_when(first)}" if first else ""
        lines.append(
            f"drift{named}: {last['share']:.1%} of the clips are beyond the 99 % quantile of normal footage in "
            f"{what[0]}{_when(last)}{before}; {one['usual']:.0%} is usual"
        )
        if one["retrain"]:
            add = f" --add {shlex.quote(one['camera'])}" if one["camera"] else ""
            lines.append(
                f"retrain{named}: that is three times the usual or more: write recent normal footage into the "
                f"dataset.csv, in the split train, and run `lad train --work {shlex.quote(str(work))}{add}`"
            )
        elif not one["enough"]:
            lines.append(f"{last['clips']} clips are too few to say whether to train again: {ENOUGH} would do")
    return lines


def _when(part: dict[str, Any]) -> str:
    days = f"{part['from']} to {part['to']}, " if part["from"] else ""
    return f" ({days}{part['clips']} clips)"
