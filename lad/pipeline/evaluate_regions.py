"""`lad evaluate --regions --tracks`: detections in the picture, measured by published tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lad.evaluation.regions import (
    MIN_IOU,
    MIN_SHARE,
    NO_TRACK,
    FoundRegions,
    TrueRegions,
    read_detections,
    read_tracks,
    region_metrics,
)
from lad.files import write_json
from lad.pipeline.evaluate import STAGE
from lad.pipeline.evaluate_given import place_of
from lad.pipeline.project import Asked
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.version import code_version
from lad.work.layout import Work

SUFFIX, OF_TRACKS = ".txt", "_gt"  # Test001.txt, and Test001_gt.txt for its tracks
NOWHERE, NEVER, NONE = np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0)


def evaluate_regions(
    work: Work, asked: Asked, reporter: Reporter, regions: Path, tracks: Path, frames: int
) -> tuple[StageResult, dict[str, Any], Path]:
    """Measure the regions that somebody detected.

    Args:
        work: where to write.
        asked: whether the metrics of another folder are replaced.
        reporter: who is told.
        regions: a folder with the detections of each video.
        tracks: a folder with the tracks of each video; a video without is normal.
        frames: how many all videos have.

    Returns:
        what came of the videos, the metrics, and the folder where they were written.

    Raises:
        StageError: a file is not as it should be, the two folders do not go together, or the metrics of another folder
            that is called so are there.
    """
    place = place_of(work, regions, asked)
    found, true = _files(regions), _files(tracks)
    if not found.keys() & true.keys():
        raise StageError(f"{regions}: no {SUFFIX} file there is called as one in {tracks}: one for each video")
    if missing := sorted(true.keys() - found.keys()):
        have = "has" if len(missing) == 1 else "have"
        reporter.say(
            f"warning: {regions}: {len(missing)} of the {len(true)} videos with tracks {have} no file there "
            f"({missing[0]}): nothing counts as found in them"
        )
    videos = [_read(found.get(name), true.get(name), reporter) for name in sorted(found.keys() | true.keys())]
    named = sum(len(np.unique(np.concatenate([one.frames, other.frames]))) for one, other in videos)
    if named > frames:
        raise StageError(f"--frames {frames}: the files name {named} frames: give how many all videos have together")
    metrics = region_metrics(videos, frames)
    metrics |= {"videos": len(videos), "frames": frames}
    metrics["undefined"] = {name: NO_TRACK for name in ("rbdc", "tbdc") if metrics[name] is None}
    metrics["protocol"] = {
        "detections": str(regions.absolute()),
        "tracks": str(tracks),
        "min_iou": MIN_IOU,
        "min_share_of_track": MIN_SHARE,
        "boxes": "their last pixels belong to them, and none is cut at the picture's edge",
    }
    metrics["lad"] = code_version()
    write_json(place / "metrics.json", metrics)
    return StageResult(STAGE, done=len(videos)), metrics, place


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder by the video's name."""
    return {path.stem.removesuffix(OF_TRACKS): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _read(found: Path | None, true: Path | None, reporter: Reporter) -> tuple[TrueRegions, FoundRegions]:
    """The tracks and detections of a video, either of which it may lack.

    Raises:
        StageError: a file is not as it should be.
    """
    try:
        tracks, replaced = read_tracks(true) if true else (TrueRegions(NEVER, NOWHERE, NEVER), 0)
        detections = read_detections(found) if found else FoundRegions(NEVER, NOWHERE, NONE)
    except (OSError, ValueError) as error:
        raise StageError(str(error)) from error
    if replaced:
        count = "counts" if replaced == 1 else "count"
        reporter.say(
            f"warning: {true}: {replaced} of its lines {count} for nothing: a later one has the track and frame"
        )
    return tracks, detections
