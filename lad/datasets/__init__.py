"""One module a benchmark: its official download -> videos with splits, labels and events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lad.dataset import Video
from lad.datasets.ped2 import read_ped2

# name -> function of (folder of the download, seed of the random split). It raises `DatasetError` for what is missing.
BENCHMARKS: dict[str, Callable[[Path, int], list[Video]]] = {"ped2": read_ped2}
