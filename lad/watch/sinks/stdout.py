"""Notices as lines on the standard output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from lad.watch.sink import RefusedError


class StdoutOptions(BaseModel):
    """There are none."""

    model_config = ConfigDict(extra="forbid")


@dataclass
class StdoutSink:
    """Writes each notice as a line, at once. What a reader has not taken when `lad` ends is lost."""

    options: StdoutOptions
    durable = False
    _why_closed: str = ""

    def deliver(self, line: str, notice_type: str) -> None:
        if self._why_closed:
            raise RefusedError(self._why_closed)
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:  # nobody reads it any more, or it is closed
            self._why_closed = f"standard output: {getattr(error, 'strerror', None) or error}"
            with suppress(OSError, ValueError):  # or Python tries again at its end, and complains
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise RefusedError(self._why_closed) from error

    def status(self, camera: str, status: str) -> None:
        pass

    def close(self) -> None:
        pass
