"""What `dataset.csv` and the finding of videos promise."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lad.dataset import (
    DatasetError,
    Video,
    class_names,
    is_safe_id,
    read_dataset,
    write_dataset,
)
from lad.events import Event, parse_events

HEADER = "video,path,split,label,events,n_frames,fps,source\n"
SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, text: str) -> Path:
    path = folder / "dataset.csv"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    return str(caught.value).splitlines()


# Reading and writing --------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    videos = [
        Video(
            "a/b", tmp_path / "a" / "b.mp4", "train", "Fire, outdoor", (Event(0, 16), Event(20, 21)), 40, 29.97, "cam"
        ),
        Video('ünï "quoted"', tmp_path / "x y.mp4", "test", "", (), None, None, ""),
        Video("far", Path("/elsewhere/far.mp4"), "val", "Fire"),
    ]
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos
    assert "a/b.mp4" in (tmp_path / "dataset.csv").read_text()
    assert str(tmp_path / "a") not in (tmp_path / "dataset.csv").read_text(), "paths below the root are relative"


# No carriage return: a text file does not keep it.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0\\\r"), max_size=12).map(str.strip)
events = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), max_size=4).map(
    lambda pairs: tuple(sorted((Event(start, start + length) for start, length in pairs), key=lambda e: e.start))
)


@SOME
@given(data=st.data())
def test_any_dataset_survives_a_round_trip(data: st.DataObject, tmp_path: Path) -> None:
    ids = data.draw(st.lists(words.filter(is_safe_id), min_size=1, max_size=4, unique=True))
    videos = [
        Video(
            id=video_id,
            path=tmp_path / f"{number}.mp4",
            split=data.draw(st.sampled_from(["", "train", "val", "test"])),
            label=data.draw(words),
            events=data.draw(events),
            n_frames=data.draw(st.none() | st.integers(1000, 2000)),
            fps=data.draw(st.none() | st.floats(0.1, 240)),
            source=data.draw(words),
        )
        for number, video_id in enumerate(ids)
    ]
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


@SOME
@given(text=st.text(max_size=120) | st.text(max_size=80).map(lambda rows: HEADER + rows))
def test_arbitrary_text_is_a_dataset_or_a_dataset_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        videos = read_dataset(path)
    except DatasetError as error:
        assert str(error).startswith(str(path))
    else:
        assert videos
        assert all(is_safe_id(video.id) for video in videos)


def test_only_video_and_path_are_required(tmp_path: Path) -> None:
    (video,) = read_dataset(write(tmp_path, "path,video\nclips/a.mp4,a\n"))
    assert video == Video("a", tmp_path / "clips" / "a.mp4")
    assert not video.is_abnormal
    assert video.group == "a"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_bytes(b"\xef\xbb\xbfvideo,path\r\na,a.mp4\r\nb,b.mp4\r\n")
    assert [video.id for video in read_dataset(path)] == ["a", "b"]


def test_relative_paths_are_below_the_root_that_is_given(tmp_path: Path) -> None:
    path = write(tmp_path, "video,path\na,a.mp4\nb,/abs/b.mp4\n")
    assert [video.path for video in read_dataset(path, Path("/data"))] == [Path("/data/a.mp4"), Path("/abs/b.mp4")]


def test_every_problem_is_reported_with_its_line(tmp_path: Path) -> None:
    rows = {
        3: "../up,x.mp4,,,,,,",
        4: "c,,,,,,,",
        5: "d,x.mp4,training,,,,,",
        6: "e,x.mp4,,,5-2,,,",
        7: "f,x.mp4,,,0-50,40,,",
        8: "g,x.mp4,,,,many,,",
        9: "h,x.mp4,,,,,-1,",
        10: "ok,x.mp4,,,,,,",
        11: "i,x.mp4,,,,,,,too,many",
        12: "j",
        13: "k,x.mp4,,,,,nan,",
        14: "l,x.mp4,,,,,5e-324,",
    }
    path = write(tmp_path, HEADER + "ok,x.mp4,,,,,,\n" + "\n".join(rows.values()) + "\n")
    found = problems(path)
    assert [int(line.removeprefix(f"{path}:").partition(":")[0]) for line in found] == list(rows)
    text = dict(zip(rows, found, strict=True))
    for line, word in {
        3: "'../up'", 4: "path is empty", 5: "'training'", 6: "'5-2'", 7: "40 frames", 8: "'many'", 9: "'-1'",
        10: "on line 2", 11: "more fields", 12: "path is empty", 13: "'nan'", 14: "'5e-324'",
    }.items():  # fmt: skip
        assert word in text[line]


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path: Path) -> None:
    found = problems(write(tmp_path, HEADER + "a,,,,,,,\n" * 50))
    assert len(found) == 21
    assert found[-1] == "... and 30 more"


@pytest.mark.parametrize("text", ["", "video\na\n", "name,file\na,b\n", "video,path\n"])
def test_a_file_without_columns_or_rows_is_refused(text: str, tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, text))
    assert problem.startswith(f"{tmp_path / 'dataset.csv'}: ")


def test_files_that_are_not_text_or_have_endless_fields_are_dataset_errors(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_bytes(b"video,path\n\xff\xfe,a.mp4\n")
    assert "not a UTF-8 text file" in problems(path)[0]
    for text in ("video," + "p" * 200_000, HEADER + "a," + "p" * 200_000 + "\n"):
        assert "field" in problems(write(tmp_path, text))[0]


def test_a_missing_dataset_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_dataset(tmp_path / "dataset.csv")


# Ids ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video_id", ["a", "a/b", "a.b/c.mp4", "..a", "a b", "ünï"])
def test_ids_that_stay_in_the_work_directory_are_safe(video_id: str, tmp_path: Path) -> None:
    assert is_safe_id(video_id)
    assert (tmp_path / video_id).resolve().is_relative_to(tmp_path)


BESIDE_RESULTS = ["a.npy/b", "summary.csv/b", "c/a.png/b"]  # a folder where a result of another video may have to lie


@pytest.mark.parametrize(
    "video_id",
    [
        "",
        "/x",
        "../x",
        "a/../b",
        "a/..",
        ".",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "a\0b",
        "a\nb",
        "a/" * 1100 + "a",
        *BESIDE_RESULTS,
    ],
)
def test_unsafe_ids_are_refused(video_id: str, tmp_path: Path) -> None:
    assert not is_safe_id(video_id)
    quoted = video_id.replace('"', '""')
    (problem,) = problems(write(tmp_path, f'video,path\n"{quoted}",a.mp4\n'))
    assert "must be a relative path" in problem


# Events ---------------------------------------------------------------------------------------------------------------


def test_events_are_half_open_intervals_in_order() -> None:
    assert parse_events("") == ()
    assert parse_events("61-180") == (Event(61, 180),)
    assert parse_events("20-30; 0-5;") == (Event(0, 5), Event(20, 30))
    assert parse_events("0-40", 40) == (Event(0, 40),)


@pytest.mark.parametrize(
    "text", ["-", "-5", "a-b", "5-2", "5-5", "1-2-3", "1:2", "-1-4", "1.0-2", "٣-٤", "9" * 5000 + "-1"]
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_events(text)


def test_an_event_beyond_the_video_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the video's 40 frames"):
        parse_events("10-41", 40)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("0123456789-; x?"), max_size=20) | st.text(max_size=20))
def test_arbitrary_text_is_events_or_a_value_error(text: str) -> None:
    try:
        found = parse_events(text)
    except ValueError:
        return
    frames = [event for event in found if isinstance(event, Event)]
    assert all(event.start >= 0 and (event.end is None or event.start < event.end) for event in frames)
    assert parse_events(";".join(map(str, found))) == found


def test_frame_labels_mark_the_frames_of_events_only() -> None:
    video = Video("a", Path("a.mp4"), events=(Event(1, 3), Event(5, 9)))
    assert video.frame_labels(7).tolist() == [False, True, True, False, False, True, True]
    assert not Video("b", Path("b.mp4")).frame_labels(4).any()
    assert video.frame_labels(7).dtype == np.bool_


def test_class_names_are_in_alphabetical_order() -> None:
    videos = [Video(str(n), Path("x"), label=label) for n, label in enumerate(["Fire", "", "Crash", "Fire"])]
    assert class_names(videos) == ["Crash", "Fire"]


def test_an_event_without_an_end_lasts_as_long_as_the_video(tmp_path: Path) -> None:
    (video,) = read_dataset(write(tmp_path, HEADER + "a,a.mp4,,Fighting,3-,,,\n"))
    assert video.events == (Event(3),) and video.is_abnormal
    assert video.frame_labels(5).tolist() == [False, False, False, True, True]
    write_dataset(tmp_path / "again.csv", [video], tmp_path)
    assert read_dataset(tmp_path / "again.csv") == [video]
    with pytest.raises(ValueError, match="beyond the video's 3 frames"):
        parse_events("3-", 3)


def test_a_label_may_hold_several_categories() -> None:
    videos = [Video("a", Path("a"), label="Riot|Abuse"), Video("b", Path("b"), label="Abuse"), Video("c", Path("c"))]
    assert [video.categories for video in videos] == [("Riot", "Abuse"), ("Abuse",), ()]
    assert class_names(videos) == ["Abuse", "Riot"]


# Slips ----------------------------------------------------------------------------------------------------------------


def test_an_unknown_column_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, "video,path,event\na,a.mp4,10-20\n"))
    assert "dataset.csv:1: unknown column 'event': did you mean 'events'?" in problem
    (problem,) = problems(write(tmp_path, "video,path,events,events\na,a.mp4,10-20,\n"))
    assert "'events' is there twice" in problem


def test_columns_without_a_name_hold_nothing_or_are_refused(tmp_path: Path) -> None:
    assert read_dataset(write(tmp_path, "video,path,,\na,a.mp4,,\n"))
    (problem,) = problems(write(tmp_path, "video,path,,\na,a.mp4,,10-20\n"))
    assert "column 4 has no name" in problem and "'10-20'" in problem


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_than_commas_are_called_by_name(separator: str, name: str, tmp_path: Path) -> None:
    text = HEADER.replace(",", separator) + separator.join(["a", "a.mp4", "train", "", "", "", "", ""]) + "\n"
    (problem,) = problems(write(tmp_path, text))
    assert f"separated by {name}: save it with commas" in problem


def test_a_slip_that_is_on_every_line_is_one_line(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n}.mp4,Train,,,,,\n" for n in range(19))
    (problem,) = problems(write(tmp_path, HEADER + rows))
    assert problem.endswith("dataset.csv:2: 19 lines have split 'Train': write train")


# Names and places ---------------------------------------------------------------------------------------------------


def test_one_file_in_two_splits_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "c.mp4").hardlink_to(tmp_path / "a.mp4")
    table = tmp_path / "dataset.csv"
    for again in ("./a.mp4", "b.mp4", "c.mp4", "nothing/../a.mp4"):
        (tmp_path / "nothing").mkdir(exist_ok=True)
        table.write_text(f"video,path,split\none,a.mp4,train\nother,{again},test\n")
        with pytest.raises(DatasetError, match=r"dataset\.csv:3: 'other' is the same file as 'one' on line 2.*train"):
            read_dataset(table)
    table.write_text("video,path,split\none,a.mp4,train\nother,b.mp4,train\n")
    assert len(read_dataset(table)) == 2
    table.write_text("video,path,split\nnone,a.mp4,\none,b.mp4,train\nother,c.mp4,test\n")
    with pytest.raises(DatasetError, match=r"dataset\.csv:4: 'other' is the same file as 'one' on line 3.*train"):
        read_dataset(table)


NAMES = ["=cmd()", "+1", "-cam", "@home", "\tx", "\rx", "'=x", "''-x", "'quoted'", "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_is_a_formula_and_every_name_is_read_back(name: str, tmp_path: Path) -> None:
    text = name.strip()  # blanks around a cell are not read
    video = Video(f"{text}/v", tmp_path / name / "v.mp4", "train", label=text, source="=1+1")
    table = tmp_path / "dataset.csv"
    write_dataset(table, [video], tmp_path)
    with table.open(newline="") as file:
        _, cells = csv.reader(file)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert read_dataset(table) == [video]


@pytest.mark.parametrize("name", ["two\nlines.mp4", "a\r\nb.mp4", "\nfirst.mp4", "last\n", os.fsdecode(b"caf\xe9.mp4")])
def test_a_path_is_read_back_whatever_its_bytes(name: str, tmp_path: Path) -> None:
    table = tmp_path / "dataset.csv"
    write_dataset(table, [Video("v", tmp_path / name)], tmp_path)
    assert [video.path.name for video in read_dataset(table)] == [name]


def test_a_table_that_is_no_file_or_too_large_is_one_line(tmp_path: Path) -> None:
    table = tmp_path / "dataset.csv"
    os.mkfifo(table)
    with pytest.raises(DatasetError, match="not a regular file"):
        read_dataset(table)
    table.unlink()
    with table.open("wb") as file:
        file.write(b"x" * (1 << 20))
        file.truncate(1 << 32)
    with pytest.raises(DatasetError, match="4 GiB that are nearly all holes"):
        read_dataset(table)
