"""One subject in a process of its own: `python -m benchmarks.gpu.part NAME --device D`. A row a line, as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import astuple

from benchmarks.gpu.size import FULL, SMALL
from lad.memory import keep_freed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--device", required=True)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    keep_freed()  # as the program does
    measure = importlib.import_module(f"benchmarks.gpu.{arguments.name}").measure
    for row in measure(arguments.device, SMALL if arguments.small else FULL):
        print(json.dumps(astuple(row)), flush=True)


if __name__ == "__main__":
    main()
