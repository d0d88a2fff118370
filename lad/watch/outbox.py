"""Notices on their way to the sinks: none is lost, none waits for another sink, and the cameras wait for none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lad.files import open_kept, write_all
from lad.watch.payload import Notice, plain_name
from lad.watch.sink import RefusedError, Sink, SinkError
from lad.watch.waiting import Waiting, WaitingNotices

if TYPE_CHECKING:
    from lad.watch.metrics import Metrics

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before a delivery that failed is tried again: 1, 2, 4 ... 30
SAY_SECONDS = 60.0  # between two lines about one sink
REFUSED_BYTES = 10_000_000  # of a file of refused notices; then it becomes `<name>.1`, which is the last


class Outbox:
    """Delivers notices to every sink: at least once, in order, each sink in a thread of its own.

    A sink that fails is tried again, for ever. What waits for it is in `<folder>/<sink>.sqlite`, beyond `max_bytes`
    the oldest go. What a sink refuses for good is in `<folder>/<sink>.refused.jsonl`.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        folder: Path,
        *,
        max_bytes: int,
        metrics: Metrics | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin to deliver, at first what an earlier run left.

        Args:
            sinks: by name.
            folder: where notices wait; made where it is not there.
            max_bytes: of what waits for one sink.
            metrics: gets the numbers of notices that wait, were dropped and refused.
            say: gets a line when a sink fails, delivers again, or loses something: at most one a minute and sink, from
                any thread.

        Raises:
            WaitingError: what waits cannot be kept in the folder.
            OSError: the folder cannot be made.
        """
        self._say = say
        self._deliveries: dict[str, _Delivery] = {}
        try:
            # Durable ones first: what anybody was told before a kill, a restart finds on the disk.
            for name, sink in sorted(sinks.items(), key=lambda one: not one[1].durable):
                file = folder / f"{plain_name(name)}.sqlite" if sink.durable else None
                waiting = WaitingNotices(file, max_bytes)
                refused = folder / f"{plain_name(name)}.refused.jsonl"
                self._deliveries[name] = _Delivery(name, sink, waiting, refused, metrics, say)
        except BaseException:
            for delivery in self._deliveries.values():
                delivery.waiting.close()
            raise
        for delivery in self._deliveries.values():
            delivery.start()

    def send(self, notice: Notice) -> None:
        """Hand over a notice. When this returns it is on the disk for every durable sink, if the disk takes it."""
        line = notice.to_json()
        for delivery in self._deliveries.values():
            delivery.add(notice.type, line)

    def status(self, camera: str, status: Literal["online", "offline"]) -> None:
        """Tell every sink of a camera's status. Only the last one counts, and none is kept on the disk."""
        for name, delivery in self._deliveries.items():
            self._call(f"{name}: the status of {camera} was not told", delivery.sink.status, camera, status)

    def has_delivered(self, sink: str, seconds: float) -> bool:
        """Wait until nothing waits for a sink, for so long at most; whether that is so."""
        waiting, end = self._deliveries[sink].waiting, time.monotonic() + seconds
        while len(waiting) and time.monotonic() < end:
            time.sleep(0.01)
        return not len(waiting)

    def close(self, seconds: float) -> dict[str, int]:
        """End, after what waits was delivered or `seconds` have passed; a sink that fails is tried once more.

        Returns:
            sink -> number of its notices that were not delivered. Those of durable sinks are by the next run.
        """
        end = time.monotonic() + seconds
        for delivery in self._deliveries.values():
            delivery.finish()
        for delivery in self._deliveries.values():
            delivery.join(max(end - time.monotonic(), 0))
        left = {name: len(delivery.waiting) for name, delivery in self._deliveries.items()}
        for name, delivery in self._deliveries.items():
            self._call(f"{name}: did not close", delivery.sink.close)
            delivery.waiting.close()
        return left

    def _call(self, failed: str, call: Callable[..., None], *words: str) -> None:
        try:
            call(*words)
        except Exception as error:  # of a sink that somebody wrote: no reason to stop watching
            self._say(f"{failed} (unexpected {type(error).__name__})")


class _Delivery(threading.Thread):
    """The thread of one sink."""

    def __init__(
        self,
        sink_name: str,
        sink: Sink,
        waiting: WaitingNotices,
        refused: Path,
        metrics: Metrics | None,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"sink {sink_name}", daemon=True)  # a sink that hangs does not keep lad from ending
        self.sink, self.waiting = sink, waiting
        self._sink_name, self._refused_file, self._metrics, self._say = sink_name, refused, metrics, say
        self._added, self._closing = threading.Event(), threading.Event()
        self._now, self._said = _State(), _State()
        self._said_at = -SAY_SECONDS

    def add(self, notice_type: str, line: str) -> None:
        dropped = self.waiting.add(notice_type, line)
        self._now.dropped += dropped
        self._count(dropped)
        self._added.set()

    def finish(self) -> None:
        self._closing.set()
        self._added.set()

    def run(self) -> None:
        self._count()  # what an earlier run left
        wait = FIRST_WAIT
        while True:
            self._added.clear()
            is_last_look = self._closing.is_set()  # before it is looked: what was sent until then is seen
            notice = self.waiting.first()
            if notice is None and is_last_look:
                break
            if notice is None:
                self._added.wait(SAY_SECONDS)
            elif self._deliver(notice):
                self.waiting.remove(notice)
                self._count()
                wait = FIRST_WAIT
            else:
                if self._closing.is_set():
                    break
                self._tell()
                self._closing.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            self._tell()
        self._tell(last=True)

    def _deliver(self, notice: Waiting) -> bool:
        """Try once; whether the sink is done with the notice."""
        try:
            self.sink.deliver(notice.line, notice.type)
        except RefusedError as error:
            self._keep_refused(notice, str(error))
        except SinkError as error:
            self._now.problem = str(error)
            return False
        except Exception as error:  # of a sink that somebody wrote; its text may hold a password
            self._now.problem = f"unexpected {type(error).__name__}"
            return False
        self._now.problem = ""
        return True

    def _keep_refused(self, notice: Waiting, why: str) -> None:
        try:
            with open_kept(self._refused_file) as file:
                write_all(file, f"{notice.line}\n".encode())
                size = file.tell()
            if size > REFUSED_BYTES:
                self._refused_file.replace(f"{self._refused_file}.1")
            where = f"kept in {self._refused_file}"
        except OSError as error:
            where = f"lost, since {self._refused_file} cannot be written: {error.strerror or error}"
        self._now.refused += 1
        self._now.why_refused = f"{why}; {where}"
        if self._metrics:
            self._metrics.refused(self._sink_name)

    def _count(self, dropped: int = 0) -> None:
        if self._metrics:
            self._metrics.queued(self._sink_name, len(self.waiting))
            self._metrics.dropped(self._sink_name, dropped)

    def _tell(self, *, last: bool = False) -> None:
        """Say what has changed, in one line, and nothing within a minute of the line before."""
        self._now.disk = self.waiting.problem
        before, now, time_now = self._said, replace(self._now), time.monotonic()
        if now == before or (time_now < self._said_at + SAY_SECONDS and not last):
            return
        self._said, self._said_at = now, time_now
        said = []
        if now.problem:
            said.append(f"{now.problem}: trying again, {_counted(len(self.waiting))} in its queue")
        elif before.problem:
            said.append("delivers again")
        if now.dropped > before.dropped:
            said.append(f"{_counted(now.dropped - before.dropped)} dropped, the oldest: too many bytes wait")
        if now.refused > before.refused:
            said.append(f"{_counted(now.refused - before.refused)} refused: {now.why_refused}")
        if now.disk:
            said.append(f"the disk takes no notices ({now.disk}): they wait in memory")
        elif before.disk:
            said.append("the disk takes notices again")
        self._say(f"{self._sink_name}: {'; '.join(said)}")


@dataclass
class _State:
    """What there is to say about a sink.

    Attributes:
        problem: why it took nothing the last time; empty: it did.
        disk: why the disk takes nothing; empty: it does.
        dropped, refused: how many notices, since the start.
        why_refused: the last one of them.
    """

    problem: str = ""
    disk: str = ""
    dropped: int = 0
    refused: int = 0
    why_refused: str = ""


def _counted(notices: int) -> str:
    return f"{notices} notice{'' if notices == 1 else 's'}"
