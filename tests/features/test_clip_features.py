"""Feature files: the same numbers whatever their form, a look at a time, from several threads at once."""

from __future__ import annotations

import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lad.features.video import ClipFeatures, open_features

NUMBERS = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("numbers", [NUMBERS, NUMBERS[0]], ids=["crops", "one crop"])
def test_rows_are_the_same_numbers_whatever_the_form_of_the_file(tmp_path, dtype, order, numbers):
    np.save(tmp_path / "a.npy", np.asarray(numbers, dtype=dtype, order=order))
    features = ClipFeatures([open_features(tmp_path / "a.npy")] * 2)
    whole = numbers.reshape(-1, 4, 5)
    assert (features.crops, features.clips, features.dim) == (len(whole), 4, 10)
    for crop in range(len(whole)):
        rows = features.rows(crop, np.array([3, 0, 0]))
        assert rows.dtype == np.float32 and rows.dtype.isnative
        np.testing.assert_array_equal(rows, np.hstack([whole[crop][[3, 0, 0]]] * 2))
        np.testing.assert_array_equal(features.rows(crop, slice(4)), np.hstack([whole[crop]] * 2))


def test_a_shorter_second_part_bounds_the_clips(tmp_path):
    np.save(tmp_path / "long.npy", NUMBERS[0])
    np.save(tmp_path / "short.npy", NUMBERS[0, :3])
    features = ClipFeatures([open_features(tmp_path / f"{name}.npy") for name in ("long", "short")])
    assert features.clips == 3 and features.rows(0, slice(features.clips)).shape == (3, 10)


@pytest.mark.parametrize(
    "array", [np.zeros(4, np.float32), np.zeros((4, 5), np.int64), np.zeros((0, 5), np.float32), np.zeros((1, 1, 1, 1))]
)
def test_what_is_no_features_is_refused_by_name(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=r"a\.npy"):
        open_features(tmp_path / "a.npy")


def test_a_file_that_becomes_shorter_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, NUMBERS)
    features = open_features(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match="shorter") as caught:
        features[:]
    assert caught.value.filename == str(path)


def test_files_in_use_are_neither_kept_open_nor_mapped(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, NUMBERS)
    held = [open_features(path) for _ in range(50)]
    rows = [ClipFeatures([one]).rows(0, np.arange(2)) for one in held]
    assert len(rows) == 50 and str(path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    descriptors = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert str(path) not in descriptors


class _Garbage:
    """Collected by the cyclic collector alone, and then lets another thread run."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


def test_several_threads_read_headers_at_once(tmp_path):
    """Python 3.11.7's `ast` raises SystemError where two threads, at unlike depths of calls, are in it at once."""
    np.save(tmp_path / "a.npy", NUMBERS)

    def deep(calls: int) -> object:
        if calls % 10:
            return deep(calls - 1)
        _Garbage()
        return open_features(tmp_path / "a.npy")

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert len(list(threads.map(deep, range(1500)))) == 1500
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize("numbers", [NUMBERS, NUMBERS[:1]], ids=["crops", "one crop"])
def test_features_relative_to_the_start_have_its_mean_taken_off_each_crop(numbers):
    plain = ClipFeatures([numbers, numbers[:, :3]])
    relative = plain.relative_to_start(2)
    for crop in range(plain.crops):
        rows = plain.rows(crop, slice(plain.clips))
        np.testing.assert_allclose(relative.rows(crop, slice(plain.clips)), rows - rows[:2].mean(axis=0))
        np.testing.assert_array_equal(
            relative.rows(crop, np.array([2])), relative.rows(crop, slice(plain.clips))[2:], "a look at a time"
        )
        assert relative.rows(crop, slice(1)).dtype == np.float32


def test_a_video_shorter_than_its_start_is_relative_to_all_of_it():
    plain = ClipFeatures([NUMBERS, NUMBERS[:, :3]])
    np.testing.assert_array_equal(
        plain.relative_to_start(1000).rows(0, slice(3)), plain.relative_to_start(3).rows(0, slice(3))
    )


def test_features_that_are_relative_already_stay_as_they_are():
    plain = ClipFeatures([NUMBERS])
    once = plain.relative_to_start(2)
    np.testing.assert_array_equal(once.relative_to_start(2).rows(0, slice(4)), once.rows(0, slice(4)))
    assert plain.relative_to_start(0) is plain
