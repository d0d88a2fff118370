"""What is kept of a video's features so far: they grow on the disk, and are taken up again where they are whole."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lad.work import partial as partial_module
from lad.work.partial import Partial, resume, sweep

NAMES = {"rgb/a": "1", "flow/a": "2"}


def batch(number: int, crops: int = 1, clips: int = 2, dim: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    shape = (clips, dim) if crops == 1 else (crops, clips, dim)
    return {stream: rng.normal(size=shape).astype(np.float32) for stream in ("rgb", "flow")}


def saved_by_numpy(batches: list[dict[str, np.ndarray]], stream: str) -> bytes:
    file = io.BytesIO()
    np.save(file, np.concatenate([each[stream] for each in batches], axis=-2))
    return file.getvalue()


def written(partial: Partial, stream: str, path: Path) -> bytes:
    partial.write(stream, path)
    return path.read_bytes()


@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("saves", [(), (0,), (3,), (0, 1, 4), (0, 1, 2, 3, 4)])
def test_what_is_written_is_what_numpy_would_save_however_often_it_was_saved(tmp_path, monkeypatch, crops, saves):
    monkeypatch.setattr(partial_module, "BLOCK_BYTES", 100)  # less than a batch, more than a clip of one crop
    batches = [batch(number, crops, clips=3 if number < 4 else 1) for number in range(5)]
    partial = resume(tmp_path, "a", NAMES)
    for number, each in enumerate(batches):
        partial.add(each)
        if number in saves:
            partial.save()
    assert partial.clips == 13
    assert (tmp_path / "partial").exists() == bool(saves)
    for stream in ("rgb", "flow"):
        assert written(partial, stream, tmp_path / "out.npy") == saved_by_numpy(batches, stream)
    partial.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]


@pytest.mark.parametrize("crops", [1, 5])
def test_a_second_process_goes_on_where_the_first_one_saved(tmp_path, crops):
    first = resume(tmp_path, "a", NAMES)
    first.restart("pyav")
    for number in range(3):
        first.add(batch(number, crops))
        if number == 1:
            first.save()
    second = resume(tmp_path, "a", NAMES)
    assert (second.clips, second.reader) == (4, "pyav")
    for number in (2, 3):
        second.add(batch(number, crops))
        second.save()
    third = resume(tmp_path, "a", NAMES)
    assert (third.clips, third.reader) == (8, "pyav")
    for stream in ("rgb", "flow"):
        found = written(third, stream, tmp_path / "out.npy")
        assert found == saved_by_numpy([batch(number, crops) for number in range(4)], stream)


@pytest.mark.parametrize("crops", [1, 5])
def test_it_knows_what_was_still_and_the_features_of_its_last_clips(tmp_path, crops):
    first = resume(tmp_path, "a", NAMES)
    for number, back in enumerate([(0, 0), (0, 1), (1, 1)]):
        first.add(batch(number, crops), back)
    first.save()
    second = resume(tmp_path, "a", NAMES)
    second.add(batch(3, crops), (1, 0))
    assert second.still == [[3, 7]]
    last = resume(tmp_path, "a", NAMES).last(3)
    for stream in ("rgb", "flow"):
        expected = np.concatenate([batch(1, crops)[stream], batch(2, crops)[stream]], axis=-2)[..., -3:, :]
        np.testing.assert_array_equal(last[stream], expected)
    assert resume(tmp_path, "b", NAMES).last(3) == {}


def save_four(home: Path) -> Path:
    partial = resume(home, "a", NAMES)
    for number in range(2):
        partial.add(batch(number))
    partial.save()
    return partial.folder


def test_a_file_longer_than_was_said_is_cut(tmp_path):
    folder = save_four(tmp_path)
    for stream in ("rgb", "flow"):
        with (folder / f"{stream}.f32").open("ab") as file:
            file.write(b"half a batch")
    partial = resume(tmp_path, "a", NAMES)
    assert partial.clips == 4
    partial.add(batch(2))
    partial.save()
    expected = saved_by_numpy([batch(number) for number in range(3)], "flow")
    assert written(resume(tmp_path, "a", NAMES), "flow", tmp_path / "out.npy") == expected


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "data shorter": lambda folder: change(folder / "flow.f32", lambda data: data[:-1]),
    "data empty": lambda folder: change(folder / "rgb.f32", lambda data: b""),
    "data changed": lambda folder: change(folder / "rgb.f32", flip),
    "data gone": lambda folder: (folder / "rgb.f32").unlink(),
    "json gone": lambda folder: (folder / "state.json").unlink(),
    "json empty": lambda folder: change(folder / "state.json", lambda data: b""),
    "json cut": lambda folder: change(folder / "state.json", lambda data: data[: len(data) // 2]),
    "json not text": lambda folder: change(folder / "state.json", lambda data: b"\xff\xfe\x00"),
    "json a list": lambda folder: change(folder / "state.json", lambda data: b"[1]"),
    "json a number": lambda folder: change(folder / "state.json", lambda data: b"1"),
    "json null inside": lambda folder: change(folder / "state.json", lambda data: b'{"state": null, "sha256": ""}'),
    "json with another number": lambda folder: change(
        folder / "state.json", lambda data: data.replace(b'"clips": 4', b'"clips": 2')
    ),
    "json of another format": lambda folder: change(
        folder / "state.json", lambda data: data.replace(b'"format": 1', b'"format": 0')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_counts_for_nothing(tmp_path, damage):
    DAMAGES[damage](save_four(tmp_path))
    partial = resume(tmp_path, "a", NAMES)
    assert (partial.clips, partial.reader, partial.shapes) == (0, "auto", {})
    partial.restart("auto")
    partial.add(batch(7))
    partial.save()
    expected = saved_by_numpy([batch(7)], "rgb")
    assert written(resume(tmp_path, "a", NAMES), "rgb", tmp_path / "out.npy") == expected


@pytest.mark.parametrize("names", [{"rgb/a": "1", "flow/a": "3"}, {"rgb/a": "1"}, {**NAMES, "depth/a": "3"}])
def test_what_is_not_of_today_counts_for_nothing(tmp_path, names):
    save_four(tmp_path)
    assert resume(tmp_path, "a", names).clips == 0
    assert resume(tmp_path, "b", NAMES).clips == 0
    assert resume(tmp_path, "a", NAMES).clips == 4


def test_another_reader_voids_what_is_saved_and_held(tmp_path):
    save_four(tmp_path)
    partial = resume(tmp_path, "a", NAMES)
    partial.add(batch(5))
    partial.restart("pyav")
    assert not (tmp_path / "partial").exists()
    partial.add(batch(6))
    assert written(partial, "rgb", tmp_path / "out.npy") == saved_by_numpy([batch(6)], "rgb")


def test_a_save_is_due_by_time_or_by_what_is_held(tmp_path, monkeypatch):
    partial = Partial(tmp_path / "partial" / "x", NAMES)
    partial.add(batch(0))
    assert not partial.folder.exists()
    monkeypatch.setattr(partial_module, "SAVE_BYTES", 3 * partial.held_bytes)
    partial.add(batch(1))
    assert not partial.folder.exists()
    partial.add(batch(2))
    assert partial.folder.exists() and partial.held_bytes == 0
    partial.saved_at -= partial_module.SAVE_SECONDS
    partial.add(batch(3))
    assert json.loads((partial.folder / "state.json").read_text())["state"]["clips"] == 8


def test_memory_does_not_grow_with_the_video(tmp_path, monkeypatch):
    """Neither while it is extracted, nor when its file is written, nor when it is resumed."""
    monkeypatch.setattr(partial_module, "SAVE_BYTES", 1 << 20)
    monkeypatch.setattr(partial_module, "BLOCK_BYTES", 1 << 20)
    some = np.ones((4, 5, 1024), np.float32)  # 5 crops: 80 KiB
    partial = resume(tmp_path, "a", {"rgb/a": "1"})
    tracemalloc.start()
    try:
        for _ in range(800):
            partial.add({"rgb": some.transpose(1, 0, 2)})
        partial.save()
        partial.write("rgb", tmp_path / "out.npy")
        assert resume(tmp_path, "a", {"rgb/a": "1"}).clips == 3200
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out.npy").stat().st_size > 60 << 20
    assert peak < 6 << 20


def test_sweep_keeps_the_unfinished_and_what_is_nobody_s(tmp_path):
    sweep(tmp_path, [])
    folder = save_four(tmp_path)
    other = tmp_path / "partial" / "mine"
    other.mkdir()
    sweep(tmp_path, ["a", "b"])
    assert folder.exists()
    sweep(tmp_path, ["b"])
    assert not folder.exists() and other.exists()
    other.rmdir()
    sweep(tmp_path, [])
    assert not (tmp_path / "partial").exists()
