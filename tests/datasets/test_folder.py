"""What reading a tree of videos without annotation promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lad.dataset import DatasetError, read_dataset, write_dataset
from lad.datasets.common import Options
from lad.datasets.folder import TRAIN_FRACTION, read_folder
from lad.events import WHOLE_VIDEO


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def many(folder: str, count: int, name: str = "clip") -> list[str]:
    return [f"{folder}/{name}_{number:02}.mp4" for number in range(count)]


def test_folders_are_categories_and_names_say_normal(tmp_path: Path) -> None:
    tree(tmp_path, "Fighting/a.mp4", "Fighting/b_normal.avi", "Normal_Videos/x/c.mp4", "street/Fire/d.mkv")
    listing = read_folder(tmp_path, Options())
    assert {v.id: (v.label, v.events) for v in listing.videos} == {
        "Fighting/a": ("Fighting", WHOLE_VIDEO),
        "Fighting/b_normal": ("Fighting", ()),
        "Normal_Videos/x/c": ("x", ()),
        "street/Fire/d": ("Fire", WHOLE_VIDEO),
    }
    assert {video.path.relative_to(tmp_path).with_suffix("").as_posix() for video in listing.videos} == {
        video.id for video in listing.videos
    }
    assert listing.missing == []


def test_abnormal_is_not_normal(tmp_path: Path) -> None:
    tree(tmp_path, "abnormal/a.mp4", "normal/b.mp4", "Abnormal_Scenes/c.mp4")
    found = {video.id: video.is_abnormal for video in read_folder(tmp_path, Options()).videos}
    assert found == {"abnormal/a": True, "normal/b": False, "Abnormal_Scenes/c": True}


@pytest.mark.parametrize(("pattern", "normal"), [("*calm*", "Calm_day/a"), ("CALM*", "Calm_day/a"), ("b.mp4", "x/b")])
def test_the_pattern_of_normal_names_may_be_given(pattern: str, normal: str, tmp_path: Path) -> None:
    tree(tmp_path, "Calm_day/a.mp4", "x/b.mp4", "normal/c.mp4")
    videos = read_folder(tmp_path, Options(normal=pattern)).videos
    assert [video.id for video in videos if not video.is_abnormal] == [normal]


def test_the_names_of_the_folders_above_the_root_say_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "normal_data" / "train", "Fire/a.mp4", "Fire/b.mp4")
    videos = read_folder(root, Options()).split(0)
    assert all(video.is_abnormal for video in videos)
    assert Counter(video.split for video in videos) == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("folder", "split"),
    [("train", "train"), ("Training", "train"), ("val", "val"), ("validation", "val"), ("TEST", "test")],
)
def test_first_folders_may_be_the_splits(folder: str, split: str, tmp_path: Path) -> None:
    tree(tmp_path, *many(f"{folder}/Fire", 4), f"{folder}/normal_1.mp4", f"{folder}/x.mp4", "extra/Fire/y.mp4")
    found = {video.id: (video.split, video.label) for video in read_folder(tmp_path, Options()).split(3)}
    assert found == {
        **{f"{folder}/Fire/clip_{number:02}": (split, "Fire") for number in range(4)},
        f"{folder}/normal_1": (split, "normal"),
        f"{folder}/x": (split, "abnormal"),
        "extra/Fire/y": ("", "Fire"),
    }


def test_a_category_is_the_same_whatever_its_case(tmp_path: Path) -> None:
    tree(
        tmp_path, "Train/Fire/a.mp4", "Train/Normal/b.mp4", "Test/fire/c.mp4", "Test/NORMAL/d.mp4", "Test/e_normal.mp4"
    )
    videos = read_folder(tmp_path, Options()).videos
    assert {(video.split, video.label, video.is_abnormal) for video in videos} == {
        ("train", "fire", True),
        ("train", "NORMAL", False),
        ("test", "fire", True),
        ("test", "NORMAL", False),
    }


def test_videos_without_folders_are_abnormal_or_normal(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b_normal.mp4", "c.mp4")
    found = {video.id: (video.label, video.is_abnormal) for video in read_folder(tmp_path, Options()).videos}
    assert found == {"a": ("abnormal", True), "b_normal": ("normal", False), "c": ("abnormal", True)}


def test_seventy_percent_of_every_group_train(tmp_path: Path) -> None:
    tree(tmp_path, *many("Fire", 10), *many("Fire", 20, "normal"), *many("Fall", 2), *many("Panic", 1))
    videos = read_folder(tmp_path, Options()).split(0)
    for count in range(2, 50):
        assert 1 <= round(TRAIN_FRACTION * count) < count
    counts = Counter((video.label, video.is_abnormal, video.split) for video in videos)
    assert counts == {
        ("Fire", True, "train"): 7,
        ("Fire", True, "test"): 3,
        ("Fire", False, "train"): 14,
        ("Fire", False, "test"): 6,
        ("Fall", True, "train"): 1,
        ("Fall", True, "test"): 1,
        ("Panic", True, "train"): 1,
    }


def test_a_seed_always_gives_the_same_split_and_another_one_another(tmp_path: Path) -> None:
    tree(tmp_path, *many("Fire", 10), *many("normal", 10))
    listing, again = read_folder(tmp_path, Options()), read_folder(tmp_path, Options())
    assert listing == again
    assert listing.split(3) == again.split(3)
    drawn = {frozenset(video.id for video in listing.split(seed) if video.split == "train") for seed in range(5)}
    assert len(drawn) == 5


def test_a_group_is_drawn_alike_whatever_lies_beside_it(tmp_path: Path) -> None:
    tree(tmp_path, *many("Fire", 10))
    before = {video.id: video.split for video in read_folder(tmp_path, Options()).split(0)}
    tree(tmp_path, *many("Arson", 10))
    after = {video.id: video.split for video in read_folder(tmp_path, Options()).split(0)}
    assert before.items() <= after.items()


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    tree(tmp_path, "test/Fire/01/001.jpg", "test/Fire/01/002.jpg")
    (video,) = read_folder(tmp_path, Options()).videos
    assert (video.id, video.label, video.split) == ("test/Fire/01", "Fire", "test")
    assert video.path == tmp_path / "test" / "Fire" / "01"


def test_a_relative_root_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "data", "Fire/a.mp4")
    monkeypatch.chdir(tmp_path)
    (video,) = read_folder(Path("data"), Options()).videos
    assert (video.id, video.label, video.path) == ("Fire/a", "Fire", Path("data/Fire/a.mp4"))


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "Fire/readme.txt")
    with pytest.raises(DatasetError, match="holds no video"):
        read_folder(tmp_path, Options())
    with pytest.raises(DatasetError, match="no such folder"):
        read_folder(tmp_path / "none", Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(tmp_path: Path) -> None:
    videos = read_folder(tree(tmp_path, *many("Fire", 3), *many("normal", 3)), Options()).split(0)
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos
