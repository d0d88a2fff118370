"""`events.csv`, `events.json` and subtitles say what was found, whatever videos and categories are called."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.places import REPOSITORY
from helpers.projects import opened
from helpers.schema import check
from helpers.scored import DETECTOR, Found, write_scored
from helpers.videos import write_video

from lad.config import load_config
from lad.dataset import DatasetError, read_dataset
from lad.detector.scoring import Event as FoundEvent
from lad.finding import find_videos
from lad.pipeline.events import COLUMNS, write_events
from lad.pipeline.export_events import srt_text
from lad.pipeline.scored import ScoredVideo
from lad.text import from_cell, timecode
from lad.work.layout import Work
from lad.work.manifest import open_manifest, read_manifest

SCHEMA = json.loads((REPOSITORY / "docs" / "events.schema.json").read_text())
Lad = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0:00:00.000"), (75.5, "0:01:15.500"), (59.9996, "0:01:00.000"), (360000.001, "100:00:00.001")],
)
def test_a_timecode_is_hours_minutes_seconds_and_milliseconds(seconds: float, said: str) -> None:
    assert timecode(seconds) == said


def test_event_files_say_each_time_as_frame_seconds_and_timecode(tmp_path: Path) -> None:
    odd = ["=cmd|'/c calc'!A1", 'line\nbreak, "quoted"', "-- >", "喧嘩"]
    path = write_video(tmp_path / "a.mp4", 60)
    events = [(10 * n + 2, 10 * n + 7, category) for n, category in enumerate(odd)]
    write_scored(tmp_path / "work", [Found("=b", path, events), Found("a/c", path)])
    with open_manifest(tmp_path / "work") as manifest:
        work = Work(manifest)
        write_events(work, DETECTOR)
        lines = list(csv.reader(work.events.open(newline="", encoding="utf-8")))
        data = json.loads(work.events_json.read_text())
    assert tuple(lines[0]) == COLUMNS
    assert [from_cell(line[0]) for line in lines[1:]] == ["=b"] * 4
    assert lines[1][0] == "'=b"  # a spreadsheet computes nothing
    assert lines[1][2:8] == ["2", "7", "0.08", "0.28", "0:00:00.080", "0:00:00.280"]
    assert [from_cell(line[8]) for line in lines[1:]] == odd
    check(data, SCHEMA)
    assert [(video["video"], len(video["events"])) for video in data["videos"]] == [("=b", 4), ("a/c", 0)]
    assert [event["category"] for event in data["videos"][0]["events"]] == odd


def test_what_the_schema_does_not_know_is_no_events_file() -> None:
    good = {"format": "lad-events", "version": 1, "lad": "0", "detector": "0" * 64, "videos": []}
    check(good, SCHEMA)
    for bad in ({"version": 2}, {"detector": "x"}, {"more": 1}, {"videos": [{}]}):
        with pytest.raises(AssertionError):
            check({**good, **bad}, SCHEMA)


SMALL = ["extract.backbone=tiny", "extract.streams=[rgb]", "threads=1", "train.steps=1", "train.evaluate_every=1",
         "train.hidden=4", "score.threshold=0.0", "score.min_seconds=0"]  # fmt: skip


@pytest.mark.slow
def test_scoring_writes_them_and_makes_them_anew_where_they_are_missing(tmp_path: Path) -> None:
    rows = ["video,path,split,label,events"]
    for number, split in enumerate(("train", "train", "test")):
        write_video(tmp_path / f"{number}.mp4", 40 + number)
        rows.append(f"{number},{number}.mp4,{split},run,10-30")
    (tmp_path / "dataset.csv").write_text("\n".join(rows) + "\n")
    config = load_config(None, ["data.dataset=dataset.csv", f"data.root={tmp_path}", *SMALL])
    with opened(config, tmp_path / "work") as run:
        run.run("extract", "train", "score")
        files = [run.work.events, run.work.events_json]
        before = [file.read_bytes() for file in files]
        for file in files:
            file.unlink()
            run.run("score")
            assert [file.read_bytes() for file in files] == before
    data = json.loads(before[1])
    check(data, SCHEMA)
    assert [(video["video"], video["events"][0]["end_frame"]) for video in data["videos"]] == [
        (str(number), 40 + number) for number in range(3)
    ]


def test_a_video_called_as_a_file_of_results_gets_another_id_or_is_refused(tmp_path: Path) -> None:
    for name in ("events", "summary"):
        write_video(tmp_path / f"{name}.mp4", 3)
        (tmp_path / "dataset.csv").write_text(f"video,path\n{name},{name}.mp4\n")
        with pytest.raises(DatasetError, match="not 'summary' or 'events'"):
            read_dataset(tmp_path / "dataset.csv")
    found = {video.id for video in find_videos([str(tmp_path)], tmp_path)}
    assert all(re.fullmatch("(events|summary)-[0-9a-f]{8}", video_id) for video_id in found)
    assert len(found) == 2


def test_subtitles_are_blocks_in_which_nothing_is_markup() -> None:
    events = [
        FoundEvent(0, 5, 0.0, 3723.5, "<b>a\n\n2 --> {\\an8}", 0.987),
        FoundEvent(9, 12, 4000.0, 4001.25, "", 0.5),
    ]
    video = ScoredVideo("a", Path("a.mp4"), 20, 25.0, 4001.25, 0.987, "run", 0.5, events)
    blocks = srt_text(video).split("\n\n")
    assert len(blocks) == 2
    first = blocks[0].split("\n")
    assert first[:2] == ["1", "00:00:00,000 --> 01:02:03,500"]
    assert len(first) == 3
    assert not set("<>{}") & set(first[2])
    assert blocks[1].split("\n")[1] == "01:06:40,000 --> 01:06:41,250"


def test_subtitles_lie_in_a_folder_or_beside_the_videos_and_replace_nobodys(tmp_path: Path, lad: Lad) -> None:
    path = write_video(tmp_path / "videos" / "a.mp4", 30)
    write_scored(tmp_path / "work", [Found("yard/a", path, [(5, 10, "run")])])
    words = ("export", "--work", str(tmp_path / "work"), "--layout", "srt")
    assert lad(*words)[0] == 2
    assert lad(*words, "--out", str(tmp_path / "out"))[0] == 0
    subtitles = (tmp_path / "out" / "yard" / "a.srt").read_text()
    assert subtitles == "1\n00:00:00,200 --> 00:00:00,400\nrun 0.90\n"
    beside = path.with_suffix(".srt")
    assert not beside.exists()
    beside.write_text("mine")
    status, _, err = lad(*words, "--beside-videos")
    assert status == 2
    assert "is there already" in err
    assert beside.read_text() == "mine"
    beside.unlink()
    assert lad(*words, "--beside-videos")[0] == 0
    assert beside.read_text() == subtitles
    with read_manifest(tmp_path / "work") as manifest:
        assert manifest.is_own(beside)


def test_videos_whose_subtitles_would_be_one_file_get_none_beside_them(tmp_path: Path, lad: Lad) -> None:
    videos = [write_video(tmp_path / "videos" / name, 30) for name in ("a.mp4", "a.mkv", "b.mp4")]
    write_scored(tmp_path / "work", [Found(path.name, path, [(5, 10, "run")]) for path in videos])
    words = ("export", "--work", str(tmp_path / "work"), "--layout", "srt", "--beside-videos")
    for _ in range(2):
        status, out, err = lad(*words)
        assert status == 1
        assert f"{videos[0]}: another video would have its subtitles in {tmp_path}/videos/a.srt, too" in out + err
        assert f"{videos[1]}: another video" in out + err
        assert [path.name for path in (tmp_path / "videos").glob("*.srt")] == ["b.srt"]


def test_subtitles_of_a_folder_of_frames_have_its_whole_name(tmp_path: Path, lad: Lad) -> None:
    folders = [tmp_path / "videos" / name for name in ("2024.11.03", "2024.11.04")]
    write_scored(tmp_path / "work", [Found(path.name, path, [(5, 10, "run")]) for path in folders])
    for folder in folders:
        folder.mkdir(parents=True)
    assert lad("export", "--work", str(tmp_path / "work"), "--layout", "srt", "--beside-videos")[0] == 0
    assert sorted(path.name for path in (tmp_path / "videos").glob("*.srt")) == ["2024.11.03.srt", "2024.11.04.srt"]
