"""Notices as lines on the standard output."""

from __future__ import annotations

import sys
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

    def deliver(self, line: str, notice_type: str) -> None:
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:  # nobody reads it any more, or it is closed
            raise RefusedError(f"standard output: {getattr(error, 'strerror', None) or error}") from error

    def status(self, camera: str, status: str) -> None:
        pass

    def close(self) -> None:
        pass
