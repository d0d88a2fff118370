"""What running videos through decoding processes promises, whatever the files and the processes do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoders import decoders, signal_decoders, started, unburied, wait_until_idle
from helpers.videos import numbered_frame, read_number

from lad import children
from lad.extract import worker
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.flow import FLOW_METHODS
from lad.extract.jobs import Alive, Clips, Failed, Finished, Job, Message, Started
from lad.extract.pipes import Inbox
from lad.extract.worker import _Progress, _reporting, run_job
from lad.extract.workers import decode_videos

pytestmark = pytest.mark.slow

MakeVideo = Callable[..., Path]


def job(path: Path, streams: tuple[str, ...] = ("rgb",), batch_clips: int = 1, **spec: Any) -> Job:
    return Job(path.name, path, ClipSpec(streams, batch_clips=batch_clips, **spec))


def messages_of(jobs: list[Job], workers: int = 1, stall_seconds: float = 60) -> Iterator[Message]:
    """What decoders send, without the seconds in which nothing comes."""
    messages = decode_videos(jobs, workers=workers, stall_seconds=stall_seconds)
    return (message for message in messages if message is not None)


def run(jobs: list[Job], workers: int = 1, stall_seconds: float = 60) -> dict[str, list[Message]]:
    by_item: dict[str, list[Message]] = {}
    for message in messages_of(jobs, workers, stall_seconds):
        by_item.setdefault(message.item, []).append(message)
    return by_item


def valid(messages: list[Message]) -> list[Message]:
    """What counts: all after the last beginning that did not go on from what there was."""
    last = max(n for n, message in enumerate(messages) if isinstance(message, Started) and not message.skip_clips)
    return messages[last:]


def frame_numbers(messages: list[Message]) -> list[int]:
    return [
        read_number(image)
        for message in messages
        if isinstance(message, Clips)
        for clip in message.batch["rgb"]
        for image in clip
    ]


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    before = started()  # what another file of tests has left may die now
    yield
    assert decoders() == []
    assert unburied() <= before


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


def test_overlapping_clips_at_another_rate(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", 48)  # at 25 frames a second
    messages = run([job(path, stride=8, fps=12.5)])[path.name]
    assert frame_numbers(messages) == [*range(0, 32, 2), *range(16, 48, 2)]
    finished = messages[-1]
    assert isinstance(finished, Finished)
    assert finished.info.frames == 48, "it is the video that is told of, not the sample"


def test_clips_for_crops_are_larger(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", 17)  # 64x48
    found = run([job(path, streams=("rgb", "flow"), batch_clips=4, crops=10)])[path.name]
    (batch,) = [message.batch for message in found if isinstance(message, Clips)]
    assert batch["rgb"].shape == (2, 16, 256, 341, 3)
    assert batch["flow"].shape == (2, 16, 256, 341, 2)


def test_flow_by_a_network_is_computed_by_the_decoder(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", 3)
    network = job(path, streams=("rgb", "flow"), flow="raft", flow_weights="random")
    (batch,) = [message.batch for message in run([network])[path.name] if isinstance(message, Clips)]
    assert [read_number(image) for image in batch["rgb"][0, :3]] == [0, 1, 2]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a decoder
    try:
        solve = FLOW_METHODS["raft"].make("cpu", "random")
        for number in range(2):
            assert np.array_equal(batch["flow"][0, number], solve(batch["rgb"][0, number], batch["rgb"][0, number + 1]))
    finally:
        torch.set_num_threads(threads)


def test_a_network_without_weights_fails_by_name(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    path = make_video(tmp_path / "a.mp4", 3)
    failed = run([job(path, streams=("flow",), flow="raft")])[path.name][-1]
    assert isinstance(failed, Failed)
    assert failed.failure == "worker"
    assert "lad weights fetch raft-large" in failed.error


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


@pytest.mark.parametrize(("stride", "fps"), [(16, None), (8, None), (16, 12.5)])
def test_clips_known_before_are_skipped(stride: int, fps: float | None, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", 150)
    plain = job(path, streams=("rgb", "flow"), batch_clips=2, stride=stride, fps=fps)
    whole = run([plain])[path.name]
    resumed = run([replace(plain, skip_clips=4)])[path.name]
    assert resumed[0] == Started(path.name, "auto", 4)
    assert resumed[-1] == whole[-1], "what reading it showed is told of the whole video"
    expected = [message.batch for message in whole[3:] if isinstance(message, Clips)]
    batches = [message.batch for message in resumed if isinstance(message, Clips)]
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        for stream in ("rgb", "flow"):
            assert np.array_equal(batch[stream], other[stream])


def test_pyav_skips_nothing_that_a_decord_that_crashed_gave(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", 160)
    messages: list[Message] = []
    for message in messages_of([replace(job(path), skip_clips=2)]):
        if isinstance(message, Clips) and not any(isinstance(earlier, Clips) for earlier in messages):
            signal_decoders(signal.SIGSEGV)
        messages.append(message)
    started = [message for message in messages if isinstance(message, Started)]
    assert started == [Started(path.name, "auto", 2), Started(path.name, "pyav", 0)]
    assert frame_numbers(valid(messages)) == list(range(160))


def test_a_decoder_that_skips_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ALIVE_SECONDS", -1.0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        progress = _Progress(theirs.fileno(), "video")
        frames = _reporting((numbered_frame(number, (64, 48)) for number in range(50)), progress)
        next(clip_batches(frames, ClipSpec(("rgb",), batch_clips=1), skip_clips=2))
        inbox = Inbox(ours, patience=0.01)
        for _ in range(47):  # all frames of both skipped clips, and those of the third but the last
            assert inbox.take() == Alive("video")
        assert inbox.take() is None


def test_a_decoder_shows_that_it_lives_while_no_frame_comes(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a file of a hundred gigabytes is looked through, or images that cannot be read go by."""
    monkeypatch.setattr(worker, "ALIVE_SECONDS", -1.0)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.png").touch()
    for path in (make_video(tmp_path / "a.mp4", 20), folder):
        said: list[object] = []
        monkeypatch.setattr(worker, "send", lambda _pipe, message, said=said: said.append(message))
        no_pipe: Any = None
        run_job(no_pipe, replace(job(path, batch_clips=2), choice="pyav"))
        before = next(place for place, message in enumerate(said) if message != Alive(path.name))
        assert before >= (20 + 20 + 20 if path.is_file() else 20)  # packets twice, and frames


def test_a_killed_decoder_is_replaced_and_goes_on_from_what_it_gave(tmp_path: Path, make_video: MakeVideo) -> None:
    # Long enough that the pipe cannot hold the rest of it when the decoder dies.
    jobs = [job(make_video(tmp_path / name, 96)) for name in ("a.mp4", "b.mp4")]
    found: dict[str, list[Message]] = {}
    killed = False
    for message in messages_of(jobs):
        found.setdefault(message.item, []).append(message)
        if isinstance(message, Clips) and not killed:
            signal_decoders(signal.SIGKILL)
            killed = True
    first, second = (message for message in found["a.mp4"] if isinstance(message, Started))
    assert first.skip_clips == 0 and second.skip_clips > 0 and first.choice == second.choice == "auto"
    for name in ("a.mp4", "b.mp4"):
        assert isinstance(found[name][-1], Finished)
        assert frame_numbers(valid(found[name])) == list(range(96))


def test_a_video_whose_decoders_are_all_killed_fails_and_the_rest_goes_on(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    jobs = [job(make_video(tmp_path / name, 96)) for name in ("deadly.mp4", "good.mp4")]
    found: dict[str, list[Message]] = {}
    for message in messages_of(jobs):
        found.setdefault(message.item, []).append(message)
        if isinstance(message, Clips) and message.item == "deadly.mp4":
            signal_decoders(signal.SIGKILL)
    started = [message for message in found["deadly.mp4"] if isinstance(message, Started)]
    assert [message.choice for message in started] == ["auto", "auto", "pyav"]
    assert started[1].skip_clips and not started[2].skip_clips
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
    found = run([job(fifo), job(good)], workers=2, stall_seconds=5)
    failed = found["fifo.mp4"][-1]
    assert isinstance(failed, Failed)
    assert failed.failure == "worker"
    assert "no progress for 5 s" in failed.error
    assert isinstance(found["good.mp4"][-1], Finished)


def test_a_consumer_that_stops_early_leaves_no_process(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / f"{number}.mp4", 64)) for number in range(3)]
    messages = decode_videos(jobs, workers=2, stall_seconds=60)
    next(message for message in messages if isinstance(message, Clips))
    assert decoders()
    messages.close()  # type: ignore[attr-defined]
    assert decoders() == []


def test_an_error_in_the_consumer_leaves_no_process(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / "a.mp4", 64))]
    with pytest.raises(ZeroDivisionError):
        for _ in decode_videos(jobs, workers=2, stall_seconds=60):
            raise ZeroDivisionError
    assert decoders() == []


def test_nothing_to_do_starts_nothing() -> None:
    assert run([]) == {}


def test_a_decoder_that_stops_in_the_middle_of_a_message_is_ended(tmp_path: Path, make_video: MakeVideo) -> None:
    """One that is frozen while it sends leaves a pipe that is readable, and a message that never ends."""
    path = make_video(tmp_path / "a.mp4", 96)
    messages: list[Message] = []
    for message in messages_of([job(path)], stall_seconds=5):
        if isinstance(message, Clips) and not any(isinstance(earlier, Clips) for earlier in messages):
            (decoder,) = decoders()
            wait_until_idle(decoder)  # a clip is more than a pipe holds: it has begun to send the next one
            os.kill(decoder, signal.SIGSTOP)
        messages.append(message)
    started = [message for message in messages if isinstance(message, Started)]
    assert started == [Started(path.name, "auto", 0), Started(path.name, "pyav", 0)]
    assert frame_numbers(valid(messages)) == list(range(96))


def test_a_decoder_that_sends_slowly_has_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that takes five seconds to come, piece by piece, holds nobody up and is no silence."""
    start = children.start
    monkeypatch.setattr(children, "start", lambda _module: start("helpers.odd_decoder"))
    found = run([job(Path("slow.mp4"))], stall_seconds=4)["slow.mp4"]
    assert [type(message) for message in found] == [Started, Finished]


# The library in other people's programs

SCRIPT = """
import sys
from pathlib import Path
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Job
from lad.extract.workers import decode_videos
print("begun")
for message in decode_videos([Job("x", Path(sys.argv[1]), ClipSpec(("rgb",)))], workers=2, stall_seconds=60):
    if message is not None:
        print(type(message).__name__)
print("ended", *sorted({"av", "cv2", "decord", "torch"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("way", ["script", "command", "stdin"])
def test_a_program_without_a_main_guard_runs_once_and_ends(way: str, tmp_path: Path, make_video: MakeVideo) -> None:
    """`multiprocessing` would run it once more in every decoder, or not find it. And it stays free of what decodes."""
    (tmp_path / "script.py").write_text(SCRIPT)
    words = {"script": [str(tmp_path / "script.py")], "command": ["-c", SCRIPT], "stdin": ["-"]}[way]
    done = subprocess.run(
        [sys.executable, *words, str(make_video(tmp_path / "a.mp4", 20))],
        input=SCRIPT if way == "stdin" else "",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["begun", "Started", "Clips", "Finished", "ended"]


def test_threads_decode_videos_side_by_side(tmp_path: Path, make_video: MakeVideo) -> None:
    jobs = [job(make_video(tmp_path / f"{number}.mp4", 40 + number)) for number in range(3)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda one: run([one])[one.item], jobs))
    for number, messages in enumerate(found):
        assert [type(message) for message in messages] == [Started, *[Clips] * 3, Finished]
        assert frame_numbers(messages)[: 40 + number] == list(range(40 + number))
