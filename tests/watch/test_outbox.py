"""The queue before each sink: nothing is lost over kills, full disks and sinks that are down; what drops is said."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.notices import Receiver, eventually, free_port, notice
from helpers.places import REPOSITORY

from lad.watch import outbox as outbox_module
from lad.watch.metrics import Metrics
from lad.watch.outbox import Outbox
from lad.watch.sink import RefusedError, SinkError
from lad.watch.sinks.webhook import WebhookOptions, WebhookSink
from lad.watch.waiting import MEMORY_BYTES, WaitingError, WaitingNotices

PLENTY = 100_000_000


class Recorder:
    """A sink that keeps what it takes, as long as `problem` is none."""

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.problem: Exception | None = None
        self.taken: list[str] = []
        self.tried = 0
        self.said: list[tuple[str, str]] = []

    def deliver(self, line: str, notice_type: str) -> None:
        self.tried += 1
        if self.problem:
            raise self.problem
        self.taken.append(line)

    def status(self, camera: str, status: str) -> None:
        self.said.append((camera, status))

    def close(self) -> None: ...


def lines(*numbers: int) -> list[str]:
    return [notice(number).to_json() for number in numbers]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def quick(monkeypatch) -> None:
    """No waiting between tries, nor between lines."""
    monkeypatch.setattr(outbox_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(outbox_module, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(outbox_module, "SAY_SECONDS", 0.0)


# Delivery -------------------------------------------------------------------------------------------------------------


def test_every_sink_gets_every_notice_in_order(tmp_path):
    first, second = Recorder(), Recorder(durable=False)
    outbox = Outbox({"first": first, "second": second}, tmp_path, max_bytes=PLENTY)
    for number in range(50):
        outbox.send(notice(number))
    assert outbox.close(10) == {"first": 0, "second": 0}
    assert first.taken == second.taken == lines(*range(50))


def test_a_notice_is_on_the_disk_before_anybody_is_told(tmp_path, monkeypatch):
    told, kept, told_by_then = Recorder(durable=False), Recorder(), []
    add = WaitingNotices.add

    def slow_disk(queue: WaitingNotices, notice_type: str, line: str) -> int:
        if queue is outbox._deliveries["kept"].waiting:
            time.sleep(0.2)
            told_by_then.extend(told.taken)
        return add(queue, notice_type, line)

    outbox = Outbox({"told": told, "kept": kept}, tmp_path, max_bytes=PLENTY)
    monkeypatch.setattr(WaitingNotices, "add", slow_disk)
    outbox.send(notice(1))
    assert told_by_then == []
    assert outbox.close(10) == {"told": 0, "kept": 0} and told.taken == kept.taken == lines(1)


def test_what_was_sent_just_before_the_end_is_delivered(tmp_path, monkeypatch):
    """The thread finds nothing; before it looks whether this is the end, something is sent and the end comes."""
    sink, found_nothing, ended = Recorder(), threading.Event(), threading.Event()
    real = WaitingNotices.first

    def first(self):
        found = real(self)
        if not found_nothing.is_set():
            found_nothing.set()
            ended.wait(10)
        return found

    monkeypatch.setattr(WaitingNotices, "first", first)
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=PLENTY)
    assert found_nothing.wait(10)
    outbox.send(notice(0))
    outbox._deliveries["one"].finish()
    ended.set()
    assert outbox.close(10) == {"one": 0}
    assert sink.taken == lines(0)


def test_a_sink_that_fails_holds_up_no_other_and_gets_all_of_it_later(tmp_path, quick):
    well, ill = Recorder(), Recorder()
    ill.problem = SinkError("is down")
    said: list[str] = []
    outbox = Outbox({"well": well, "ill": ill}, tmp_path, max_bytes=PLENTY, say=said.append)
    for number in range(5):
        outbox.send(notice(number))
    eventually(lambda: len(well.taken) == 5 and ill.tried > 3)
    assert ill.taken == [] and any(line.startswith("ill: is down: ") for line in said)
    ill.problem = None
    eventually(lambda: ill.taken == lines(*range(5)))
    eventually(lambda: "ill: delivers again" in said)
    assert outbox.close(5) == {"well": 0, "ill": 0}


def test_a_failing_sink_is_tried_after_1_2_4_and_at_most_30_seconds(tmp_path, monkeypatch):
    waits: list[float] = []
    enough = threading.Event()

    def wait(self, seconds=None):
        if seconds is not None and self is closing:
            waits.append(seconds)
            if len(waits) == 8:
                sink.problem = None
                enough.set()
            return False
        return real(self, seconds)

    real = threading.Event.wait
    sink = Recorder()
    sink.problem = SinkError("is down")
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=PLENTY)
    closing = outbox._deliveries["one"]._closing
    monkeypatch.setattr(threading.Event, "wait", wait)
    outbox.send(notice())
    assert real(enough, 10)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert outbox.close(5) == {"one": 0}


def test_an_unexpected_error_of_a_sink_is_no_end_and_shows_nothing_of_it(tmp_path, quick):
    sink = Recorder()
    sink.problem = RuntimeError("hidden")
    said: list[str] = []
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=PLENTY, say=said.append)
    outbox.send(notice())
    eventually(lambda: said)
    assert "unexpected RuntimeError" in said[0] and "hidden" not in said[0]
    sink.problem = None
    eventually(lambda: sink.taken == lines(0))
    outbox.close(5)


def test_what_is_refused_is_kept_in_a_file_and_the_next_one_goes_on(tmp_path, receiver, quick):
    receiver.answers = [400, 200, 422]
    metrics, said = Metrics(), list[str]()
    sink = WebhookSink(WebhookOptions(url=receiver.address))
    outbox = Outbox({"hook": sink}, tmp_path, max_bytes=PLENTY, metrics=metrics, say=said.append)
    for number in range(4):
        outbox.send(notice(number))
    assert outbox.close(10) == {"hook": 0}
    assert receiver.bodies() == lines(0, 1, 2, 3)
    assert (tmp_path / "hook.refused.jsonl").read_text().splitlines() == lines(0, 2)
    assert metrics.registry.get_sample_value("lad_refused_notices_total", {"sink": "hook"}) == 2
    assert any("answered 400" in line and "hook.refused.jsonl" in line for line in said)
    assert not any("token" in line for line in said)


def test_refused_notices_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "REFUSED_BYTES", 2000)
    sink = Recorder()
    sink.problem = RefusedError("no")
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=PLENTY)
    for number in range(40):
        outbox.send(notice(number))
    assert outbox.close(10) == {"one": 0}
    assert sum(path.stat().st_size for path in tmp_path.glob("one.refused.jsonl*")) < 6000


@pytest.mark.slow
def test_a_receiver_that_hangs_and_fails_gets_everything_in_order(tmp_path, receiver, quick):
    receiver.answers = ["hang", 500, "break", 200, 503, 429, 200, 408]
    sink = WebhookSink(WebhookOptions(url=receiver.address, timeout_seconds=0.3))
    outbox = Outbox({"hook": sink}, tmp_path, max_bytes=PLENTY)
    for number in range(10):
        outbox.send(notice(number))
    eventually(lambda: len(receiver.taken) == 10)
    assert outbox.close(5) == {"hook": 0}
    assert receiver.taken == lines(*range(10))


def test_sending_takes_no_longer_where_a_sink_hangs_and_closing_no_longer_than_said(tmp_path):
    class Hangs(Recorder):
        def deliver(self, line: str, notice_type: str) -> None:
            release.wait(30)

    release = threading.Event()
    outbox = Outbox({"hangs": Hangs()}, tmp_path, max_bytes=PLENTY)
    begun = time.monotonic()
    for number in range(20):
        outbox.send(notice(number))
    assert outbox.close(0.2) == {"hangs": 20}
    assert time.monotonic() - begun < 5
    release.set()
    again = Recorder()
    assert Outbox({"hangs": again}, tmp_path, max_bytes=PLENTY).close(10) == {"hangs": 0}
    assert again.taken == lines(*range(20))


@pytest.mark.parametrize("durable", [True, False])
def test_a_sink_that_answers_after_the_end_disturbs_nobody(tmp_path, monkeypatch, durable):
    class Hangs(Recorder):
        def deliver(self, line: str, notice_type: str) -> None:
            release.wait(30)

    release, errors = threading.Event(), list[object]()
    monkeypatch.setattr(threading, "excepthook", errors.append)
    outbox = Outbox({"hangs": Hangs(durable=durable)}, tmp_path, max_bytes=PLENTY)
    outbox.send(notice(0))
    outbox.send(notice(1))
    assert outbox.close(0.2) == {"hangs": 2}
    release.set()
    outbox._deliveries["hangs"].join(10)
    assert not outbox._deliveries["hangs"].is_alive() and errors == []


def test_status_goes_to_every_sink_and_one_that_fails_is_said(tmp_path):
    class Fails(Recorder):
        def status(self, camera: str, status: str) -> None:
            raise RuntimeError("hidden")

        def close(self) -> None:
            raise RuntimeError("hidden")

    well, said = Recorder(), list[str]()
    outbox = Outbox({"ill": Fails(), "well": well}, tmp_path, max_bytes=PLENTY, say=said.append)
    outbox.status("yard", "online")
    outbox.close(1)
    assert well.said == [("yard", "online")]
    assert said == [
        "ill: the status of yard was not told (unexpected RuntimeError)",
        "ill: did not close (unexpected RuntimeError)",
    ]


# The disk -------------------------------------------------------------------------------------------------------------

KILLED = """
import sys
sys.path[:0] = [sys.argv[3]]
from pathlib import Path
from helpers.notices import notice
from lad.watch.outbox import Outbox
from lad.watch.sinks.webhook import WebhookOptions, WebhookSink
sink = WebhookSink(WebhookOptions(url=sys.argv[2]))
outbox = Outbox({"hook": sink}, Path(sys.argv[1]), max_bytes=10**8)
for number in range(100000):
    outbox.send(notice(number))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_what_was_sent_before_kill_9_is_delivered_after_it(tmp_path, receiver):
    address = f"http://127.0.0.1:{free_port()}/"  # nobody is there
    words = [sys.executable, "-c", KILLED, str(tmp_path), address, str(REPOSITORY / "tests")]
    process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(100):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    sent = 100 + len(process.stdout.read().split())
    process.wait()
    outbox = Outbox({"hook": WebhookSink(WebhookOptions(url=receiver.address))}, tmp_path, max_bytes=PLENTY)
    assert outbox.close(60) == {"hook": 0}
    got = receiver.taken
    assert got[:sent] == lines(*range(sent)) and len(got) - sent in (0, 1)  # the last may have been sent, and not said


def test_what_waits_beyond_the_limit_goes_the_oldest_first_and_is_counted_and_said(tmp_path, quick):
    sink, metrics, said = Recorder(), Metrics(), list[str]()
    sink.problem = SinkError("is down")
    size = len(lines(0)[0])
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=10 * size, metrics=metrics, say=said.append)
    outbox.send(notice(0))
    eventually(lambda: sink.tried)
    for number in range(1, 30):
        outbox.send(notice(number))
    assert metrics.registry.get_sample_value("lad_queued_notices", {"sink": "one"}) == 10
    assert metrics.registry.get_sample_value("lad_dropped_notices_total", {"sink": "one"}) == 20
    eventually(lambda: sum(int(line.split(" dropped")[0].split()[-2]) for line in said if " dropped" in line) == 20)
    sink.problem = None
    assert outbox.close(5) == {"one": 0}
    assert len(sink.taken) == 10 and sink.taken[-9:] == lines(*range(21, 30))


def test_one_line_a_minute_is_said_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(outbox_module, "LONGEST_WAIT", 0.001)
    sink, said = Recorder(), list[str]()
    sink.problem = SinkError("is down")
    outbox = Outbox({"one": sink}, tmp_path, max_bytes=2000, say=said.append)
    for number in range(50):
        outbox.send(notice(number))
    eventually(lambda: sink.tried > 100)
    assert len(said) == 1
    outbox.close(1)
    assert len(said) == 2 and "dropped" in said[1]  # at the end what was not said yet


FULL = """
import resource, sys
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from helpers.notices import eventually, notice
from test_outbox import PLENTY, Recorder, SinkError, lines
from lad.watch.outbox import Outbox
from lad.watch import outbox as module
module.FIRST_WAIT = module.LONGEST_WAIT = 0.01
module.SAY_SECONDS = 0
sink, said = Recorder(), []
sink.problem = SinkError("is down")
outbox = Outbox({"one": sink}, Path(sys.argv[1]), max_bytes=PLENTY, say=said.append)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
for number in range(200):
    outbox.send(notice(number))
eventually(lambda: any("the disk takes no notices" in line for line in said))
if sys.argv[3] == "delivers":
    sink.problem = None
    eventually(lambda: len(sink.taken) == 200)
    outbox.send(notice(200))
    eventually(lambda: len(sink.taken) == 201)
    assert sink.taken == lines(*range(201))
    print(outbox.close(5))
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    outbox.send(notice(200))
    eventually(lambda: any("the disk takes notices again" in line for line in said))
    print(outbox.close(0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["delivers", "has room again"])
def test_a_full_disk_loses_nothing_while_lad_runs(tmp_path, then):
    """A process that may write no file beyond 64 kB; SQLite takes that for a disk that fails."""
    words = [sys.executable, "-c", FULL, str(tmp_path), str(REPOSITORY / "tests"), then]
    paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    if then == "has room again":
        assert done.stdout == "{'one': 201}\n"
        sink = Recorder()
        assert Outbox({"one": sink}, tmp_path, max_bytes=PLENTY).close(10) == {"one": 0}
        assert sink.taken == lines(*range(201))


def test_memory_is_bounded_too(tmp_path):
    waiting = WaitingNotices(None, PLENTY)
    line = "x" * 100_000
    assert sum(waiting.add("new", line) for _ in range(60)) == 60 - MEMORY_BYTES // 100_000
    assert len(waiting) == 40


def test_two_lad_watch_do_not_deliver_the_same_queue(tmp_path):
    outbox = Outbox({"one": Recorder()}, tmp_path, max_bytes=PLENTY)
    code = "import sys; from pathlib import Path; from lad.watch.waiting import *; WaitingNotices(Path(sys.argv[1]), 1)"
    words = [sys.executable, "-c", code, str(tmp_path / "one.sqlite")]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert "another lad watch has it open" in done.stderr
    outbox.close(1)
    assert subprocess.run(words, cwd=REPOSITORY).returncode == 0


def test_a_queue_that_is_none_or_a_link_is_named(tmp_path):
    (tmp_path / "one.sqlite").write_text("no database" * 1000)
    (tmp_path / "two.sqlite").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "three.sqlite").mkdir()
    for name, reason in (("one", "file is not a database"), ("two", "is a link"), ("three", "unable to open")):
        with pytest.raises(WaitingError, match=reason):
            Outbox({name: Recorder()}, tmp_path, max_bytes=PLENTY)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_queue_that_was_emptied_takes_no_more_room_each_time(tmp_path):
    for _ in range(5):
        outbox = Outbox({"one": Recorder()}, tmp_path, max_bytes=PLENTY)
        for number in range(50):
            outbox.send(notice(number))
        assert outbox.close(10) == {"one": 0}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300_000
    with sqlite3.connect(tmp_path / "one.sqlite") as file:
        assert file.execute("SELECT COUNT(*) FROM notices").fetchone() == (0,)


def test_names_of_sinks_cannot_lead_elsewhere(tmp_path):
    folder = tmp_path / "inner"
    Outbox({"../x": Recorder()}, folder, max_bytes=PLENTY).close(1)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
