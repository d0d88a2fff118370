"""What a sink is: where notices go."""

from __future__ import annotations

from typing import Protocol

from lad.errors import LadError


class SinkError(LadError):
    """A notice could not be delivered now, or a sink cannot be made."""


class RefusedError(SinkError):
    """A notice will never be taken, however often it is sent: the receiver said so."""


class Sink(Protocol):
    """Takes notices, one at a time and in order, in a thread of its own.

    Attributes:
        durable: whether what waits for it is kept on the disk, and delivered after a restart.
    """

    durable: bool

    def deliver(self, line: str, notice_type: str) -> None:
        """Hand over a notice. It may be one that was handed over before, in this run or in an earlier one.

        Args:
            line: as `Notice.to_json` made it.
            notice_type: `new`, `update` or `end`.

        Raises:
            RefusedError: it will never be taken.
            SinkError: it was not taken now.
        """

    def status(self, camera: str, status: str) -> None:
        """Hear that a camera is `online` or `offline`; takes no time and raises nothing."""

    def close(self) -> None:
        """Say goodbye, within about a second."""
