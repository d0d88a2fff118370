"""A work directory in which videos are scored without a network: scores are made up, all else is as `lad` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.dataset import Video, dataset_text
from lad.detector.scores_file import scores_info, write_scores
from lad.detector.scoring import Event, Scores
from lad.intervals import events_above
from lad.work.layout import Work
from lad.work.manifest import open_manifest

THRESHOLD = 0.5
MERGE, LEAST = 0.5, 0.2  # of events, as `lad` has them by default


@dataclass
class Made:
    """A video with made-up scores.

    Attributes:
        video: where it lies, and what is true of it.
        frames: `(n,)` scores.
        times: `(n,)` seconds; None: 25 frames a second.
        classes: its categories, the first is the likeliest.
        warnings: what was odd about it.
        looks: what its events look like.
        threshold: of its camera.
    """

    video: Video
    frames: np.ndarray
    times: np.ndarray | None = None
    classes: Sequence[str] = ("run", "fall")
    warnings: Sequence[str] = ()
    looks: tuple[str, ...] = ()
    threshold: float = THRESHOLD


def bumps(frames: int, *peaks: tuple[int, int, float]) -> np.ndarray:
    """Low scores but for `(start, end, score)`, whose middle frame is the highest."""
    scores = np.full(frames, 0.1)
    for start, end, peak in peaks:
        scores[start:end] = peak - 0.02
        scores[(start + end) // 2] = peak
    return scores


def scores_of(made: Made) -> Scores:
    """What a detector would have said."""
    times = np.arange(len(made.frames)) / 25 if made.times is None else made.times
    fps = (len(times) - 1) / float(times[-1])
    ends = np.append(times[1:], times[-1] + 1 / fps)
    found = events_above(made.frames, made.threshold, times=times, ends=ends, merge_seconds=MERGE, min_seconds=LEAST)
    clips = -(-len(times) // 16)
    shares = np.tile(np.linspace(1, 0.2, len(made.classes)) / np.linspace(1, 0.2, len(made.classes)).sum(), (clips, 1))
    return Scores(
        frames=made.frames,
        times=times,
        fps=fps,
        seconds=float(ends[-1]),
        threshold=made.threshold,
        events=[
            Event(s, e, float(times[s]), float(ends[e - 1]), made.classes[0], float(made.frames[s:e].max()), made.looks)
            for s, e in found
        ],
        classes=list(made.classes),
        clip_classes=shares.astype(np.float32),
        clip_of_frame=np.arange(len(times)) // 16,
        votes=np.ones(len(made.classes), np.int64),
        peak=int(made.frames.argmax()),
        warnings=list(made.warnings),
    )


def scored_work(folder: Path, videos: Sequence[Made], *, listed: bool = True, detector: str = "0" * 64) -> Path:
    """Write a work directory; `listed`: with a dataset.csv, from which labels are known; `detector`: its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_manifest(folder) as manifest:
        work = Work(manifest)
        with manifest.transaction():
            for made in videos:
                scores, place = scores_of(made), work.scores(made.video.id)
                write_scores(place, scores)
                if made.times is not None:
                    work.times(made.video.id).parent.mkdir(parents=True, exist_ok=True)
                    np.save(work.times(made.video.id), made.times)
                manifest.start("score", made.video.id, "made up")
                info = scores_info(scores) | {"path": str(made.video.path), "checkpoint": detector, "doubt": ""}
                manifest.finish("score", made.video.id, [place], info | {"lad": "test"})
    if listed:
        (folder / "dataset.csv").write_bytes(dataset_text([made.video for made in videos], folder))
    return folder
