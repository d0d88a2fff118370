"""What reading ShanghaiTech promises: official videos and frames, masks, and the weakly-supervised split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.listings import by_id, own_folders, touch
from helpers.pickles import Calls

from lad.dataset import DatasetError, read_dataset, write_dataset
from lad.datasets.common import Options
from lad.datasets.shanghaitech import read_shanghaitech
from lad.events import WEAK, Event

MASK = np.array([0, 1, 1, 0, 1], np.uint8)
EVENTS = (Event(1, 3), Event(4, 5))
NORMAL = [f"{1 + number % 3:02}_{number:03}" for number in range(330)]
ABNORMAL = [f"{1 + number % 3:02}_{number:04}" for number in range(107)]
TRAIN, TEST = NORMAL[:175] + ABNORMAL[:63], NORMAL[175:] + ABNORMAL[63:]  # 238 and 199


def frame_folder(folder: Path, frames: int = len(MASK)) -> None:
    for frame in range(frames):
        touch(folder / f"{frame:03}.jpg")


def made(root: Path) -> Path:
    images = root / "images"
    frame_folder(images)
    for name in NORMAL:
        touch(root / "training" / "videos" / f"{name}.avi")
    for folder in ("frames", "test_frame_mask"):
        (root / "testing" / folder).mkdir(parents=True)
    np.save(root / "mask.npy", MASK)
    for name in ABNORMAL:
        (root / "testing" / "frames" / name).symlink_to(images)
        (root / "testing" / "test_frame_mask" / f"{name}.npy").symlink_to(root / "mask.npy")
    return root


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official download, made once: the trees of the tests are links to its folders."""
    return made(tmp_path_factory.mktemp("download"))


def official(root: Path, download: Path) -> Path:
    for part in ("training/videos", "testing/frames", "testing/test_frame_mask"):
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        (root / part).symlink_to(download / part)
    lists(root)
    return root


def own(path: Path) -> Path:
    """A folder that is a link, made one of links to its content, which can be removed and replaced one by one."""
    target = path.resolve()
    path.unlink()
    path.mkdir()
    for child in target.iterdir():
        (path / child.name).symlink_to(child.resolve())
    return path


def lists(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "SH_Train.txt").write_text("\n".join(TRAIN))
    (folder / "SH_Test.txt").write_text("\n".join(TEST) + "\n")


def test_the_official_download_with_the_lists_gives_every_video_its_split_and_events(
    download: Path, tmp_path: Path
) -> None:
    listing = read_shanghaitech(official(tmp_path, download), Options())
    assert listing.missing == []
    found, by_frame = by_id(listing), by_id(read_shanghaitech(tmp_path, Options(protocol="paper")))
    assert len(found) == 437 and found.keys() == by_frame.keys()
    for names, split in ((TRAIN, "train"), (TEST, "test")):
        for name in names:
            if name in ABNORMAL:
                video = found[f"testing/frames/{name}"]
                assert video.path == tmp_path / "testing" / "frames" / name
                events = WEAK if split == "train" else EVENTS
                assert (video.label, video.events, video.n_frames, video.fps) == ("abnormal", events, 5, 24.0)
                assert by_frame[video.id] == replace(video, events=EVENTS)
            else:
                video = found[f"training/videos/{name}"]
                assert video.path == tmp_path / "training" / "videos" / f"{name}.avi"
                assert (video.label, video.events, video.n_frames, video.fps) == ("normal", (), None, None)
            assert video.split == split
            assert video.source == f"scene-{name[:2]}"


def test_videos_lists_and_masks_may_lie_below_the_root(download: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    official(tmp_path / "data" / "shanghaitech", download)
    (tmp_path / "annotations").mkdir()
    for name in ("SH_Train.txt", "SH_Test.txt"):
        (tmp_path / "data" / "shanghaitech" / name).rename(tmp_path / "annotations" / name)
    (tmp_path / "data" / "shanghaitech" / "testing" / "test_frame_mask").rename(tmp_path / "test_frame_mask")
    listing = read_shanghaitech(tmp_path, Options())
    assert (len(listing.videos), listing.missing) == (437, [])
    assert sum(video.is_abnormal for video in listing.videos) == 107


def test_of_a_video_that_is_there_twice_the_official_form_is_taken(download: Path, tmp_path: Path) -> None:
    official(tmp_path, download)
    frame_folder(tmp_path / "training" / "frames" / NORMAL[0])
    touch(tmp_path / "testing" / "videos" / f"{ABNORMAL[0]}.avi")
    found = by_id(read_shanghaitech(tmp_path, Options()))
    assert len(found) == 437
    assert {f"training/videos/{NORMAL[0]}", f"testing/frames/{ABNORMAL[0]}"} <= found.keys()


def test_the_other_form_is_read_where_it_is_alone(download: Path, tmp_path: Path) -> None:
    official(tmp_path, download)
    (own(tmp_path / "training" / "videos") / f"{NORMAL[0]}.avi").unlink()
    frame_folder(tmp_path / "training" / "frames" / NORMAL[0])
    (own(tmp_path / "testing" / "frames") / ABNORMAL[0]).unlink()
    touch(tmp_path / "testing" / "videos" / f"{ABNORMAL[0]}.avi")
    listing = read_shanghaitech(tmp_path, Options())
    assert listing.missing == []
    found = by_id(listing)
    normal, abnormal = found[f"training/frames/{NORMAL[0]}"], found[f"testing/videos/{ABNORMAL[0]}"]
    assert (normal.label, normal.n_frames, normal.fps) == ("normal", 5, 24.0)
    assert (abnormal.label, abnormal.events, abnormal.n_frames, abnormal.fps) == ("abnormal", WEAK, 5, None)


def test_what_is_missing_is_named_and_changes_nothing_of_the_others(download: Path, tmp_path: Path) -> None:
    whole = by_id(read_shanghaitech(official(tmp_path, download), Options()))
    (own(tmp_path / "training" / "videos") / f"{NORMAL[1]}.avi").unlink()
    frames = own(tmp_path / "testing" / "frames")
    for name, count in ((ABNORMAL[1], 0), (ABNORMAL[2], 4)):
        (frames / name).unlink()
        (frames / name).mkdir()
        frame_folder(frames / name, count)
    (own(tmp_path / "testing" / "test_frame_mask") / f"{ABNORMAL[3]}.npy").unlink()
    listing = read_shanghaitech(tmp_path, Options())
    assert sorted(listing.missing) == sorted(
        [
            f"training/videos/{NORMAL[1]}.avi",
            f"testing/frames/{ABNORMAL[1]}: it has no images",
            f"testing/frames/{ABNORMAL[2]}: it has 4 images, but should have 5",
            f"testing/test_frame_mask/{ABNORMAL[3]}.npy",
        ]
    )
    found = by_id(listing)
    for name in ABNORMAL[2:4]:  # not normal: nobody knows which frames are
        video = found.pop(f"testing/frames/{name}")
        assert (video.split, video.label, video.events) == ("", "", ())
    assert len(found) == 433
    assert all(whole[name] == video for name, video in found.items())


def test_missing_masks_are_named_once(download: Path, tmp_path: Path) -> None:
    (official(tmp_path, download) / "testing" / "test_frame_mask").unlink()
    listing = read_shanghaitech(tmp_path, Options())
    assert listing.missing == [
        "testing/test_frame_mask: the labels of the test videos, a folder of the official download"
    ]
    assert {video.split for video in listing.videos if "testing" in video.id} == {""}


def test_missing_lists_are_named_with_where_they_come_from(download: Path, tmp_path: Path) -> None:
    official(tmp_path, download)
    (tmp_path / "SH_Train.txt").unlink()
    listing = read_shanghaitech(tmp_path, Options())
    assert len(listing.missing) == 1
    assert listing.missing[0].startswith("SH_Train.txt: ")
    assert "GCN-Anomaly-Detection" in listing.missing[0]
    found = by_id(listing)
    assert len(found) == 437
    assert {video.split for video in found.values()} == {"", "test"}
    assert found[f"testing/frames/{ABNORMAL[0]}"].events == EVENTS


def test_a_shortened_list_is_named(download: Path, tmp_path: Path) -> None:
    official(tmp_path, download)
    (tmp_path / "SH_Test.txt").write_text("\n".join(TEST[:-3]))
    assert read_shanghaitech(tmp_path, Options()).missing == ["SH_Test.txt: 3 of its 199 names"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("01_0014\nrubbish\n", r"SH_Test\.txt:2: 'rubbish' is not the name"),
        (f"{TRAIN[0]}\n", rf"SH_Test\.txt:1: {TRAIN[0]} is already in the split 'train'"),
    ],
)
def test_a_list_that_cannot_be_understood_is_an_error(text: str, reason: str, download: Path, tmp_path: Path) -> None:
    (official(tmp_path, download) / "SH_Test.txt").write_text(text)
    with pytest.raises(DatasetError, match=reason):
        read_shanghaitech(tmp_path, Options())


def test_damaged_masks_are_named_and_never_unpickled(download: Path, tmp_path: Path) -> None:
    official(tmp_path, download)
    mask = own(tmp_path / "testing" / "test_frame_mask") / f"{ABNORMAL[0]}.npy"
    data = mask.read_bytes()
    mask.unlink()  # a link to what others have too
    for damaged in (b"", b"rubbish" * 10, data[: len(data) - 2]):
        mask.write_bytes(damaged)
        with pytest.raises(DatasetError, match=rf"not a frame mask: .*{mask.name}: not a plain"):
            read_shanghaitech(tmp_path, Options())
    np.save(mask, np.array([Calls(Path.touch, tmp_path / "ran"), 1], dtype=object))
    with pytest.raises(DatasetError, match=rf"not a frame mask: .*{mask.name}: not a plain"):
        read_shanghaitech(tmp_path, Options())
    assert not (tmp_path / "ran").exists()
    for other in (np.zeros((2, 3)), np.zeros(0), np.array(["a"])):
        np.save(mask, other)
        with pytest.raises(DatasetError, match=rf"{mask.name}: not a frame mask"):
            read_shanghaitech(tmp_path, Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(download: Path, tmp_path: Path) -> None:
    root = official(tmp_path, download)
    own_folders(own(root / "testing" / "frames"))
    found = read_shanghaitech(root, Options()).videos
    write_dataset(tmp_path / "dataset.csv", found, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == found


def test_another_folder_is_told_what_shanghaitech_looks_like(tmp_path: Path) -> None:
    lists(tmp_path)  # not a video
    frame_folder(tmp_path / "testing" / "frames" / "01")  # another benchmark's
    with pytest.raises(DatasetError, match="no ShanghaiTech here"):
        read_shanghaitech(tmp_path, Options())
    with pytest.raises(DatasetError, match="absent: no such folder"):
        read_shanghaitech(tmp_path / "absent", Options())


@pytest.mark.real
def test_the_real_lists_and_masks_have_the_published_counts(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "annotations" / "shanghaitech"
    names = [name for half in ("Train", "Test") for name in (real / f"SH_{half}.txt").read_text().split()]
    for name in names:
        half = "testing" if len(name) == 7 else "training"
        touch(tmp_path / half / "videos" / f"{name}.avi")
    for half in ("Train", "Test"):
        (tmp_path / f"SH_{half}.txt").symlink_to(real / f"SH_{half}.txt")
    (tmp_path / "testing" / "test_frame_mask").symlink_to(real / "test_frame_mask")
    listing = read_shanghaitech(tmp_path, Options())
    assert listing.missing == []
    videos = listing.videos
    assert [sum(video.split == split for video in videos) for split in ("train", "test")] == [238, 199]
    abnormal = [video for video in videos if video.is_abnormal]
    assert [sum(video.split == split for video in abnormal) for split in ("train", "test")] == [63, 44]
    assert sum(video.n_frames or 0 for video in abnormal) == 40_791
    by_frame = read_shanghaitech(tmp_path, Options(protocol="paper")).videos
    assert sum(int(video.frame_labels(video.n_frames or 0).sum()) for video in by_frame) == 17_326
    learned = {video.source for video in abnormal if video.split == "train"}
    assert len(learned) == 12  # enough scenes with anomalies to hold some out


def test_features_of_the_field_stand_for_videos_that_are_not_there(tmp_path: Path) -> None:
    lists(tmp_path)
    touch(tmp_path / "training/videos" / f"{NORMAL[0]}.avi")
    (tmp_path / "testing/test_frame_mask").mkdir(parents=True)
    np.save(tmp_path / "testing/test_frame_mask" / f"{ABNORMAL[0]}.npy", MASK)
    for name in (NORMAL[0], NORMAL[1], ABNORMAL[0]):
        touch(tmp_path / "SH_ten_crop_i3d" / f"{name}_i3d.npy")
    found = by_id(read_shanghaitech(tmp_path, Options()))
    assert set(found) == {
        f"training/videos/{NORMAL[0]}",
        f"SH_ten_crop_i3d/{NORMAL[1]}",
        f"SH_ten_crop_i3d/{ABNORMAL[0]}",
    }
    video = found[f"SH_ten_crop_i3d/{ABNORMAL[0]}"]
    assert video.is_features and video.events == WEAK and (video.n_frames, video.fps) == (len(MASK), 24.0)
