"""A driver of decoding processes that is interrupted, stopped or killed, and what its decoders do then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DRIVER = """
import signal, sys
from pathlib import Path
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Job
from lad.extract.workers import decode_videos
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in a shell's background
job = Job("x", Path(sys.argv[1]), ClipSpec(("rgb",), batch_clips=1))
for message in decode_videos([job], workers=2, stall_seconds=60):
    if message is not None:
        print(type(message).__name__, flush=True)
"""


@contextmanager
def driver_of(video: Path, program: str = DRIVER) -> Iterator[subprocess.Popen[str]]:
    """A driver that has started with a video, in a session of its own, of which nothing is left afterwards."""
    script = video.parent / "driver.py"
    script.write_text(program)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(video)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "Started\n"
        yield driver
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A video that nobody ever writes."""
    path = tmp_path / "fifo.mp4"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.16, 1.5])
def test_ctrl_c_ends_the_decoders_without_a_word_of_theirs(delay: float, fifo: Path) -> None:
    with driver_of(fifo) as driver:
        time.sleep(delay)
        os.killpg(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=20)
    assert errors.count("Traceback") <= 1, errors  # the driver's own
    assert errors.count("KeyboardInterrupt") >= 1


@pytest.mark.parametrize("delay", [0.0, 1.5])  # before the decoder has begun, and while it waits for the FIFO
def test_decoders_end_with_a_driver_that_is_killed(delay: float, fifo: Path) -> None:
    with driver_of(fifo) as driver:
        time.sleep(delay)
        driver.kill()
        driver.wait()
        end = time.monotonic() + 30
        while _session_lives(driver.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _session_lives(driver.pid)


def test_who_was_stopped_with_the_driver_has_not_stalled(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    """Ctrl-Z and `fg`, a suspended job of a cluster, a paused container: nothing that was done is lost."""
    program = DRIVER.replace('("rgb",)', '("flow",)').replace("stall_seconds=60", "stall_seconds=3")
    with driver_of(make_video(tmp_path / "long.mp4", 400), program) as driver:
        assert driver.stdout is not None
        said = [driver.stdout.readline() for _ in range(2)]
        os.killpg(driver.pid, signal.SIGSTOP)
        time.sleep(4)
        os.killpg(driver.pid, signal.SIGCONT)
        said += driver.stdout.readlines()  # `communicate` would lose what `readline` has read ahead
    assert said == [*["Clips\n"] * 25, "Finished\n"]


def _session_lives(group: int) -> bool:
    """Whether a process of the group runs (a dead one that nobody has waited for does not count)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
