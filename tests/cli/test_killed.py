"""Commands that are killed, interrupted or started twice: nothing is lost, and the next one resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.small_run import FRAMES, arguments


def assert_same_results(work: Path, expected: Path) -> None:
    """Bit for bit the same features, checkpoints and scores; no temporary file left."""
    files = sorted(p.relative_to(expected) for p in expected.rglob("*") if p.suffix in (".npy", ".csv", ".pt", ".json"))
    assert sorted(p.relative_to(work) for p in work.rglob("*") if p.suffix in (".npy", ".csv", ".pt", ".json")) == files
    for name in files:
        assert (work / name).read_bytes() == (expected / name).read_bytes(), name
    assert not list(work.rglob("*.tmp"))


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Until it holds; a machine with other work needs many times as long as one without."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def start_run(dataset: Path, work: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lad", "run", *arguments(dataset, work, *more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(dataset, finished, tmp_path):
    """SIGKILL to the whole group: in extraction, in a fold, between folds, in the last training."""
    work = tmp_path / "work"
    moments = (
        lambda: any((work / "features").rglob("*.npy")),
        lambda: len(list((work / "features" / "rgb").rglob("*.npy"))) >= 4,
        lambda: (work / "checkpoints" / "fold_0" / "last.pt").exists(),
        lambda: (work / "checkpoints" / "fold_0" / "curve.json").exists(),
        lambda: (work / "checkpoints" / "best.pt").exists(),
    )
    for moment in moments:
        process = start_run(dataset, work)
        wait_for(lambda: moment() or process.poll() is not None)  # noqa: B023  (called before the next round)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start_run(dataset, work)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert_same_results(work, finished)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_within_5_seconds_with_status_130_and_keeps_what_is_done(dataset, finished, tmp_path, sent):
    work = tmp_path / "work"
    process = start_run(dataset, work, "-o", "train.steps=100000")
    wait_for(lambda: (work / "checkpoints" / "fold_0" / "last.pt").exists())
    began = time.monotonic()
    os.killpg(process.pid, sent)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert "what is done is kept" in err and "Traceback" not in err
    assert len(list((work / "features" / "flow").rglob("*.npy"))) == len(FRAMES)


def catches(process: subprocess.Popen[str], signum: signal.Signals) -> bool:
    """Whether it has a handler for a signal, as Python has none of its own for SIGTERM."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> signum - 1 & 1)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, 0.6, 1.3, 2.3])
def test_an_interrupt_during_imports_is_status_130_too(dataset, tmp_path, delay):
    process = start_run(dataset, tmp_path / "work")
    wait_for(lambda: catches(process, signal.SIGTERM))
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_second_lad_on_the_same_work_directory_says_who_holds_it(lad, dataset, work):
    from lad.work.manifest import open_manifest

    with open_manifest(work):
        status, _, err = lad("run", *arguments(dataset, work))
    assert status == 2 and f"process {os.getpid()}" in err
