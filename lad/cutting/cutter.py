"""The side of whoever wants clips: a process that cuts them, and another one where that dies or stalls."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.connection import Connection
from subprocess import Popen
from typing import Any

from lad.children import ending, start
from lad.cutting.job import CutJob
from lad.extract.video import VideoError
from lad.files import DISK_ERRORS

PATIENCE_SECONDS = 120.0  # without a word


class Cutter:
    """Cuts videos, one after the other, in a process of its own. Use it as `with Cutter() as cutter`."""

    def __init__(self) -> None:
        self._process: Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Cutter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def cut(self, job: CutJob, on_clip: Callable[[int, dict[str, Any]], None]) -> None:
        """Write the clips of a job.

        Args:
            job: what is wanted.
            on_clip: gets the number of each clip that is written, and how: `copied`, and a `note`.

        Raises:
            VideoError: the video cannot be cut; what was not told to `on_clip` is not there.
            OSError: the disk is full or read-only.
        """
        if self._pipe is None:
            self._process, self._pipe = start("lad.cutting.worker")
        assert self._process is not None
        try:
            self._pipe.send(job)
            while True:
                if not self._pipe.poll(PATIENCE_SECONDS):
                    self._stop()
                    raise VideoError(f"cutting it stalled for {PATIENCE_SECONDS:.0f} seconds", kind="worker")
                said = json.loads(self._pipe.recv_bytes())
                if "failed" in said:
                    if said.get("errno") in DISK_ERRORS:
                        raise OSError(said["errno"], said["failed"], said["name"])
                    raise VideoError(said["failed"])
                if "cut" in said:
                    on_clip(said.pop("cut"), said)
                if "done" in said:
                    return
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            code = self._process.wait()
            self._stop()
            raise VideoError(f"the process that cut it died ({ending(code)})", kind="worker") from error
        except BaseException:  # Ctrl-C: it may be at work, and must not write on
            self._stop()
            raise

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
