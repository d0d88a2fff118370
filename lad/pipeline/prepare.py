"""`lad prepare`: a benchmark's official download to a `dataset.csv`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from lad.config import Config
from lad.dataset import SPLITS, write_dataset
from lad.datasets import BENCHMARKS
from lad.pipeline.checks import check_config
from lad.pipeline.project import load_project


def prepare_dataset(config: Config, out: Path, warn: Callable[[str], None]) -> str:
    """Write the videos of a configuration's benchmark to `out`; returns a line that counts them.

    `warn` gets one line for whatever is missing or odd.

    Raises:
        ConfigError, dataset.DatasetError: the download is not there, or cannot be understood.
        OSError: `out` cannot be written.
    """
    check_config(config)
    name, root = config.data.benchmark, config.data.root
    assert name is not None and root is not None
    videos = load_project(config, warn=warn).videos
    # Beside the data its paths are relative to the file; elsewhere whoever reads it says where the data lie.
    write_dataset(out, videos, root)
    counts = {split: sum(video.split == split for video in videos) for split in (*SPLITS, "")}
    splits = ", ".join(f"{count} {split or 'in no split'}" for split, count in counts.items() if count)
    abnormal = sum(video.is_abnormal for video in videos)
    if not 0 < abnormal < len(videos):
        which = "abnormal" if abnormal else "normal"
        warn(f"warning: every video is {which}" + ("; see --normal" if name == "folder" else ""))
    if out.absolute().parent != root.absolute():
        one = "-o protocol.splits=1 " if BENCHMARKS[name].random_split else ""  # the split is in the file now
        place = f"{one}-o data.benchmark=null -o data.dataset={shlex.quote(str(out))} --data {shlex.quote(str(root))}"
        warn(f"use it with: -c configs/{name}.yaml {place}")
    return f"{out}: {len(videos)} videos ({splits}), {abnormal} abnormal"
