"""What reading UCF-Crime promises, with its official lists and generated trees of empty videos."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers.listings import by_id, touch

from lad.dataset import DatasetError, read_dataset, write_dataset
from lad.datasets.common import Options
from lad.datasets.ucf_crime import CLASSES, read_ucf_crime
from lad.events import WEAK, WHOLE_VIDEO, Event

TRAIN = ["Abuse/Abuse001_x264.mp4", "Training_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4"]
TEST = [
    "Arson/Arson011_x264.mp4",
    "Burglary/Burglary035_x264.mp4",
    "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4",
]
ANNOTATION = [
    "Arson011_x264.mp4  Arson  150  420  680  1267  ",
    "Burglary035_x264.mp4  Burglary  1  1740  -1  -1  ",
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  ",
]
TEMPORAL = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
LISTS = {"Anomaly_Train.txt": TRAIN, "Anomaly_Test.txt": TEST, TEMPORAL: ANNOTATION}
SHORT = {
    "Anomaly_Train.txt: it lists 2 of 1610 videos",
    "Anomaly_Test.txt: it lists 3 of 290 videos",
}  # what the small tree lacks


def small(root: Path, lists: str = ".") -> Path:
    for video in TRAIN + TEST:
        touch(root / video)
    (root / lists).mkdir(parents=True, exist_ok=True)
    for name, lines in LISTS.items():
        (root / lists / name).write_text("\n".join(lines) + "\n")
    return root


def test_lists_and_annotation_become_videos_with_splits_labels_and_events(tmp_path: Path) -> None:
    listing = read_ucf_crime(small(tmp_path), Options())
    found = {video.id: (video.split, video.label, video.events) for video in listing.videos}
    assert found == {
        "Abuse/Abuse001_x264": ("train", "Abuse", WEAK),
        "Training_Normal_Videos_Anomaly/Normal_Videos001_x264": ("train", "Normal", ()),
        # 1-based and inclusive in the file
        "Arson/Arson011_x264": ("test", "Arson", (Event(149, 420), Event(679, 1267))),
        "Burglary/Burglary035_x264": ("test", "Burglary", (Event(0, 1740),)),
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264": ("test", "Normal", ()),
    }
    assert {(video.fps, video.n_frames, video.source) for video in listing.videos} == {(30.0, None, "")}
    assert all(video.path == tmp_path / f"{video.id}.mp4" for video in listing.videos)
    assert set(listing.missing) == SHORT


def test_with_the_paper_s_protocol_an_abnormal_training_video_is_abnormal_from_end_to_end(tmp_path: Path) -> None:
    small(tmp_path)
    official, paper = (by_id(read_ucf_crime(tmp_path, Options(protocol=name))) for name in ("official", "paper"))
    changed = {name for name, video in paper.items() if video != official[name]}
    assert changed == {"Abuse/Abuse001_x264"} and paper["Abuse/Abuse001_x264"].events == WHOLE_VIDEO


@pytest.mark.parametrize("protocol", ["official", "paper"])
def test_prepare_names_a_configuration_that_can_learn_from_what_it_wrote(protocol: str, tmp_path: Path, lad) -> None:
    small(tmp_path / "data")
    out = tmp_path / "ucf.csv"
    words = ("--root", str(tmp_path / "data"), "--out", str(out), "--allow-missing", "--protocol", protocol)
    status, _, err = lad("prepare", "ucf_crime", *words)
    assert status == 0, err
    weak = protocol == "official"
    assert f"use it with: -c ucf_crime{'-weak' if weak else ''} " in err
    assert f",train,Abuse,{'?' if weak else '0-'}," in out.read_text()


@pytest.mark.parametrize("lists", ["Anomaly_Detection_splits", "splits/Anomaly_Detection"])
def test_lists_may_lie_in_folders_and_videos_in_the_archives_folders(lists: str, tmp_path: Path) -> None:
    small(tmp_path, lists)
    for old, new in (
        ("Abuse", "Anomaly-Videos-Part-1/Abuse"),
        ("Training_Normal_Videos_Anomaly", "Training-Normal-Videos-Part-1"),
    ):
        (tmp_path / new).parent.mkdir(exist_ok=True)
        shutil.move(tmp_path / old, tmp_path / new)
    listing = read_ucf_crime(tmp_path, Options())
    assert set(listing.missing) == SHORT
    labels = {video.id: video.label for video in listing.videos}
    assert labels["Anomaly-Videos-Part-1/Abuse/Abuse001_x264"] == "Abuse"
    assert labels["Training-Normal-Videos-Part-1/Normal_Videos001_x264"] == "Normal"


def test_of_several_copies_the_one_in_the_listed_folder_is_read(tmp_path: Path) -> None:
    small(tmp_path)
    touch(tmp_path / "A" / "Normal_Videos_003_x264.mp4")
    touch(tmp_path / "A" / "._Abuse001_x264.mp4")  # what macOS leaves in archives
    listing = read_ucf_crime(tmp_path, Options())
    assert len(listing.videos) == 5
    assert TEST[2].removesuffix(".mp4") in {video.id for video in listing.videos}


def test_of_several_lists_the_one_nearest_to_the_root_is_read(tmp_path: Path) -> None:
    small(tmp_path, "z")
    touch(tmp_path / "a" / "deeper" / "Anomaly_Train.txt")
    assert set(read_ucf_crime(tmp_path, Options()).missing) == SHORT


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    small(tmp_path / "disk")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ucf").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "circle").symlink_to(tmp_path / "disk")
    listing = read_ucf_crime(tmp_path / "data", Options())
    assert set(listing.missing) == SHORT
    assert "ucf/Abuse/Abuse001_x264" in {video.id for video in listing.videos}


def test_what_is_missing_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / TRAIN[0]).unlink()
    (tmp_path / TEST[2]).unlink()
    listing = read_ucf_crime(tmp_path, Options())
    assert set(listing.missing) == SHORT | {TRAIN[0], TEST[2]}
    assert len(listing.videos) == 3


def test_features_of_the_field_stand_for_videos_that_are_not_there(tmp_path: Path) -> None:
    small(tmp_path)
    for video in (TRAIN[1], *TEST):
        (tmp_path / video).unlink()
    for name in ("Normal_Videos001_x264_i3d", "Arson011_x264_i3d", "Abuse001_x264_i3d", "Test_Spatial_Annotation"):
        touch(tmp_path / "ten_crop_i3d" / f"{name}.npy")
    for stream in ("rgb", "flow"):
        touch(tmp_path / "two" / f"Burglary035_x264_{stream}.npy")
    listing = read_ucf_crime(tmp_path, Options())
    assert {video.id: video.path.relative_to(tmp_path).as_posix() for video in listing.videos} == {
        "Abuse/Abuse001_x264": "Abuse/Abuse001_x264.mp4",
        "ten_crop_i3d/Normal_Videos001_x264": "ten_crop_i3d/Normal_Videos001_x264_i3d.npy",
        "ten_crop_i3d/Arson011_x264": "ten_crop_i3d/Arson011_x264_i3d.npy",
        "two/Burglary035_x264": "two/Burglary035_x264_{stream}.npy",
    }
    assert set(listing.missing) == SHORT | {TEST[2]}
    assert {video.is_features for video in listing.videos} == {True, False}


@pytest.mark.parametrize("first", ["Arson011_x264__0.npy", "Arson011_x264.npy"])
def test_crops_that_are_files_of_their_own_stand_for_one_video(tmp_path: Path, first: str) -> None:
    small(tmp_path)
    (tmp_path / TEST[0]).unlink()
    before = {video.id for video in read_ucf_crime(tmp_path, Options()).videos}
    touch(tmp_path / "crops" / first, *(tmp_path / "crops" / f"Arson011_x264__{crop}.npy" for crop in range(1, 10)))
    listing = read_ucf_crime(tmp_path, Options())
    (video,) = [video for video in listing.videos if video.id not in before]
    assert video.id == "crops/Arson011_x264" and video.path == tmp_path / "crops" / "Arson011_x264__{crop}.npy"


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "Anomaly_Train.txt").unlink()
    listing = read_ucf_crime(tmp_path, Options())
    assert "Anomaly_Train.txt" in listing.missing
    assert {video.split for video in listing.videos} == {"test"}


def test_without_annotation_no_abnormal_test_video_is_taken_for_normal_or_whole(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / TEMPORAL).write_text("\n".join(ANNOTATION[1:]))
    listing = read_ucf_crime(tmp_path, Options())
    assert f"{TEST[0]}: a line with its frames in {TEMPORAL}" in listing.missing
    assert TEST[0].removesuffix(".mp4") not in {video.id for video in listing.videos}
    (tmp_path / TEMPORAL).unlink()
    listing = read_ucf_crime(tmp_path, Options())
    assert set(listing.missing) == SHORT | {TEMPORAL}
    assert {video.label for video in listing.videos if video.split == "test"} == {"Normal"}


@pytest.mark.parametrize(
    "line",
    [
        "Arson011_x264.mp4  Arson  150  420  680",
        "Arson011_x264.mp4  Arson  150  x  -1  -1",
        "Arson011_x264.mp4  Arson  420  150  -1  -1",
        "Arson011_x264.mp4  Arson  150  -1  -1  -1",
        "Arson011_x264.mp4  Arson  -1  -1  -1  -1",
        "Arson011_x264.mp4  Arsson  150  420  -1  -1",
        "Normal_Videos_003_x264.mp4  Normal  1  2  -1  -1",
        "Arson011_x264.mp4",
    ],
)
def test_an_annotation_that_cannot_be_understood_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / TEMPORAL).write_text(f"{ANNOTATION[1]}\n\n{line}\n")
    with pytest.raises(DatasetError, match=rf"{TEMPORAL}:3: not a video"):
        read_ucf_crime(tmp_path, Options())


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["Abuse/Abuse001_x264.mp4", "Abus/Abuse002_x264.mp4"], r"Anomaly_Train\.txt:2: 'Abus/Abuse002_x264\.mp4'"),
        (["Abuse001_x264.mp4"], r"Anomaly_Train\.txt:1: 'Abuse001"),
        ([TEST[0]], r"Anomaly_Test\.txt:1: Arson/Arson011_x264\.mp4 is already at .*Anomaly_Train\.txt:1"),
        (["\udcff"], r"Anomaly_Train\.txt: it cannot be read"),
    ],
)
def test_a_list_that_cannot_be_understood_is_named_with_its_line(lines: list[str], named: str, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "Anomaly_Train.txt").write_text("\n".join(lines), errors="surrogateescape")
    with pytest.raises(DatasetError, match=named):
        read_ucf_crime(tmp_path, Options())


def test_another_folder_is_told_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no UCF-Crime here.*Anomaly_Train\.txt.*Anomaly_Test\.txt"):
        read_ucf_crime(tmp_path, Options())
    with pytest.raises(DatasetError, match="no such folder"):
        read_ucf_crime(tmp_path / "none", Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(tmp_path: Path) -> None:
    videos = read_ucf_crime(small(tmp_path), Options()).videos
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


@pytest.mark.real
def test_the_official_lists_have_the_published_counts(shared_data: Path, tmp_path: Path) -> None:
    annotations = shared_data / "annotations" / "ucf_crime"
    for name in LISTS:
        shutil.copy(annotations / name, tmp_path / name)
    for name in ("Anomaly_Train.txt", "Anomaly_Test.txt"):
        for line in (annotations / name).read_text().split():
            touch(tmp_path / line)
    listing = read_ucf_crime(tmp_path, Options())
    assert listing.missing == []
    counts = Counter((video.split, video.is_abnormal) for video in listing.videos)
    assert counts == {("train", True): 810, ("train", False): 800, ("test", True): 140, ("test", False): 150}
    assert sorted({video.label for video in listing.videos if video.is_abnormal}) == list(CLASSES[:13])
    assert {video.label for video in listing.videos if not video.is_abnormal} == {CLASSES[13]} == {"Normal"}
    assert sum(len(video.events) for video in listing.videos if video.split == "test") == 156
    assert len({video.id for video in listing.videos}) == 1900


@pytest.mark.real
def test_the_official_lists_without_videos_are_not_the_benchmark(shared_data: Path) -> None:
    with pytest.raises(DatasetError, match="no video of UCF-Crime is here, only its lists"):
        read_ucf_crime(shared_data / "annotations" / "ucf_crime", Options())
