"""What goes with labels into another program's file, so that they come back as they were.

Such a file says when events are in its own terms, in milliseconds or in frames from 1. Beside them stands a record of
the video's line in `dataset.csv`, and how each event was written there. An event that comes back as it went is written
as it was; where one was changed or drawn, those of the video are written in the file's terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.dataset import SPLITS, DatasetError, Video, parse_row
from lad.events import FRAME, SOMEWHERE
from lad.text import printable

VERSION = 1
UNNAMED = "event"  # what an event is called where nobody says its category
CELLS = ("video", "split", "label", "n_frames", "fps", "source")


@dataclass(frozen=True)
class Mark:
    """An event in another program's file.

    Attributes:
        start, end: in its terms.
        value: what it is called there.
    """

    start: float
    end: float
    value: str


def record_of(video: Video, marks: Sequence[Mark]) -> dict[str, Any]:
    """The record of a video; `marks` are its events, in order, as they go into the file."""
    named = (video.id, video.split, video.label, video.n_frames, video.fps, video.source)
    cells = ["" if cell is None else str(cell) for cell in named]
    events = [[mark.start, mark.end, str(event)] for mark, event in zip(marks, video.events, strict=True)]
    return {"version": VERSION, **dict(zip(CELLS, cells, strict=True)), "events": events}


def mark_name(video: Video) -> str:
    """What a video's true events are called in another program."""
    return video.label or UNNAMED


def video_of(
    file: Path, record: object, marks: Sequence[Mark], path: Path, fallback_id: str, written: Callable[[Mark], str]
) -> Video:
    """A video with the labels that came back.

    Args:
        file: that says so, for messages.
        record: as `record_of` made it; None: there is none.
        marks: the events.
        path: of the video.
        fallback_id: the video's id where there is no record.
        written: how a mark is written in `dataset.csv`.

    Raises:
        DatasetError: it cannot be understood.
    """
    if record is None:
        record = {"version": VERSION, "video": fallback_id, "events": []}
    try:
        cells, known = _checked(record)
        texts = [known.get((mark.start, mark.end)) for mark in marks]
        events = texts if all(texts) else _changed(marks, texts, written)
        cells["events"] = ";".join(filter(None, events))
        names = dict.fromkeys(mark.value.strip() for mark in marks)
        if names and set(names) != {printable(cells["label"]) or UNNAMED}:
            categories = [part for name in names for part in name.split("|") if part not in ("", UNNAMED)]
            cells["label"] = "|".join(dict.fromkeys(categories))
        return parse_row({**cells, "path": str(path)}, Path())
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file}: {error}") from error


def _changed(marks: Sequence[Mark], texts: Sequence[str | None], written: Callable[[Mark], str]) -> list[str]:
    """The events of a video of which somebody drew some: what stood for a `?` says nothing beside them.

    Raises:
        ValueError: what stands for a click was left as it was: it has no end.
    """
    if clicks := [text for text in texts if text and FRAME.fullmatch(text)]:
        raise ValueError(f"beside drawn events, frame {clicks[0]} stands alone: draw where its event begins and ends")
    return [written(mark) for mark, text in zip(marks, texts, strict=True) if text != SOMEWHERE]


def _checked(record: Any) -> tuple[dict[str, str], dict[tuple[float, float], str]]:
    """The cells of a record and how its events were written."""
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise ValueError(f"what lad wrote into it is of another version, this lad reads {VERSION}")
    cells = {name: str(record.get(name, "")) for name in CELLS}
    if cells["split"] not in ("", *SPLITS):
        raise ValueError(f"split {cells['split']!r} is not one of {', '.join(SPLITS)}")
    return cells, {(start, end): str(text) for start, end, text in record.get("events", [])}
