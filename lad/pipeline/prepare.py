"""`lad prepare`: a benchmark's official download to a `dataset.csv`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from lad.config import SHIPPED, Config, override
from lad.dataset import SPLITS, DatasetError, dataset_text
from lad.datasets import BENCHMARKS
from lad.files import write_bytes
from lad.pipeline.checks import check_config
from lad.pipeline.project import load_project


def prepare_dataset(config: Config, out: Path, warn: Callable[[str], None], *, force: bool = False) -> str:
    """Write the videos of a configuration's benchmark to `out`; returns a line that counts them.

    `warn` gets one line for whatever is missing or odd. A file with other content is replaced by `force` alone: nobody
    knows whether a person wrote or mended it.

    Raises:
        ConfigError, dataset.DatasetError: the download is not there, or cannot be understood; or `out` is in the way.
        OSError: `out` cannot be written.
    """
    check_config(config)
    name, root = config.data.benchmark, config.data.root
    assert name is not None and isinstance(root, Path)  # the command line saw to it
    videos = load_project(config, warn=warn).videos
    # Beside the data its paths are relative to the file; elsewhere whoever reads it says where the data lie.
    table = dataset_text(videos, root)
    if not force and out.exists() and not (out.is_file() and out.read_bytes() == table):
        raise DatasetError(f"{out}: is there with other content: name another --out, or give --force to replace it")
    write_bytes(out, table)
    counts = {split: sum(video.split == split for video in videos) for split in (*SPLITS, "")}
    splits = ", ".join(f"{count} {split or 'in no split'}" for split, count in counts.items() if count)
    abnormal = sum(video.is_abnormal for video in videos)
    if not 0 < abnormal < len(videos):
        which = "abnormal" if abnormal else "normal"
        warn(f"warning: every video is {which}" + ("; see --normal" if name == "folder" else ""))
    if out.absolute().parent != root.absolute():
        one = "-o protocol.splits=1 " if BENCHMARKS[name].random_split else ""  # the split is in the file now
        dataset = shlex.quote(override("data.dataset", out.absolute()))  # `root` may hold one of the same name
        place = f"{one}-o data.benchmark=null -o {dataset} --data {shlex.quote(str(root))}"
        weak = "-weak" if any(video.is_weak for video in videos) else ""
        known = f"{name}{weak}" if (SHIPPED / f"{name}{weak}.yaml").is_file() else "CONFIG"
        warn(f"use it with: -c {known} {place}")
    return f"{out}: {len(videos)} videos ({splits}), {abnormal} abnormal"
