"""What a folder's search takes for a video, and what it says of the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lad.dataset import DatasetError
from lad.datasets.common import Options
from lad.datasets.folder import read_folder
from lad.finding import find_videos
from lad.footage import OTHER_SUFFIXES, VIDEO_SUFFIXES, Passed, videos_below
from lad.signatures import container_of

MakeVideo = Callable[..., Path]
H264_KEY = b"\0\0\0\1\x67\x42\xc0\x1e" + b"\0\0\0\1\x68\xce\x38\x80" + b"\0\0\1\x65\x88\x84"


def found_below(folder: Path) -> tuple[list[str], Passed]:
    passed = Passed()
    return [video.path.name for video in find_videos([str(folder)], folder, passed)], passed


def test_no_suffix_is_both_of_a_video_and_of_something_else() -> None:
    assert not VIDEO_SUFFIXES & OTHER_SUFFIXES


@pytest.mark.parametrize("name", ["cam1", "cam1.dat", "cam1.h26x", "20240101_120000", "clip.MP4.part"])
def test_a_file_whose_name_says_nothing_is_looked_into(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", 2).rename(tmp_path / name)
    (tmp_path / "notes").write_text("nothing to see\n" * 100)
    (tmp_path / "photograph").write_bytes(b"\xff\xd8\xff\xe0" + bytes(2000))
    (tmp_path / "sound").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(2000))
    names, passed = found_below(tmp_path)
    assert names == [name]
    assert passed.suffixes == {"": 3}
    assert set(passed.names) == {"notes", "photograph", "sound"}


def test_a_file_with_the_suffix_of_something_else_is_not_opened(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", 2)
    for suffix in (".txt", ".zip", ".wav", ".npy", ".jpg"):
        (tmp_path / f"b{suffix}").symlink_to("a.mp4")
    names, passed = found_below(tmp_path)
    assert names == ["a.mp4"]
    assert passed.suffixes == {".txt": 1, ".zip": 1, ".wav": 1, ".npy": 1, ".jpg": 1}


def test_a_pipe_in_a_folder_is_passed_over_and_nobody_waits(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", 2)
    os.mkfifo(tmp_path / "pipe")
    assert found_below(tmp_path)[0] == ["a.mp4"]


def test_a_folder_says_how_many_of_what_it_passed_over(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "a").mkdir()
    make_video(tmp_path / "a" / "1.mp4", 2)
    for number in range(4):
        (tmp_path / "a" / f"{number}.txt").write_text("x")
    (tmp_path / "readme").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    names, passed = found_below(tmp_path)
    assert names == ["1.mp4"]
    assert passed.count == 5
    assert passed.line() == "passed over, being no videos: 4 .txt, 1 without a suffix (0.txt, 1.txt, 2.txt, ...)"
    assert passed.data() == {"files": 5, "suffixes": {".txt": 4, "": 1}, "names": ["0.txt", "1.txt", "2.txt"]}


def test_many_suffixes_make_no_long_line(tmp_path: Path) -> None:
    passed = Passed()
    for number in range(1000):
        passed.add(tmp_path / f"a.{number:03}")
    assert "995 others" in passed.line()
    assert len(passed.line()) < 150


def test_the_frames_of_a_frame_folder_are_not_passed_over(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "labels.csv"):
        (tmp_path / name).write_bytes(b"x")
    names, passed = found_below(tmp_path)
    assert names == [tmp_path.name]
    assert passed.names == ["labels.csv"]


def test_a_folder_without_a_video_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("x")
    with pytest.raises(DatasetError, match=r"holds no video; passed over, .*: 1 \.csv \(list\.csv\)"):
        find_videos([str(tmp_path)])


def test_a_tree_of_categories_keeps_what_it_passed_over(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "fire").mkdir()
    make_video(tmp_path / "fire" / "1.mp4", 2)
    (tmp_path / "fire" / "1.txt").write_text("x")
    listing = read_folder(tmp_path, Options())
    assert listing.passed.names == ["1.txt"]


def test_odd_files_of_every_name_are_found_in_a_folder(shared_cases: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(shared_cases.iterdir())):
        (tmp_path / f"{number}").symlink_to(file)  # the suffix is gone
    names, passed = found_below(tmp_path)
    videos = [file for file in shared_cases.iterdir() if file.suffix not in (".md", ".py", ".npy")]
    assert len(names) == len(videos) > 8
    assert passed.count == 3


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (H264_KEY, "h264"),
        (H264_KEY[1:], "h264"),  # a start code of three bytes
        (b"\0\0\0\1\x09\xf0" + H264_KEY, "h264"),
        (b"\0\0\0\1\x27\x42\xe0\x1f\0\0\0\1\x28\xde\x09", "h264"),
        (b"\0\0\0\1\x41\x9a\x24", "h264"),  # begins in the middle
        (b"\0\0\0\1\x40\x01\x0c\0\0\0\1\x42\x01\x01\0\0\0\1\x44\x01\xc1\0\0\1\x26\x01\xaf", "hevc"),
        (b"\0\0\1\x46\x01\x10\0\0\1\x40\x01\x0c", "hevc"),
        (b"\0\0\0\1\x02\x01\xd0", "hevc"),  # begins in the middle
        (b"\0\0\1\xb0\x01\0\0\1\xb5\x89\x13\0\0\1\0\0\0\1\x20\0\xc4", "m4v"),
        (b"\0\0\1\0\0\0\1\x20\0\xc4", "m4v"),
        (b"\0\0\1\xba\x44\0\4", "mpeg"),
        (b"\0\0\1\xb3\x14\0\xf0", "mpegvideo"),
        (b"\0\0\0\1\xff\xff", None),
        (b"\0\0\0\1", None),
        (b"\0\0\0\0\0\0", None),
        (b"\0" * 1024, None),
        (b"", None),
    ],
)
def test_streams_without_a_container_are_told_apart(head: bytes, container: str | None) -> None:
    assert container_of(head) == container


def test_a_transport_stream_that_begins_within_a_packet_is_one(tmp_path: Path, make_video: MakeVideo) -> None:
    data = make_video(tmp_path / "a.ts", 10).read_bytes()
    assert container_of(data[:1024]) == container_of(data[100:1124]) == "mpegts"
    assert container_of(b"G" + bytes(1023)) is None


def test_what_lad_wrote_is_no_footage(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", 2)
    for work in ("for_anna", "runs/one", "runs/two"):
        make_video(tmp_path / work / "plots" / "plot.mp4", 2)
        make_video(tmp_path / work / "b.mp4", 2)
    (tmp_path / "runs/one/manifest.sqlite").touch()
    for name in (".lock", "config.yaml"):
        (tmp_path / "runs/two" / name).touch()
    for name in ("files.json", "index.html", "data/run.js"):
        (tmp_path / "for_anna" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "for_anna" / name).touch()
    names, passed = found_below(tmp_path)
    assert names == ["a.mp4"]
    assert passed.works == [tmp_path / "for_anna", tmp_path / "runs/one", tmp_path / "runs/two"]
    places = ", ".join(map(str, passed.works))
    assert passed.lines() == [f"passed over, being work directories or reports of lad: {places}"]
    assert passed.data()["work_directories"] == [str(work) for work in passed.works]
    assert found_below(tmp_path / "runs/one")[0] == ["b.mp4"], "where it is told to look, it leaves its results out"


def test_a_file_by_two_names_is_taken_once_and_that_is_said(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "b" / "a.mp4", 2)
    (tmp_path / "b" / "hard.mp4").hardlink_to(tmp_path / "b" / "a.mp4")
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b" / "a.mp4")
    (tmp_path / "linked").symlink_to(tmp_path / "b")
    passed = Passed()
    found = find_videos([str(tmp_path), str(tmp_path / "b" / "a.mp4")], tmp_path, passed)
    assert [video.id for video in found] == ["b/a"]
    assert len(passed.lines()) == 1
    assert passed.lines()[0].startswith("taken once, being one file by two names: ")


def test_a_mesh_of_links_ends(tmp_path: Path, make_video: MakeVideo) -> None:
    """Twelve folders with a link to every other one: there are 12! ways through them."""
    for number in range(12):
        make_video(tmp_path / str(number) / f"{number}.mp4", 2)
        for other in range(12):
            (tmp_path / str(number) / f"to_{other}").symlink_to(tmp_path / str(other))
    names, _ = found_below(tmp_path)
    assert sorted(names) == sorted(f"{number}.mp4" for number in range(12))


def test_a_video_in_two_splits_by_two_names_is_an_error(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "train" / "fire" / "a.mp4", 2)
    (tmp_path / "test" / "fire").mkdir(parents=True)
    (tmp_path / "test" / "fire" / "b.mp4").hardlink_to(tmp_path / "train" / "fire" / "a.mp4")
    with pytest.raises(DatasetError, match=r"train/fire/a\.mp4 are one file in two splits"):
        read_folder(tmp_path, Options())


def test_a_picture_among_folders_of_frames_hides_none_of_them(tmp_path: Path) -> None:
    for camera in ("gate", "yard"):
        for number in range(3):
            (tmp_path / camera).mkdir(exist_ok=True)
            (tmp_path / camera / f"{number}.jpg").write_bytes(b"")
    (tmp_path / "map.png").write_bytes(b"")
    passed = Passed()
    assert videos_below(tmp_path, passed) == [tmp_path / "gate", tmp_path / "yard"]
    assert passed.names == ["map.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_nobody_may_read_is_passed_over_with_a_line(tmp_path: Path) -> None:
    closed = tmp_path / "lost+found"
    closed.mkdir(mode=0)
    (tmp_path / "a.mp4").write_bytes(b"")
    passed = Passed()
    assert videos_below(tmp_path, passed) == [tmp_path / "a.mp4"]
    assert passed.lines() == [f"passed over, because you may not read it: {closed}"]


def test_a_folder_that_the_system_keeps_closed_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a.mp4").write_bytes(b"")
    listed = Path.iterdir

    def guarded(self: Path) -> Iterator[Path]:
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", guarded)
    passed = Passed()
    assert videos_below(tmp_path, passed) == [tmp_path / "a.mp4"]
    assert passed.lines() == [f"passed over, because you may not read it: {tmp_path / 'lost+found'}"]
