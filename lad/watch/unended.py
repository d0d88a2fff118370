"""Events that a killed run left open: whoever was told that they began is told that they are over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lad.watch.payload import Notice, place, read_notice
from lad.watch.retention import FILE, MAX_JSON_BYTES, OPEN_SECONDS

CLIPS = (".mp4", ".mkv")


def unended(folder: Path, now: float) -> Iterator[Notice]:
    """The ends of events that have none in the folder of events, each at its last known frame.

    Args:
        folder: of events, in which no other `lad watch` writes, and to which all that waits was delivered.
        now: Unix seconds. What was written more than a day before is left as it is.
    """
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            if not FILE.fullmatch(path.name) or path.lstat().st_mtime < now - OPEN_SECONDS:
                continue
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
                event = read_notice(file.read(MAX_JSON_BYTES)).after
        except (OSError, ValueError):  # it is none of ours, or went meanwhile
            continue
        if event.end_time is None and path == folder / f"{place(event)}.json":
            clip = next(
                (f"{place(event)}{suffix}" for suffix in CLIPS if (folder / f"{place(event)}{suffix}").is_file()), ""
            )
            live = event.start_time > 1e8
            ended = replace(
                event,
                end_time=event.frame_time,
                clip=clip,
                has_clip=bool(clip),
                delay_seconds=max(now - event.frame_time, 0.0) if live else event.delay_seconds,
            )
            yield Notice("end", event, ended)
