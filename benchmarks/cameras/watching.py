"""`lad watch` as a process, and what it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")


class Watching:
    """Started at once; its notices, and its lines in a file.

    Args:
        words: of the command line.
        log: gets what it says.
        port: of its metrics.
        environment: more of it.
    """

    def __init__(self, words: Sequence[str], log: Path, port: int, environment: Mapping[str, str] = {}) -> None:
        self._log = log.open("w", encoding="utf-8")
        self._port = port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lad", "watch", *words, "--metrics", f":{port}"],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **environment},
        )
        self.notices: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.notices.append(json.loads(line))

    def memory(self) -> tuple[int, int]:
        """Bytes of itself, and of the cameras' processes together, without those that several share."""
        itself, *cameras = (_private(pid) for pid in self.processes())
        return itself, sum(cameras)

    def processes(self) -> list[int]:
        """Its own number and those of the processes that it started."""
        pid = self.process.pid
        places = Path(f"/proc/{pid}/task").glob("*/children")
        return [pid, *(int(child) for place in places for child in place.read_text(encoding="ascii").split())]

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value; nothing while it does not answer yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def total(self, name: str) -> float:
        """A metric, summed over all cameras."""
        return sum(value for key, value in self.metrics().items() if key.partition("{")[0] == name)

    def wait_for(self, name: str, value: float, seconds: float = 120.0) -> None:
        """Until a metric, summed over all cameras, is that high."""
        end = time.monotonic() + seconds
        while self.total(name) < value:
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"{name} did not become {value}: see {self._log.name}")
            time.sleep(0.5)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; its exit status, and how many seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self._thread.join()
        self._log.close()
        return status, time.monotonic() - begun


def _private(pid: int) -> int:
    try:
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1:3])
    except OSError:  # it has just ended
        return 0
    return (resident - shared) * PAGE
