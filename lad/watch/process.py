"""A camera's process, as whoever started it sees it."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

from lad import children
from lad.extract.pipes import Inbox, send
from lad.watch.messages import Answer, Open, Request

PATIENCE_SECONDS = 0.05  # with a message that is half there
BURIAL_SECONDS = 0.5  # for one whose pipe has ended to end itself
STALL_SECONDS = 30.0  # without a word from a process, which has one every second


class CameraProcess:
    """Started at once.

    Args:
        job: what to watch.
    """

    def __init__(self, job: Open) -> None:
        self._process, connection = children.start("lad.watch.source")
        self._pipe = children.as_socket(connection)
        self._inbox = Inbox(self._pipe, PATIENCE_SECONDS)
        self._heard = time.monotonic()
        self.ask(job)

    def fileno(self) -> int:
        return self._pipe.fileno()

    def ask(self, request: Request) -> None:
        """Tell it something; one that is dead is found so when it is listened to."""
        with suppress(OSError):
            send(self._pipe.fileno(), request)

    def take(self) -> Answer | None:
        """What it says next; None: that is not there as a whole.

        Raises:
            EOFError, OSError: it is dead.
        """
        message: Answer | None = self._inbox.take()
        self._heard = time.monotonic()
        return message

    def excuse(self, seconds: float) -> None:
        """It was not listened to for so long."""
        self._heard += seconds

    @property
    def is_stuck(self) -> bool:
        return time.monotonic() - self._heard > STALL_SECONDS

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def bury(self) -> str:
        """End it, and say how it had ended; empty: it lived."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(BURIAL_SECONDS)
        code = self._process.returncode
        self.end()
        return "" if code is None else children.ending(code)
