"""Feature files with crops, and the order of their axes: read as named or as the only way that fits, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.given import (
    benchmark,
    change_rows,
    dataset,
    prepared,
    scores,
    write_layout,
)
from helpers.work import BEST, items, same_tensors, tensors

from lad.dataset import Video
from lad.features.given import read_headers

TEN_CROPS = np.repeat(np.array([1, -1, 0.5], np.float32), [4, 3, 3])[:, None, None]


def test_features_of_several_crops_train_and_their_scores_are_the_mean(lad, root, tmp_path):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    status, out, err = lad("train", *benchmark(root, tmp_path / "crops"))
    assert status == 0, out + err
    content = torch.load(tmp_path / "crops/checkpoints/best.pt", weights_only=True)
    content["calibration"] = {"slope": 1.0, "offset": 0.0}  # it would come after the mean, and is no straight line
    torch.save(content, tmp_path / "plain.pt")
    plain = ("--checkpoint", str(tmp_path / "plain.pt"))
    assert lad("score", *benchmark(root, tmp_path / "crops"), *plain)[0] == 0
    found = scores(tmp_path / "crops", "crash_1")
    each = []
    for number, factor in enumerate((1, -1, 0.5)):
        alone = write_layout(tmp_path / f"crop{number}", lambda array, factor=factor: array * np.float32(factor))
        work = tmp_path / f"crop{number}" / "work"
        assert lad("score", *benchmark(alone, work), *plain)[0] == 0
        each.append(scores(work, "crash_1"))
    assert np.ptp(each, axis=0).max() > 1e-5, "or the mean would prove nothing"
    np.testing.assert_allclose(found, np.average(each, axis=0, weights=[4, 3, 3]), atol=1e-6)


def turned(array: np.ndarray) -> np.ndarray:
    """As RTFM's extractors write ten crops: `(clips, crops, dim)`."""
    return (array * TEN_CROPS).transpose(1, 0, 2)


def test_crops_that_come_second_are_turned_and_said_once_or_named(lad, root, tmp_path):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    status, out, err = lad("train", *benchmark(root, tmp_path / "ours"))
    assert status == 0 and "features are read as" not in err, out + err
    shutil.rmtree(root)
    write_layout(root, turned)
    for name, asked in {"auto": (), "named": ("data.npy_layout=clips, crops,dim",)}.items():
        status, out, err = lad("train", *benchmark(root, tmp_path / name, *asked))
        assert status == 0, out + err
        said = [line for line in err.splitlines() if "features are read as" in line]
        assert len(said) == (not asked)
        assert all("are read as clips,crops,dim (" in line and "6 is no number of crops" in line for line in said)
        assert same_tensors(tensors(tmp_path / name / BEST), tensors(tmp_path / "ours" / BEST))
    status, _, err = lad("train", *benchmark(root, tmp_path / "wrong", "data.npy_layout=crops,clips,dim"))
    assert status == 2 and "(6, 10, 1024) as crops,clips,dim has 6 crops: there can be 1, 5 or 10" in err


@pytest.mark.parametrize("first", ["feature__0.npy", "feature.npy"])
def test_crops_may_be_files_of_their_own(lad, root, tmp_path, first):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    for number, change in enumerate((lambda row: row["path"], apart(root, first))):
        prepared(lad, root, *(["--force"] if number else []))
        change_rows(root, path=change)
        for command in ("train", "score"):
            status, out, err = lad(command, *dataset(root, tmp_path / f"{number}"))
            assert status == 0, out + err
    assert same_tensors(tensors(tmp_path / "0" / BEST), tensors(tmp_path / "1" / BEST))
    np.testing.assert_array_equal(scores(tmp_path / "0", "crash_4"), scores(tmp_path / "1", "crash_4"))


def apart(root: Path, first: str) -> Callable[[dict[str, str]], str]:
    """What becomes of a path when each crop is written into a file of its own, the first one so called."""

    def write(row: dict[str, str]) -> str:
        for stream in ("rgb", "flow"):
            path = root / row["path"].replace("{stream}", stream)
            for crop, array in enumerate(np.load(path)):
                np.save(path.with_name(f"feature__{crop}.npy" if crop else first), array)
            if first != path.name:
                path.unlink()
        return row["path"].replace("feature.npy", "feature__{crop}.npy")

    return write


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([(6, 128)] * 4, "a__{crop}.npy: 4 files of crops are there, and there can be 1, 5 or 10"),
        ([*[(6, 128)] * 4, (5, 128)], "a__4.npy: (5, 128) does not go with"),
        ([(5, 6, 128)] * 5, "a__0.npy: holds 5 crops, and others are in files of their own"),
        ([], "a__0.npy: cannot be read: No such file"),
    ],
)
def test_files_of_crops_that_do_not_fit_are_refused_in_one_line(lad, tmp_path, shapes, reason):
    for crop, shape in enumerate(shapes):
        np.save(tmp_path / f"a__{crop}.npy", np.zeros(shape, np.float32))
    (tmp_path / "dataset.csv").write_text("video,path\na,a__{crop}.npy\n")
    words = ["-o", "data.dataset=dataset.csv", "-o", "extract.backbone=tiny", "-o", "extract.streams=[rgb]"]
    status, out, err = lad("extract", "--data", str(tmp_path), "--work", str(tmp_path / "work"), *words)
    assert status in (1, 2) and reason in out + err, out + err


@pytest.mark.parametrize(
    ("shape", "frames", "reason"),
    [
        ((10, 10, 128), "160", "is 10 crops of 10 clips, or 10 clips of 10 crops: set data.npy_layout"),
        ((5, 10, 128), "", "is 5 crops of 10 clips, or 5 clips of 10 crops: set data.npy_layout"),
        ((3, 6, 128), "", "neither 3 nor 6 is a number of crops, which is 1, 5 or 10"),
        ((128, 6), "", "6 numbers a clip, tiny rgb has 128: its axes are (128, 6): say which is which"),
        ((10, 128, 6), "", "its axes are (10, 128, 6): say which is which with data.npy_layout"),
    ],
)
def test_axes_that_cannot_be_told_apart_are_refused_in_one_line(lad, tmp_path, shape, frames, reason):
    status, out = extracted(lad, tmp_path, np.zeros(shape, np.float32), frames)
    said = out.splitlines()[-1]
    assert status in (1, 2) and reason in said and str(tmp_path / "a.npy") in said


@pytest.mark.parametrize(
    ("shape", "frames", "asked", "read"),
    [
        ((6, 10, 128), "", "auto", 96),
        ((6, 10, 128), "96", "clips,crops,dim", 96),
        ((5, 10, 128), "160", "auto", 160),
        ((5, 10, 128), "80", "auto", 80),
        ((10, 10, 128), "", "clips,crops,dim", 160),
        ((128, 6), "", "dim,clips", 96),
        ((10, 128, 6), "", "crops,dim,clips", 96),
        ((1, 1, 128), "", "auto", 16),
        ((7, 128), "", "clips,crops,dim", 112),
    ],
)
def test_axes_are_read_as_named_or_as_the_only_way_that_gives_crops(lad, tmp_path, shape, frames, asked, read):
    status, out = extracted(lad, tmp_path, np.zeros(shape, np.float32), frames, f"data.npy_layout={asked}")
    assert status == 0, out
    assert items(tmp_path / "work", "extract")["given/a"].info["frames"] == read


def extracted(lad, folder: Path, array: np.ndarray, frames: str, *overrides: str) -> tuple[int, str]:
    np.save(folder / "a.npy", array)
    (folder / "dataset.csv").write_text(f"video,path,n_frames\na,a.npy,{frames}\n")
    settings = ["extract.backbone=tiny", f"data.dataset={folder / 'dataset.csv'}", *overrides]
    words = [word for setting in settings for word in ("-o", setting)]
    status, out, err = lad("extract", "--work", str(folder / "work"), *words)
    return status, out + err


def test_ten_crops_as_rtfm_writes_them_are_not_taken_for_clips(lad, tmp_path, shared_cases):
    status, out = extracted(lad, tmp_path, np.load(shared_cases / "ten_crops_last.npy"), "")
    assert status == 0 and "read as clips,crops,dim" in out and "6 is no number of crops" in out
    assert items(tmp_path / "work", "extract")["given/a"].info["frames"] == 96


@pytest.mark.parametrize("asked", ["clips", "clips,clips,dim", "dim,time", "crops,clips,dim,dim"])
def test_a_layout_of_other_axes_is_refused(lad, tmp_path, asked):
    status, out = extracted(lad, tmp_path, np.zeros((6, 128), np.float32), "", f"data.npy_layout={asked}")
    assert status == 2 and "name each axis once" in out


def test_a_crop_that_is_missing_before_others_is_named(tmp_path: Path) -> None:
    for crop in (0, 1, 2, 3, 4, 6, 7, 8, 9):
        np.save(tmp_path / f"a__{crop}.npy", np.zeros((6, 128), np.float32))
    with pytest.raises(ValueError, match=r"the file of crop 5 is missing, and .*a__6\.npy is there"):
        read_headers(Video("a", tmp_path / "a__{crop}.npy"), ["rgb"], "auto")
