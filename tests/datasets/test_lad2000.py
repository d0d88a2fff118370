"""What reading LAD2000 promises, with generated trees of empty videos and real `.mat` files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.listings import touch
from scipy.io import savemat

from lad.dataset import DatasetError, read_dataset, write_dataset
from lad.datasets.common import Listing, Options
from lad.datasets.lad2000 import CLASSES, read_lad2000
from lad.events import Event

COUNTS = {("train", False): 958, ("train", True): 482, ("test", False): 280, ("test", True): 280}
# Frame labels of the small tree: a normal video may come without any.
LABELS = {"v_a_crash_001": [0, 1, 1, 0, 1], "v_a_water_002": [1, 1], "v_n_crash_003": [0, 0, 0], "v_n_water_004": None}
FOLDERS = {"crash": "Crash", "water": "FallIntoWater"}
TRAIN, TEST = ["v_a_crash_001", "v_n_crash_003"], ["v_a_water_002", "v_n_water_004"]


def truth(path: Path, labels: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"gt": np.array(labels)})
    return path


def folder_of(name: str) -> str:
    return FOLDERS[name.split("_")[2]]


def small(root: Path) -> Path:
    for name, labels in LABELS.items():
        touch(root / folder_of(name) / f"{name}.avi")
        if labels is not None:
            truth(root / folder_of(name) / f"{name}.mat", [labels])
    (root / "train_split.txt").write_text("\n".join(TRAIN) + "\n")
    (root / "test_split.txt").write_text("\n".join(TEST) + "\n")
    return root


def beyond_counts(listing: Listing) -> list[str]:
    """What is missing but for the official counts, which no small tree reaches."""
    return [line for line in listing.missing if " videos of the split " not in line]


def test_videos_have_the_labels_of_their_folders_and_the_events_of_their_mat(tmp_path: Path) -> None:
    listing = read_lad2000(small(tmp_path), Options())
    found = {v.id: (v.split, v.label, v.events, v.n_frames) for v in listing.videos}
    assert found == {
        "Crash/v_a_crash_001": ("train", "Crash", (Event(1, 3), Event(4, 5)), 5),
        "Crash/v_n_crash_003": ("train", "Crash", (), 3),
        "FallIntoWater/v_a_water_002": ("test", "FallIntoWater", (Event(0, 2),), 2),
        "FallIntoWater/v_n_water_004": ("test", "FallIntoWater", (), None),
    }
    assert {(video.fps, video.source) for video in listing.videos} == {(25.0, "")}
    assert all(video.path == tmp_path / f"{video.id}.avi" for video in listing.videos)
    assert beyond_counts(listing) == []
    assert listing.split(0) == listing.split(1) == listing.videos, "the split is fixed"


def test_the_classes_stand_in_the_order_of_the_released_index() -> None:
    index = {"Crash": 0, "Crowd": 1, "Destroy": 2, "Drop": 3, "FallIntoWater": 4, "Falling": 5, "Fighting": 6}
    index |= {"Fire": 7, "Hurt": 8, "Loitering": 9, "Panic": 10, "Thiefing": 11, "Trampled": 12, "Violence": 13}
    assert {name: number for number, name in enumerate(CLASSES)} == index


@pytest.mark.parametrize("spelling", ["fallintowater", "Fall_Into_Water", "fall into water", "Fall-into-Water"])
def test_folders_may_be_spelled_otherwise_and_lie_deeper(spelling: str, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "FallIntoWater").rename(tmp_path / "videos" / spelling)
    listing = read_lad2000(tmp_path, Options())
    assert Counter(video.label for video in listing.videos) == {"Crash": 2, "FallIntoWater": 2}
    assert beyond_counts(listing) == []


def test_the_authors_tree_of_labels_is_read(tmp_path: Path) -> None:
    small(tmp_path)
    for name in LABELS:
        (tmp_path / folder_of(name) / f"{name}.mat").unlink(missing_ok=True)
    for name, labels in LABELS.items():
        if labels is not None:
            truth(tmp_path / "GT" / "GT_mat" / "all" / f"{name.replace('v_', 'gt_')}.mat", [labels])
    listing = read_lad2000(tmp_path, Options())
    assert beyond_counts(listing) == []
    assert {video.n_frames for video in listing.videos} == {5, 2, 3, None}


@pytest.mark.parametrize("form", ["{}.avi", "FallIntoWater/{}", "Fall Into Water/{}.mp4", "x\\{}.avi", "{} 4"])
def test_split_files_may_name_suffix_and_folder(form: str, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "splits").mkdir()
    (tmp_path / "test_split.txt").unlink()
    (tmp_path / "splits" / "test_split.txt").write_text("\r\n".join(form.format(name) for name in TEST))
    listing = read_lad2000(tmp_path, Options())
    assert beyond_counts(listing) == []
    assert {video.id.split("/")[1] for video in listing.videos if video.split == "test"} == set(TEST)


def test_an_abnormal_video_without_its_mat_is_left_out_and_the_mat_named(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "Crash" / "v_a_crash_001.mat").unlink()
    listing = read_lad2000(tmp_path, Options())
    assert beyond_counts(listing) == ["Crash/v_a_crash_001.mat: its labels"]
    assert "Crash/v_a_crash_001" not in {video.id for video in listing.videos}


@pytest.mark.parametrize(("name", "labels"), [("v_a_crash_001", [0, 0]), ("v_n_crash_003", [0, 1])])
def test_labels_that_contradict_the_name_are_named_and_the_video_left_out(
    name: str, labels: list[int], tmp_path: Path
) -> None:
    small(tmp_path)
    truth(tmp_path / "Crash" / f"{name}.mat", [labels])
    listing = read_lad2000(tmp_path, Options())
    assert len(beyond_counts(listing)) == 1
    assert f"{name}.mat: correct labels: these mark" in beyond_counts(listing)[0]
    assert f"Crash/{name}" not in {video.id for video in listing.videos}


def test_missing_videos_and_lines_and_counts_are_named(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "Crash" / "v_n_crash_003.avi").unlink()
    touch(tmp_path / "Crash" / "v_n_crash_009.avi")
    touch(tmp_path / "Unknown" / "v_n_x_001.avi")
    listing = read_lad2000(tmp_path, Options())
    missing = beyond_counts(listing)
    assert len(missing) == 3
    assert "v_n_crash_003: a video that train_split.txt lists" in missing
    assert any(line.startswith("Crash/v_n_crash_009.avi: a line in") for line in missing)
    assert any(line.startswith("Unknown/v_n_x_001.avi") for line in missing)
    assert {video.id: video.split for video in listing.videos}["Crash/v_n_crash_009"] == ""
    assert "abnormal videos of the split train: 1 of 482 are here" in listing.missing


def test_missing_split_files_are_named_and_no_split_is_invented(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "train_split.txt").unlink()
    listing = read_lad2000(tmp_path, Options())
    assert beyond_counts(listing) == ["train_split.txt"]
    assert Counter(video.split for video in listing.videos) == {"": 2, "test": 2}


def test_a_video_in_both_splits_is_refused(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "test_split.txt").write_text("\n".join([*TEST, TRAIN[0]]))
    with pytest.raises(DatasetError, match=r"test_split\.txt:3: v_a_crash_001 is in train_split\.txt too"):
        read_lad2000(tmp_path, Options())


def test_damaged_labels_are_named_all_of_them(tmp_path: Path) -> None:
    small(tmp_path)
    first, second = tmp_path / "Crash" / "v_a_crash_001.mat", tmp_path / "FallIntoWater" / "v_a_water_002.mat"
    data = first.read_bytes()
    truth(second, [[0, 1, 2]])
    for damaged in (b"", b"rubbish" * 100, data[: len(data) // 2], data[:128]):
        first.write_bytes(damaged)
        with pytest.raises(DatasetError) as caught:
            read_lad2000(tmp_path, Options())
        lines = str(caught.value).splitlines()
        assert any(line.startswith(f"{first}: not frame labels of LAD2000") for line in lines)
        assert any(line.startswith(f"{second}: not frame labels of LAD2000") for line in lines)


def test_labels_in_a_newer_form_are_told_how_to_be_saved(tmp_path: Path) -> None:
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512)
    (small(tmp_path) / "Crash" / "v_a_crash_001.mat").write_bytes(newer)
    with pytest.raises(DatasetError, match=r"v_a_crash_001\.mat: .*save it with -v7"):
        read_lad2000(tmp_path, Options())


@pytest.mark.parametrize("labels", [[[0, 1], [1, 0]], [[]], [[0, float("nan")]], [["a", "b"]]])
def test_labels_of_another_shape_or_value_are_refused(labels: object, tmp_path: Path) -> None:
    small(tmp_path)
    truth(tmp_path / "Crash" / "v_a_crash_001.mat", labels)
    with pytest.raises(DatasetError, match=r"v_a_crash_001\.mat: not frame labels"):
        read_lad2000(tmp_path, Options())


def test_another_folder_is_told_what_is_looked_for(tmp_path: Path) -> None:
    touch(tmp_path / "Crash" / "clip.avi")
    with pytest.raises(DatasetError, match=r"no LAD2000 here: no video named v_a_\* or v_n_\*"):
        read_lad2000(tmp_path, Options())
    with pytest.raises(DatasetError, match="no such folder"):
        read_lad2000(tmp_path / "none", Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(tmp_path: Path) -> None:
    videos = read_lad2000(small(tmp_path), Options()).videos
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


def test_a_tree_with_the_official_counts_lacks_nothing(tmp_path: Path) -> None:
    data = truth(tmp_path / "one.mat", [[0] * 50 + [1] * 50]).read_bytes()
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for (split, abnormal), count in COUNTS.items():
        for number in range(count):
            category = CLASSES[number % 14]
            name = f"v_{'a' if abnormal else 'n'}_{split}_{number:04}"
            path = tmp_path / category / f"{name}.avi"
            touch(path)
            if abnormal:
                path.with_suffix(".mat").write_bytes(data)
            lists[split].append(name)
    for split, names in lists.items():
        (tmp_path / f"{split}_split.txt").write_text("\n".join(names))
    listing = read_lad2000(tmp_path, Options())
    assert listing.missing == []
    assert Counter((video.split, video.is_abnormal) for video in listing.videos) == COUNTS
    assert Counter(
        video.label for video in listing.videos if video.split == "test" and video.is_abnormal
    ) == dict.fromkeys(CLASSES, 20)
