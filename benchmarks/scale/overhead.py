"""What Ray costs an extraction: the same videos by two actors of one thread each, and by one process of two threads."""

from __future__ import annotations

import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.common import DECODER, TICK
from lad.dataset import Video, read_dataset

FEW, MANY = 8, 56  # videos: what is measured begins when the first ones are done, so that no start is in it
CLIPS, CLIP_FRAMES = 4, 16  # of each video: clips, and frames of those
WORK = Path("runs/scale")
SAMPLE_SECONDS = 0.1
TARGET = 0.95
ENGINES = {
    "local": ("-o", "threads=2", "-o", "workers=2"),
    "ray": ("-o", "threads=1", "-o", "workers=1", "--engine", "ray", "--actors", "2"),
}
ACTOR = b"ray::Actor"


@dataclass(frozen=True)
class Cost:
    """Seconds: of CPU time of `lad` (decoders, networks, driver), of CPU time of Ray's own processes, of the clock."""

    lad: float
    ray: float
    clock: float


def overhead_runs(data: Path, backbone: str, pairs: int, together: bool) -> int:
    """Time `pairs` pairs, and print each and the medians. Returns the exit status.

    Ray's own processes take CPU time by the second, not by the clip: they are told apart. `together`: both of a pair at
    the same time, so that whatever else the machine does slows both; then CPU time is what can be compared.
    """
    videos = sorted(read_dataset(data / "dataset.csv", data), key=lambda video: (video.n_frames or 0, video.id))
    videos = [video for video in videos if -(-(video.n_frames or 0) // CLIP_FRAMES) == CLIPS][:MANY]
    found: list[tuple[Cost, Cost]] = []
    print("seconds a clip: CPU time, clock; Ray's own processes in % of a core")
    print(f"{'local':>16} {'two actors':>16} {'Ray':>8} {'ratios':>16}", flush=True)
    for pair in range(pairs):
        engines = list(ENGINES)[:: -1 if pair % 2 else 1]
        costs: dict[str, Cost] = {}
        for at_once in [engines] if together else [[engine] for engine in engines]:
            costs |= _a_clip(videos, backbone, at_once)
        found.append((costs["local"], costs["ray"]))
        print(_line(*found[-1]), flush=True)
    by_cpu = statistics.median(local.lad / ray.lad for local, ray in found)
    by_clock = statistics.median(local.clock / ray.clock for local, ray in found)
    print(f"medians: two actors reach {by_cpu:.2f} of the local engine by CPU time, {by_clock:.2f} by the clock")
    return 0 if (by_cpu if together else by_clock) >= TARGET else 1


def _line(local: Cost, ray: Cost) -> str:
    pairs = [(local.lad, local.clock), (ray.lad, ray.clock), (local.lad / ray.lad, local.clock / ray.clock)]
    shown = [f"{cpu:7.3f} {clock:8.3f}" for cpu, clock in pairs]
    return f"{shown[0]} {shown[1]} {100 * ray.ray / ray.clock:8.1f} {shown[2]}"


def _a_clip(videos: list[Video], backbone: str, engines: list[str]) -> dict[str, Cost]:
    """What a clip costs in fresh extractions at the same time: they end when one has all videos and each has half."""
    runs = [_Run(engine, videos, backbone) for engine in engines]
    try:
        done = [0]
        while max(done) < len(videos) or min(done) < len(videos) // 2:
            time.sleep(SAMPLE_SECONDS)
            done = [run.look() for run in runs]
    finally:
        for run in runs:
            run.process.send_signal(signal.SIGINT)  # so that Ray ends, too
        for run in runs:
            run.process.wait()
    return {run.engine: run.cost() for run in runs}


class _Run:
    """An extraction that is watched."""

    def __init__(self, engine: str, videos: list[Video], backbone: str) -> None:
        self.engine, self.log, work = engine, WORK / f"{engine}.log", WORK / engine
        shutil.rmtree(work, ignore_errors=True)
        self.features = work / "features" / "rgb"
        command = [sys.executable, "-m", "lad", "extract", "-q", "--device", "cpu", "--work", str(work)]
        weights = "extract.weights={rgb: random, flow: random}"
        for option in (f"extract.backbone={backbone}", weights, "extract.streams=[rgb]"):
            command += ["-o", option]
        command += [*ENGINES[engine], *(str(video.path) for video in videos)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.used: dict[int, tuple[bool, float]] = {}
        self.looks: list[tuple[int, Cost]] = []  # whenever videos were done: how many, and what had been used

    def look(self) -> int:
        """Note what has been used; how many videos are done."""
        if self.process.poll():
            raise SystemExit(f"lad extract: exit status {self.process.returncode}: see {self.log}")
        _look(self.process.pid, self.used)
        done = sum(1 for _ in self.features.rglob("*.npy"))
        if not self.looks or done > self.looks[-1][0]:
            lad, ray = (sum(cpu for is_ray, cpu in self.used.values() if is_ray == wanted) for wanted in (False, True))
            self.looks.append((done, Cost(lad, ray, time.monotonic())))
        return done

    def cost(self) -> Cost:
        """Of a clip, from when some videos were done to when the last one was that is done now."""
        before, begin = next(look for look in self.looks if look[0] >= FEW)
        after, end = self.looks[-1]
        clips = (after - before) * CLIPS
        if not clips:
            raise SystemExit("too fast to be measured: take a slower --backbone")
        return Cost((end.lad - begin.lad) / clips, (end.ray - begin.ray) / clips, (end.clock - begin.clock) / clips)


def _look(root: int, used: dict[int, tuple[bool, float]]) -> None:
    """Note whether a process is Ray's own, and its CPU seconds: of `root` and all that it started."""
    parents, cpu = {}, {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                fields = (place / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            parents[int(place.name)], cpu[int(place.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK
    for pid in cpu:
        above = pid
        while above not in used and above != root and above > 1:
            above = parents.get(above, 0)
        if above > 1:
            was_ray = used[pid][0] if pid in used else pid != root
            used[pid] = was_ray and _is_ray(pid), cpu[pid]  # what ends has no name any more


def _is_ray(pid: int) -> bool:
    """Whether a process is one of Ray's own."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return ACTOR not in words and DECODER not in words
