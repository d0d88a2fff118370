"""What a work directory says of the videos that were scored in it: for whoever shows, cuts or exports their events."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lad.dataset import RESERVED_IDS, Video, read_dataset
from lad.detector.scoring import Event as FoundEvent
from lad.features.recipe import EXTRACT
from lad.ours import DATASET
from lad.pipeline.reporter import StageError
from lad.remote.url import Location, location_of
from lad.work.journal import Item
from lad.work.layout import Work

STAGE = "score"


@dataclass(frozen=True)
class ScoredVideo:
    """A video as it was scored last.

    Attributes:
        id: its id.
        path: the file or frame folder, absolute, or its given features; it may be gone by now. Or its URL, without
            what was secret in it.
        frames: how many it has.
        fps: average frames a second.
        seconds: how long it lasts.
        peak: its highest score.
        category: what the whole of it looks like most.
        threshold: what a frame has to exceed to be part of an event.
        events: in order.
        warnings: what was odd about it.
        scores: its CSV: `frame,time,score` and a probability for each category.
        known: what the work directory's dataset.csv says of it, but for its path; None: it is not in there.
        unfamiliar: how many of its clips are unlike all that the detector was trained on; None: nobody knows.
    """

    id: str
    path: Location
    frames: int
    fps: float
    seconds: float
    peak: float
    category: str
    threshold: float
    events: list[FoundEvent] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    scores: Path = Path()
    known: Video | None = None
    unfamiliar: int | None = None

    @property
    def file(self) -> Path:
        """Its path, of one that lies on a disk."""
        assert isinstance(self.path, Path)
        return self.path


def scored_videos(work: Work) -> list[ScoredVideo]:
    """The videos that the detector which scored last has scored, by id.

    Raises:
        StageError: nothing was scored here.
        dataset.DatasetError: the dataset.csv of the work directory is not as lad wrote it.
    """
    done = _rows(work)
    if not done and work.split is None and (work.home / "splits").is_dir():
        raise StageError(f"{work.home}: each random split has scores of its own: name one with --split")
    if not done:
        raise StageError(f"{work.folder}: no video was scored here: run `lad score` first")
    detector = max(done.values(), key=lambda row: row.sequence).info["checkpoint"]
    table = work.folder / DATASET
    known = {video.id: video for video in read_dataset(table)} if table.is_file() else {}
    return [replace(video, known=known.get(video.id)) for video in scored_by(work, detector)]


def scored_by(work: Work, detector: str) -> list[ScoredVideo]:
    """The videos that one detector scored last, by id, without what dataset.csv says of them.

    Args:
        work: of the run, or of one random split.
        detector: hash of its checkpoint.
    """
    rows = sorted(_rows(work).items())
    return [_scored(work, video_id, row.info) for video_id, row in rows if row.info["checkpoint"] == detector]


def _rows(work: Work) -> dict[str, Item]:
    """The rows of scored videos by id.

    Left out are those that would have their scores where other files are now, and those whose file could not be read
    again since: they tell of a file that is no more.
    """
    gone = {row.item.partition("/")[2]: row.sequence for row in work.manifest.failed(EXTRACT)}
    placed = [(*work.place_of(item), row) for (_, item), row in work.manifest.items(STAGE).items()]
    rows = {video_id: row for place, video_id, row in placed if place == work}
    return {video_id: row for video_id, row in rows.items()
            if row.status == "done" and "path" in row.info and video_id not in RESERVED_IDS
            and gone.get(video_id, 0) < row.sequence}  # fmt: skip


def _scored(work: Work, video_id: str, info: dict[str, Any]) -> ScoredVideo:
    return ScoredVideo(
        id=video_id,
        path=location_of(info["path"], Path()),
        frames=info["frames"],
        fps=info["fps"],
        seconds=info["seconds"],
        peak=info["peak_score"],
        category=info["category"],
        threshold=info["threshold"],
        events=[FoundEvent(**{**one, "looks_like": tuple(one.get("looks_like", ()))}) for one in info["events"]],
        warnings=info["warnings"],
        scores=work.scores(video_id),
        unfamiliar=info.get("unfamiliar"),
    )


def read_scores(path: Path) -> np.ndarray:
    """A `scores/<video id>.csv` -> scores `(frames,)` float64.

    Raises:
        StageError: as `read_times_and_scores`.
    """
    return read_times_and_scores(path)[1]


def read_times_and_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A `scores/<video id>.csv` -> seconds since the first frame and scores, `(frames,)` float64 each.

    Raises:
        StageError: it is not as `detector.scores_file` writes it.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            next(csv.reader(file))  # the names of categories, which may be of several lines
            times, scores = np.loadtxt(file, delimiter=",", usecols=(1, 2), ndmin=2).T
    except (ValueError, StopIteration, csv.Error) as error:
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first") from error
    if not np.isfinite(scores).all():
        raise StageError(f"{path}: not as lad made it: run `lad score --verify` first")
    return times, scores
