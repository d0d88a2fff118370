"""A work directory in which videos were scored, without a network: rows of the manifest and scores of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.reading import read_to_the_end
from lad.dataset import Video, write_dataset
from lad.pipeline.scored import STAGE
from lad.work.layout import Work
from lad.work.manifest import open_manifest

DETECTOR = "d" * 64


@dataclass(frozen=True)
class Found:
    """A scored video: its events are start, end and category."""

    id: str
    path: Path
    events: Sequence[tuple[int, int, str]] = ()
    known: Video | None = None


def write_scored(work: Path, videos: Sequence[Found], threshold: float = 0.5, split: int | None = None) -> None:
    """Score videos: 0.1, and within event number n 0.9 - n / 100."""
    with open_manifest(work) as manifest:
        place = Work(manifest, split)
        for video in videos:
            if video.path.exists() and video.path.suffix != ".npy":
                _, info = read_to_the_end(video.path)
                times, fps = np.array(info.times), info.fps
            else:
                times, fps = np.arange(100) / 25, 25.0
            ends = np.append(times[1:], times[-1] + 1 / fps)
            scores = np.full(len(times), 0.1)
            for number, (start, end, _) in enumerate(video.events):
                scores[start:end] = 0.9 - number / 100
            path = place.scores(video.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"{n},{t:.3f},{s:.7g},1" for n, (t, s) in enumerate(zip(times, scores, strict=True))]
            path.write_text("\n".join(["frame,time,score,run", *rows]) + "\n")
            item = place.item(video.id)
            manifest.start(STAGE, item, f"fingerprint of {video.id}")
            manifest.finish(
                STAGE,
                item,
                [path],
                {
                    "path": str(video.path.absolute()),
                    "checkpoint": DETECTOR,
                    "frames": len(times),
                    "fps": fps,
                    "seconds": round(float(ends[-1]), 3),
                    "peak_score": float(scores.max()),
                    "category": "run",
                    "threshold": threshold,
                    "warnings": [],
                    "events": [
                        {
                            "start": start,
                            "end": end,
                            "start_time": round(float(times[start]), 3),
                            "end_time": round(float(ends[end - 1]), 3),
                            "category": category,
                            "peak": float(scores[start:end].max()),
                        }
                        for start, end, category in video.events
                    ],
                },
            )
    known = [video.known for video in videos if video.known]
    if known:
        write_dataset(work / "dataset.csv", known, work)
