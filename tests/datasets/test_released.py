"""The layout of the authors' code: what is there is read, what is not there is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.pickles import Calls

from lad.dataset import DatasetError
from lad.datasets.released import read_released
from lad.events import Event

CLASSES = ("Crash", "Crowd", "Destroy")
VIDEOS = {"v_a_001": (50, [(10, 20), (30, 50)], 0), "v_n_002": (33, [], 1), "v_a_003": (16, [(0, 16)], 2)}
SPLITS = {"train": ["v_a_001", "v_n_002"], "test": ["v_a_003"]}


def labels_of(frames: int, events: list[tuple[int, int]]) -> np.ndarray:
    labels = np.zeros((1, frames))
    for start, end in events:
        labels[0, start:end] = 1
    return labels


def write_labels(base: Path, frame_labels: object, video_labels: object, protocol: int = 4) -> None:
    (base / "GT").mkdir(parents=True, exist_ok=True)
    (base / "GT" / "frame_label_IET.pickle").write_bytes(pickle.dumps(frame_labels, protocol))
    (base / "GT" / "video_label_IET.pickle").write_bytes(pickle.dumps(video_labels, protocol))


@pytest.fixture
def tree(tmp_path) -> Path:
    """`LAD2000/` with three videos, all streams and `combine`; the feature files are empty."""
    base = tmp_path / "LAD2000"
    write_labels(
        base,
        {video: labels_of(frames, events) for video, (frames, events, _) in VIDEOS.items()},
        {video: index for video, (_, _, index) in VIDEOS.items()},
    )
    for split, videos in SPLITS.items():
        (base / f"{split}_split.txt").write_text("\n".join(videos) + "\n")
    for stream in ("rgb", "flow", "combine"):
        for video in VIDEOS:
            (base / "features_video" / "i3d" / stream / video).mkdir(parents=True)
            (base / "features_video" / "i3d" / stream / video / "feature.npy").touch()
    return base


def remove(folder: Path) -> None:
    folder.rename(folder.with_name(f"no_{folder.name}"))


def problem(root: Path, name: str = "lad2000", classes=CLASSES, streams=("rgb", "flow")) -> str:
    with pytest.raises(DatasetError) as error:
        read_released(root, name, classes, streams)
    return str(error.value)


@pytest.mark.parametrize("below", [True, False], ids=["parent", "dataset"])
def test_videos_have_features_labels_events_and_splits(tree, below):
    listing = read_released(tree.parent if below else tree, "lad2000", CLASSES, ["rgb", "flow"])
    assert not listing.missing
    assert {video.id: video.split for video in listing.videos} == {
        "v_a_001": "train",
        "v_n_002": "train",
        "v_a_003": "test",
    }
    for video in listing.videos:
        frames, events, index = VIDEOS[video.id]
        assert video.label == CLASSES[index] and video.events == tuple(Event(*event) for event in events)
        assert video.n_frames == frames and video.fps == 25 and video.is_features
        assert video.path == tree / "features_video/i3d/{stream}" / video.id / "feature.npy"


@pytest.mark.parametrize(
    ("folder", "name", "fps"),
    [
        ("UCF_Crime", "ucf_crime", 30),
        ("UCF-Crime", "UCF_Crime", 30),
        ("shanghaitech", "ShanghaiTech", 24),
        ("Avenue", "avenue", 25),
        ("Ped2", "ped2", 10),
        ("LV", "lv", None),
    ],
)
def test_the_folder_is_found_by_its_name(tree, folder, name, fps):
    tree.rename(tree.with_name(folder))
    (tree.parent / "Other" / "GT").mkdir(parents=True)
    videos = read_released(tree.parent, name, CLASSES, ["rgb"]).videos
    assert len(videos) == 3 and {video.fps for video in videos} == {fps}


@pytest.mark.parametrize("streams", [["rgb"], ["flow"], ["flow", "rgb"]])
def test_streams_that_have_folders_are_used_by_name(tree, streams):
    remove(tree / "features_video/i3d/combine")
    videos = read_released(tree, "lad2000", CLASSES, streams).videos
    assert {video.path.parts[-3] for video in videos} == {"{stream}"}


def test_combined_features_stand_for_rgb_and_flow_in_that_order(tree):
    remove(tree / "features_video/i3d/flow")
    videos = read_released(tree, "lad2000", CLASSES, ["rgb", "flow"]).videos
    assert {video.path.parts[-3] for video in videos} == {"combine"}
    said = problem(tree, streams=["flow", "rgb"])
    assert "there are rgb, combine" in said and "extract.streams can be [rgb] or [rgb, flow]" in said
    assert "extract.streams can be [rgb] or [rgb, flow]" in problem(tree, streams=["flow"])
    remove(tree / "features_video/i3d/combine")
    assert "extract.streams can be [rgb]" in problem(tree)
    remove(tree / "features_video/i3d/rgb")
    assert "there are none" in problem(tree)


def test_missing_features_and_labels_are_named_and_their_videos_left_out(tree):
    (tree / "features_video/i3d/rgb/v_a_001/feature.npy").unlink()
    frame_labels = {video: labels_of(20, []) for video in ("v_a_001", "v_n_002")}
    write_labels(tree, frame_labels, {"v_a_001": 0, "v_a_003": 1})
    listing = read_released(tree, "lad2000", CLASSES, ["rgb", "flow"])
    assert not listing.videos
    assert sorted(listing.missing) == [
        "v_a_001: features_video/i3d/rgb/v_a_001/feature.npy",
        "v_a_003: no frame labels in GT/frame_label_IET.pickle",
        "v_n_002: no video labels in GT/video_label_IET.pickle",
    ]


def test_without_split_files_there_are_no_splits(tree):
    (tree / "train_split.txt").unlink()
    listing = read_released(tree, "lad2000", CLASSES, ["rgb"])
    assert listing.missing == ["train_split.txt"]
    assert [video.split for video in listing.videos] == ["", "", "test"]
    (tree / "test_split.txt").unlink()
    listing = read_released(tree, "lad2000", CLASSES, ["rgb"])
    assert listing.missing == ["train_split.txt", "test_split.txt"]
    assert [video.split for video in listing.videos] == ["", "", ""]


def test_split_files_may_hold_blank_lines_and_suffixes(tree):
    (tree / "train_split.txt").write_bytes(b"\xef\xbb\xbfv_a_001.mp4\r\n\r\n  v_n_002.avi \r\nv_a_001.npy\r\n\r\n")
    listing = read_released(tree, "lad2000", CLASSES, ["rgb"])
    assert not listing.missing
    assert [video.split for video in listing.videos] == ["train", "train", "test"]
    (tree / "test_split.txt").write_text("v_a_003\nv_a_001\n")
    assert "test_split.txt:2: 'v_a_001' is in train_split.txt too" in problem(tree)
    (tree / "test_split.txt").write_bytes(b"v_a_\xff\n")
    assert "test_split.txt" in problem(tree)


@pytest.mark.parametrize(
    "value", [np.array([0, 1, 1, 0]), np.array([[False, True, True, False]]), [[0, 1, 1, 0]], np.float32([0, 1, 1, 0])]
)
def test_frame_labels_come_in_several_shapes(tree, value):
    write_labels(tree, dict.fromkeys(VIDEOS, value), {"v_a_001": np.int64(1), "v_n_002": np.uint8(1), "v_a_003": 1})
    videos = read_released(tree, "lad2000", CLASSES, ["rgb"]).videos
    assert {(video.n_frames, video.events, video.label) for video in videos} == {(4, (Event(1, 3),), "Crowd")}
    assert all(type(event.start) is int for video in videos for event in video.events)


@pytest.mark.parametrize("value", [np.zeros((2, 3)), np.zeros((1, 0)), 1, "abc", [[1], [1, 2]], None, [np.nan, 1]])
def test_frame_labels_that_are_none_are_named(tree, value):
    labels = {video: labels_of(20, []) for video in VIDEOS} | {"v_n_002": value}
    write_labels(tree, labels, dict.fromkeys(VIDEOS, 0))
    assert "frame_label_IET.pickle: v_n_002: " in problem(tree)


@pytest.mark.parametrize("value", [3, -1, 0.5, "Crash", None, [1, 2], [[1], [1, 2]], True])
def test_labels_that_are_no_category_are_named(tree, value):
    write_labels(tree, dict.fromkeys(VIDEOS, np.zeros(20)), {"v_a_001": 0, "v_n_002": value, "v_a_003": value})
    said = problem(tree)
    assert "video_label_IET.pickle: v_n_002: its label is" in said and len(said.splitlines()) == 2


@pytest.mark.parametrize("name", ["../v_a_001", "/v_a_001", "a//b", "", "summary", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(tree, name):
    write_labels(tree, {name: np.zeros(20)}, {name: 0})
    assert "cannot be a video's name" in problem(tree)


def test_what_is_no_such_layout_says_so(tree, tmp_path):
    assert "no such folder" in problem(tmp_path / "absent")
    assert "no released features here" in problem(tree.parent, name="avenue")
    (tree / "GT/video_label_IET.pickle").write_bytes(pickle.dumps([1, 2]))
    assert "video_label_IET.pickle: it is not a dict" in problem(tree)
    (tree / "GT/video_label_IET.pickle").write_bytes(pickle.dumps({1: 2}))
    assert "video_label_IET.pickle: it is not a dict" in problem(tree)
    (tree / "GT/video_label_IET.pickle").write_bytes(b"nonsense")
    assert "video_label_IET.pickle: it is damaged" in problem(tree)
    (tree / "GT/video_label_IET.pickle").unlink()
    assert "video_label_IET.pickle: it is not here" in problem(tree)


def test_a_hostile_pickle_is_not_run(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_labels(tree, {"v_a_001": Calls(os.system, "touch ran")}, {})
    assert "frame_label_IET.pickle: it asks for posix.system" in problem(tree)
    assert not (tmp_path / "ran").exists()


def test_label_files_may_bear_the_dataset_s_name(tree):
    for kind in ("frame", "video"):
        (tree / f"GT/{kind}_label_IET.pickle").rename(tree / f"GT/LAD_{kind}_label_all_IET.pickle")
    assert len(read_released(tree, "lad2000", CLASSES, ["rgb"]).videos) == 3
    (tree / "GT/frame_label_other_IET.pickle").touch()
    assert "frame_label_IET.pickle: several files could be it" in problem(tree)


def test_two_thousand_videos_take_no_time(tmp_path):
    names = [f"v_a_{number:04d}" for number in range(2000)]
    write_labels(tmp_path, {name: labels_of(500, [(3, 9)]) for name in names}, dict.fromkeys(names, 1))
    (tmp_path / "train_split.txt").write_text("\n".join(names))
    (tmp_path / "test_split.txt").touch()
    for stream in ("rgb", "flow"):
        for name in names:
            (tmp_path / "features_video/i3d" / stream / name).mkdir(parents=True)
            (tmp_path / "features_video/i3d" / stream / name / "feature.npy").touch()
    assert len(read_released(tmp_path, "lad2000", CLASSES, ["rgb", "flow"]).videos) == 2000


def test_ped_may_be_spelt_otherwise_in_the_lists_and_its_folder_has_ucsd_before_it(tmp_path):
    base = tmp_path / "UCSDPed2"
    write_labels(base, {"ped2_a_Test001": labels_of(20, [(0, 5)])}, {"ped2_a_Test001": 1})
    (base / "train_split.txt").write_text("Ped2_a_Test001\n")
    (base / "test_split.txt").write_text("")
    (base / "features_video/i3d/rgb/ped2_a_Test001").mkdir(parents=True)
    (base / "features_video/i3d/rgb/ped2_a_Test001/feature.npy").touch()
    listing = read_released(tmp_path, "ped2", ("normal", "abnormal"), ["rgb"])
    assert [(video.id, video.split) for video in listing.videos] == [("ped2_a_Test001", "train")]
    assert not listing.missing
