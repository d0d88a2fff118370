"""Who gets which video, and what happens to it when a process is lost. The processes here are fakes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lad.engine import pool
from lad.engine.messages import (
    Alive,
    Doing,
    Done,
    EngineError,
    Extracted,
    Fleet,
    Gone,
    Lost,
    Made,
    NotReceived,
    PoolEvent,
    Progressed,
    Ready,
    Refused,
    Task,
    Word,
)
from lad.engine.pool import TRIES, deal_out
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Failed, Job, Reached, Started
from lad.extract.video import VideoInfo
from lad.remote.facts import Facts
from lad.remote.fetch import Remote
from lad.remote.room import Bounds
from lad.remote.url import url_of

Answers = Callable[[str, Task], Word | None]


class FakeCrew:
    """Processes named after their machines: `a/0` is one on `a`. `answers` says what one does with a video."""

    def __init__(self, answers: Answers, *names: str) -> None:
        self.answers, self.names = answers, names
        self.words: deque[tuple[str, Word]] = deque((name, Ready(node_of(name))) for name in names)
        self.busy: dict[str, list[Task]] = {name: [] for name in names}
        self.sent: list[tuple[str, str, int]] = []  # process, video, how many it had beside it
        self.restarted: list[str] = []
        self.is_closed = False

    def send(self, name: str, task: Task) -> None:
        self.sent.append((name, task.job.item, len(self.busy[name])))
        self.busy[name].append(task)

    def listen(self, seconds: float) -> Iterator[tuple[str, Word]]:
        if self.words:
            yield self.words.popleft()
            return
        for name in self.names:
            if self.busy[name]:
                word = self.answers(name, self.busy[name][0])
                if word is None:  # it is silent
                    continue
                if isinstance(word, Gone):
                    self.busy[name].clear()
                    self.words.appendleft((name, Ready(node_of(name))))
                elif not isinstance(word, Alive):
                    self.busy[name].pop(0)
                yield name, word
                return

    def collect(self, done: Done, video_id: str) -> Mapping[str, Path]:
        return {"rgb": Path(video_id)}

    def restart(self, name: str) -> None:
        self.restarted.append(name)
        self.busy[name].clear()
        self.words.append((name, Ready(node_of(name))))

    def size(self) -> int:
        return len(self.names)

    def why_none(self) -> str:
        return "they are asleep"

    def close(self) -> None:
        self.is_closed = True


def node_of(name: str) -> str:
    return name.partition("/")[0]


def extracted(_: str, task: Task) -> Word:
    return Extracted(task.name, {}, 2, [], VideoInfo())


def jobs(*videos: str) -> list[Job]:
    return [Job(video, Path("nowhere", video), ClipSpec(("rgb",))) for video in videos]


def run(crew: FakeCrew, *videos: str, stall_seconds: float = 60) -> list[PoolEvent]:
    said: list[str] = []
    events = deal_out(jobs(*videos), crew, in_flight=2, stall_seconds=stall_seconds, say=said.append)
    return [event for event in events if not isinstance(event, Fleet)]


def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a second pass whenever somebody looks at the clock."""
    times = itertools.count()
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: float(next(times))))


def test_videos_go_out_in_their_order_and_two_at_a_time_to_a_process() -> None:
    crew = FakeCrew(extracted, "a/0", "b/0")
    events = run(crew, *"12345")
    assert [video for _, video, _ in crew.sent] == list("12345")
    assert max(beside for _, _, beside in crew.sent) == 1
    assert sorted(event.item for event in events if isinstance(event, Made)) == list("12345")
    assert crew.is_closed


def test_what_a_lost_process_had_is_done_by_another_one_and_alone() -> None:
    def answers(name: str, task: Task) -> Word:
        return Gone("killed") if name == "a/0" and len(crew.sent) <= 4 else extracted(name, task)

    crew = FakeCrew(answers, "a/0", "b/0")
    events = run(crew, *"1234")
    assert {event.item for event in events if isinstance(event, Made)} == set("1234")
    lost = [video for name, video, _ in crew.sent[:4] if name == "a/0"]
    again = crew.sent[4:]
    assert sorted(video for _, video, _ in again) == sorted(lost)
    assert all((name, beside) == ("b/0", 0) for name, _, beside in again), "what killed it must not take others along"
    assert [event.item for event in events if isinstance(event, Started)].count(lost[0]) == 2


def test_a_video_that_is_lost_three_times_has_failed_and_the_others_are_done() -> None:
    def answers(name: str, task: Task) -> Word:
        return Gone("out of memory") if task.job.item == "bad" else extracted(name, task)

    events = run(FakeCrew(answers, "a/0", "b/0"), "1", "bad", "2")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.item, failed.failure) == ("bad", "worker") and "out of memory" in failed.error
    assert [event.item for event in events if isinstance(event, Started)].count("bad") == TRIES
    assert {event.item for event in events if isinstance(event, Made)} == {"1", "2"}


def test_a_video_whose_machines_are_taken_away_again_and_again_is_done_and_before_what_waits() -> None:
    tried: list[str] = []

    def answers(name: str, task: Task) -> Word:
        tried.append(task.job.item)
        if tried.count("spot") <= TRIES and task.job.item == "spot":
            return Gone("its node is about to go", drained=True)
        return extracted(name, task)

    events = run(FakeCrew(answers, "a/0"), "spot", "1", "2", "3")
    assert {event.item for event in events if isinstance(event, Made)} == {"spot", "1", "2", "3"}
    assert not [event for event in events if isinstance(event, Failed)]
    assert tried.index("3") > max(place for place, video in enumerate(tried) if video == "spot")


def test_one_try_that_comes_to_nothing_is_tried_elsewhere() -> None:
    def answers(name: str, task: Task) -> Word:
        return Lost(task.name, "its object is lost") if name == "a/0" else extracted(name, task)

    crew = FakeCrew(answers, "a/0", "b/0")
    assert {event.item for event in run(crew, *"123") if isinstance(event, Made)} == set("123")


def test_what_one_machine_cannot_read_is_done_by_one_that_can() -> None:
    def answers(name: str, task: Task) -> Word:
        return Failed(task.name, "io", "no such file") if node_of(name) == "a" else extracted(name, task)

    crew = FakeCrew(answers, "a/0", "a/1", "b/0")
    events = run(crew, *"123456")
    assert {event.item for event in events if isinstance(event, Made)} == set("123456")
    assert all(sum(node_of(name) == "a" and one == video for name, one, _ in crew.sent) <= 1 for video in "123456")


def test_what_no_machine_can_read_has_failed_as_the_disks_fault() -> None:
    def answers(_: str, task: Task) -> Word:
        return Failed(task.name, "io", "no such file")

    crew = FakeCrew(answers, "a/0", "b/0")
    (failed,) = [event for event in run(crew, "1") if isinstance(event, Failed)]
    assert (failed.item, failed.failure, failed.error) == ("1", "io", "no such file")
    assert len(crew.sent) == 2


def test_a_bad_video_is_tried_once() -> None:
    crew = FakeCrew(lambda _, task: Failed(task.name, "content", "no video stream"), "a/0", "b/0")
    (failed,) = [event for event in run(crew, "1") if isinstance(event, Failed)]
    assert (failed.item, failed.failure) == ("1", "content") and len(crew.sent) == 1


def test_features_that_do_not_arrive_as_they_were_made_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, calls = FakeCrew(extracted, "a/0"), []

    def collect(done: Done, video_id: str) -> Mapping[str, Path]:
        calls.append(done.name)
        if len(calls) == 1:
            raise NotReceived("1.npy is not as it was written")
        return {}

    monkeypatch.setattr(crew, "collect", collect)
    assert [type(event) for event in run(crew, "1")] == [Started, Started, Made]
    assert len(set(calls)) == 2, "a try has a name of its own"


def test_a_process_that_says_nothing_is_ended_and_its_video_done(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)

    def answers(name: str, task: Task) -> Word | None:
        return extracted(name, task) if crew.restarted else None

    crew = FakeCrew(answers, "a/0")
    events = run(crew, "1", stall_seconds=10)
    assert crew.restarted == ["a/0"] and isinstance(events[-1], Made)


def test_a_process_that_answers_and_does_not_come_forward_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)

    def answers(name: str, task: Task) -> Word:
        return extracted(name, task) if crew.restarted else Alive([Doing(task.name, 7)])

    crew = FakeCrew(answers, "a/0")
    events = run(crew, "1", stall_seconds=10)
    assert crew.restarted == ["a/0"] and isinstance(events[-1], Made)


def test_a_download_that_takes_long_is_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    heard = 0

    def answers(name: str, task: Task) -> Word:
        nonlocal heard
        heard += 1
        return Alive([Doing(task.name)]) if heard < 200 else extracted(name, task)

    url = url_of("https://example.org/1.mp4")
    job = replace(jobs("1")[0], remote=Remote(url, Facts(etag="1", size=1), Bounds(None, 1)))
    crew = FakeCrew(answers, "a/0")
    events = list(deal_out([job], crew, in_flight=2, stall_seconds=10, say=print))
    assert crew.restarted == [] and any(isinstance(event, Made) for event in events)


def test_progress_is_told_once_and_a_late_word_of_a_try_that_was_given_up_counts_for_nothing() -> None:
    first: list[Task] = []

    def answers(name: str, task: Task) -> Word:
        if not first:
            first.append(task)
            return Alive([Doing(task.name, 3, Reached(48, 96))])
        if len(crew.sent) == 1:
            crew.words.append((name, extracted(name, first[0])))
            return Gone("killed")
        return extracted(name, task)

    crew = FakeCrew(answers, "a/0")
    events = run(crew, "1")
    assert [type(event) for event in events] == [Started, Progressed, Started, Made]
    assert events[1] == Progressed("1", 3, 3, Reached(48, 96))


def test_a_machine_that_would_make_other_features_gets_no_video() -> None:
    crew = FakeCrew(extracted, "a/0", "b/0")
    crew.words[0] = ("a/0", Refused("a", "it has torch 2.8 and not 2.9"))
    assert {event.item for event in run(crew, *"123") if isinstance(event, Made)} == set("123")
    assert {name for name, _, _ in crew.sent} == {"b/0"}


def test_where_all_machines_would_it_is_an_error_that_says_why() -> None:
    crew = FakeCrew(extracted, "a/0", "b/0")
    crew.words = deque((name, Refused(node_of(name), "it has torch 2.8 and not 2.9")) for name in crew.names)
    with pytest.raises(EngineError, match=r"a: it has torch 2\.8 and not 2\.9\nb: it has"):
        run(crew, "1")
    assert crew.is_closed


def test_where_nobody_comes_it_is_an_error_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    crew = FakeCrew(extracted, "a/0")
    crew.words.clear()
    with pytest.raises(EngineError, match="they are asleep"):
        run(crew, "1")
