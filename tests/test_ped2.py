"""What reading UCSD Ped2 promises, in both layouts in which it is passed around."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lad.dataset import DatasetError, Event, Video, read_dataset, write_dataset
from lad.datasets.ped2 import read_ped2

FRAMES = 3
# 1-based and inclusive in both ground truths: frames 2 and 3, or 1 and 2, or two events.
RANGES = [["2:3"], ["1:2"], ["1:1", "3:3"]] * 4
EVENTS = [(Event(1, 3),), (Event(0, 2),), (Event(0, 1), Event(2, 3))] * 4


def images(folder: Path, suffix: str) -> None:
    folder.mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        (folder / f"{number:03}.{suffix}").write_bytes(b"image")


def official(root: Path) -> Path:
    base = root / "UCSDped2"
    for half, count in (("Train", 16), ("Test", 12)):
        for number in range(1, count + 1):
            images(base / half / f"{half}{number:03}", "tif")
    images(base / "Test" / "Test001_gt", "bmp")
    lines = ["TestVideoFile = {};"]
    for ranges in RANGES:
        lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{', '.join(ranges)}];")
    (base / "Test" / "UCSDped2.m").write_text("\n".join(lines))
    return root


def frames_layout(root: Path) -> Path:
    for half, count in (("training", 16), ("testing", 12)):
        for number in range(1, count + 1):
            images(root / half / "frames" / f"{number:02}", "jpg")
    truth = np.empty((1, 12), dtype=object)
    for clip, ranges in enumerate(RANGES):
        truth[0, clip] = np.array([[int(part) for part in pair.split(":")] for pair in ranges]).T
    savemat(root / "ped2.mat", {"gt": truth})
    return root


LAYOUTS = [official, frames_layout]


def chosen(videos: list[Video]) -> set[str]:
    return {video.id for video in videos if video.split == "train"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_give_all_clips_with_their_events(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    videos = read_ped2(layout(tmp_path))
    assert len({video.id for video in videos}) == 28
    abnormal = sorted((video for video in videos if video.is_abnormal), key=lambda video: video.id)
    assert [video.events for video in abnormal] == EVENTS
    assert {video.label for video in abnormal} == {"abnormal"}
    assert {video.label for video in videos if not video.is_abnormal} == {"normal"}
    assert {(video.n_frames, video.fps) for video in videos} == {(FRAMES, 10.0)}
    assert all((tmp_path / video.id) == video.path and video.path.is_dir() for video in videos)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_six_abnormal_and_eight_normal_clips_train(layout: Callable[[Path], Path], seed: int, tmp_path: Path) -> None:
    videos = read_ped2(layout(tmp_path), seed)
    counts = {
        (split, abnormal): sum(video.split == split and video.is_abnormal == abnormal for video in videos)
        for split in ("train", "test")
        for abnormal in (True, False)
    }
    assert counts == {("train", True): 6, ("train", False): 8, ("test", True): 6, ("test", False): 8}


def test_a_seed_always_gives_the_same_split_and_another_one_another(tmp_path: Path) -> None:
    frames_layout(tmp_path)
    assert read_ped2(tmp_path, 3) == read_ped2(tmp_path, 3)
    splits = {frozenset(chosen(read_ped2(tmp_path, seed))) for seed in range(5)}
    assert len(splits) == 5


def test_the_official_download_may_be_given_at_any_of_its_levels(tmp_path: Path) -> None:
    official(tmp_path / "UCSD_Anomaly_Dataset.v1p2")
    for root in (tmp_path, tmp_path / "UCSD_Anomaly_Dataset.v1p2", tmp_path / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped2"):
        assert len(read_ped2(root)) == 28


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_can_be_written_and_read_as_a_dataset(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    videos = read_ped2(layout(tmp_path))
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


@pytest.mark.parametrize(
    ("layout", "gone", "named"),
    [
        (official, "UCSDped2/Train/Train003", "16 training clips, 15 are here"),
        (official, "UCSDped2/Test/Test012", "12 test clips, 11 are here"),
        (frames_layout, "training/frames", "16 training clips, 0 are here"),
        (frames_layout, "testing/frames/01", "12 test clips, 11 are here"),
    ],
)
def test_missing_clips_are_named(layout: Callable[[Path], Path], gone: str, named: str, tmp_path: Path) -> None:
    layout(tmp_path)
    shutil.rmtree(tmp_path / gone)
    with pytest.raises(DatasetError, match=named):
        read_ped2(tmp_path)


def test_missing_labels_are_named(tmp_path: Path) -> None:
    official(tmp_path)
    truth = tmp_path / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("\n".join(truth.read_text().splitlines()[:-1]))
    with pytest.raises(DatasetError, match="12 labelled test clips, 11 are here"):
        read_ped2(tmp_path)


def test_missing_frames_are_named(tmp_path: Path) -> None:
    frames_layout(tmp_path)
    (tmp_path / "testing" / "frames" / "01" / "003.jpg").unlink()  # its event ends there
    for image in (tmp_path / "training" / "frames" / "05").iterdir():
        image.unlink()
    with pytest.raises(DatasetError) as caught:
        read_ped2(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any("testing/frames/01: it has 2 images" in line for line in lines)
    assert any("training/frames/05: it has 0 images" in line for line in lines)


def test_a_damaged_ground_truth_is_named(tmp_path: Path) -> None:
    frames_layout(tmp_path)
    truth = tmp_path / "ped2.mat"
    data = truth.read_bytes()
    for damaged in (b"", b"rubbish" * 100, data[: len(data) // 2], data[:128]):
        truth.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"ped2\.mat: not Ped2's ground truth"):
            read_ped2(tmp_path)
    savemat(truth, {"other": np.zeros(3)})
    with pytest.raises(DatasetError, match=r"ped2\.mat: not Ped2's ground truth"):
        read_ped2(tmp_path)


def test_another_folder_is_told_what_ped2_looks_like(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no UCSD Ped2 here.*UCSDped2\.m.*ped2\.mat"):
        read_ped2(tmp_path)


@pytest.mark.real
def test_the_real_ped2_has_the_published_counts(shared_data: Path) -> None:
    videos = read_ped2(shared_data / "ucsd_ped2")
    assert len(videos) == 28
    abnormal = [video for video in videos if video.is_abnormal]
    assert len(abnormal) == 12
    frames = sum(video.n_frames or 0 for video in abnormal)
    anomalous = sum(int(video.frame_labels(video.n_frames or 0).sum()) for video in abnormal)
    assert (anomalous, frames) == (1648, 2010)
