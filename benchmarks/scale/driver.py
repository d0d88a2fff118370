"""What a video costs the driver of `--engine ray`, by machines that are not there.

The driver is the real one: dataset, work directory, `lad extract` with its manifest and its journal. The actors answer
at once, with the features of a clip. Either they are no processes at all, and what is measured is `lad` alone; or they
are actors of a Ray of this machine, and what Ray itself costs the driver is in it.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.common import PAGE
from lad.config import load_config
from lad.console import make_reporter
from lad.dataset import COLUMNS
from lad.engine import on_ray, pool
from lad.engine.handover import placed, prepared, staged
from lad.engine.messages import Alive, Done, Extracted, ExtractSetup, File, PoolEvent, Ready, Task, Word
from lad.engine.ray_cluster import OnRay
from lad.extract.jobs import Job
from lad.extract.video import VideoInfo
from lad.pipeline.extract import extract_features
from lad.pipeline.project import Asked
from lad.pipeline.reporter import Bar
from lad.pipeline.run import open_project, ready_recipe

FRAMES, DIM = 16, 8  # of each video: frames, and numbers a clip
MOST_MS, MOST_GROWTH = 2.0, 1.05
CONFIG = {"extract": {"backbone": "tiny", "streams": ["rgb"]}, "device": "cpu", "threads": 1}


def driver_runs(videos: int, actors: int | None, folder: Path | None) -> int:
    """Extract videos that are a few bytes each, and print what that costs.

    Args:
        videos: how many.
        actors: that are no processes; None: those of a Ray of this machine.
        folder: for all that is written; None: a temporary one.

    Returns:
        The exit status.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="lad-driver-"))
    try:
        return _measure(folder, videos, actors)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, videos: int, actors: int | None) -> int:
    config = load_config(None, [], base={**CONFIG, "data": {"dataset": str(_write_videos(folder, videos))}})
    watching, asked = Watching(), Asked(ray=OnRay())
    if actors is None:
        from lad.engine import ray_actor  # which needs Ray

        ray_actor.Actor = Instant  # type: ignore[assignment,misc]
    else:
        on_ray.extract_on_ray = _extract_at_once(actors, watching)
    with open_project(config, folder / "work", reporter=watching, asked=asked) as (project, work):
        result = extract_features(project, ready_recipe(project, watching), work, asked, watching)
    assert result.done == videos, f"{result.done} videos done: {list(result.failed.values())[:1]}"
    return watching.verdict()


def _write_videos(folder: Path, count: int) -> Path:
    """Files of different content, and their dataset.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "dataset.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS[:2])
        for number in range(count):
            path = folder / f"{number // 1000}" / f"{number}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(number))
            table.writerow([f"{number // 1000}/{number}", path])
    return folder / "dataset.csv"


# The actors -------------------------------------------------------------------------------------------------------


def _answer(setup: ExtractSetup, task: Task) -> Extracted:
    """What an actor says that sees the work directory, of a video of one clip."""
    path = staged(setup.home, task.job.item, task.name, "rgb")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.zeros((1, DIM), np.float32))
    info = VideoInfo("decord", [frame / 25 for frame in range(FRAMES)], 25.0, (240, 320))
    files = {"rgb": File(path, hashlib.sha256(path.read_bytes()).hexdigest())}
    return Extracted(task.name, files, 1, [], info)


class Instant:
    """In the place of `lad.engine.ray_actor.Actor`."""

    def __init__(self, begin: object) -> None:
        """Nothing is begun."""

    def hello(self, setup: ExtractSetup, sent: dict[str, Any]) -> Ready:
        self._setup = setup
        return Ready("here")

    def do(self, task: Task) -> Extracted:
        return _answer(self._setup, task)

    def look(self) -> Alive:
        return Alive([])

    def close(self) -> None:
        """Nothing is left."""


class _Nobody:
    """A `Crew` of no processes. Each of their videos is heard of alone, which is the most that a driver has to do."""

    def __init__(self, setup: ExtractSetup, count: int, watching: Watching) -> None:
        self._setup, self._watching = setup, watching
        self._said: deque[tuple[str, Word | Task]] = deque((f"actor {one}", Ready("here")) for one in range(count))
        self._count = count

    def send(self, name: str, task: Task) -> None:
        self._said.append((name, task))

    def listen(self, seconds: float) -> Iterable[tuple[str, Word]]:
        if not self._said:
            return []
        name, said = self._said.popleft()
        if not isinstance(said, Task):
            return [(name, said)]
        with self._watching.not_counted():
            return [(name, _answer(self._setup, said))]

    def collect(self, done: Done, video_id: str) -> Mapping[str, Path]:
        path = staged(self._setup.home, video_id, done.name, "rgb")
        placed(done.files["rgb"], path)
        return {"rgb": path}

    def restart(self, name: str) -> None:
        raise AssertionError("nobody is silent")

    def size(self) -> int:
        return self._count

    def why_none(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing is left."""


def _extract_at_once(count: int, watching: Watching) -> Any:
    """What stands for `lad.engine.on_ray.extract_on_ray`."""

    def extract(
        jobs: Sequence[Job],
        recipe: Any,
        home: Path,
        asked: OnRay,
        *,
        workers: int,
        stall_seconds: float,
        **options: Any,
    ) -> Iterator[PoolEvent]:
        with prepared(home, recipe, workers=workers, stall_seconds=stall_seconds) as setup:
            yield from pool.deal_out(
                jobs,
                _Nobody(setup, count, watching),
                in_flight=pool.in_flight_of(workers),
                stall_seconds=stall_seconds,
                say=options["say"],
            )

    return extract


# What is measured -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """So much the driver had used: seconds of CPU time and of the clock, bytes of memory."""

    what: str
    videos: int
    cpu: float
    clock: float
    memory: int


@dataclass
class Watching:
    """A reporter that takes the time."""

    verbose: bool = False
    marks: list[_Mark] = field(default_factory=list)
    others: float = 0.0  # seconds of CPU time that were an actor's

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def within(self, name: str) -> Watching:
        return self

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.others += time.process_time() - began

    def mark(self, what: str, videos: int) -> None:
        memory = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE
        now = _Mark(what, videos, time.process_time() - self.others, time.monotonic(), memory)
        if videos:
            before = self.marks[-1]
            count = videos - before.videos
            cpu, clock = (1000 * used / count for used in (now.cpu - before.cpu, now.clock - before.clock))
            print(f"{what:8} {videos:8} {cpu:8.3f} {clock:8.3f} {memory / 1e6:8.0f}", flush=True)
        self.marks.append(now)

    @contextmanager
    def progress(self, what: str, total: int | None, unit: str = "videos") -> Iterator[Bar]:
        if not self.marks:
            print(f"{'':8} {'videos':>8} {'CPU ms':>8} {'ms':>8} {'MB':>8}", flush=True)
        self.mark(what, 0)
        with make_reporter(quiet=True).progress(what, total, unit) as bar:
            yield _Counting(bar, self, what, total or 0)

    def after_the_first_tenth(self, what: str) -> str:
        """What a video cost without what was to be started."""
        marks = [mark for mark in self.marks if mark.what == what and mark.videos]
        first, last = marks[0], marks[-1]
        count = last.videos - first.videos
        cpu, clock = (1000 * used / count for used in (last.cpu - first.cpu, last.clock - first.clock))
        return f"{what}: {cpu:.1f} ms of CPU time a video, {clock:.1f} ms by the clock"

    def verdict(self) -> int:
        """Say whether that is little enough. Returns the exit status."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        milliseconds = 1000 * sum(now.cpu - before.cpu for before, now in pairs if now.videos) / self.marks[-1].videos
        memory = [mark.memory for mark in self.marks if mark.what == "extract" and mark.videos]
        growth = memory[-1] / memory[0]
        print(f"{milliseconds:.2f} ms of CPU time a video; memory at the end {growth:.2f} of that after a tenth")
        return 0 if milliseconds <= MOST_MS and growth <= MOST_GROWTH else 1


@dataclass
class _Counting:
    """A bar that says when another tenth is done."""

    bar: Bar
    watching: Watching
    what: str
    total: int
    done: int = 0

    def advance(self, note: str = "") -> None:
        self.bar.advance(note)
        self.done += 1
        if self.done % max(1, self.total // 10) == 0:
            self.watching.mark(self.what, self.done)

    def show(self, **known: Any) -> None:
        self.bar.show(**known)
