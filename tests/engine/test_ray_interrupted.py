"""Ctrl-C while a Ray of this machine's own extracts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.elsewhere import SMALL, VIDEOS, extract_alone, features, left_behind, processes_of, write_videos

pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")

pytestmark = pytest.mark.slow
SAID = "interrupted: what is done is kept; the same command resumes from here"
GONE = 60.0  # seconds for processes whose parent is gone, on a machine that does other work, too


def start(data: Path, work: Path) -> subprocess.Popen[str]:
    """`lad extract` in a process group of its own, as a terminal starts it."""
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--actors", "1", "-o", "workers=1"]
    env = {**os.environ, "LAD_TEST": str(work)}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
    )


def interrupted(driver: subprocess.Popen[str], work: Path, when: Callable[[], bool]) -> str:
    """Press Ctrl-C, which reaches the whole process group; returns what was said on stderr."""
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
            time.sleep(0.02)
        os.killpg(driver.pid, signal.SIGINT)
        out, err = driver.communicate(timeout=60)
    finally:
        driver.kill()
    assert driver.returncode == 130 and not out, out + err
    deadline = time.monotonic() + GONE
    while (left := processes_of(work)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"still there: {left}"
    return err


def done_in(work: Path) -> int:
    """How many videos are done, by the journal, which has a line for each of their two streams."""
    try:
        lines = (work / "manifest.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    return sum(json.loads(line).get("status") == "done" for line in lines if line.endswith("\n")) // 2


def test_what_is_done_is_kept_and_no_process_stays(tmp_path: Path) -> None:
    data, work = write_videos(tmp_path / "data"), tmp_path / "work"
    err = interrupted(start(data, work), work, lambda: done_in(work))
    lines = [line for line in err.splitlines() if line]
    assert lines[-1] == SAID and all(line.startswith(("extract:", "failed:")) for line in lines[:-1]), err
    done = done_in(work)
    again = start(data, work)
    out, err = again.communicate(timeout=300)
    assert f"{VIDEOS - done} done, {done} done before, 1 failed" in out, out + err
    assert features(work) == extract_alone(data, tmp_path / "alone")
    assert not left_behind(work)


def test_a_ray_that_is_still_starting_ends_too(tmp_path: Path) -> None:
    data, work = write_videos(tmp_path / "data"), tmp_path / "work"

    def is_starting() -> bool:
        return any("gcs_server" in title for title in processes_of(work).values())

    err = interrupted(start(data, work), work, is_starting)
    assert [line for line in err.splitlines() if line and not line.startswith("extract:")] == [SAID]
    assert not left_behind(work)
