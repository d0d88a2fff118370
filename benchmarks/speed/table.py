"""How fast lad is, as ratios to plain baselines that are measured in the same run.

    python -m benchmarks.speed.table [--only network training ...] [--page docs/performance.md]

It prints a table. With `--page` it also replaces the table between the two marks of a page. Run it on a machine that
does nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.page import between
from benchmarks.speed.rows import DATA, HEADER, Row, processor
from lad.memory import keep_freed

SUBJECTS = ("network", "int8", "extraction", "flow", "training", "scoring", "commands")
PACKAGES = ("torch", "opencv-contrib-python-headless", "av", "decord", "numpy")
MARKS = "measured"  # of its place in the page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SUBJECTS,
        default=list(SUBJECTS),
        metavar="SUBJECT",
        help=f"subjects to measure: {', '.join(SUBJECTS)} [default: all]",
    )
    parser.add_argument("--page", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    if not (DATA / "samples").is_dir():
        print(f"no sample videos in {DATA}: set LAD_DATA to the data folder", file=sys.stderr)
        return 2
    keep_freed()  # as the program does, and the baselines in this process too
    rows: list[Row] = []
    for subject in arguments.only:
        began = time.monotonic()
        rows += importlib.import_module(f"benchmarks.speed.{subject}").measure()
        print(f"{subject}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = Table(*HEADER)
    for row in rows:
        table.add_row(*row.cells)
    Console().print(table)
    if arguments.page:
        lines = [machine(), "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
        lines += [f"| {' | '.join(row.cells)} |" for row in rows]
        arguments.page.write_text(between(arguments.page.read_text(), MARKS, lines))
    return int(any(row.met is False for row in rows))


def machine() -> str:
    """The processor, and the versions of what the figures depend on."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {processor()}; Python {platform.python_version()}, {', '.join(found)}."


if __name__ == "__main__":
    sys.exit(main())
