"""Fault runs: kills, damaged files, hours of video, lost machines. They take too long to be among the tests.

    python -m benchmarks.faults kill    [--runs 100]  [--backbone tiny] [--data shared/data/surveillance]
    python -m benchmarks.faults mutants [--count 400] [--backbone tiny] [--data shared/data]
    python -m benchmarks.faults long    [--hours 3]   [--backbone tiny] [--data shared/data/surveillance]
    python -m benchmarks.faults ray     [--kills 30]  [--backbone tiny] [--data shared/data/surveillance]

Each prints one line for each run, and tables at the end. Results are kept below runs/faults/, and a command that was
stopped goes on from there. Exit status: 0 nothing is wrong, 1 something is wrong, 2 usage. docs/reliability.md has the
figures.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from pathlib import Path

from benchmarks.faults.common import DATA, stop_all
from benchmarks.faults.machines import go_apart


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    kill = commands.add_parser("kill", help="lad run, killed at random moments")
    kill.add_argument("--runs", type=int, default=100, help="how many runs to kill [default: 100]")
    mutants = commands.add_parser("mutants", help="lad extract on damaged files")
    mutants.add_argument("--count", type=int, default=400, help="how many files to damage [default: 400]")
    long = commands.add_parser("long", help="lad extract and lad score on one video of hours")
    long.add_argument("--hours", type=float, default=3.0, help="length of the video [default: 3]")
    long.add_argument("--plot", type=Path, default=Path("docs/long_memory.png"), help="picture of the memory over time")
    ray = commands.add_parser("ray", help="lad extract --engine ray on four machines made of this one, which are lost")
    ray.add_argument("--kills", type=int, default=30, help="how many kills [default: 30]")
    for command in (kill, mutants, long, ray):
        whole = command is mutants
        command.add_argument("--data", type=Path, default=DATA if whole else DATA / "surveillance", help="real videos")
        command.add_argument("--backbone", default="tiny", help="feature network [default: tiny]")
        command.add_argument("--seed", type=int, default=0, help="of everything that is random")
    arguments = parser.parse_args()
    wanted = ("samples", "surveillance/dataset.csv") if arguments.command == "mutants" else ("dataset.csv",)
    for name in wanted:
        if not (arguments.data / name).exists():
            print(f"no {name} in {arguments.data}: name the data folder with --data", file=sys.stderr)
            return 2
    if arguments.command == "ray":
        try:
            go_apart("benchmarks.faults")
        except OSError as error:
            print(error, file=sys.stderr)
            return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing that was started outlives it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # for the decoders that are made to crash
    common = (arguments.backbone, arguments.seed)
    if arguments.command == "kill":
        from benchmarks.faults.kill import kill_runs

        return kill_runs(arguments.data, arguments.runs, *common)
    if arguments.command == "mutants":
        from benchmarks.faults.mutants import mutant_runs

        return mutant_runs(arguments.data, arguments.count, *common)
    if arguments.command == "ray":
        from benchmarks.faults.cluster import ray_runs

        return ray_runs(arguments.data, arguments.kills, *common)
    from benchmarks.faults.long import long_run

    return long_run(arguments.data, arguments.hours, *common, arguments.plot)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # the same command resumes from here
    finally:
        stop_all()
