"""`lad watch` on cameras that go and come back, and on as many as the machine carries.

    python -m benchmarks.cameras run      [--cameras 4] [--minutes 60] [--kills 20] [--stops 5]
    python -m benchmarks.cameras capacity [--clip FILE] [--checkpoint DETECTOR] [--minutes 2] [-o extract.fps=8]

`run`: RTSP servers of GStreamer loop a clip. They are killed and started again, and stopped for half a minute, at
random moments. A broker is down for a minute, the disk of the events is full for a minute, the wall clock is set back
by an hour. Every event of the clip that was sent whole has to be told exactly once, every notice has to come to every
sink, and memory has to stay. Without --clip and --checkpoint, a clip with one event and a detector of the tiny backbone
are made. It needs root (for a disk of its own), mosquitto, and a C compiler (for a clock of its own).

`capacity`: one, two, three ... files are played at 25 frames a second, until clips are left out or wait for longer and
longer.

Each prints tables. Results lie below runs/cameras/. Exit status: 0 nothing is wrong, 1 something is wrong.
docs/reliability.md and docs/watch.md have the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.cameras.capacity import measure_capacity
from benchmarks.cameras.run import run_cameras

OUT = Path("runs/cameras")


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.cameras", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="cameras that go and come back")
    run.add_argument("--cameras", type=int, default=4)
    run.add_argument("--minutes", type=float, default=60.0)
    run.add_argument("--kills", type=int, default=20, help="how often a server is killed and started again")
    run.add_argument("--stops", type=int, default=5, help="how often one is stopped for half a minute")
    run.add_argument("--seed", type=int, default=0, help="of the moments")
    run.add_argument("--threshold", type=float, help="of events [default: the detector's]")
    run.add_argument("--event", default="2.4-4.0", help="seconds of the event in --clip [default: 2.4-4.0]")
    capacity = commands.add_parser("capacity", help="how many cameras the machine carries")
    capacity.add_argument("--minutes", type=float, default=2.0, help="for each number of cameras [default: 2]")
    capacity.add_argument("--least", type=int, default=1, help="cameras to begin with [default: 1]")
    capacity.add_argument("--most", type=int, default=16, help="cameras [default: 16]")
    capacity.add_argument("--latency", choices=["exact", "low"], default="exact")
    for command in (run, capacity):
        command.add_argument("--clip", type=Path, help="MP4 with H.264, 25 frames a second")
        command.add_argument("--checkpoint", help="detector: a file or a name")
        command.add_argument("-o", dest="overrides", action="append", default=[], help="key=value, as of lad watch")
    asked = parser.parse_args()
    folder = OUT / asked.command
    folder.mkdir(parents=True, exist_ok=True)
    return run_cameras(asked, folder) if asked.command == "run" else measure_capacity(asked, folder)


if __name__ == "__main__":
    sys.exit(main())
