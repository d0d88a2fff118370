"""A decoding process: `python -m lad.extract.worker`, started by `lad.extract.workers`.

It takes one job after the other, sends clips, and ends with whoever started it. It lives by itself because readers can
crash, hang or leak. It imports torch only for flow methods that run in it, and for torchcodec.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from numpy.typing import ArrayLike

from lad.children import as_socket, join_parent
from lad.extract import process_setup
from lad.extract.clips import seen_clips
from lad.extract.flow import FLOW_METHODS
from lad.extract.jobs import Again, Alive, Clips, Failed, Finished, Job, Reached
from lad.extract.pipes import Inbox, send
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.readers import open_reader
from lad.extract.sampling import resample
from lad.extract.video import VideoError
from lad.memory import keep_freed

ALIVE_SECONDS = 1.0


def main() -> None:
    pipe = as_socket(join_parent(sys.argv[1:]))
    keep_freed()
    process_setup.prepare()
    inbox = Inbox(pipe)
    try:
        while True:
            run_job(pipe.fileno(), inbox.take())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever started it is gone


def run_job(pipe: int, job: Job) -> None:
    """Decode one video and send its clips, and last how it ended."""
    flow_in_torch = "flow" in job.spec.pixels and FLOW_METHODS[job.spec.flow].in_torch
    if flow_in_torch or job.spec.reader == "torchcodec":
        process_setup.prepare_torch()
    progress = _Progress(pipe, job.item)
    try:
        reader = open_reader(
            job.path,
            choice=job.choice,
            first=job.spec.reader,
            device=job.spec.device,
            lazy=job.skip_clips > 0 or job.spec.still > 0,
            rate=job.spec.fps,
            share=job.spec.share,
            folder_fps=job.folder_fps,
            limits=job.limits,
            on_progress=progress,
        )
        sampled = job.limits.counted(resample(_reporting(iter(reader), progress), reader.info, job.spec.fps))
        for batch, still in seen_clips(sampled, job.spec, job.skip_clips, reader.info.pixel_aspect):
            reached = Reached(reader.info.frames, reader.promised, reader.info.fps)
            back = tuple(job.spec.still * one for one in still) if any(still) else ()
            send(pipe, Clips(job.item, batch, reached, back))
        send(pipe, Finished(job.item, reader.info))
    except ReaderGaveUp:
        send(pipe, Again(job.item))
    except VideoError as error:
        send(pipe, Failed(job.item, error.kind, str(error)))
    except MemoryError:
        send(pipe, Failed(job.item, "worker", "not enough memory to decode it"))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # a reader's surprise must not take the other videos down: it is named and recorded
        failed = Failed(job.item, "worker", f"unexpected {type(error).__name__}: {error}")
        send(pipe, Again(job.item) if job.choice == "auto" else failed)


class _Progress:
    """A word to whoever waits, at times, for whoever calls it at every step forward."""

    def __init__(self, pipe: int, item: str) -> None:
        self._pipe, self._item, self._last = pipe, item, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > ALIVE_SECONDS:
            send(self._pipe, Alive(self._item))
            self._last = time.monotonic()


def _reporting(frames: Iterator[ArrayLike], progress: _Progress) -> Iterator[ArrayLike]:
    """The frames as they come: each is progress."""
    for frame in frames:
        yield frame
        progress()


if __name__ == "__main__":
    main()
