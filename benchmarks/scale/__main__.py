"""What `--engine ray` costs. docs/scale.md has the figures.

    python -m benchmarks.scale driver   [--videos 100000] [--actors 64] [--ray] [--folder DIR]
    python -m benchmarks.scale overhead [--pairs 5] [--together] [--backbone i3d] [--data shared/data/surveillance]
    python -m benchmarks.scale scoring  [--videos 500] [--minutes 3] [--actors 0] [--folder DIR]

`driver` has the driver of a run work off videos whose actors answer at once. `overhead` extracts the same videos with
two actors of one thread each and by this machine's own engine with two threads, in turns or together. `scoring` scores
and evaluates made-up videos, in its own process or by actors. Exit status: 0 targets are reached, 1 one is not, 2
usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.faults.common import DATA
from lad.device import let_threads_go


def main() -> int:
    let_threads_go()
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    driver = commands.add_parser("driver", help="what a video costs the driver")
    driver.add_argument("--videos", type=int, default=100_000, help="how many [default: 100000]")
    driver.add_argument("--actors", type=int, default=64, help="how many that are no processes [default: 64]")
    driver.add_argument("--ray", action="store_true", help="actors of Ray, as many as this machine has cores")
    driver.add_argument("--folder", type=Path, help="for all that is written [default: a temporary folder]")
    overhead = commands.add_parser("overhead", help="two actors against two threads")
    overhead.add_argument("--pairs", type=int, default=5, help="how often each [default: 5]")
    overhead.add_argument("--together", action="store_true", help="both at once, where others use the machine, too")
    overhead.add_argument("--backbone", default="i3d", help="feature network, with random weights [default: i3d]")
    overhead.add_argument("--data", type=Path, default=DATA / "surveillance", help="real videos with a dataset.csv")
    scoring = commands.add_parser("scoring", help="what scores and their pictures cost")
    scoring.add_argument("--videos", type=int, default=500, help="how many [default: 500]")
    scoring.add_argument("--minutes", type=float, default=3.0, help="of each [default: 3]")
    scoring.add_argument("--actors", type=int, default=0, help="of a Ray of this machine [default: no Ray]")
    scoring.add_argument("--folder", type=Path, help="for all that is written [default: a temporary folder]")
    arguments = parser.parse_args()
    if arguments.command == "driver":
        from benchmarks.scale.driver import driver_runs

        return driver_runs(arguments.videos, None if arguments.ray else arguments.actors, arguments.folder)
    if arguments.command == "scoring":
        from benchmarks.scale.scoring import scoring_runs

        return scoring_runs(arguments.videos, arguments.minutes, arguments.actors, arguments.folder)
    if not (arguments.data / "dataset.csv").exists():
        print(f"no dataset.csv in {arguments.data}: name the data folder with --data", file=sys.stderr)
        return 2
    from benchmarks.scale.overhead import overhead_runs

    return overhead_runs(arguments.data, arguments.backbone, arguments.pairs, arguments.together)


if __name__ == "__main__":
    sys.exit(main())
