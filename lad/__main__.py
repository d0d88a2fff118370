"""The `lad` command: sets up how it is interrupted before anything slow is imported, then hands over to `lad.cli`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

EXIT_INTERRUPTED = 130
GRACE_SECONDS = 4.0  # for a stage to stop by itself; all that is done is on disk at every moment


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C or SIGTERM: once, stop in an orderly way; twice, or when that takes too long, at once."""
    signal.signal(signal.SIGINT, _stop_at_once)
    signal.signal(signal.SIGTERM, _stop_at_once)
    # A library may swallow the exception while it is being imported, or sit in a long call: do not wait for ever.
    deadline = threading.Timer(GRACE_SECONDS, os._exit, [EXIT_INTERRUPTED])
    deadline.daemon = True
    deadline.start()
    raise KeyboardInterrupt


def _stop_at_once(signum: int, frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)


def main() -> None:
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from lad.cli import run

        sys.exit(run())
    except KeyboardInterrupt:
        print("\ninterrupted: what is done is kept; the same command goes on from here", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
