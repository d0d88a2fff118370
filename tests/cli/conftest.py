"""Six labelled clips, and a whole run over them."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.small_run import CONFIG, FRAMES, arguments

from lad.dataset import COLUMNS


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, make_video) -> Path:
    """Six labelled clips in two categories, and the configuration beside them."""
    root = tmp_path_factory.mktemp("data")
    rows = []
    for number, (video, frames) in enumerate(FRAMES.items()):
        (root / video).parent.mkdir(exist_ok=True)
        make_video(root / f"{video}.mp4", frames)
        split = "train" if number % 3 < 2 else "test"
        label = video.partition("/")[0]
        events = "10-30" if label == "run" else ""
        rows.append([video, f"{video}.mp4", split, label, events, frames, 25, ""])
    # A normal and an abnormal clip in each half of the training set, so that two folds are possible.
    rows[0][4], rows[3][4] = "5-20", ""
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    (root / "small.yaml").write_text(CONFIG)
    return root


@pytest.fixture(scope="session")
def finished(dataset, tmp_path_factory) -> Path:
    """The work directory of a whole, undisturbed `lad run`; copy it before changing anything."""
    work = tmp_path_factory.mktemp("finished") / "work"
    subprocess.run([sys.executable, "-m", "lad", "run", "-q", *arguments(dataset, work)], check=True, timeout=300)
    return work


@pytest.fixture
def work(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "work"))
