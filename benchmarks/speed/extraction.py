"""`lad extract` on real videos: how long a clip takes once it runs, against the network alone, and its memory."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.rows import DATA, REPEATS, WORK, Row, seconds
from lad.extract.extractor import FeatureExtractor
from lad.models import weights

FEW, MANY = (1, 0), (2, 2)  # copies of each sample. The difference between two runs has no start in it
FRAMES = (355, 420)  # of the samples
BATCH, BATCHES = 4, 5  # extract.batch_clips, and how many batches the network alone is timed on


def measure() -> list[Row]:
    """Time the two sample videos, 320x240 and 480x360, with random weights."""
    samples = sorted((DATA / "samples").glob("*.mp4"))
    clips = sum(-(-frames // 16) * (many - few) for frames, many, few in zip(FRAMES, MANY, FEW, strict=True))
    folder = WORK / "extraction"
    for name, copies in (("few", FEW), ("many", MANY)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path, count in zip(samples, copies, strict=True):
            for number in range(count):
                shutil.copyfile(path, folder / name / f"{path.stem}-{number}.mp4")
    network, rgb, both = [], [], []
    alone = _network_alone()
    peak = 0
    for _ in range(REPEATS):
        network.append(alone())
        rgb.append((_extract(folder, "many", "[rgb]")[0] - _extract(folder, "few", "[rgb]")[0]) / clips)
        many, memory = _extract(folder, "many", "[rgb,flow]")
        both.append((many - _extract(folder, "few", "[rgb,flow]")[0]) / clips)
        peak = max(peak, memory)
    a_clip, rgb_clip, both_clip = (statistics.median(taken) for taken in (network, rgb, both))
    share, ratio = a_clip / rgb_clip, both_clip / rgb_clip
    return [
        Row("lad extract, rgb, against the network alone", f"{a_clip:.3f} s a clip", f"{rgb_clip:.3f} s a clip",
            f"{share:.2f}", ">= 0.88", share >= 0.88),
        Row("lad extract, rgb and flow (DIS), against rgb", f"{rgb_clip:.3f} s a clip", f"{both_clip:.3f} s a clip",
            f"{ratio:.2f}x", "<= 2.2x", ratio <= 2.2),
        Row("... its memory, all processes", "", "", f"{peak / 1e9:.2f} GB", "<= 2.5 GB", peak <= 2.5e9),
    ]  # fmt: skip


def _network_alone() -> Callable[[], float]:
    """A function that measures the seconds a clip of the network, on clips that are in memory already."""
    network = weights.load("random", backbone="i3d", stream="rgb")
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    extractor = FeatureExtractor({"rgb": network}, backbone="i3d", threads=threads)
    clips = np.random.default_rng(0).integers(0, 256, (BATCH, 16, 224, 224, 3), dtype=np.uint8)
    extractor("rgb", clips)
    return lambda: seconds(lambda: [extractor("rgb", clips) for _ in range(BATCHES)]) / (BATCHES * BATCH)


def _extract(folder: Path, videos: str, streams: str) -> tuple[float, int]:
    """The seconds of a fresh extraction, and the most bytes that all its processes held at once."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    command = [sys.executable, "-m", "lad", "extract", "-q", "--device", "cpu", "--work", str(work)]
    command += ["--data", str(folder / videos), str(folder / videos)]
    for option in (f"extract.streams={streams}", "extract.weights={rgb: random, flow: random}"):
        command += ["-o", option]
    began, most = time.perf_counter(), 0
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            most = max(most, _session_bytes(process.pid))
            time.sleep(0.2)
    finally:
        process.kill()  # does nothing where it has ended; Ctrl-C does not reach its session
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - began, most


def _session_bytes(session: int) -> int:
    """The resident bytes of all processes of a session. What several of them share counts for each."""
    total = 0
    for place in Path("/proc").iterdir():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split() if place.name.isdigit() else []
        except OSError:  # it has ended
            continue
        if fields and int(fields[3]) == session:
            total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total
