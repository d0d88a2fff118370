"""Which videos arguments and folders name, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lad.dataset import (
    DatasetError,
    is_safe_id,
)
from lad.finding import find_videos, video_ids

HEADER = "video,path,split,label,events,n_frames,fps,source\n"
BESIDE_RESULTS = ["a.npy/b", "summary.csv/b", "c/a.png/b"]  # a folder where a result of another video may have to lie


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """Videos, a frame folder and what is neither, in folders of folders."""
    root = tmp_path / "footage"
    for name in (
        "b.mp4",
        "a.MKV",
        "notes.txt",
        "gate/cam 1.avi",
        "gate/night/cam2.webm",
        ".trash/old.mp4",
        "gate/.x.mp4",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for number in (1, 2, 10):
        frame = root / "lobby" / "seq01" / f"{number}.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        frame.write_bytes(b"x")
    (root / "empty").mkdir()
    return root


def ids(*arguments: Path | str, root: Path | None) -> list[str]:
    return [video.id for video in find_videos([str(argument) for argument in arguments], root)]


def test_a_video_has_one_id_by_whatever_way_it_is_named(footage, monkeypatch):
    (footage / "sub").mkdir()
    monkeypatch.chdir(footage / "sub")
    there = ids(footage / "b.mp4", root=None)
    assert ids("../b.mp4", root=None) == ids(footage / "sub" / ".." / "b.mp4", root=None) == there


def test_a_folder_is_searched_to_the_bottom(footage: Path) -> None:
    found = find_videos([str(footage)], footage)
    assert [video.id for video in found] == ["a", "b", "gate/cam 1", "gate/night/cam2", "lobby/seq01"]
    assert all(video.path.is_absolute() and video.path.exists() for video in found)


def test_a_frame_folder_is_one_video(footage: Path) -> None:
    assert ids(footage / "lobby" / "seq01", root=footage) == ["lobby/seq01"]
    assert ids(footage / "lobby", root=footage) == ["lobby/seq01"]


def test_a_picture_among_videos_hides_none_of_them(footage: Path) -> None:
    (footage / "gate" / "thumbnail.jpg").write_bytes(b"x")
    assert ids(footage / "gate", root=footage) == ["gate/cam 1", "gate/night/cam2"]


def test_a_named_file_is_taken_whatever_its_suffix(footage: Path) -> None:
    assert ids(footage / "notes.txt", root=footage) == ["notes"]


def test_globs_are_expanded(footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(footage / "*.mp4", root=footage) == ["b"]
    assert ids(footage / "**" / "*.avi", root=footage) == ["gate/cam 1"]
    assert ids(footage / "g*", root=footage) == ["gate/cam 1", "gate/night/cam2"]
    monkeypatch.chdir(footage)
    assert ids("*.mp4", "gate", root=footage) == ["b", "gate/cam 1", "gate/night/cam2"]


def test_a_name_that_looks_like_a_glob_is_a_name_first(footage: Path) -> None:
    (footage / "[1].mp4").write_bytes(b"x")
    assert ids(footage / "[1].mp4", root=footage) == ["[1]"]


def test_what_is_named_twice_is_one_video(footage: Path) -> None:
    assert ids(footage / "b.mp4", footage / "*.mp4", root=footage) == ["b"]


def test_everything_that_names_nothing_is_reported_at_once(footage: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        find_videos([str(footage / "no.mp4"), str(footage / "b.mp4"), str(footage / "empty"), str(footage / "*.mov")])
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(footage / name) for name in ("no.mp4", "empty", "*.mov")]
    assert "holds no video" in lines[1]


def test_colliding_ids_keep_their_suffix_and_others_do_not(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.mp4", "a.avi", "b.mp4", "c/a.mp4")]
    assert video_ids(paths, tmp_path) == ["a.mp4", "a.avi", "b", "c/a"]


def test_ids_are_always_different_and_safe(tmp_path: Path) -> None:
    names = ["a.mp4", "a.avi", "a.mp4.mkv", "back\\slash.mp4", "line\nbreak.mp4", os.fsdecode(b"\xff.mp4")]
    names += [f"{name}.mp4" for name in BESIDE_RESULTS]
    found = video_ids([tmp_path / name for name in names], tmp_path)
    assert len(set(found)) == len(names)
    assert all(is_safe_id(video_id) for video_id in found)
    assert all(video_id.encode() for video_id in found)


def test_videos_outside_the_root_get_a_hash_of_their_path(footage: Path, tmp_path: Path) -> None:
    for root in (None, tmp_path / "elsewhere"):
        (first,) = ids(footage / "b.mp4", root=root)
        assert first == ids(footage / "b.mp4", root=root)[0]
        name, _, suffix = first.rpartition("-")
        assert name == "b"
        assert len(suffix) == 8
        int(suffix, 16)
    (tmp_path / "b.mp4").write_bytes(b"x")
    assert len(set(ids(footage / "b.mp4", tmp_path / "b.mp4", root=None))) == 2


def test_dots_in_a_folder_s_name_are_no_suffix(tmp_path: Path) -> None:
    folder = tmp_path / "scene.v2"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"x")
    assert ids(folder, root=tmp_path) == ["scene.v2"]
