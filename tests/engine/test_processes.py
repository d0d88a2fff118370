"""`--device cuda:all`: a process for each GPU. Here each has the CPU, and all else is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.elsewhere import SMALL, VIDEOS, extract_alone, features, left_behind, write_videos
from helpers.work import items

from lad.engine import processes
from lad.engine.extracting import SCRATCH
from lad.engine.processes import Processes
from lad.held import held_folder
from lad.work.partial import Partial, folder_of

pytestmark = pytest.mark.slow
Lad = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return extract_alone(data, tmp_path_factory.mktemp("alone"))


@pytest.fixture
def extract(lad: Lad, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`lad extract --device cuda:all` where there would be two GPUs."""
    monkeypatch.setattr("lad.pipeline.extract.extraction_devices", lambda _: ["cpu", "cpu"])

    def call(work: Path, *more: str) -> tuple[int, str, str]:
        return lad("extract", "--data", str(data), "--work", str(work), *SMALL, *more)

    return call


def test_two_processes_make_what_one_makes(extract: Lad, alone: dict[str, bytes], tmp_path: Path) -> None:
    status, out, err = extract(tmp_path)
    assert status == 1 and f"{VIDEOS} done, 1 failed" in out, out + err
    assert "2 processes of 2 decoders" in err
    assert len(alone) == 3 * VIDEOS and features(tmp_path) == alone
    assert items(tmp_path, "extract")["rgb/yard/broken"].failure == "content"
    assert not left_behind(tmp_path)
    status, out, err = extract(tmp_path)
    assert status == 1 and f"{VIDEOS} done before, 1 failed" in out, out + err


def test_what_one_process_had_half_done_is_not_read_and_does_not_stay(
    extract: Lad, data: Path, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lad.pipeline.extract.resume", lambda *_: pytest.fail("videos begin at their start here"))
    monkeypatch.setattr("lad.pipeline.extract._sweep", lambda _: None)  # as if it were known to be half done
    extract(tmp_path, str(data / "yard" / "0.mp4"))
    half = Partial(folder_of(tmp_path, "yard/3"), {})
    half.add({"rgb": np.ones((2, 4), np.float32)})
    half.save()
    status, out, err = extract(tmp_path)
    assert status == 1 and f"{VIDEOS - 1} done, 1 done before, 1 failed" in out, out + err
    assert features(tmp_path) == alone
    assert not left_behind(tmp_path)


def test_a_process_that_dies_costs_nothing_but_time(
    extract: Lad, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    send = Processes.send

    def send_and_kill(self: Processes, name: str, *rest: object) -> None:
        send(self, name, *rest)  # type: ignore[arg-type]
        if len(killed) < 3:
            killed.append(self._processes[name].process.pid)
            os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(Processes, "send", send_and_kill)
    status, out, err = extract(tmp_path)
    assert status == 1 and f"{VIDEOS} done, 1 failed" in out, out + err
    assert "its process died (SIGKILL)" in err and len(killed) == 3
    assert features(tmp_path) == alone
    assert not left_behind(tmp_path)


def test_processes_that_never_come_as_far_as_a_video_are_an_error(
    extract: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = processes.children.start
    monkeypatch.setattr(processes.children, "start", lambda _: start("lad.no_such_module"))
    status, _, err = extract(tmp_path)
    assert status == 2 and "its process died 3 times before its first video (exit status 1)" in err
    assert not left_behind(tmp_path)


def test_a_device_that_is_not_there_is_said_once_and_as_it_is(
    lad: Lad, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lad.pipeline.extract.extraction_devices", lambda _: ["cuda:70", "cuda:71"])
    status, _, err = lad("extract", "--data", str(data), "--work", str(tmp_path), *SMALL)
    assert status == 2 and err.count("nothing is done on") == 2 and "cuda:70" in err
    assert "its process died" not in err


def test_what_dead_processes_left_on_a_machine_is_removed_and_not_what_living_ones_have(tmp_path: Path) -> None:
    dead, elsewhere = tmp_path / f"{SCRATCH}dead", tmp_path / "elsewhere"
    (dead / "partial").mkdir(parents=True)
    elsewhere.mkdir()
    (tmp_path / f"{SCRATCH}link").symlink_to(elsewhere)
    with held_folder(tmp_path, SCRATCH) as mine:
        assert not dead.exists()
        with held_folder(tmp_path, SCRATCH) as other:
            assert mine.exists() and other != mine
    assert elsewhere.is_dir() and not list(elsewhere.iterdir()), "a link is not followed"
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", f"{SCRATCH}link"}
