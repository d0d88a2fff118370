"""`lad extract` on real videos: how long a clip takes once it runs, against the network alone, and its memory."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.rows import DATA, REPEATS, WORK, Row, seconds
from lad.extract.extractor import FeatureExtractor
from lad.models import weights

FEW, MANY = (1, 0), (2, 2)  # copies of each sample. The difference between two runs has no start in it
FRAMES = (355, 420)  # of the samples
RGB, BOTH = ("extract.streams=[rgb]",), ("extract.streams=[rgb,flow]",)
MOTION = (*RGB, "extract.motion=true")
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
    network: list[float] = []
    found: dict[tuple[str, ...], list[Run]] = {RGB: [], BOTH: [], MOTION: []}
    alone = _network_alone()
    for _ in range(REPEATS):
        network.append(alone())
        for options, runs in found.items():
            many, few = (_extract(folder, videos, options) for videos in ("many", "few"))
            runs.append(Run((many.seconds - few.seconds) / clips, (many.busy - few.busy) / clips, many.peak_bytes))
    a_clip = statistics.median(network)
    rgb_clip, both_clip = (statistics.median(run.seconds for run in found[options]) for options in (RGB, BOTH))
    rgb_busy, motion_busy = (statistics.median(run.busy for run in found[options]) for options in (RGB, MOTION))
    peak = max(run.peak_bytes for run in found[BOTH])
    share, ratio, with_motion = a_clip / rgb_clip, both_clip / rgb_clip, motion_busy / rgb_busy
    return [
        Row("lad extract, rgb, against the network alone", f"{a_clip:.3f} s a clip", f"{rgb_clip:.3f} s a clip",
            f"{share:.2f}", ">= 0.88", share >= 0.88),
        Row("lad extract, rgb and flow (DIS), against rgb", f"{rgb_clip:.3f} s a clip", f"{both_clip:.3f} s a clip",
            f"{ratio:.2f}x", "<= 2.2x", ratio <= 2.2),
        Row("... its memory, all processes", "", "", f"{peak / 1e9:.2f} GB", "<= 2.5 GB", peak <= 2.5e9),
        Row("lad extract, rgb and motion, against rgb, core seconds", f"{rgb_busy:.3f} s a clip",
            f"{motion_busy:.3f} s a clip", f"{with_motion:.2f}x", "<= 1.5x", with_motion <= 1.5),
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


@dataclass(frozen=True)
class Run:
    """What an extraction took.

    Attributes:
        seconds: by the clock.
        busy: of a core, over all its processes.
        peak_bytes: the most that all its processes held at once.
    """

    seconds: float
    busy: float
    peak_bytes: int


def _extract(folder: Path, videos: str, options: tuple[str, ...]) -> Run:
    """Extract the features of a folder of videos anew."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    command = [sys.executable, "-m", "lad", "extract", "-q", "--device", "cpu", "--work", str(work)]
    command += ["--data", str(folder / videos), str(folder / videos)]
    for option in (*options, "extract.weights={rgb: random, flow: random}"):
        command += ["-o", option]
    began, busy, most = time.perf_counter(), _busy(), 0
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            most = max(most, _session_bytes(process.pid))
            time.sleep(0.2)
    finally:
        process.kill()  # does nothing where it has ended; Ctrl-C does not reach its session
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return Run(time.perf_counter() - began, _busy() - busy, most)


def _busy() -> float:
    """The core seconds of all processes so far that this one started, and they, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
