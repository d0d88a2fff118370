"""Old events go, whole and the oldest first; what lasts, what is not lad's and what a link leads to stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.notices import START, event

from lad.watch.payload import Notice, new_id, place
from lad.watch.retention import sweep
from lad.watch.sinks.folder import FolderOptions, FolderSink

DAY = 86_400.0
NOW = START + 100 * DAY


def put(folder: Path, days_ago: float, *, camera: str = "yard", ended: bool = True, told: bool = True) -> str:
    """An event with its clip and picture, 3000 bytes and its .json, as lad leaves them; its id."""
    start = NOW - days_ago * DAY
    one = event(id=new_id(camera, start), camera=camera, start_time=start, end_time=start + 9 if ended else None)
    base = folder / place(one)
    if told:
        FolderSink(FolderOptions(path=folder)).deliver(Notice("end", one, one).to_json(), "end")
    base.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{base}.mp4").write_bytes(bytes(2000))
    Path(f"{base}.jpg").write_bytes(bytes(1000))
    for path in base.parent.glob(f"{one.id}.*"):
        os.utime(path, (start, start))
    return one.id


def events(folder: Path) -> set[str]:
    return {path.name.rpartition(".")[0] for path in folder.rglob("*") if path.is_file()}


def test_events_older_than_the_days_go_whole(tmp_path):
    old = [put(tmp_path, days) for days in (30.1, 31, 99)]
    new = [put(tmp_path, days) for days in (0, 1, 29.9)]
    swept = sweep(tmp_path, days=30, gigabytes=None, now=NOW)
    assert events(tmp_path) == set(new) and (swept.events, swept.problem) == (len(old), "")
    assert swept.bytes > 3 * 3000 and swept.kept_bytes > 3 * 3000
    assert len(list(tmp_path.rglob("*.*"))) == 3 * 3  # nothing is left of the old ones
    assert len(list((tmp_path / "yard").iterdir())) == 3  # nor of their days


def test_beyond_the_gigabytes_the_oldest_go_of_whatever_camera(tmp_path):
    ids = [put(tmp_path, days, camera=camera) for days, camera in ((9, "yard"), (8, "gate"), (7, "yard"), (6, "gate"))]
    total = sum(path.stat().st_size for path in tmp_path.rglob("*.*") if path.is_file())
    swept = sweep(tmp_path, days=None, gigabytes=total / 2 / 1e9, now=NOW)
    assert events(tmp_path) == set(ids[2:]) and swept.events == 2 and swept.kept_bytes <= total / 2


def test_without_a_limit_nothing_goes(tmp_path):
    put(tmp_path, 5000)
    assert sweep(tmp_path, days=None, gigabytes=None, now=NOW).events == 0


def test_an_event_that_lasts_stays_and_one_of_a_killed_run_goes_after_a_day(tmp_path):
    lasting, untold = put(tmp_path, 0.5, ended=False), put(tmp_path, 0.01, told=False)
    put(tmp_path, 1.5, ended=False)
    put(tmp_path, 0.1, told=False)
    assert sweep(tmp_path, days=None, gigabytes=0, now=NOW).events == 2
    assert events(tmp_path) == {lasting, untold}


def test_what_is_not_lads_stays(tmp_path):
    mine = put(tmp_path, 200)
    day = next((tmp_path / "yard").iterdir())
    others = [
        *(
            day / "notes.txt",
            day / "holiday.mp4",
            day / "yard-1.jpg",
            day / f"gate-{mine[5:]}.mp4",
            day / f"{mine}.txt",
        ),
        *(tmp_path / f"{mine}.mp4", tmp_path / "yard" / f"{mine}.mp4", tmp_path / "yard" / "photos" / f"{mine}.mp4"),
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    assert sweep(tmp_path, days=1, gigabytes=0, now=NOW).events == 1
    assert all(path.exists() for path in others)
    assert not (day / f"{mine}.mp4").exists()


@pytest.mark.parametrize("level", ["camera", "day", "file"])
def test_no_link_is_followed(tmp_path, level):
    inside, outside = tmp_path / "events", tmp_path / "elsewhere"
    one = put(outside, 200)
    day = next((outside / "yard").iterdir()).name
    inside.mkdir()
    if level == "camera":
        (inside / "yard").symlink_to(outside / "yard")
    elif level == "day":
        (inside / "yard").mkdir()
        (inside / "yard" / day).symlink_to(outside / "yard" / day)
    else:
        (inside / "yard" / day).mkdir(parents=True)
        for path in (outside / "yard" / day).iterdir():
            (inside / "yard" / day / path.name).symlink_to(path)
    assert sweep(inside, days=1, gigabytes=0, now=NOW).events == 0
    assert events(outside) == {one} and len(list(outside.rglob("*.*"))) == 3


def test_the_folder_of_events_may_be_a_link_and_may_be_missing(tmp_path):
    put(tmp_path / "disk", 200)
    (tmp_path / "events").symlink_to(tmp_path / "disk")
    assert sweep(tmp_path / "events", days=1, gigabytes=None, now=NOW).events == 1
    assert sweep(tmp_path / "missing", days=1, gigabytes=None, now=NOW).events == 0


def test_what_killed_writers_left_goes_after_a_day(tmp_path):
    put(tmp_path, 3)
    day = next((tmp_path / "yard").iterdir())
    old, new = (day / f".lad-{'0' * 23}{number}.tmp" for number in (1, 2))
    for path, age in ((old, 2 * DAY), (new, 60)):
        path.write_text("")
        os.utime(path, (NOW - age, NOW - age))
    sweep(tmp_path, days=None, gigabytes=None, now=NOW)
    assert not old.exists() and new.exists()


def test_a_clock_that_was_set_back_removes_nothing_by_age(tmp_path):
    one = put(tmp_path, 3)
    assert sweep(tmp_path, days=1, gigabytes=None, now=NOW - 50 * DAY).events == 0
    assert events(tmp_path) == {one}


def test_what_cannot_be_removed_is_said_and_the_rest_goes(tmp_path, monkeypatch):
    stuck = put(tmp_path, 9, camera="gate")
    put(tmp_path, 8)
    real = os.unlink

    def unlink(name, **place):
        if str(name).startswith("gate"):
            raise PermissionError(13, "Permission denied", name)
        real(name, **place)

    monkeypatch.setattr(os, "unlink", unlink)
    swept = sweep(tmp_path, days=1, gigabytes=None, now=NOW)
    assert events(tmp_path) == {stuck} and swept.events == 1
    assert "gate" in swept.problem and "Permission denied" in swept.problem
