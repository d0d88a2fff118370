"""Cameras of GStreamer, and `lad watch` as a process beside them."""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from helpers.places import REPOSITORY

SERVER = REPOSITORY / "benchmarks" / "cameras" / "rtsp_server.py"
DEBIANS_PYTHON = "/usr/bin/python3"
HAS_IT = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
MISSING = (
    "NO RTSP SERVER: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)


@cache
def _is_there() -> bool:
    try:
        return subprocess.run([DEBIANS_PYTHON, "-c", HAS_IT], capture_output=True).returncode == 0
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """`rtsp://127.0.0.1:<port>/cam0`, `cam1`, ...: a clip each, in a loop. Skips where there is no GStreamer."""

    def __init__(self, clips: Sequence[Path], user: str = "", password: str = "") -> None:
        if not _is_there():
            pytest.skip(MISSING)
        self.port = free_port()
        self._login = ["--user", user, "--password", password] if user else []
        self.start(clips)

    def start(self, clips: Sequence[Path]) -> None:
        words = [DEBIANS_PYTHON, str(SERVER), *map(str, clips), "--port", str(self.port), *self._login]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    def url(self, camera: int = 0, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/cam{camera}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Watching:
    """`lad watch` as a process: the notices and lines that it writes, as they come."""

    def __init__(self, words: Sequence[str], cwd: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lad", "watch", *words],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.notices: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.raw: list[str] = []
        self._changed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_stdout(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.raw.append(line)
            self.notices.append(json.loads(line))
            self._changed.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))
            self._changed.put(None)

    def wait_for(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        """Until it is so; looks whenever something is written, and ten times a second."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"in {seconds} s not; said {self.said}, told {self.raw}"
            assert self.process.poll() is None or what(), f"it ended: {self.said}"
            with suppress(queue.Empty):
                self._changed.get(timeout=0.1)

    def heard(self, text: str) -> bool:
        return any(text in line for line in self.said)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; returns the exit status and how many seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(20)
        took = time.monotonic() - begun
        for thread in self._threads:
            thread.join()
        return status, took

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
