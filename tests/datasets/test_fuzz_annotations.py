"""Any annotation files of the benchmarks are read, or refused with what is documented."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from helpers.fuzzing import any_mutation, check_videos, examples, soon
from helpers.listings import touch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix

from lad.dataset import DatasetError
from lad.datasets import BENCHMARKS, Options
from lad.datasets.common import Listing
from lad.datasets.released import read_released
from lad.events import Event


def in_cells(values: list[Any]) -> np.ndarray:
    cells = np.empty((1, len(values)), dtype=object)
    for number, value in enumerate(values):
        cells[0, number] = value
    return cells


def lad2000_tree(root: Path) -> list[str]:
    touch(*(root / "Crash" / f"v_{name}.avi" for name in ("a_1", "a_2", "n_3", "n_4")))
    for name, labels in (("a_1", [0, 1, 1, 0]), ("a_2", [1, 1]), ("n_3", [0, 0, 0])):
        savemat(root / "Crash" / f"v_{name}.mat", {"gt": np.array([labels], np.uint8)}, do_compression=name == "a_2")
    (root / "train_split.txt").write_text("Crash/v_a_1.avi 1\nv_n_3\n")
    (root / "test_split.txt").write_text("v_a_2.avi\nCrash/v_n_4\n")
    return ["train_split.txt", "test_split.txt", "Crash/v_a_1.mat", "Crash/v_a_2.mat", "Crash/v_n_3.mat"]


def ucf_crime_tree(root: Path) -> list[str]:
    train = ["Abuse/Abuse001_x264.mp4", "Training_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4"]
    test = ["Arson/Arson011_x264.mp4", "Burglary/Burglary035_x264.mp4", "Testing_Normal_Videos/Normal_003.mp4"]
    touch(*(root / name for name in train + test))
    annotation = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
    (root / "Anomaly_Train.txt").write_text("\n".join(train))
    (root / "Anomaly_Test.txt").write_text("\n".join(test))
    (root / annotation).write_text(
        "Arson011_x264.mp4  Arson  150  420  680  1267\nBurglary035_x264.mp4  Burglary  1  1740  -1  -1\n"
        "Normal_003.mp4  Normal  -1  -1  -1  -1  \n"
    )
    return ["Anomaly_Train.txt", "Anomaly_Test.txt", annotation, annotation]


def xd_violence_tree(root: Path) -> list[str]:
    names = ["B__#1_label_G-B2-B6", "v=S__#1_label_B4-0-0", "S.2012__#02_label_A"]
    touch(*(root / "test_videos" / f"{name}.mp4" for name in names), root / "train" / "B__#2_label_B1-0-0.mp4")
    (root / "annotations.txt").write_text(f"{names[0]} 157 180 185 244\n{names[1]}.mp4 0 1517 \n")
    return ["annotations.txt"]


def shanghaitech_tree(root: Path) -> list[str]:
    names = ["01_0014", "02_0001"]
    touch(
        root / "training/videos/01_001.avi",
        *(root / "testing/frames" / n / f"{i}.jpg" for n in names for i in range(5)),
    )
    (root / "testing/test_frame_mask").mkdir()
    for name in names:
        np.save(root / "testing/test_frame_mask" / f"{name}.npy", np.array([0, 1, 1, 0, 1], np.uint8))
    (root / "SH_Train.txt").write_text("01_001\n01_0014,50\n")
    (root / "SH_Test.txt").write_text("02_0001\n13_0007\n")
    return ["SH_Train.txt", "SH_Test.txt", *(f"testing/test_frame_mask/{name}.npy" for name in names)]


def avenue_tree(root: Path) -> list[str]:
    touch(
        *(root / "training_videos" / f"0{n}.avi" for n in (1, 2)),
        *(root / "testing_videos" / f"0{n}.avi" for n in (1, 2)),
    )
    folder = "ground_truth_demo/testing_label_mask"
    (root / folder).mkdir(parents=True)
    for number in (1, 2):
        masks = in_cells([np.full((2, 3), n % 2, np.uint8) for n in range(4)])
        savemat(root / folder / f"{number}_label.mat", {"volLabel": masks}, do_compression=number == 2)
    return [f"{folder}/{number}_label.mat" for number in (1, 2)]


def avenue_frames_tree(root: Path) -> list[str]:
    touch(*(root / half / "frames" / "01" / f"{n}.jpg" for half in ("training", "testing") for n in range(6)))
    savemat(root / "avenue.mat", {"gt": in_cells([np.array([[1], [2]]), np.array([[2, 5], [2, 6.5]])])})
    return ["avenue.mat"]


def ped2_tree(root: Path) -> list[str]:
    clips = {"Train/Train001": 120, "Test/Test001": 180, "Test/Test002": 180}
    touch(*(root / "UCSDped2" / clip / f"{n:03}.tif" for clip, count in clips.items() for n in range(count)))
    (root / "UCSDped2/Test/UCSDped2.m").write_text(
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [61:180];  % one\n"
        "TestVideoFile{end+1}.gt_frame = [5:90, 140 : 180];\n"
    )
    return ["UCSDped2/Test/UCSDped2.m"]


def ped2_frames_tree(root: Path) -> list[str]:
    clips = {"training/frames/01": 120, "testing/frames/01": 180}
    touch(*(root / "ped2" / clip / f"{n:03}.jpg" for clip, count in clips.items() for n in range(count)))
    truth = in_cells([np.array([[61], [180]], np.uint16), np.array([[5, 140], [90, 180]], np.float64)])
    savemat(root / "ped2" / "ped2.mat", {"gt": truth})
    return ["ped2/ped2.mat"]


def released_tree(root: Path) -> list[str]:
    (root / "GT").mkdir()
    frames: dict[str, Any] = {"a": np.array([[0, 1, 1, 0]]), "b": np.zeros((1, 3)), "c": [0, 1]}
    (root / "GT/frame_label_IET.pickle").write_bytes(pickle.dumps(frames, 2))
    (root / "GT/video_label_IET.pickle").write_bytes(pickle.dumps({"a": 0, "b": np.int64(1), "c": [1]}, 4))
    touch(*(root / "features_video/i3d/rgb" / name / "feature.npy" for name in "abc"))
    (root / "train_split.txt").write_text("a\nb.mp4\n")
    (root / "test_split.txt").write_text("c\n")
    return ["GT/frame_label_IET.pickle", "GT/video_label_IET.pickle", "train_split.txt", "test_split.txt"]


def released(root: Path, options: Options) -> Listing:
    return read_released(root, "lad2000", ("Crash", "Crowd"), ["rgb"])


Reader = Callable[[Path, Options], Listing]
TREES: dict[str, tuple[Reader, Callable[[Path], list[str]], int]] = {
    "lad2000": (BENCHMARKS["lad2000"].read, lad2000_tree, 50),
    "ucf_crime": (BENCHMARKS["ucf_crime"].read, ucf_crime_tree, 50),
    "xd_violence": (BENCHMARKS["xd_violence"].read, xd_violence_tree, 40),
    "shanghaitech": (BENCHMARKS["shanghaitech"].read, shanghaitech_tree, 50),
    "avenue": (BENCHMARKS["avenue"].read, avenue_tree, 40),
    "avenue-frames": (BENCHMARKS["avenue"].read, avenue_frames_tree, 30),
    "ped2": (BENCHMARKS["ped2"].read, ped2_tree, 30),
    "ped2-frames": (BENCHMARKS["ped2"].read, ped2_frames_tree, 25),
    "released": (released, released_tree, 75),
}


@pytest.mark.parametrize("name", TREES)
def test_annotations_of_any_kind_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader, plant, count = TREES[name]
    root = tmp_path / "root"
    root.mkdir()
    original = {file: (root / file).read_bytes() for file in plant(root)}
    assert reader(root, Options()).videos, "the tree as it was planted"
    changes = {file: any_mutation(content) | st.binary(max_size=30) for file, content in original.items()}
    clock = iter(range(1, 10**9))  # a reader may remember a file by its time

    @examples(count)
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        for file in data.draw(st.lists(st.sampled_from(sorted(changes)), min_size=1, max_size=2, unique=True)):
            (root / file).write_bytes(data.draw(changes[file]))
            os.utime(root / file, (next(clock),) * 2)
        try:
            with soon():
                listing = reader(root, Options())
                check_videos(listing.videos, root, tmp_path)
                assert all(isinstance(line, str) for line in listing.missing)
        except DatasetError as error:
            assert str(error)
        finally:
            for file, content in original.items():
                (root / file).write_bytes(content)
                os.utime(root / file, (next(clock),) * 2)

    attempt()


ODD_ARRAYS = st.sampled_from(
    [
        np.array([[np.inf, 1], [2, 3]]),
        np.array([[1.0, np.nan], [2, 3]]),
        np.array([[1e300], [1e300]]),
        np.array([[-1], [2]]),
        np.array([[1j], [2j]]),
        np.array([["ab"], ["cd"]]),
        np.zeros((0, 0)),
        np.zeros((2, 2, 2)),
        np.array([[True], [True]]),
        csc_matrix(np.eye(2)),
        {"a": 1, "b": np.eye(2)},
        np.array([[(1, 2)]], dtype=[("x", "O"), ("y", "O")]),
        in_cells([np.eye(2), "x"]),
        in_cells([csc_matrix(np.eye(2))] * 2),
        in_cells([in_cells([1, 2])]),
        5,
        "text",
        np.array([[2**64 - 1], [2**64 - 1]], np.uint64),
    ]
)
MAT_FILES = {
    "lad2000": ("Crash/v_a_1.mat", "gt"),
    "avenue": ("ground_truth_demo/testing_label_mask/1_label.mat", "volLabel"),
    "avenue-frames": ("avenue.mat", "gt"),
    "ped2-frames": ("ped2/ped2.mat", "gt"),
}


@pytest.mark.parametrize("name", MAT_FILES)
def test_mat_files_of_odd_arrays_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader, plant, _count = TREES[name]
    file, key = MAT_FILES[name]
    root = tmp_path / "root"
    root.mkdir()
    plant(root)
    clock = iter(range(1, 10**9))

    @examples(40)
    @given(ODD_ARRAYS | st.lists(ODD_ARRAYS, min_size=1, max_size=2).map(in_cells))
    def attempt(value: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            savemat(root / file, {key: value})
        os.utime(root / file, (next(clock),) * 2)
        try:
            with soon():
                check_videos(reader(root, Options()).videos, root, tmp_path)
        except DatasetError as error:
            assert str(error)

    attempt()


def test_a_pickle_whose_lists_multiply_is_refused_at_once(tmp_path: Path) -> None:
    released_tree(tmp_path)
    value: list[Any] = [0, 1]
    for _ in range(40):
        value = [value, value]
    for labels in (value, [value], [[0] * 1000] * 2):
        for kind in ("frame", "video"):
            released_tree_file = tmp_path / "GT" / f"{kind}_label_IET.pickle"
            kept = released_tree_file.read_bytes()
            released_tree_file.write_bytes(pickle.dumps({"a": labels, "b": 0, "c": 0}))
            with soon(), pytest.raises(DatasetError, match="label"):
                released(tmp_path, Options())
            released_tree_file.write_bytes(kept)


def test_a_ground_truth_of_blanks_is_read_at_once(tmp_path: Path) -> None:
    (file,) = ped2_tree(tmp_path)
    (tmp_path / file).write_text(
        "TestVideoFile{end+1}.gt_frame = [" + " " * 200_000 + "61 : 180" + " " * 200_000 + "];"
    )
    with soon():
        listing = BENCHMARKS["ped2"].read(tmp_path, Options())
    assert [video.events for video in listing.videos if video.is_abnormal] == [(Event(60, 180),)]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\r"), min_size=1, max_size=6) | st.sampled_from(
    [
        " x",
        "x ",
        ".x",
        "..x",
        "a|b",
        "a,b",
        '"',
        "summary",
        "normal",
        "test",
        "train",
        "{stream}",
        "\\",
        "a\nb",
        "\x85x",
        "\u2003",
    ]
)


@examples(60)
@given(places=st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_folder_of_any_names_is_listed_and_kept(places: list[list[str]]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        for place in places:
            path = root.joinpath(*(name for name in place if name not in (".", "..")))
            try:
                touch(path.with_name(f"{path.name}.mp4"))
            except OSError:  # a file is in the way
                continue
        with soon():
            try:
                videos = BENCHMARKS["folder"].read(root, Options()).videos
            except DatasetError as error:
                assert str(error)
            else:
                check_videos(videos, root, Path(folder))
                assert all(video.path.is_file() for video in videos)
