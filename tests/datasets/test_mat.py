"""What reading `.mat` files promises: whatever one of them does to SciPy, the next one is read."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from scipy.io import savemat

from lad.dataset import DatasetError
from lad.datasets import mat
from lad.datasets.common import Options
from lad.datasets.lad2000 import read_lad2000
from lad.datasets.mat import read_mat
from lad.events import Event

KEY = "gt"


def plain(array: np.ndarray) -> np.ndarray:
    return array


def sized(array: np.ndarray) -> int:
    return array.size


def killing(array: np.ndarray) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hanging(array: np.ndarray) -> None:
    time.sleep(60)


def greedy(array: np.ndarray) -> int:
    return len(bytes(5 << 30))


def leaving_once(array: np.ndarray) -> str:
    """End the reader as it ends itself, the first time; the array says by which file the second knows."""
    mark = Path(str(array[0]))
    if not mark.exists():
        mark.touch()
        os._exit(0)
    return "read"


def refusing(array: np.ndarray) -> None:
    raise ValueError("not what was looked for")


def process_of(array: np.ndarray) -> int:
    return os.getpid()


def truth(path: Path, labels: list[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {KEY: np.array([labels], np.uint8)})
    return path


def deadly(path: Path, labels: list[int]) -> Path:
    """A file of which SciPy dies: found by fuzzing; an element is of a type that there is not."""
    content = truth(path, labels).read_bytes()
    numbers = struct.pack("<HH", 2, len(labels))  # the type of the last element, uint8, and its length
    assert content.count(numbers) == 1
    path.write_bytes(content.replace(numbers, struct.pack("<HH", 66, len(labels))))
    return path


def bomb(path: Path, size: int, filled: int) -> Path:
    """A compressed matrix that claims `size` zeros and has `filled` of them, in a two-hundredth as many bytes."""
    flags = struct.pack("<IIII", 6, 8, 9, 0)
    shape = struct.pack("<IIii", 5, 8, 1, size)
    body = flags + shape + struct.pack("<HH4s", 1, 2, b"gt") + struct.pack("<II", 2, size)
    packer, block = zlib.compressobj(1), bytes(1 << 20)
    packed = [packer.compress(struct.pack("<II", 14, len(body) + size) + body)]
    packed += [packer.compress(block) for _ in range(filled >> 20)]
    element = b"".join(packed) + packer.flush()
    header = b"MATLAB 5.0".ljust(124) + struct.pack("<HH", 0x100, 0x4D49)
    path.write_bytes(header + struct.pack("<II", 15, len(element)) + element)
    return path


def test_a_file_that_scipy_dies_of_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    bad, good = deadly(tmp_path / "bad.mat", [0, 1, 1]), truth(tmp_path / "good.mat", [0, 1])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"damaged or not a \.mat file: get it again"):
            read_mat(bad, KEY, plain)
        assert read_mat(good, KEY, plain).tolist() == [[0, 1]]


def test_every_file_that_scipy_dies_of_is_named_and_the_others_are_still_checked(tmp_path: Path) -> None:
    names = ["v_a_1", "v_a_2", "v_a_3", "v_n_4"]
    for name in names:
        truth(tmp_path / "Crash" / f"{name}.mat", [0, int(name != "v_n_4"), 0])
        (tmp_path / "Crash" / f"{name}.avi").touch()
    (tmp_path / "train_split.txt").write_text("v_a_1\nv_a_2\n")
    (tmp_path / "test_split.txt").write_text("v_a_3\nv_n_4\n")
    good = [video.events for video in read_lad2000(tmp_path, Options()).videos]
    assert good == [(Event(1, 2),)] * 3 + [()]
    bad = [deadly(tmp_path / "Crash" / f"{name}.mat", [0, 1, 0]) for name in ("v_a_1", "v_a_3")]
    with pytest.raises(DatasetError) as caught:
        read_lad2000(tmp_path, Options())
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [str(path) for path in bad]
    assert all("not frame labels of LAD2000: " in line and line.endswith("get it again") for line in lines)


@pytest.mark.parametrize(
    ("reduce", "reason"), [(killing, r"its reader died of it \(SIGKILL\): "), (hanging, "takes more than 2 s: ")]
)
def test_a_reader_that_dies_or_hangs_is_replaced(
    reduce: Callable[[np.ndarray], None], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = truth(tmp_path / "good.mat", [0, 1])
    before = read_mat(good, KEY, process_of)
    monkeypatch.setattr(mat, "READ_SECONDS", 2.0 if reduce is hanging else 60.0)
    with pytest.raises(ValueError, match=reason):
        read_mat(good, KEY, reduce)
    monkeypatch.undo()
    after = read_mat(good, KEY, process_of)
    assert os.getpid() != before != after
    assert read_mat(good, KEY, process_of) == after, "one process reads file after file"


def test_a_reader_that_had_nothing_to_do_and_has_ended_is_replaced(tmp_path: Path) -> None:
    assert read_mat(truth(tmp_path / "good.mat", [0, 1]), KEY, sized) == 2
    savemat(tmp_path / "mark.mat", {KEY: str(tmp_path / "mark")})
    assert read_mat(tmp_path / "mark.mat", KEY, leaving_once) == "read"
    assert (tmp_path / "mark").exists()


def test_no_file_is_blamed_for_a_reader_that_was_killed_between_two(tmp_path: Path) -> None:
    good = truth(tmp_path / "good.mat", [0, 1])
    os.kill(read_mat(good, KEY, process_of), signal.SIGKILL)
    assert read_mat(good, KEY, sized) == 2


def test_threads_may_read_one_after_the_other(tmp_path: Path) -> None:
    """A reader ends with the thread that started it: Linux counts that as its parent."""
    good, found = truth(tmp_path / "good.mat", [0, 1]), list[int]()
    for _ in range(3):
        thread = Thread(target=lambda: found.append(read_mat(good, KEY, sized)))
        thread.start()
        thread.join()
    assert found == [2, 2, 2]


def test_a_script_needs_no_guard_around_what_it_does(tmp_path: Path) -> None:
    """What reads runs nothing of the script once more."""
    truth(tmp_path / "Crash" / "v_a_1.mat", [0, 1])
    (tmp_path / "Crash" / "v_a_1.avi").touch()
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from lad.datasets import BENCHMARKS, Options\n"
        f"print(len(BENCHMARKS['lad2000'].read(Path({str(tmp_path)!r}), Options()).videos))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = truth(tmp_path / "first.mat", [0]), truth(tmp_path / "second.mat", [0, 1])
    assert read_mat(first, KEY, sized) == 1
    assert mat._reader is not None
    monkeypatch.setattr(mat._reader[1], "poll", _interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        read_mat(first, KEY, sized)
    assert read_mat(second, KEY, sized) == 2


def _interrupted(seconds: float) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("size", "filled"), [(100 << 20, 100 << 20), ((1 << 31) - 100, 1 << 20)])
def test_a_small_file_that_unpacks_without_end_takes_no_memory_here(size: int, filled: int, tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.mat", size, filled)
    assert path.stat().st_size < filled / 100
    tracemalloc.start()
    with pytest.raises(ValueError, match="get it again"):
        read_mat(path, KEY, plain)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    assert read_mat(truth(tmp_path / "good.mat", [0, 1]), KEY, sized) == 2


def test_a_file_that_takes_too_much_memory_is_refused_in_that_process(tmp_path: Path) -> None:
    good = truth(tmp_path / "good.mat", [0, 1])
    first = read_mat(good, KEY, process_of)
    with pytest.raises(ValueError, match="reading it takes more than 4 GB of memory: "):
        read_mat(good, KEY, greedy)
    assert read_mat(good, KEY, process_of) == first


def test_what_the_function_refuses_is_said_and_costs_no_process(tmp_path: Path) -> None:
    good = truth(tmp_path / "good.mat", [0, 1])
    first = read_mat(good, KEY, process_of)
    with pytest.raises(ValueError, match="not what was looked for"):
        read_mat(good, KEY, refusing)
    with pytest.raises(ValueError, match="there is no `other` in it"):
        read_mat(good, "other", plain)
    with pytest.raises(ValueError, match="damaged"):
        read_mat(tmp_path / "absent.mat", KEY, plain)
    assert read_mat(good, KEY, process_of) == first
