"""How long commands take that have little to do, and how soon `lad score` of a short video is at its first frames."""

from __future__ import annotations

import csv
import shutil
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np

from benchmarks.speed.rows import DATA, WORK, Row, medians
from lad.dataset import COLUMNS
from lad.work.manifest import open_manifest

ITEMS = 100_000
VIDEOS, TEST_VIDEOS = 2_000, 560  # as LAD2000 has them
FRAMES, SIZE = 32, 64  # of each video: frames, and pixels a side
CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb]}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  selection: validation
  steps: 4
  evaluate_every: 4
threads: 1
"""
# `lad` that ends when the first batch of clips reaches the network. It imports nothing that `lad score` does not.
UNTIL_THE_NETWORK = """
import os
from lad.extract import extraction
compute = extraction.compute
extraction.compute = lambda messages, network, *others: compute(messages, lambda *clips: os._exit(0), *others)
from lad.__main__ import main
main()
raise SystemExit("no clip came")
"""
IMPORT_TORCH = "import torch"


def measure() -> list[Row]:
    """Time each command as a user starts it, in a process of its own."""
    return [_start(), *_little_to_do()]


def _start() -> Row:
    """`lad score` of the shortest sample until its first frames are in the network, against the import of torch."""
    video = min((DATA / "samples").glob("*.mp4"), key=lambda path: path.stat().st_size)
    work = WORK / "start"

    def score() -> None:
        shutil.rmtree(work, ignore_errors=True)
        python(UNTIL_THE_NETWORK, "score", "-q", "--device", "cpu", "--work", str(work), str(video))

    torch, ours = medians([partial(python, IMPORT_TORCH), score])
    what = f"`lad score`, one video: until its first frames are in the network, {ours / torch:.1f} times as long"
    return Row(what, f"{torch:.2f} s (`{IMPORT_TORCH}`)", f"{ours:.2f} s", f"{ours:.2f} s", "<= 3 s", ours <= 3)


def _little_to_do() -> list[Row]:
    status, run = ["status", "--work", str(_many_items())], ["run", "-q", *_many_videos()]
    lad(*run)  # what there is to do is done here
    commands = {
        "`lad --help`": (["--help"], 0.4),
        f"`lad status`, {ITEMS:,} items": (status, 1.5),
        f"`lad run`, {VIDEOS:,} videos, nothing to do": (run, 3.0),
    }
    taken = medians([partial(lad, *words) for words, _ in commands.values()])
    return [
        Row(what, "", f"{seconds:.2f} s", f"{seconds:.2f} s", f"<= {target:g} s", seconds <= target)
        for (what, (_, target)), seconds in zip(commands.items(), taken, strict=True)
    ]


def python(code: str, *words: str) -> None:
    """Run a piece of Python with arguments.

    Raises:
        CalledProcessError: its exit status is not 0.
    """
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)


def lad(*words: str) -> None:
    """Run a command.

    Raises:
        CalledProcessError: its exit status is not 0.
    """
    subprocess.run([sys.executable, "-m", "lad", *words], check=True, stdout=subprocess.DEVNULL)


def _many_items() -> Path:
    """A work directory whose manifest has `ITEMS` finished items. Each has two files, as an extracted video has."""
    work = WORK / "items"
    shutil.rmtree(work, ignore_errors=True)
    with open_manifest(work) as manifest, manifest.transaction():
        outputs = [work / "features.npy", work / "times.npy"]
        for path in outputs:
            path.write_bytes(b"one for all items")
        facts = {"frames": 500, "fps": 25.0, "height": 240, "width": 320, "reader": "decord", "warnings": []}
        for number in range(ITEMS):
            item = f"rgb/camera_{number % 100:02d}/video_{number:06d}"
            manifest.start("extract", item, f"{number:064x}")
            manifest.finish("extract", item, outputs, facts)
    return work


def _many_videos() -> list[str]:
    """Make `VIDEOS` labelled videos of different content, unless they are there. Returns the options to use them."""
    root = WORK / "videos"
    config = root / "speed.yaml"
    if not config.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        _write_videos(root)
        config.write_text(CONFIG)  # last: it says that all the rest is there
    return ["-c", str(config), "--data", str(root), "--work", str(WORK / "done")]


def _write_videos(root: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    with av.open(str(root / "one.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = (root / "one.mp4").read_bytes()
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(VIDEOS):
            video, label = f"category_{number % 10}/video_{number:04d}", f"category_{number % 10}"
            path = root / f"{video}.mp4"
            path.parent.mkdir(exist_ok=True)
            # A box that every reader skips makes each file another.
            path.write_bytes(content + struct.pack(">I4sQ", 16, b"free", number))
            split = "test" if number < TEST_VIDEOS else "train"
            events = "8-24" if number % 2 else ""
            writer.writerow([video, f"{video}.mp4", split, label, events, FRAMES, 25, ""])
