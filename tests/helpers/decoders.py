"""The decoding processes that this one has started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MODULES = {b"lad.extract.worker", b"helpers.odd_decoder"}


def decoders() -> list[int]:
    """Those that run."""
    return [process for process, state in _children() if state != "Z" and MODULES & _words(process)]


def started() -> set[int]:
    """Processes of any kind that this one has started and not waited for."""
    return {process for process, _ in _children()}


def unburied() -> set[int]:
    """Dead processes of any kind that nobody has waited for."""
    return {process for process, state in _children() if state == "Z"}


def signal_decoders(by: signal.Signals) -> None:
    for decoder in decoders():
        os.kill(decoder, by)


def wait_until_idle(process: int, seconds: float = 30.0) -> None:
    """Wait until a process has waited for something for half a second: for its pipe, where there is nothing else."""
    end, quiet, before = time.monotonic() + seconds, 0, ""
    while quiet < 5 and time.monotonic() < end:
        time.sleep(0.1)
        fields = _status(Path("/proc") / str(process))
        used = " ".join(fields[11:13])  # of the processor, by itself and by the system for it
        quiet, before = (quiet + 1 if fields[0] == "S" and used == before else 0), used
    assert quiet == 5


def _children() -> Iterator[tuple[int, str]]:
    """Each with its state."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = _status(process)[:2]
            if int(parent) == os.getpid():
                yield int(process.name), state


def _status(process: Path) -> list[str]:
    """What stands behind its name in `proc(5)`'s stat."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _words(process: int) -> set[bytes]:
    """Its command line; nothing where it has ended meanwhile."""
    try:
        return set(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"))
    except OSError:
        return set()
