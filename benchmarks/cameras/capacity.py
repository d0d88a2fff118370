"""How many cameras of 25 frames a second a machine carries."""

from __future__ import annotations

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path

import yaml

from benchmarks.cameras.made import make_clip
from benchmarks.cameras.watching import Watching

WARM_SECONDS = 15.0
FEW = 0.01  # share of the clips that may be left out
GROWTH = 1.2  # of the latency's second half over its first: more waits and waits


def measure_capacity(asked: argparse.Namespace, folder: Path) -> int:
    """Print a row for each number of cameras, until clips are left out or wait for longer and longer."""
    clip = asked.clip or make_clip(folder / "clip.mp4")
    print("| cameras | frames a second | clips left out | processor, cores | latency, first and second half |")
    print("|---|---|---|---|---|")
    for cameras in range(asked.least, asked.most + 1):
        come, dropped, cores, (early, late) = _measure(asked, folder, clip, cameras)
        row = f"| {cameras} | {come:.0f} | {100 * dropped:.1f} % | {cores:.1f} | {early:.1f} s, {late:.1f} s |"
        print(row, flush=True)
        if dropped > FEW or late > GROWTH * early:
            break
    return 0


def _measure(
    asked: argparse.Namespace, folder: Path, clip: Path, cameras: int
) -> tuple[float, float, float, list[float]]:
    """Frames a second that come, share of the clips left out, busy cores, mean latency of each half of the time."""
    seconds = 60 * asked.minutes
    longer = _repeated(clip, folder / "long.mp4", seconds + 4 * WARM_SECONDS + 60)
    config = {
        "cameras": {f"cam{number}": {"url": str(longer), "realtime": True} for number in range(cameras)},
        "clips": False,
        "stdout": False,
        "out": str(folder / "events"),
        "latency": asked.latency,
        **({"checkpoint": asked.checkpoint} if asked.checkpoint else {}),
    }
    (folder / "cameras.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = ["-c", str(folder / "cameras.yaml"), *(word for one in asked.overrides for word in ("-o", one))]
    watching = Watching(words, folder / f"log_{cameras}.txt", 9412)
    try:
        watching.wait_for("lad_camera_online", cameras)
        time.sleep(WARM_SECONDS)
        counts, used, begun = [watching.metrics()], _processor(watching), time.monotonic()
        for _ in range(2):
            time.sleep(seconds / 2)
            counts.append(watching.metrics())
        used, passed = _processor(watching) - used, time.monotonic() - begun
        watching.stop()
    finally:
        watching.process.kill()

    def grown(name: str, before: dict[str, float], after: dict[str, float]) -> float:
        return sum(value - before.get(key, 0) for key, value in after.items() if key.partition("{")[0] == name)

    def latency(half: tuple[dict[str, float], dict[str, float]]) -> float:
        return grown("lad_latency_seconds_sum", *half) / max(grown("lad_latency_seconds_count", *half), 1)

    come = sum(value for key, value in counts[-1].items() if key.startswith("lad_camera_fps{"))
    rate = next((float(one.partition("=")[2]) for one in asked.overrides if one.startswith("extract.fps=")), None)
    clips = passed * (come if rate is None else rate * cameras) / 16
    dropped = grown("lad_dropped_clips_total", counts[0], counts[-1]) / clips
    return come, dropped, used / passed, [latency(half) for half in pairwise(counts)]


def _processor(watching: Watching) -> float:
    """Seconds of processors that it and its processes have had."""
    total = 0.0
    for pid in watching.processes():
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _repeated(clip: Path, path: Path, seconds: float) -> Path:
    """The clip again and again for so long, without encoding anew."""
    import av

    with av.open(str(path), "w") as out:
        track, before = None, 0.0
        while before < seconds:
            with av.open(str(clip)) as film:
                stream = film.streams.video[0]
                track = track or out.add_stream_from_template(stream)
                lasts = 0.0
                for packet in film.demux(stream):
                    if packet.dts is None or packet.pts is None or stream.time_base is None:
                        continue
                    moved = round(before / stream.time_base)
                    lasts = max(lasts, float((packet.pts + (packet.duration or 0)) * stream.time_base))
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    packet.stream = track
                    out.mux(packet)
                before += lasts
    return path
