"""Scores of a video as its CSV, and what is said of them: in the manifest's row, and by `lad score --json`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lad.detector.scoring import Scores
from lad.files import replacing
from lad.text import to_cell


def write_scores(path: Path, scores: Scores) -> None:
    """Write the CSV of one video: `frame,time,score` and a probability for each category."""
    class_columns = [",".join(f"{p:.5g}" for p in row) for row in scores.clip_classes.tolist()]
    rows = enumerate(zip(scores.times.tolist(), scores.frames.tolist(), scores.clip_of_frame.tolist(), strict=True))
    # Written line by line, since a day of video has two million of them; numbers need none of csv.writer's quotes.
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(["frame", "time", "score", *map(to_cell, scores.classes)])
        file.writelines(
            f"{frame},{time:.3f},{score:.7g},{class_columns[clip]}\n" for frame, (time, score, clip) in rows
        )


def scores_info(scores: Scores) -> dict[str, Any]:
    """What the manifest's row of a scored video says, and `lad score --json`."""
    peak = scores.peak
    return {
        "frames": len(scores.frames),
        "fps": scores.fps,
        "seconds": round(scores.seconds, 3),
        "peak_score": round(float(scores.frames[peak]), 6),
        "peak_frame": peak,
        "peak_time": round(float(scores.times[peak]), 3),
        "category": scores.category,
        "votes": {name: int(count) for name, count in zip(scores.classes, scores.votes, strict=True)},
        "threshold": scores.threshold,
        "unfamiliar": scores.unfamiliar,
        "events": [
            {
                "start": event.start,
                "end": event.end,
                "start_time": round(event.start_time, 3),
                "end_time": round(event.end_time, 3),
                "category": event.category,
                "peak": round(event.peak, 6),
                "looks_like": list(event.looks_like),
                "confidence": None if event.confidence is None else round(event.confidence, 4),
            }
            for event in scores.events
        ],
        "warnings": scores.warnings,
    }
