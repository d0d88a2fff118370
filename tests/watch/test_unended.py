"""Events that a killed run left open."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lad.watch.payload import Notice, Payload, place
from lad.watch.sinks.folder import FolderOptions, FolderSink
from lad.watch.unended import unended

START = 1795946943.123
EVENT = Payload(
    *("yard-20261129T100903.123Z-1a2b3c", "yard", "Fall", "alert", 0.9, 0.95, 0.5, START, None, START + 2, 1.5),
    *(False, "", "", "0" * 64),
)


def test_what_a_killed_run_left_open_ends_once_with_its_last_frame(tmp_path: Path) -> None:
    sink, now = FolderSink(FolderOptions(path=tmp_path)), START + 60
    other = replace(EVENT, id=EVENT.id.replace("1a2b3c", "4d5e6f"), end_time=START + 1)
    for event in (EVENT, other):
        sink.deliver(Notice("new", None, event).to_json(), "new")
    path = tmp_path / f"{place(EVENT)}.json"
    os.utime(path, (now, now))
    path.with_suffix(".mp4").touch()
    (path.parent / EVENT.id.replace("1a2b3c.json", "000000.json")).write_text("none of ours")
    (end,) = unended(tmp_path, now)
    assert (end.type, end.before) == ("end", EVENT)
    assert end.after == replace(
        EVENT, end_time=START + 2, delay_seconds=now - START - 2, has_clip=True, clip=f"{place(EVENT)}.mp4"
    )
    sink.deliver(end.to_json(), "end")
    assert list(unended(tmp_path, now)) == []


def test_what_is_older_than_a_day_is_left(tmp_path: Path) -> None:
    FolderSink(FolderOptions(path=tmp_path)).deliver(Notice("new", None, EVENT).to_json(), "new")
    path = tmp_path / f"{place(EVENT)}.json"
    os.utime(path, (START, START))
    assert list(unended(tmp_path, START + 2 * 86_400)) == []
