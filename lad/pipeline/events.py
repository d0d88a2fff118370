"""The events that were found, in files for spreadsheets and programs: `scores/events.csv` and `scores/events.json`.

docs/events.md says what stands in them, docs/events.schema.json says it to programs. By video, then by time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from lad.detector.scoring import Event as FoundEvent
from lad.files import write_json, write_text
from lad.pipeline.scored import ScoredVideo, scored_by
from lad.text import as_utf8, timecode, to_cell
from lad.version import code_version
from lad.work.layout import Work

FORMAT, VERSION = "lad-events", 1  # of events.json: the number rises when a program that reads it has to change
TIMES = ("start_frame", "end_frame", "start_seconds", "end_seconds", "start_timecode", "end_timecode")
COLUMNS = ("video", "path", *TIMES, "category", "peak", "threshold", "looks_like", "confidence")


def write_events(work: Work, detector: str) -> None:
    """Write the events of all videos that a detector scored last.

    Args:
        work: of the run, or of one random split.
        detector: hash of its checkpoint.
    """
    videos = scored_by(work, detector)
    write_text(work.events, events_table(videos))
    write_json(work.events_json, events_data(videos, detector))


def event_data(event: FoundEvent) -> dict[str, Any]:
    """An event, each of its times as frame, seconds and timecode."""
    return {
        "start_frame": event.start,
        "end_frame": event.end,
        "start_seconds": event.start_time,
        "end_seconds": event.end_time,
        "start_timecode": timecode(event.start_time),
        "end_timecode": timecode(event.end_time),
        "category": event.category,
        "peak": event.peak,
        "looks_like": list(event.looks_like),
        "confidence": event.confidence,
    }


def events_table(videos: Sequence[ScoredVideo]) -> str:
    """`events.csv`: a line for each event."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for video in videos:
        named = [to_cell(video.id), to_cell(as_utf8(str(video.path)))]
        for event in video.events:
            data = event_data(event) | {"category": to_cell(event.category)}
            looks, confidence = ", ".join(data.pop("looks_like")), data.pop("confidence")
            writer.writerow([*named, *data.values(), video.threshold, looks, confidence])
    return out.getvalue()


def events_data(videos: Sequence[ScoredVideo], detector: str) -> dict[str, Any]:
    """`events.json`: every video, those without an event too."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "lad": code_version(),
        "detector": detector,
        "videos": [
            {
                "video": video.id,
                "path": as_utf8(str(video.path)),
                "frames": video.frames,
                "fps": video.fps,
                "seconds": video.seconds,
                "threshold": video.threshold,
                "unfamiliar": video.unfamiliar,
                "events": [event_data(event) for event in video.events],
            }
            for video in videos
        ],
    }
