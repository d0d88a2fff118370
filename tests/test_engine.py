"""What running videos through decoding processes promises, whatever the files and the processes do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import read_number

from lad.pipeline.engine import ClipJob, Clips, Failed, Finished, Message, Started, decode_videos

MakeVideo = Callable[..., Path]


def job(path: Path, streams: tuple[str, ...] = ("rgb",), batch_clips: int = 1) -> ClipJob:
    return ClipJob(path.name, path, streams, "dis", "pad", batch_clips, 25.0)


def run(jobs: list[ClipJob], workers: int = 1, stall_seconds: float = 60) -> dict[str, list[Message]]:
    by_item: dict[str, list[Message]] = {}
    for message in decode_videos(jobs, workers=workers, stall_seconds=stall_seconds):
        by_item.setdefault(message.item, []).append(message)
    return by_item


def valid(messages: list[Message]) -> list[Message]:
    """What counts: all after the last beginning."""
    last = max(place for place, message in enumerate(messages) if isinstance(message, Started))
    return messages[last:]


def frame_numbers(messages: list[Message]) -> list[int]:
    return [
        read_number(image)
        for message in messages
        if isinstance(message, Clips)
        for clip in message.batch["rgb"]
        for image in clip
    ]


def no_children(seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.05)
    return not multiprocessing.active_children()


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    assert no_children()


def test_every_video_begins_gives_its_clips_in_order_and_finishes(tmp_path: Path, make_video: MakeVideo) -> None:
    counts = {"a.mp4": 40, "b.mp4": 16, "c.mp4": 5}
    jobs = [job(make_video(tmp_path / name, count)) for name, count in counts.items()]
    found = run(jobs, workers=2)
    assert set(found) == set(counts)
    for name, count in counts.items():
        clips = -(-count // 16)
        kinds = [type(message) for message in found[name]]
        assert kinds == [Started, *[Clips] * clips, Finished]
        assert frame_numbers(found[name]) == [*range(count)] + [count - 1] * (16 * clips - count)
        finished = found[name][-1]
        assert isinstance(finished, Finished)
        assert finished.info.frames == count
        assert finished.info.reader == "decord"
        assert finished.info.warnings == []


def test_a_bad_file_among_good_ones_does_not_stop_the_rest(tmp_path: Path, make_video: MakeVideo) -> None:
    good = [make_video(tmp_path / f"good{number}.mp4", 20) for number in range(2)]
    empty, missing = tmp_path / "empty.mp4", tmp_path / "missing.mp4"
    empty.write_bytes(b"")
    found = run([job(path) for path in (good[0], empty, missing, good[1])])
    assert [isinstance(found[path.name][-1], Finished) for path in good] == [True, True]
    failures = {name: found[name][-1] for name in ("empty.mp4", "missing.mp4")}
    assert [(type(f), f.failure) for f in failures.values()] == [(Failed, "content"), (Failed, "io")]  # type: ignore[union-attr]
    assert "empty" in failures["empty.mp4"].error  # type: ignore[union-attr]


def test_what_decord_gives_up_is_read_again_by_pyav(tmp_path: Path, make_video: MakeVideo) -> None:
    grain = np.random.default_rng(0)
    noise = [grain.integers(0, 255, (96, 128, 3)).astype(np.uint8) for _ in range(40)]
    path = make_video(tmp_path / "damaged.mp4", noise, size=(128, 96), codec_options={"g": "10"})
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) * 3 // 4, 997):
        data[place] ^= 0x55
    path.write_bytes(data)
    messages = run([job(path)])[path.name]
    assert [type(message) for message in messages].count(Started) == 2
    finished = valid(messages)[-1]
    assert isinstance(finished, Finished)
    assert finished.info.reader == "pyav"
    assert any("damaged" in warning for warning in finished.info.warnings)


def kill_children() -> None:
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)


def test_a_killed_decoder_is_replaced_and_its_video_read_again(tmp_path: Path, make_video: MakeVideo) -> None:
    # Long enough that the pipe cannot hold the rest of it when the decoder dies.
    jobs = [job(make_video(tmp_path / name, 96)) for name in ("a.mp4", "b.mp4")]
    found: dict[str, list[Message]] = {}
    killed = False
    for message in decode_videos(jobs, workers=1, stall_seconds=60):
        found.setdefault(message.item, []).append(message)
        if isinstance(message, Clips) and not killed:
            kill_children()
            killed = True
    assert [type(message) for message in found["a.mp4"]].count(Started) == 2
    for name in ("a.mp4", "b.mp4"):
        assert isinstance(found[name][-1], Finished)
        assert frame_numbers(valid(found[name])) == list(range(96))


def test_a_video_that_kills_its_decoder_twice_fails_and_the_rest_goes_on(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / name, 96)) for name in ("deadly.mp4", "good.mp4")]
    found: dict[str, list[Message]] = {}
    for message in decode_videos(jobs, workers=1, stall_seconds=60):
        found.setdefault(message.item, []).append(message)
        if isinstance(message, Clips) and message.item == "deadly.mp4":
            kill_children()
    failed = found["deadly.mp4"][-1]
    assert isinstance(failed, Failed)
    assert failed.failure == "worker"
    assert "SIGKILL" in failed.error
    assert isinstance(found["good.mp4"][-1], Finished)
    assert frame_numbers(found["good.mp4"]) == list(range(96))


def test_a_stalled_decoder_is_ended_and_named(tmp_path: Path, make_video: MakeVideo) -> None:
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)  # opening it waits for a writer who never comes
    good = make_video(tmp_path / "good.mp4", 20)
    found = run([job(fifo), job(good)], workers=2, stall_seconds=2)
    failed = found["fifo.mp4"][-1]
    assert isinstance(failed, Failed)
    assert failed.failure == "worker"
    assert "no progress for 2 s" in failed.error
    assert isinstance(found["good.mp4"][-1], Finished)


def test_a_consumer_that_stops_early_leaves_no_process(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / f"{number}.mp4", 64)) for number in range(3)]
    messages = decode_videos(jobs, workers=2, stall_seconds=60)
    next(message for message in messages if isinstance(message, Clips))
    assert multiprocessing.active_children()
    messages.close()  # type: ignore[attr-defined]
    assert no_children(0)


def test_an_error_in_the_consumer_leaves_no_process(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / "a.mp4", 64))]
    with pytest.raises(ZeroDivisionError):
        for _ in decode_videos(jobs, workers=2, stall_seconds=60):
            raise ZeroDivisionError
    assert no_children()


def test_nothing_to_do_starts_nothing() -> None:
    assert run([]) == {}


DRIVER = """
import sys
from pathlib import Path
from lad.pipeline.engine import ClipJob, decode_videos
if __name__ == "__main__":
    for message in decode_videos([ClipJob("x", Path(sys.argv[1]), ("rgb",), "dis", "pad", 1, 25.0)],
                                 workers=2, stall_seconds=60):
        print(type(message).__name__, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.16, 1.5])
def test_ctrl_c_ends_the_decoders_without_a_word_of_theirs(delay: float, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(fifo)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "Started\n"
        time.sleep(delay)
        os.killpg(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    assert errors.count("Traceback") <= 1, errors  # the driver's own
    assert errors.count("KeyboardInterrupt") >= 1


def test_decoders_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(fifo)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "Started\n"
        time.sleep(1.5)  # the decoder has started and waits for the FIFO
        driver.kill()
        driver.wait()
        end = time.monotonic() + 10
        while _session_lives(driver.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _session_lives(driver.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)


def _session_lives(group: int) -> bool:
    """Whether a process of the group runs (a dead one that nobody has waited for does not count)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
