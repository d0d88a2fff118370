"""Labels go to ELAN and FiftyOne and come back as they were; what was changed there comes back changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.scored import Found, write_scored
from helpers.videos import write_video

from lad.dataset import DatasetError, Video, read_dataset
from lad.datasets import BENCHMARKS, Options
from lad.datasets.eaf import eaf_bytes, read_eaf_file
from lad.datasets.exchange import Mark, record_of, video_of
from lad.events import in_frames, parse_events

Lad = Callable[..., tuple[int, str, str]]
UNEVEN = [n * 40 + n % 3 * 11 for n in range(120)]
ROWS = [
    ("yard/a.b", "run|Fire", "10-20;20-21;70-", "train", "cam 1"),
    ("=b", "line\nbreak <&> \u0001", "0.4s-1s;0:02.5-0:03", "test", ""),
    ("normal", "walk", "", "val", ""),
    ("unlabelled", "", "", "", ""),
    ("nameless", "", "3-4", "train", "x"),
    ("weak", "run", "?", "train", ""),
    ("clicked", "run", "7;50", "train", ""),
]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `work`, in which videos with all kinds of labels were scored."""
    folder = tmp_path_factory.mktemp("scored")
    videos = []
    for number, (name, label, events, split, source) in enumerate(ROWS):
        path = write_video(folder / "videos" / f"{number}.mp4", 120, pts=UNEVEN)
        fps = 12.5 if number == 0 else None
        known = Video(name, path, split, label, parse_events(events), 120 if number else None, fps, source)
        videos.append(Found(name, path, [(30, 40, "run"), (50, 60, "Fire")], known))
    write_scored(folder / "work", videos)
    return folder


def back(name: str, root: Path) -> list[Video]:
    listing = BENCHMARKS[name].read(root, Options())
    assert listing.missing == []
    return sorted((replace(video, line=0) for video in listing.videos), key=lambda video: video.id)


def truth(folder: Path) -> list[Video]:
    videos = [replace(video, path=Path(video.path), line=0) for video in read_dataset(folder / "work" / "dataset.csv")]
    return sorted(videos, key=lambda video: video.id)


@pytest.mark.parametrize("layout", ["eaf", "fiftyone"])
def test_a_round_trip_loses_nothing(scored: Path, tmp_path: Path, lad: Lad, layout: str) -> None:
    out = tmp_path / "out"
    status, _, err = lad("export", "--work", str(scored / "work"), "--layout", layout, "--out", str(out))
    assert status == 0, err
    assert back(layout, out) == truth(scored)
    table = tmp_path / "back.csv"
    assert lad("prepare", layout, "--root", str(out), "--out", str(table))[0] == 0
    assert sorted(read_dataset(table), key=lambda video: video.id) == truth(scored)
    assert lad("export", "--work", str(scored / "work"), "--layout", layout, "--out", str(out))[0] == 0  # of its own


def test_events_changed_in_elan_come_back_in_the_same_frames_or_the_new_ones(
    scored: Path, tmp_path: Path, lad: Lad
) -> None:
    lad("export", "--work", str(scored / "work"), "--layout", "eaf", "--out", str(tmp_path))
    file = tmp_path / "yard" / "a.b.eaf"
    text = file.read_text()
    end, later = (f'TIME_VALUE="{UNEVEN[frame]}"' for frame in (21, 25))
    assert end in text
    file.write_text(text.replace(end, later).replace(">run|Fire<", ">Fire<"))
    (video,) = (video for video in back("eaf", tmp_path) if video.id == "yard/a.b")
    frames = in_frames(video.events, np.array(UNEVEN) / 1000, 25.0)
    assert [(event.start, event.end) for event in frames] == [(10, 20), (20, 25), (70, 120)]
    assert (video.label, video.split, video.source) == ("Fire", "train", "cam 1")


def mark(start: float, end: float) -> Mark:
    return Mark(start, end, "run")


def test_an_event_drawn_in_a_weak_video_takes_the_place_of_its_question_mark() -> None:
    record = record_of(Video("v", Path("v.mp4"), label="run", events=parse_events("?")), [mark(0, 100)])

    def came_back(*marks: Mark) -> str:
        video = video_of(Path("f"), record, marks, Path("v.mp4"), "v", lambda one: f"{one.start}-{one.end}")
        return ";".join(map(str, video.events))

    assert came_back(mark(0, 100)) == "?"
    assert came_back(mark(0, 100), mark(20, 30)) == "20-30"
    assert came_back(mark(20, 30)) == "20-30"


def test_a_click_that_is_left_beside_drawn_events_is_asked_about() -> None:
    record = record_of(Video("v", Path("v.mp4"), events=parse_events("7;50")), [mark(7, 8), mark(50, 51)])
    with pytest.raises(DatasetError, match="f: beside drawn events, frame 50 stands alone: draw where"):
        video_of(Path("f"), record, [mark(3, 20), mark(50, 51)], Path("v.mp4"), "v", lambda one: "3-20")


def test_other_peoples_elan_files_are_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "street.mp4", 10)
    marks = {"behaviour": [Mark(40, 120, "Running"), Mark(200, 240, "")], "found": [Mark(0, 400, "x")]}
    (tmp_path / "street.eaf").write_bytes(eaf_bytes(tmp_path / "street.eaf", path, marks, None))
    (video,) = back("eaf", tmp_path)
    assert (video.id, video.path, video.label) == ("street", path, "Running")
    assert [str(event) for event in video.events] == ["0.040s-0.120s", "0.200s-0.240s"]


def test_other_peoples_fiftyone_datasets_are_read(tmp_path: Path) -> None:
    for name in ("a", "sub/b", "c"):
        write_video(tmp_path / "data" / f"{name}.mp4", 10)
    labels = {
        "a": [{"label": 1, "support": [3, 5], "confidence": 0.5, "attributes": {}}],
        "sub/b": [{"label": 0, "timestamps": [0.1, 0.25]}],
        "c": None,
        "gone": [],
    }
    (tmp_path / "labels.json").write_text(json.dumps({"classes": ["run", "Fire"], "labels": labels}))
    listing = BENCHMARKS["fiftyone"].read(tmp_path, Options())
    found = {video.id: ([str(event) for event in video.events], video.label) for video in listing.videos}
    assert found == {
        "data/a": (["2-5"], "Fire"),
        "data/sub/b": (["0.100000s-0.250000s"], "run"),
        "data/c": ([], ""),
    }
    assert listing.missing == [f"the video of 'gone' in {tmp_path / 'labels.json'}"]


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>
<ANNOTATION_DOCUMENT><HEADER/><TIME_ORDER/><TIER TIER_ID="&c;"/></ANNOTATION_DOCUMENT>"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB.encode(), "DOCTYPE"),
        (BOMB.encode("utf-16"), "DOCTYPE"),
        (b"", "no .eaf file"),
        (b"<html></html>", "no .eaf file"),
        (b"<ANNOTATION_DOCUMENT>", "no .eaf file"),
        (b'<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="PAL-frames"/></ANNOTATION_DOCUMENT>', "PAL-frames"),
        (b'<ANNOTATION_DOCUMENT><HEADER><PROPERTY NAME="lad">{</PROPERTY></HEADER></ANNOTATION_DOCUMENT>', "damaged"),
        (
            b'<ANNOTATION_DOCUMENT><TIER TIER_ID="t"><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1"/></TIER>'
            b"</ANNOTATION_DOCUMENT>",
            "a1 of tier 't' has no time",
        ),
    ],
)
def test_what_is_no_elan_file_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "a.eaf"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_eaf_file(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"version": 2},
        {"version": 1, "video": "../x"},
        {"version": 1, "video": "a", "events": 3},
        {"version": 1, "video": "a", "split": "no"},
        {"version": 1, "video": "a", "fps": "x"},
    ],
)
def test_a_record_that_lad_did_not_write_is_refused(tmp_path: Path, record: object) -> None:
    path = write_video(tmp_path / "a.mp4", 3)
    (tmp_path / "a.eaf").write_bytes(eaf_bytes(tmp_path / "a.eaf", path, {"truth": [Mark(0, 40, "x")]}, record))
    with pytest.raises(DatasetError, match=r"a\.eaf: "):
        BENCHMARKS["eaf"].read(tmp_path, Options())


@pytest.mark.parametrize(
    "labels",
    [
        [],
        {"classes": 3, "labels": {}},
        {"labels": {"a": [{}]}},
        {"labels": {"a": [{"label": "x", "support": [0, 2]}]}},
        {"labels": {"a": [{"label": "x", "support": [5, 2]}]}},
        {"labels": {"a": [{"label": "x", "support": [1.5, 2]}]}},
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: object) -> None:
    write_video(tmp_path / "data" / "a.mp4", 3)
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(DatasetError, match=r"labels\.json"):
        BENCHMARKS["fiftyone"].read(tmp_path, Options())


def test_two_files_of_one_video_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3)
    record = {"version": 1, "video": "a", "events": []}
    for name in ("a.eaf", "b.eaf"):
        (tmp_path / name).write_bytes(eaf_bytes(tmp_path / name, path, {}, record))
    with pytest.raises(DatasetError, match=r"b\.eaf: .*a\.eaf is of the video 'a' too"):
        BENCHMARKS["eaf"].read(tmp_path, Options())
