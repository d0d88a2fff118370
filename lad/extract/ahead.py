"""The jobs that wait for a decoder, in their order; the files of those at a URL are fetched a few ahead of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lad.extract.jobs import Job
from lad.masking import hide_of
from lad.remote.fetch import Remote, fetch
from lad.remote.room import Room
from lad.remote.store import Stopped, in_a_line

FILES_AHEAD = 4  # fetched, or being fetched, that no decoder has yet
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Unfetched:
    """A job whose file cannot be had, and why."""

    job: Job
    reason: str


@dataclass
class _Fetch:
    """A file on its way here. `failed`: why it does not come."""

    job: Job
    remote: Remote
    path: Path
    failed: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


class Ahead:
    """Jobs that wait. It belongs to one thread.

    Args:
        jobs: the videos. None among them: there is none now, and there will be more.
    """

    def __init__(self, jobs: Iterable[Job | None]) -> None:
        self._source, self._has_more = iter(jobs), True
        self._waiting: deque[Job] = deque()
        self._fetches: list[_Fetch] = []  # in the order of their jobs
        self._fetched: dict[str, Path] = {}  # of jobs that a decoder has
        self._room: Room | None = None
        self._stop, self._news = threading.Event(), threading.Event()

    def __bool__(self) -> bool:
        """Whether any is left, or may come."""
        return bool(self._has_more or self._waiting or self._fetches)

    def next(self) -> Job | Unfetched | None:
        """The first that a decoder can have, its file in `path`; or one whose file cannot be had; None: not yet."""
        self._read()
        try:
            self._begin()
        except OSError as error:  # there is no room for it
            return Unfetched(self._waiting.popleft(), in_a_line(error))
        for one in self._fetches:
            if one.ended.is_set():
                self._fetches.remove(one)
                return self._result(one)
        if self._waiting and self._waiting[0].remote is None:
            return self._waiting.popleft()
        return None

    def _read(self) -> None:
        """Take the jobs that are there now, as many as may be fetched ahead."""
        while self._has_more and len(self._waiting) < FILES_AHEAD:
            try:
                job = next(self._source)
            except StopIteration:
                self._has_more = False
                return
            if job is None:
                return
            self._waiting.append(job)

    def _begin(self) -> None:
        """Let come what is next, as far as there is room.

        Raises:
            OSError: there never is any for the first that waits.
        """
        while len(self._fetches) < FILES_AHEAD and self._waiting and (remote := self._waiting[0].remote):
            self._room = self._room or Room(remote.bounds)
            size = remote.facts.size
            self._room.check(size)
            if not self._room.has(size):
                return
            one = _Fetch(self._waiting.popleft(), remote, self._room.take(remote.url, size))
            self._fetches.append(one)
            threading.Thread(target=self._fetch, args=(one,), name="fetch", daemon=True).start()

    def _fetch(self, one: _Fetch) -> None:
        """In a thread of its own: fetch a file."""
        try:
            fetch(one.remote, one.path, self._stop)
        except Stopped:
            return
        except OSError as error:
            one.failed = in_a_line(error)
        except Exception as error:  # a library's surprise must not keep the others from coming
            one.failed = f"unexpected {type(error).__name__}: {hide_of(one.remote.url.address, str(error))}"
        one.ended.set()
        self._news.set()

    def _result(self, one: _Fetch) -> Job | Unfetched:
        self._fetched[one.job.item] = one.path
        if one.failed:
            self.drop(one.job.item)
            return Unfetched(one.job, one.failed)
        return replace(one.job, path=one.path, remote=None)

    def drop(self, item: str) -> None:
        """Remove what was fetched for a job that is done or failed."""
        path = self._fetched.pop(item, None)
        if path and self._room:
            self._room.free(path)

    def wait(self) -> None:
        """Until a file is there or cannot be had, or a moment has passed."""
        self._news.wait(LOOK_SECONDS)
        self._news.clear()

    def close(self) -> None:
        """Fetch no more, and remove all that was fetched."""
        self._stop.set()
        if self._room:
            self._room.close()
