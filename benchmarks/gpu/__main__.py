"""How fast lad is on one NVIDIA card, and whether it agrees there with a CPU, in under 8 minutes.

    python -m benchmarks.gpu [--device cuda] [--only network flow ...] [--page docs/performance.md]

Each subject has a process and a time of its own. One that fails, or takes too long, is a row that says so, and the rest
goes on. With `--page` the table replaces what is between the page's marks for it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.card import describe
from benchmarks.page import between
from benchmarks.speed.rows import HEADER, Row
from lad.device import DeviceError, check_device
from lad.tables import markdown_table

# Seconds that each may take: together, with the start of torch here, less than 8 minutes.
BUDGETS = {"network": 90, "flow": 50, "training": 50, "extraction": 120, "readers": 60, "tests": 90}
MARKS = "gpu"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:<number>, or cpu, to try it out [default: cuda]")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BUDGETS,
        default=list(BUDGETS),
        metavar="SUBJECT",
        help=f"subjects to measure: {', '.join(BUDGETS)} [default: all]",
    )
    parser.add_argument("--page", type=Path, help="page whose table is replaced")
    parser.add_argument("--small", action="store_true", help="so little that a CPU does it in a minute")
    arguments = parser.parse_args()
    try:
        check_device(arguments.device)
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.page and f"<!-- {MARKS}: begin -->" not in arguments.page.read_text(encoding="utf-8"):
        print(f"{arguments.page}: no marks for the table: <!-- {MARKS}: begin -->", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in arguments.only:
        began = time.monotonic()
        rows += run_part(name, arguments.device, BUDGETS[name], small=arguments.small)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    lines = [describe(arguments.device), "", *markdown_table(HEADER, [row.cells for row in rows]).splitlines()]
    print("\n".join(lines))
    if arguments.page:
        arguments.page.write_text(between(arguments.page.read_text(encoding="utf-8"), MARKS, lines), encoding="utf-8")
    return int(any(row.met is False for row in rows))


def run_part(name: str, device: str, seconds: float, *, small: bool = False) -> list[Row]:
    """The rows of a subject; one more that says why, where it did not come to its end."""
    command = [sys.executable, "-m", "benchmarks.gpu.part", name, "--device", device, *(["--small"] if small else [])]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    part = subprocess.Popen(command, **pipes, encoding="utf-8", errors="replace", start_new_session=True)
    try:
        said, complaints = part.communicate(timeout=seconds)
        why = "" if part.returncode == 0 else f"failed: {_reason(complaints) or f'status {part.returncode}'}"
    except subprocess.TimeoutExpired:
        os.killpg(part.pid, signal.SIGKILL)  # its decoders too
        said, complaints = part.communicate()
        why = f"ended after its {seconds:g} s"
    sys.stderr.write(complaints)
    rows = [Row(*json.loads(line)) for line in said.splitlines() if line.startswith("[") and line.endswith("]")]
    return [*rows, Row(name, "", "", why, "", False)] if why else rows


def _reason(complaints: str) -> str:
    """The line of a traceback that names the error: what CUDA adds in further lines says less."""
    lines = complaints.strip().splitlines()
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: \S", line)), "".join(lines[-1:]))


if __name__ == "__main__":
    sys.exit(main())
