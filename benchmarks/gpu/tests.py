"""The tests that need a GPU: those marked `gpu`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.size import Size
from benchmarks.speed.rows import Row
from lad.device import kind_of

TESTS = Path(__file__).parents[2] / "tests"


def measure(device: str, size: Size) -> Iterator[Row]:
    """Run them. On a card none may be skipped for want of one."""
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if "mark.gpu" in path.read_text(encoding="utf-8")]
    environment = {**os.environ, **({"LAD_GPU": "1"} if kind_of(device) == "cuda" else {})}
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", "-p", "no:cacheprovider", *files]
    ended = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    print(ended.stdout, ended.stderr, file=sys.stderr)
    counts = re.findall(r"(\d+) (passed|failed|skipped|errors?)", ended.stdout)
    said = ", ".join(f"{count} {what}" for count, what in counts) or f"pytest ended with {ended.returncode}"
    yield Row(
        "tests marked gpu", "", "", said, "all pass", ended.returncode == 0 if kind_of(device) == "cuda" else None
    )
