"""Clips of events: what is in them, and that a disk that takes nothing harms nobody."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.videos import read_number, write_video

from lad.extract.video import DEFAULT_LIMITS
from lad.watch.address import address_of
from lad.watch.messages import Record, Recorded, Snap, Snapped, Stop
from lad.watch.packets import Entry, FilePackets, Ring
from lad.watch.recorder import Recorder

Answers = queue.Queue[Recorded | Snapped]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """Eight seconds, a key frame every second, with B-frames."""
    path = tmp_path_factory.mktemp("recorder") / "a.mp4"
    write_video(path, 200, codec_options={"g": "25", "bf": "2", "sc_threshold": "0"})
    return list(FilePackets(address_of(str(path)), DEFAULT_LIMITS).since(0.0))


@pytest.fixture
def started(entries: list[Entry]) -> Callable[..., tuple[Recorder, Ring, Answers]]:
    def start(until: int) -> tuple[Recorder, Ring, Answers]:
        ring, answers = Ring(1000.0, 1 << 30), Answers()
        for entry in entries[:until]:
            ring.add(entry)
        recorder = Recorder(ring, answers.put, DEFAULT_LIMITS)
        recorder.start()
        return recorder, ring, answers

    return start


def numbers(path: Path) -> list[int]:
    with av.open(str(path)) as film:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


def test_a_clip_is_the_stream_from_the_key_frame_before_to_its_end(
    started: Callable[..., tuple[Recorder, Ring, Answers]], entries: list[Entry], tmp_path: Path
) -> None:
    recorder, ring, answers = started(90)
    recorder.ask(Record("a", tmp_path / "yard-2026.123Z-ab", start=2.5))
    recorder.ask(Stop("a", end=5.0))
    with pytest.raises(queue.Empty):
        answers.get(timeout=1.5)
    for entry in entries[90:]:
        ring.add(entry)
    answer = answers.get(timeout=20)
    assert isinstance(answer, Recorded)
    assert answer.path == tmp_path / "yard-2026.123Z-ab.mp4"
    found = numbers(answer.path)
    assert found[0] == 50
    assert found == list(range(50, 50 + len(found)))
    assert 124 <= found[-1] <= 127
    with av.open(str(answer.path)) as film:
        times = [frame.time for frame in film.decode(video=0)]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == [answer.path.name]


def test_a_clip_whose_end_is_known_late_is_over_then(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path
) -> None:
    recorder, _, answers = started(200)
    recorder.ask(Record("a", tmp_path / "a", start=2.5))
    with pytest.raises(queue.Empty):
        answers.get(timeout=1.5)
    recorder.ask(Stop("a", end=5.0))
    answer = answers.get(timeout=20)
    assert answer.path
    assert numbers(answer.path)[0] == 50


def test_a_clip_that_is_to_end_at_once_has_what_is_there(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path
) -> None:
    recorder, _, answers = started(100)
    recorder.ask(Record("a", tmp_path / "a", start=3.0))
    recorder.ask(Stop("a", end=float("inf"), at_once=True))
    answer = answers.get(timeout=20)
    assert isinstance(answer, Recorded)
    assert answer.path
    assert numbers(answer.path)[-1] >= 96


def test_a_clip_of_a_camera_that_is_gone_ends_with_what_came(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lad.watch.recorder.DRY_SECONDS", 0.5)
    recorder, _, answers = started(100)
    recorder.ask(Record("a", tmp_path / "a", start=3.0))
    with pytest.raises(queue.Empty):  # the event may go on
        answers.get(timeout=1.5)
    recorder.ask(Stop("a", end=9.0))
    answer = answers.get(timeout=20)
    assert answer.path
    assert numbers(answer.path)[-1] >= 96


def test_a_picture_is_the_frame_of_its_time(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path
) -> None:
    recorder, _, answers = started(200)
    for number in (0, 61, 75, 199):
        recorder.ask(Snap("a", tmp_path / f"{number}.jpg", time=number / 25))
        answer = answers.get(timeout=20)
        assert isinstance(answer, Snapped)
        assert numbers(tmp_path / f"{number}.jpg") == [number]


def test_what_cannot_be_written_is_told_and_the_next_one_is_written(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path
) -> None:
    recorder, _, answers = started(200)
    (tmp_path / "file").touch()
    for request in (Record("a", tmp_path / "file" / "a", start=1.0), Snap("b", tmp_path / "file" / "b.jpg", time=1.0)):
        recorder.ask(request)
    told = {answer.event: answer for answer in (answers.get(timeout=20) for _ in range(2))}
    assert {event: answer.path for event, answer in told.items()} == {"a": None, "b": None}
    assert all(answer.why == "File exists" for answer in told.values())
    recorder.ask(Snap("c", tmp_path / "c.jpg", time=1.0))
    assert answers.get(timeout=20).path == tmp_path / "c.jpg"


def test_of_a_camera_that_sent_nothing_there_is_no_clip(
    started: Callable[..., tuple[Recorder, Ring, Answers]], tmp_path: Path
) -> None:
    recorder, _, answers = started(0)
    recorder.ask(Record("a", tmp_path / "a", start=0.0))
    recorder.ask(Stop("a", end=1.0, at_once=True))
    answer = answers.get(timeout=20)
    assert (answer.path, answer.why) == (None, "nothing of it was kept")
