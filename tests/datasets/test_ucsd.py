"""What reading UCSD Ped1 and Ped2 promises, in both layouts in which they are passed around."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.listings import by_id, link, own_folders
from scipy.io import savemat

from lad.dataset import DatasetError, Video, read_dataset, write_dataset
from lad.datasets.common import Options
from lad.datasets.ucsd import read_ped1, read_ped2
from lad.events import Event

# Frames of the official clips (those of Ped2 as counted in the real download).
TRAINING = {
    "ped1": [200] * 34,
    "ped2": [120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150],
}
TESTING = {"ped1": [200] * 36, "ped2": [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180]}
READERS = {"ped1": read_ped1, "ped2": read_ped2}
# 1-based and inclusive in both ground truths: frames 2 to 120, or 1 and 2, or two events.
RANGES = [["2:120"], ["1:2"], ["1:1", "3:3"]]
EVENTS = [(Event(1, 120),), (Event(0, 2),), (Event(0, 1), Event(2, 3))]


Images = Callable[[int, str], Path]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """A folder with so many images, made once: the clips of the trees below are links to it."""

    @cache
    def folder(count: int, name: str) -> Path:
        place = tmp_path_factory.mktemp("images")
        for frame in range(count):
            (place / name.format(frame)).touch()
        return place

    return folder


def without_one_image(clip: Path) -> None:
    """Make a link to a folder of images a folder of its own."""
    names = sorted(image.name for image in clip.iterdir())
    clip.unlink()
    clip.mkdir()
    for name in names[1:]:
        (clip / name).touch()


def official(root: Path, images: Images, part: str = "ped2") -> Path:
    base = root / f"UCSD{part}"
    for half, counts in (("Train", TRAINING[part]), ("Test", TESTING[part])):
        for number, count in enumerate(counts, start=1):
            link(base / half / f"{half}{number:03}", images(count, "{:03}.tif"))
    link(base / "Test" / "Test001_gt", images(1, "{:03}.bmp"))
    lines = ["TestVideoFile = {};"]
    for clip in range(len(TESTING[part])):
        lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{', '.join(RANGES[clip % 3])}];")
    (base / "Test" / f"UCSD{part}.m").write_text("\n".join(lines))
    return root


def frames_layout(root: Path, images: Images, part: str = "ped2") -> Path:
    for half, counts in (("training", TRAINING[part]), ("testing", TESTING[part])):
        for number, count in enumerate(counts, start=1):
            link(root / half / "frames" / f"{number:02}", images(count, "{:03}.jpg"))
    truth = np.empty((1, len(TESTING[part])), dtype=object)
    for clip in range(len(TESTING[part])):
        truth[0, clip] = np.array([[int(end) for end in pair.split(":")] for pair in RANGES[clip % 3]]).T
    savemat(root / f"{part}.mat", {"gt": truth})
    return root


Layout = Callable[..., Path]
LAYOUTS = [official, frames_layout]
PARTS = ["ped1", "ped2"]


def in_split(videos: list[Video], split: str, part: str = "") -> list[str]:
    return sorted(video.id for video in videos if video.split == split and part in video.id)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_give_all_clips_with_their_events(
    layout: Layout, part: str, images: Images, tmp_path: Path
) -> None:
    listing = READERS[part](layout(tmp_path, images, part), Options())
    assert listing.missing == []
    assert len(by_id(listing)) == len(TRAINING[part]) + len(TESTING[part])
    abnormal = [video for video in sorted(listing.videos, key=lambda video: video.id) if video.is_abnormal]
    assert [video.events for video in abnormal] == EVENTS * (len(TESTING[part]) // 3)
    assert {video.label for video in abnormal} == {"abnormal"}
    assert [video.n_frames for video in abnormal] == TESTING[part]
    normal = [video for video in listing.videos if not video.is_abnormal]
    assert {video.label for video in normal} == {"normal"}
    assert [video.n_frames for video in sorted(normal, key=lambda video: video.id)] == TRAINING[part]
    assert {video.fps for video in listing.videos} == {10.0}
    assert all((tmp_path / video.id) == video.path and video.path.is_dir() for video in listing.videos)


@pytest.mark.parametrize(("part", "abnormal", "normal"), [("ped1", 18, 17), ("ped2", 6, 8)])
def test_half_of_the_abnormal_and_half_of_the_normal_clips_train(
    part: str, abnormal: int, normal: int, images: Images, tmp_path: Path
) -> None:
    videos = READERS[part](frames_layout(tmp_path, images, part), Options()).split(7)
    assert len(in_split(videos, "train", "testing")) == abnormal
    assert len(in_split(videos, "train", "training")) == normal
    assert len(in_split(videos, "test", "testing")) == len(TESTING[part]) - abnormal
    assert len(in_split(videos, "test", "training")) == len(TRAINING[part]) - normal


@pytest.mark.parametrize("part", ["ped1", "ped2"])
def test_all_normal_clips_train_and_all_others_test_in_the_official_split(
    part: str, images: Images, tmp_path: Path
) -> None:
    videos = READERS[part](frames_layout(tmp_path, images, part), Options()).official()
    assert len(in_split(videos, "train", "training")) == len(TRAINING[part]) == len(in_split(videos, "train"))
    assert len(in_split(videos, "test", "testing")) == len(TESTING[part]) == len(in_split(videos, "test"))


def test_the_splits_of_ped2_are_those_of_earlier_results(images: Images, tmp_path: Path) -> None:
    listing = read_ped2(frames_layout(tmp_path, images), Options())
    first, last = listing.split(0), listing.split(9)
    assert in_split(first, "train", "testing") == [f"testing/frames/{n:02}" for n in (1, 4, 5, 7, 8, 12)]
    assert in_split(first, "train", "training") == [f"training/frames/{n:02}" for n in (1, 5, 7, 8, 9, 13, 14, 16)]
    assert in_split(last, "train", "testing") == [f"testing/frames/{n:02}" for n in (2, 3, 5, 6, 8, 10)]
    assert in_split(last, "train", "training") == [f"training/frames/{n:02}" for n in (1, 3, 5, 6, 10, 12, 14, 15)]


def test_both_layouts_have_the_same_split(images: Images, tmp_path: Path) -> None:
    ours = in_split(read_ped2(official(tmp_path / "a", images), Options()).split(3), "train")
    theirs = in_split(read_ped2(frames_layout(tmp_path / "b", images), Options()).split(3), "train")
    assert sorted(int(name[-3:]) for name in ours) == sorted(int(name[-2:]) for name in theirs)


def test_ped1_and_ped2_are_told_apart_at_any_level_of_the_official_download(images: Images, tmp_path: Path) -> None:
    download = tmp_path / "UCSD_Anomaly_Dataset.v1p2"
    for part in PARTS:
        official(download, images, part)
    for part, clips in (("ped1", 70), ("ped2", 28)):
        for root in (tmp_path, download, download / f"UCSD{part}"):
            listing = READERS[part](root, Options())
            assert (len(listing.videos), listing.missing) == (clips, [])
    with pytest.raises(DatasetError, match="no UCSD Ped1 here"):
        read_ped1(download / "UCSDped2", Options())


def test_the_frames_layout_may_be_a_folder_below(images: Images, tmp_path: Path) -> None:
    frames_layout(tmp_path / "datasets" / "ped2", images)
    assert len(read_ped2(tmp_path, Options()).videos) == 28


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_can_be_written_and_read_as_a_dataset(layout: Layout, images: Images, tmp_path: Path) -> None:
    root = layout(tmp_path, images)
    own_folders(tmp_path)
    videos = read_ped2(root, Options()).split(0)
    write_dataset(tmp_path / "dataset.csv", videos, tmp_path)
    assert read_dataset(tmp_path / "dataset.csv") == videos


@pytest.mark.parametrize(
    ("layout", "gone"),
    [
        (official, "UCSDped2/Train/Train003"),
        (official, "UCSDped2/Test/Test005"),
        (frames_layout, "training/frames/02"),
        (frames_layout, "testing/frames/01"),
    ],
)
def test_a_missing_clip_is_named_and_changes_nothing_of_the_others(
    layout: Layout, gone: str, images: Images, tmp_path: Path
) -> None:
    whole = read_ped2(layout(tmp_path, images), Options())
    (tmp_path / gone).unlink()
    listing = read_ped2(tmp_path, Options())
    assert listing.missing == [gone]
    assert listing.videos == [video for video in whole.videos if video.id != gone]
    for seed in range(5):
        assert listing.split(seed) == [video for video in whole.split(seed) if video.id != gone]
    (tmp_path / gone).mkdir()  # as good as not there
    empty = read_ped2(tmp_path, Options())
    assert (empty.split(1), empty.missing) == (listing.split(1), [f"{gone}: it has no images"])


def test_a_missing_half_is_named_clip_by_clip(images: Images, tmp_path: Path) -> None:
    shutil.rmtree(frames_layout(tmp_path, images) / "training")
    listing = read_ped2(tmp_path, Options())
    assert listing.missing == [f"training/frames/{number:02}" for number in range(1, 17)]
    assert len(listing.videos) == 12


def test_without_labels_a_test_clip_is_never_taken_for_normal(images: Images, tmp_path: Path) -> None:
    truth = official(tmp_path, images) / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("\n".join(truth.read_text().splitlines()[:-2]))
    listing = read_ped2(tmp_path, Options())
    assert listing.missing == ["UCSDped2/Test/UCSDped2.m: the labels of the last 2 test clips"]
    assert in_split(listing.split(0), "") == ["UCSDped2/Test/Test011", "UCSDped2/Test/Test012"]
    truth.unlink()
    listing = read_ped2(tmp_path, Options())
    assert listing.missing == ["UCSDped2/Test/UCSDped2.m: the labels of the test clips"]
    videos = listing.split(0)
    assert in_split(videos, "", "Test") == in_split(videos, "")
    assert len(in_split(videos, "")) == 12
    assert {video.label for video in videos if not video.split} == {""}
    assert len(in_split(videos, "train")) == 8


def test_a_clip_with_missing_frames_is_named_and_its_labels_are_not_trusted(images: Images, tmp_path: Path) -> None:
    frames_layout(tmp_path, images)
    without_one_image(tmp_path / "testing" / "frames" / "01")
    without_one_image(tmp_path / "training" / "frames" / "05")
    listing = read_ped2(tmp_path, Options())
    assert listing.missing == [
        "training/frames/05: it has 179 images, but should have 180",
        "testing/frames/01: it has 179 images, but should have 180",
    ]
    videos = {video.id: video for video in listing.split(0)}
    test, train = videos["testing/frames/01"], videos["training/frames/05"]
    assert (test.split, test.label, test.events, test.n_frames) == ("", "", (), 179)
    assert (train.split, train.label, train.n_frames) == ("train", "normal", 179)


def test_a_damaged_mat_is_named(images: Images, tmp_path: Path) -> None:
    truth = frames_layout(tmp_path, images) / "ped2.mat"
    data = truth.read_bytes()
    for damaged in (b"", b"rubbish" * 100, data[: len(data) // 2], data[:128]):
        truth.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"ped2\.mat: not the frame labels"):
            read_ped2(tmp_path, Options())
    cells = np.empty((1, 13), dtype=object)
    cells[0, :] = [np.array([[1], [2]])] * 13
    for other in ({"other": np.zeros(3)}, {"gt": np.zeros((1, 12))}, {"gt": cells}):
        savemat(truth, other)
        with pytest.raises(DatasetError, match=r"ped2\.mat: not the frame labels"):
            read_ped2(tmp_path, Options())


@pytest.mark.parametrize("text", ["", "rubbish", "gt_frame = [5:x];", "gt_frame = [9:5];", "gt_frame = [0:5];", "13"])
def test_official_labels_that_cannot_be_understood_are_named(text: str, images: Images, tmp_path: Path) -> None:
    truth = official(tmp_path, images) / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("gt_frame = [1:2];\n" * 13 if text == "13" else text)
    with pytest.raises(DatasetError, match=r"UCSDped2\.m: not the frame labels of 12 clips"):
        read_ped2(tmp_path, Options())


def test_a_range_that_is_none_is_quoted(images: Images, tmp_path: Path) -> None:
    truth = official(tmp_path, images) / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("gt_frame = [1:2, 5:x];")
    with pytest.raises(DatasetError, match="'5:x' is not start:end"):
        read_ped2(tmp_path, Options())


def test_an_event_beyond_the_clip_is_an_error(images: Images, tmp_path: Path) -> None:
    truth = official(tmp_path, images) / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("TestVideoFile{end+1}.gt_frame = [61:181];")
    with pytest.raises(DatasetError, match=r"UCSDped2\.m: an event of clip 1 ends after its 180 frames"):
        read_ped2(tmp_path, Options())


def test_matlab_comments_spaces_and_single_frames_are_understood(images: Images, tmp_path: Path) -> None:
    truth = official(tmp_path, images) / "UCSDped2" / "Test" / "UCSDped2.m"
    truth.write_text("% TestVideoFile{end+1}.gt_frame = [1:9];\nTestVideoFile{end+1}.gt_frame=[ 140 : 150 ,7,9:10 ] ;")
    events = by_id(read_ped2(tmp_path, Options()))["UCSDped2/Test/Test001"].events
    assert events == (Event(6, 7), Event(8, 10), Event(139, 150))


def test_another_folder_is_told_what_ucsd_looks_like(tmp_path: Path) -> None:
    for reader, part in ((read_ped1, "ped1"), (read_ped2, "ped2")):
        with pytest.raises(DatasetError, match=rf"no UCSD P{part[1:]} here.*UCSD{part}\.m.*{part}\.mat"):
            reader(tmp_path, Options())
        with pytest.raises(DatasetError, match="absent: no such folder"):
            reader(tmp_path / "absent", Options())
    (tmp_path / "UCSDped2" / "Train").mkdir(parents=True)
    with pytest.raises(DatasetError, match="no clips of UCSD Ped2"):
        read_ped2(tmp_path, Options())


@pytest.mark.real
def test_the_real_ped2_has_the_published_counts(shared_data: Path) -> None:
    listing = read_ped2(shared_data / "ucsd_ped2", Options())
    assert (len(listing.videos), listing.missing) == (28, [])
    abnormal = [video for video in listing.videos if video.is_abnormal]
    assert len(abnormal) == 12
    frames = sum(video.n_frames or 0 for video in abnormal)
    anomalous = sum(int(video.frame_labels(video.n_frames or 0).sum()) for video in abnormal)
    assert (anomalous, frames) == (1648, 2010)
