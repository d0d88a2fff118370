"""Videos to features in a process that is told one after the other, and works at several at a time."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from lad.device import STEADY_THREADS, repeatable
from lad.engine.handover import staged
from lad.engine.messages import Doing, Extracted, ExtractSetup, File, Result, Task
from lad.extract.extraction import Computed, DeviceBroken, Event, extract_videos
from lad.extract.jobs import Failed, Finished, Job, Started
from lad.extract.read_torchcodec import check_torchcodec
from lad.extract.video import VideoInfo
from lad.features.recipe import load_extractor
from lad.files import file_sha256, leftover_name
from lad.held import held_folder
from lad.work.partial import Partial, resume

SCRATCH = "lad-extract-"  # how the names of folders for half-done work begin
CLOSE_SECONDS = 1.0  # for what was fetched to be removed, where no video is in work; what stays, the next one removes
LAST_WORD_SECONDS = 1.0  # for what was said last to arrive


class _StoppedError(Exception):
    """No more is wanted."""


class Extracting:
    """The networks, ready; `run_to_the_end` is the work.

    A video's features gather on the disk of this machine. When they are complete, a file for each stream lies where
    the driver finds it: in its work directory if this process sees that, else here.

    Args:
        setup: what is the same for all videos.
        tell: gets what comes of each.

    Raises:
        LadError: the networks cannot be loaded, or the device is not there.
    """

    def __init__(self, setup: ExtractSetup, tell: Callable[[Result], None]) -> None:
        self.setup, self.tell = setup, tell
        self.is_shared = _sees(setup)
        self._waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._tasks: dict[str, Task] = {}  # by the names of tries
        self._partials: dict[str, Partial] = {}
        self._doing: dict[str, Doing] = {}
        self._stop, self._over = threading.Event(), threading.Event()
        if setup.recipe.clips.reader == "torchcodec":
            check_torchcodec()
        self._extractor = load_extractor(setup.recipe)
        self._closing = ExitStack()
        self._scratch = self._closing.enter_context(held_folder(Path(tempfile.gettempdir()), SCRATCH))

    def add(self, task: Task) -> None:
        """Have a video extracted. May be called by another thread than the work."""
        self._waiting.put(task)

    def doing(self) -> list[Doing]:
        """How far the videos are. May be called by another thread than the work."""
        return list(self._doing.copy().values())

    def close(self) -> None:
        """Leave nothing behind: the process is about to end."""
        self._stop.set()
        self._over.wait(CLOSE_SECONDS)
        self._closing.close()

    def run_to_the_end(self) -> None:
        """Extract what is added, until this process cannot do it any more: then it ends."""
        try:
            self._run()
        except _StoppedError:
            self._over.set()
        except Exception as error:
            self._over.set()
            if not isinstance(error, DeviceBroken):  # of which a video that failed has told
                traceback.print_exc()
            self.close()
            time.sleep(LAST_WORD_SECONDS)
            os._exit(1)

    def _run(self) -> None:
        setup, recipe = self.setup, self.setup.recipe
        with repeatable(recipe.device, STEADY_THREADS):
            events = extract_videos(
                self._jobs(),
                lambda: self._extractor,
                batch_clips=recipe.clips.batch_clips,
                workers=setup.workers,
                stall_seconds=setup.stall_seconds,
            )
            for event in events:
                if event.item in self._tasks:  # else its features could not be kept: it has failed
                    try:
                        self._take(event)
                    except OSError as error:
                        self._end(Failed(event.item, "io", f"its features cannot be kept: {error}"))

    def _jobs(self) -> Iterator[Job | None]:
        """The videos that were added; None while there is none."""
        while True:
            if self._stop.is_set():
                raise _StoppedError
            try:
                task = self._waiting.get_nowait()
            except queue.Empty:
                yield None
                continue
            if problem := _problem(task.job):
                self.tell(Failed(task.name, "io", problem))
                continue
            self._tasks[task.name], self._doing[task.name] = task, Doing(task.name)
            self._partials[task.name] = resume(self._scratch, task.name, {})
            spec = replace(task.job.spec, device=self.setup.recipe.device)
            yield replace(task.job, item=task.name, spec=spec)

    def _take(self, event: Event) -> None:
        partial = self._partials[event.item]
        match event:
            case Started(_, choice, 0):
                partial.restart(choice)
            case Started():  # its decoder was killed, and another one continues
                pass
            case Computed():
                wanted = self._tasks[event.item].job.spec.streams
                partial.add({one: rows for one, rows in event.batch.items() if one in wanted}, event.back)
                self._doing[event.item] = Doing(event.item, partial.clips, event.reached)
            case Finished():
                self._end(self._extracted(self._tasks[event.item], partial, event.info))
            case Failed():
                self._end(event)

    def _extracted(self, task: Task, partial: Partial, info: VideoInfo) -> Extracted:
        home, files = self.setup.home if self.is_shared else self._scratch, {}
        for stream in task.job.spec.streams if partial.clips else ():
            path = staged(home, task.job.item, task.name, stream)
            partial.write(stream, path)
            files[stream] = File(path, file_sha256(path))
        return Extracted(task.name, files, partial.clips, partial.still, info)

    def _end(self, result: Result) -> None:
        name = result.item if isinstance(result, Failed) else result.name
        self._partials.pop(name).remove()
        del self._tasks[name], self._doing[name]
        self.tell(result)


class ExtractingForCallers:
    """`Extracting` for threads that each wait for a video of their own: a `Worker` of an actor."""

    def __init__(self, setup: ExtractSetup) -> None:
        self._results: dict[str, Future[Result]] = {}
        self._extracting = Extracting(setup, self._tell)
        self.is_shared = self._extracting.is_shared
        self.doing, self.close = self._extracting.doing, self._extracting.close
        threading.Thread(target=self._extracting.run_to_the_end, daemon=True).start()

    def do(self, task: Task) -> Result:
        """Extract a video; returns when it is done."""
        self._results[task.name] = Future()
        self._extracting.add(task)
        result = self._results[task.name].result()
        del self._results[task.name]
        return result

    def _tell(self, result: Result) -> None:
        self._results[result.item if isinstance(result, Failed) else result.name].set_result(result)


def _sees(setup: ExtractSetup) -> bool:
    """Whether the driver's work directory is here under the same name, and can be written to."""
    try:
        if (setup.home / setup.token).read_text(encoding="utf-8") != setup.word:
            return False
        probe = (setup.home / setup.token).with_name(leftover_name())
        try:
            probe.write_text(setup.word, encoding="utf-8")
        finally:
            with suppress(OSError):
                probe.unlink()
    except (OSError, UnicodeDecodeError):
        return False
    return True


def _problem(job: Job) -> str | None:
    """Why a video cannot be what the driver sees; None: it looks the same here."""
    if job.size is None:
        return None
    try:
        size = job.path.stat().st_size
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if size == job.size else f"has {size} bytes there and {job.size} where lad was started"
