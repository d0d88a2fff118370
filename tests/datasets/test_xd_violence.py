"""What reading XD-Violence promises, with its official annotation and generated trees of empty videos."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers.listings import by_id, touch

from lad.dataset import DatasetError, read_dataset, write_dataset
from lad.datasets.common import Options
from lad.datasets.xd_violence import CLASSES, CODES, read_xd_violence
from lad.events import WEAK, WHOLE_VIDEO, Event

TRAIN = [
    "1-1004/Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0",
    "1-1004/Bad.Boys.1995__#01-44-40_01-49-20_label_B2-G-B6",
    "1005-2004/v=AbC-_d__#1_label_A",
]
TEST = [
    "test_videos/Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6",
    "test_videos/v=S-7rRLrxnVQ__#1_label_B4-0-0",
    "test_videos/Skyfall.2012__#02-14-50_02-16-25_label_A",
]
ANNOTATION = [
    "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6 157 180 185 244",
    "v=S-7rRLrxnVQ__#1_label_B4-0-0.mp4 0 1517 ",
]
SHORT = {  # what the small tree lacks
    "annotations.txt: it lists 2 of 500 videos",
    "training videos: 3 of 3954 are here",
    "normal test videos: 1 of 300 are here",
}


def small(root: Path) -> Path:
    for video in TRAIN + TEST:
        touch(root / f"{video}.mp4")
    (root / "annotations.txt").write_text("\n".join(ANNOTATION) + "\n")
    return root


def test_videos_have_the_labels_of_their_names_and_the_events_of_the_annotation(tmp_path: Path) -> None:
    listing = read_xd_violence(small(tmp_path), Options())
    found = {v.id: (v.split, v.label, v.events, v.source) for v in listing.videos}
    assert found == {
        TRAIN[0]: ("train", "Shooting", WEAK, "Bad.Boys.1995"),
        TRAIN[1]: ("train", "Shooting|Explosion|Car accident", WEAK, "Bad.Boys.1995"),
        TRAIN[2]: ("train", "Normal", (), "v=AbC-_d"),
        # 0-based and half-open in the file
        TEST[0]: ("test", "Explosion|Shooting|Car accident", (Event(157, 180), Event(185, 244)), "Bad.Boys.1995"),
        TEST[1]: ("test", "Riot", (Event(0, 1517),), "v=S-7rRLrxnVQ"),
        TEST[2]: ("test", "Normal", (), "Skyfall.2012"),
    }
    assert {(video.fps, video.n_frames) for video in listing.videos} == {(24.0, None)}
    assert all(video.path == tmp_path / f"{video.id}.mp4" for video in listing.videos)
    assert set(listing.missing) == SHORT


def test_with_the_paper_s_protocol_a_violent_training_video_is_violent_from_end_to_end(tmp_path: Path) -> None:
    small(tmp_path)
    official, paper = (by_id(read_xd_violence(tmp_path, Options(protocol=name))) for name in ("official", "paper"))
    changed = {name for name, video in paper.items() if video != official[name]}
    assert changed == set(TRAIN[:2]) and all(paper[name].events == WHOLE_VIDEO for name in changed)


def test_every_code_has_a_class_and_normal_is_the_last() -> None:
    assert set(CODES.values()) == set(CLASSES[:-1])
    assert CLASSES[-1] == "Normal" and list(CLASSES[:-1]) == sorted(CLASSES[:-1])


def test_a_test_folder_called_otherwise_is_known_by_its_annotated_videos(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "test_videos").rename(tmp_path / "videos")
    (tmp_path / "lists").mkdir()
    (tmp_path / "annotations.txt").rename(tmp_path / "lists" / "annotations.txt")
    listing = read_xd_violence(tmp_path, Options())
    assert set(listing.missing) == SHORT
    assert Counter(video.split for video in listing.videos) == {"train": 3, "test": 3}


def test_where_all_lie_together_no_normal_video_is_taken_for_a_test_video(tmp_path: Path) -> None:
    small(tmp_path)
    for video in TRAIN + TEST:
        (tmp_path / f"{video}.mp4").rename(tmp_path / f"{video.split('/')[1]}.mp4")
    listing = read_xd_violence(tmp_path, Options())
    assert {v.id for v in listing.videos if v.split == "test"} == {video.split("/")[1] for video in TEST[:2]}
    assert "normal test videos: 0 of 300 are here" in listing.missing


def test_missing_test_videos_are_named(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / f"{TEST[1]}.mp4").unlink()
    listing = read_xd_violence(tmp_path, Options())
    assert set(listing.missing) == SHORT | {"v=S-7rRLrxnVQ__#1_label_B4-0-0.mp4"}
    assert len(listing.videos) == 5


def test_a_violent_test_video_without_annotation_is_left_out(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "annotations.txt").write_text(ANNOTATION[1])
    listing = read_xd_violence(tmp_path, Options())
    assert f"{TEST[0]}.mp4: a line in annotations.txt" in listing.missing
    assert TEST[0] not in {video.id for video in listing.videos}
    (tmp_path / "annotations.txt").unlink()
    listing = read_xd_violence(tmp_path, Options())
    assert "annotations.txt" in listing.missing
    assert {video.id for video in listing.videos} == {*TRAIN, TEST[2]}


@pytest.mark.parametrize("rest", ["", " 1", " 1 2 3", " 1 x", " 5 5", " 9 3", " -1 3"])
def test_an_annotation_that_cannot_be_understood_is_named_with_its_line(rest: str, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "annotations.txt").write_text(f"{ANNOTATION[0]}\n\nv=S-7rRLrxnVQ__#1_label_B4-0-0{rest}\n")
    with pytest.raises(DatasetError, match=r"annotations\.txt:3: not a video and pairs"):
        read_xd_violence(tmp_path, Options())


@pytest.mark.parametrize("codes", ["B3-0-0", "0-0-0", "A-B1-0", "b1-0-0", ""])
def test_unknown_codes_are_named(codes: str, tmp_path: Path) -> None:
    small(tmp_path)
    touch(tmp_path / "1-1004" / f"x__#1_label_{codes}.mp4")
    with pytest.raises(DatasetError, match=rf"x__#1_label_{codes}\.mp4: the codes '{codes}' in its name are neither A"):
        read_xd_violence(tmp_path, Options())


def test_other_files_of_the_folder_do_not_matter(tmp_path: Path) -> None:
    small(tmp_path)
    touch(tmp_path / "trailer.mp4")
    touch(tmp_path / "1-1004" / "._v=x__#1_label_Z.mp4")
    touch(tmp_path / "features" / "v=x__#1_label_A__vggish.npy")
    assert set(read_xd_violence(tmp_path, Options()).missing) == SHORT


def test_another_folder_is_told_what_is_looked_for(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    with pytest.raises(DatasetError, match=r"no XD-Violence here: there is no video named \*_label_\*\.mp4$"):
        read_xd_violence(tmp_path, Options())
    with pytest.raises(DatasetError, match="no such folder"):
        read_xd_violence(tmp_path / "none", Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(tmp_path: Path) -> None:
    videos = read_xd_violence(small(tmp_path), Options()).videos
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


@pytest.mark.real
def test_a_tree_with_the_official_annotation_and_counts_lacks_nothing(shared_data: Path, tmp_path: Path) -> None:
    annotation = shared_data / "annotations" / "xd_violence" / "annotations.txt"
    shutil.copy(annotation, tmp_path / "annotations.txt")
    names = [line.split()[0].removesuffix(".mp4") for line in annotation.read_text().splitlines()]
    names += [f"normal{number}__#1_label_A" for number in range(300)]
    for name in names:
        touch(tmp_path / "test" / f"{name}.mp4")
    for number in range(3954):
        touch(tmp_path / f"{number // 1000}" / f"t{number}__#1_label_{'A' if number % 2 else 'B1-0-0'}.mp4")
    listing = read_xd_violence(tmp_path, Options())
    assert listing.missing == []
    counts = Counter((video.split, video.is_abnormal) for video in listing.videos)
    assert counts == {("train", True): 1977, ("train", False): 1977, ("test", True): 500, ("test", False): 300}
    violent = [video for video in listing.videos if video.split == "test" and video.is_abnormal]
    assert {category for video in violent for category in video.categories} == set(CLASSES[:-1])
    assert sum(len(video.events) for video in violent) == 1238
    assert len({video.source for video in violent}) == 303


@pytest.mark.real
def test_the_official_annotation_without_videos_is_not_the_benchmark(shared_data: Path) -> None:
    with pytest.raises(DatasetError, match=r"only annotations\.txt: give a folder that holds both"):
        read_xd_violence(shared_data / "annotations" / "xd_violence", Options())


def test_features_of_crops_stand_for_videos_that_are_not_there(tmp_path: Path) -> None:
    small(tmp_path)
    said = {v.id: (v.split, v.label, v.events) for v in read_xd_violence(tmp_path, Options()).videos}
    for video in (TRAIN[0], TEST[1], TEST[2]):
        (tmp_path / f"{video}.mp4").unlink()
        touch(*(tmp_path / f"{video}__{crop}.npy" for crop in range(5)))
    touch(*(tmp_path / f"{TRAIN[1]}__{crop}.npy" for crop in range(5)))  # of a video that is there
    listing = read_xd_violence(tmp_path, Options())
    assert {video.id: (video.split, video.label, video.events) for video in listing.videos} == said
    paths = {video.id: video.path for video in listing.videos}
    assert paths[TRAIN[0]] == tmp_path / f"{TRAIN[0]}__{{crop}}.npy" and paths[TRAIN[1]].suffix == ".mp4"
    assert set(listing.missing) == SHORT
