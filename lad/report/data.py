"""What the page gets: the videos of a report on their way to it, and the scripts that give them to it as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lad.files import fingerprint, read_npy
from lad.pipeline.review_next import NextMoment
from lad.pipeline.scored import ScoredVideo
from lad.report.moments import Interval, Moment
from lad.report.truth import UNKNOWN, verdict


@dataclass
class ShownVideo:
    """A video on its way to the page.

    Attributes:
        times_path: where the seconds of its frames lie.
        truth: its true events; None: nothing is known of it.
        misses: those that were not found, and the seconds at which they begin and end.
        frames: the frame with the highest score of each found event.
        peak_frame: that of the whole video.
        peaks, kinds: of each block of frames, the highest score and the likeliest category.
        stills, clips: pictures by their place in it -> file.
        link: the address of the video itself, where browsers play it.
        recorded: when it was, as it says.
        problem: why it has no pictures.
    """

    video: ScoredVideo
    times_path: Path
    truth: list[Interval] | None
    frames: list[int]
    misses: list[tuple[Moment, float, float]]
    peak_frame: int
    peaks: np.ndarray
    kinds: np.ndarray
    stills: dict[int, str] = field(default_factory=dict)
    clips: dict[Interval, str] = field(default_factory=dict)
    link: str = ""
    recorded: str | None = None
    problem: str = ""

    def times(self) -> np.ndarray:
        """Seconds of its frames. They are looked at where they lie: those of all videos would fill the memory."""
        if self.times_path.is_file():
            return read_npy(self.times_path)
        return np.arange(self.video.frames) / self.video.fps


def file_name(video_id: str) -> str:
    """How files of a video are called: not by its place, which changes with the next video while a page is open."""
    return fingerprint(video_id)[:20]


def script(name: str, data: object) -> bytes:
    """A file that gives the page `data` under a name: pages that are opened from the disk can read no JSON.

    Everything but ASCII is escaped, and so is `<`: nothing in a name can end a script, or a line of it.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"LAD.give({json.dumps(name)},{text});\n".encode()


def run_data(shown: Sequence[ShownVideo], categories: Sequence[str]) -> dict[str, Any]:
    """All videos and events, a list for each of their columns: of 50,000 events that is small and quick to read."""
    kinds = {name: index for index, name in enumerate(categories)}
    videos = [
        {
            "id": one.video.id,
            "data": file_name(one.video.id),
            "frames": one.video.frames,
            "fps": one.video.fps,
            "seconds": round(one.video.seconds, 3),
            "peak": one.video.peak,
            "category": kinds[one.video.category],
            "threshold": one.video.threshold,
            "split": one.video.known.split if one.video.known else "",
            "label": one.video.known.label if one.video.known and one.truth is not None else None,
            "recorded": one.recorded,
            "link": one.link,
            "problem": one.problem,
            "warnings": one.video.warnings,
        }
        for one in shown
    ]
    events: list[dict[str, Any]] = [
        {
            "video": number,
            "start": event.start,
            "end": event.end,
            "from": event.start_time,
            "to": event.end_time,
            "category": kinds[event.category],
            "looks": ", ".join(event.looks_like),
            "peak": event.peak,
            "frame": frame,
            "verdict": UNKNOWN if one.truth is None else verdict(event, one.truth),
        }
        for number, one in enumerate(shown)
        for event, frame in zip(one.video.events, one.frames, strict=True)
    ]
    misses = [
        {
            "video": moment.video,
            "start": moment.start,
            "end": moment.end,
            "from": round(begin, 3),
            "to": round(end, 3),
            "frame": moment.frame,
            "peak": round(moment.peak, 6),
        }
        for one in shown
        for moment, begin, end in one.misses
    ]
    stills = [{"video": n, "frame": f, "file": name} for n, one in enumerate(shown) for f, name in one.stills.items()]
    clips = [
        {"video": number, "start": start, "end": end, "file": name}
        for number, one in enumerate(shown)
        for (start, end), name in one.clips.items()
    ]
    events.sort(key=lambda event: -event["peak"])
    misses.sort(key=lambda event: event["peak"])
    return {
        "categories": list(categories),
        "truth": [one.truth for one in shown],
        "videos": _columns(videos),
        "events": _columns(events),
        "misses": _columns(misses),
        "stills": _columns(stills),
        "clips": _columns(clips),
    }


def next_data(moments: Sequence[NextMoment], places: Mapping[str, int]) -> dict[str, list[Any]]:
    rows = [
        {
            "video": places[one.video],
            "start": one.start,
            "end": one.end,
            "from": one.start_time,
            "to": one.end_time,
            "peak": one.score,
        }
        for one in moments
    ]
    return _columns(rows)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows with the same keys as a list for each key."""
    return {key: [row[key] for row in rows] for key in rows[0]} if rows else {}
