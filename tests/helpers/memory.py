"""How much memory a process has taken; imported by the programs that tests start, so it imports nothing large."""

from __future__ import annotations

from pathlib import Path


def peak_memory() -> int:
    """The most memory that this process has held since its program began, in MiB.

    Not `ru_maxrss`: in a child process that begins with what the parent held, so a test would measure pytest.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status["VmHWM"].removesuffix("kB")) >> 10
