"""What reading Avenue promises: videos or frames, masks or pairs of frame numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.listings import by_id, link
from scipy.io import savemat

from lad.dataset import DatasetError, Video, read_dataset, write_dataset
from lad.datasets.avenue import read_avenue
from lad.datasets.common import Options
from lad.events import Event

FRAMES = 6
EVENTS = (Event(1, 2), Event(4, 6))  # of every test video but the first
FIRST = (Event(0, 1),)


def masks(path: Path, abnormal: list[int], frames: int = FRAMES) -> None:
    cells = np.empty((1, frames), dtype=object)
    for frame in range(frames):
        mask = np.zeros((4, 5), np.uint8)
        mask[2, 3] = frame in abnormal
        cells[0, frame] = mask
    path.unlink(missing_ok=True)  # a link to what others have too
    savemat(path, {"volLabel": cells}, do_compression=True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The masks of the first and of the other test videos, and a clip's images, made once: trees are links to them."""
    folder = tmp_path_factory.mktemp("parts")
    masks(folder / "first.mat", [0])
    masks(folder / "other.mat", [1, 4, 5])
    (folder / "images").mkdir()
    for frame in range(FRAMES):
        (folder / "images" / f"{frame:04}.jpg").touch()
    return folder


def all_masks(root: Path, parts: Path) -> None:
    for number in range(1, 22):
        path = root / "ground_truth_demo" / "testing_label_mask" / f"{number}_label.mat"
        link(path, parts / ("first.mat" if number == 1 else "other.mat"))


def videos(base: Path) -> None:
    for half, count in (("training_videos", 16), ("testing_videos", 21)):
        (base / half).mkdir(parents=True)
        for number in range(1, count + 1):
            (base / half / f"{number:02}.avi").touch()


def frames(base: Path, parts: Path) -> None:
    for half, count in (("training", 16), ("testing", 21)):
        for number in range(1, count + 1):
            link(base / half / "frames" / f"{number:02}", parts / "images")


def with_images(clip: Path, count: int) -> None:
    """Make a link to the folder of images a folder of its own, with so many."""
    clip.unlink()
    clip.mkdir()
    for frame in range(count):
        (clip / f"{frame:04}.jpg").touch()


def pairs(path: Path) -> None:
    cells = np.empty((1, 21), dtype=object)
    cells[0, :] = [np.array([[1], [1]])] + [np.array([[2, 5], [2, 6]])] * 20
    savemat(path, {"gt": cells})


def official(root: Path, parts: Path) -> Path:
    videos(root / "Avenue Dataset")
    all_masks(root, parts)
    return root


def frames_layout(root: Path, parts: Path) -> Path:
    frames(root, parts)
    pairs(root / "avenue.mat")
    return root


def numbers(videos: list[Video], half: str, split: str) -> list[int]:
    return [int(video.id[-2:]) for video in videos if half in video.id and video.split == split]


def test_the_official_download_gives_all_videos_with_the_events_of_the_masks(parts: Path, tmp_path: Path) -> None:
    listing = read_avenue(official(tmp_path, parts), Options())
    assert listing.missing == []
    found = by_id(listing)
    assert len(found) == 37
    assert found["Avenue Dataset/testing_videos/01"].events == FIRST
    for number in range(2, 22):
        video = found[f"Avenue Dataset/testing_videos/{number:02}"]
        assert (video.events, video.label, video.n_frames) == (EVENTS, "abnormal", FRAMES)
        assert video.path == tmp_path / "Avenue Dataset" / "testing_videos" / f"{number:02}.avi"
    for number in range(1, 17):
        video = found[f"Avenue Dataset/training_videos/{number:02}"]
        assert (video.events, video.label, video.n_frames) == ((), "normal", None)
    assert {video.fps for video in listing.videos} == {25.0}


def test_the_frames_layout_gives_the_same_events_and_split(parts: Path, tmp_path: Path) -> None:
    ours = read_avenue(official(tmp_path / "a", parts), Options())
    theirs = read_avenue(frames_layout(tmp_path / "b", parts), Options())
    assert theirs.missing == []
    assert [v.events for v in ours.videos] == [v.events for v in theirs.videos]
    assert [v.split for v in ours.split(4)] == [v.split for v in theirs.split(4)]
    assert {v.n_frames for v in theirs.videos} == {FRAMES}
    assert "testing/frames/01" in by_id(theirs)


def test_eleven_abnormal_and_eight_normal_videos_train_and_the_seed_says_which(parts: Path, tmp_path: Path) -> None:
    listing = read_avenue(official(tmp_path, parts), Options())
    again = read_avenue(tmp_path, Options())
    assert listing == again
    splits = set()
    for seed in range(5):
        videos = listing.split(seed)
        trained = numbers(videos, "testing", "train")
        assert (len(trained), len(numbers(videos, "training", "train"))) == (11, 8)
        assert (len(numbers(videos, "testing", "test")), len(numbers(videos, "training", "test"))) == (10, 8)
        assert videos == again.split(seed)
        splits.add(tuple(trained))
    assert len(splits) == 5


@pytest.mark.parametrize("places", [("data", "data"), ("a/b/Avenue Dataset", "a/b"), ("videos", "labels")])
def test_the_two_downloads_may_lie_below_the_root(places: tuple[str, str], parts: Path, tmp_path: Path) -> None:
    root = tmp_path / "a" if places[0].startswith("a/") else tmp_path
    videos(tmp_path / places[0])
    all_masks(tmp_path / places[1], parts)
    listing = read_avenue(root, Options())
    assert (len(listing.videos), listing.missing) == (37, [])
    assert sum(video.is_abnormal for video in listing.videos) == 21


def test_masks_win_over_frame_labels_and_videos_over_frames(parts: Path, tmp_path: Path) -> None:
    frames_layout(official(tmp_path, parts), parts)
    masks(tmp_path / "ground_truth_demo" / "testing_label_mask" / "3_label.mat", [0, 1, 2])
    (tmp_path / "Avenue Dataset" / "testing_videos" / "05.avi").unlink()
    listing = read_avenue(tmp_path, Options())
    found = by_id(listing)
    assert listing.missing == []
    assert found["Avenue Dataset/testing_videos/03"].events == (Event(0, 3),)
    assert "testing/frames/03" not in found
    assert found["testing/frames/05"].events == EVENTS  # there as frames only
    assert len(found) == 37


def test_what_is_missing_is_named_and_changes_nothing_of_the_others(parts: Path, tmp_path: Path) -> None:
    whole = {video.id: video for video in read_avenue(official(tmp_path, parts), Options()).split(6)}
    (tmp_path / "Avenue Dataset" / "testing_videos" / "02.avi").unlink()
    (tmp_path / "Avenue Dataset" / "training_videos" / "16.avi").unlink()
    (tmp_path / "ground_truth_demo" / "testing_label_mask" / "7_label.mat").unlink()
    listing = read_avenue(tmp_path, Options())
    assert sorted(listing.missing) == [
        "Avenue Dataset/testing_videos/02.avi",
        "Avenue Dataset/training_videos/16.avi",
        "ground_truth_demo/testing_label_mask/7_label.mat",
    ]
    found = {video.id: video for video in listing.split(6)}
    unlabelled = found.pop("Avenue Dataset/testing_videos/07")
    assert (unlabelled.split, unlabelled.label, unlabelled.events) == ("", "", ())  # not normal: nobody knows
    assert len(found) == 34
    assert all(whole[name] == video for name, video in found.items())


def test_frames_of_a_benchmark_beside_it_are_not_taken(parts: Path, tmp_path: Path) -> None:
    frames_layout(tmp_path / "one", parts)
    frames(tmp_path / "another", parts)
    (tmp_path / "one" / "training" / "frames" / "05").unlink()
    listing = read_avenue(tmp_path, Options())
    assert listing.missing == ["one/training/frames/05"]
    assert all(video.id.startswith("one/") for video in listing.videos)


def test_a_half_that_is_not_there_is_named_in_the_form_of_the_other(parts: Path, tmp_path: Path) -> None:
    (frames_layout(tmp_path, parts) / "testing").rename(tmp_path / "elsewhere")
    listing = read_avenue(tmp_path, Options())
    assert listing.missing == [f"testing/frames/{number:02}" for number in range(1, 22)]


def test_without_labels_the_test_videos_are_listed_without_split(tmp_path: Path) -> None:
    videos(tmp_path)
    listing = read_avenue(tmp_path, Options())
    assert listing.missing == [
        "ground_truth_demo/testing_label_mask: the labels of the test videos, which are a separate download"
    ]
    assert {(v.split, v.label) for v in listing.split(0) if "testing" in v.id} == {("", "")}
    assert {v.label for v in listing.videos if "training" in v.id} == {"normal"}


def test_frames_that_do_not_agree_with_the_labels_are_named(parts: Path, tmp_path: Path) -> None:
    frames_layout(tmp_path, parts)
    with_images(tmp_path / "testing" / "frames" / "02", FRAMES - 1)
    listing = read_avenue(tmp_path, Options())
    assert listing.missing == ["testing/frames/02: it has 5 images, but should have 6"]
    assert numbers(listing.split(0), "testing", "") == [2]
    all_masks(tmp_path, parts)
    with_images(tmp_path / "testing" / "frames" / "01", FRAMES + 1)
    assert read_avenue(tmp_path, Options()).missing == [
        "testing/frames/01: it has 7 images, but should have 6",
        "testing/frames/02: it has 5 images, but should have 6",
    ]


def test_damaged_masks_are_named(parts: Path, tmp_path: Path) -> None:
    truth = official(tmp_path, parts) / "ground_truth_demo" / "testing_label_mask" / "4_label.mat"
    data = truth.read_bytes()
    truth.unlink()  # a link to what others have too
    for damaged in (b"", b"rubbish" * 100, data[: len(data) // 2], data[:128]):
        truth.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"4_label\.mat: not Avenue's masks"):
            read_avenue(tmp_path, Options())
    words = np.empty((1, 2), dtype=object)
    words[0, :] = ["a", "b"]
    flat = np.empty((1, 2), dtype=object)
    flat[0, :] = [np.zeros((2, 2, 2))] * 2
    for other in ({"other": 1}, {"volLabel": np.zeros((4, 5))}, {"volLabel": words}, {"volLabel": flat}):
        savemat(truth, other)
        with pytest.raises(DatasetError, match=r"4_label\.mat: not Avenue's masks"):
            read_avenue(tmp_path, Options())


def test_a_damaged_avenue_mat_is_named(parts: Path, tmp_path: Path) -> None:
    (frames_layout(tmp_path, parts) / "avenue.mat").write_bytes(b"rubbish" * 100)
    with pytest.raises(DatasetError, match=r"avenue\.mat: not the frame labels of 21 clips"):
        read_avenue(tmp_path, Options())


def test_what_is_read_can_be_written_and_read_as_a_dataset(parts: Path, tmp_path: Path) -> None:
    found = read_avenue(official(tmp_path, parts), Options()).split(0)
    write_dataset(tmp_path / "dataset.csv", found, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == found


def test_another_folder_is_told_what_avenue_looks_like(parts: Path, tmp_path: Path) -> None:
    frames(tmp_path, parts)  # without any of Avenue's labels they could be those of another benchmark
    with pytest.raises(DatasetError, match=r"no Avenue here.*testing_videos.*avenue\.mat"):
        read_avenue(tmp_path, Options())
    with pytest.raises(DatasetError, match="absent: no such folder"):
        read_avenue(tmp_path / "absent", Options())
