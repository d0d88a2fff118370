"""Cameras and sinks that go and come back: is every event told once and everywhere, and does memory stay?"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from benchmarks.cameras.made import EVENT, make_clip, make_detector
from benchmarks.cameras.receivers import Broker, Receiver, free_port
from benchmarks.cameras.watching import Watching

SERVER = Path(__file__).with_name("rtsp_server.py")
CLOCK = Path(__file__).with_name("clock.c")
STOP_SECONDS, LOOK_SECONDS = 30.0, 5.0
DOWN_SECONDS = 60.0  # for which the broker is down, and the disk full
DISK_MB = 64  # of the disk for events
SET_BACK_SECONDS = 3600  # the wall clock, once
SLACK_SECONDS = 3.0  # by which a time of the server and one of `lad watch` may differ
MEMORY_GROWTH = 1.1  # of the last fifth of the time over the second: the first settles


class Server:
    """Loops a clip, as one camera; `begun` has the times at which it began."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self.begun: list[float] = []
        self.cuts: list[tuple[float, float]] = []  # from when until when it could not be seen
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam0"

    def start(self) -> None:
        words = ["/usr/bin/python3", str(SERVER), str(self._clip), "--port", str(self.port)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._process.stdout.readline()
        threading.Thread(target=self._read, args=[self._process.stdout], daemon=True).start()

    def _read(self, lines: object) -> None:
        for line in lines:  # type: ignore[attr-defined]
            self.begun.append(float(line.split()[1]))

    def kill(self) -> None:
        begun = time.time()
        self._process.kill()
        self._process.wait()
        time.sleep(random.uniform(0.5, 8))
        self.start()
        self.cuts.append((begun, time.time()))

    def stop(self) -> None:
        begun = time.time()
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(STOP_SECONDS)
        self._process.send_signal(signal.SIGCONT)
        self.cuts.append((begun, time.time()))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Disk:
    """A small disk of its own for events, which can be filled; root alone can make one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)

    def fill(self, seconds: float) -> None:
        """It is full for so long."""
        with (self.folder / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass
        time.sleep(seconds)
        (self.folder / "fill").unlink()

    def end(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Clock:
    """A wall clock that one process alone sees, and that can be set back."""

    def __init__(self, place: Path) -> None:
        self._place, code = place, place.with_suffix(".so")
        place.write_bytes(bytes(8))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(code), str(CLOCK)], check=True)
        self.environment = {"LD_PRELOAD": str(code.absolute()), "LAD_CLOCK": str(place.absolute())}

    def set_back(self) -> None:
        with self._place.open("r+b") as file:
            file.write((-SET_BACK_SECONDS).to_bytes(8, "little", signed=True))


@dataclass(frozen=True)
class Told:
    """What became of the events of one camera."""

    true: int
    once: int
    missed: int
    twice: int
    false: int


def run_cameras(asked: argparse.Namespace, folder: Path) -> int:
    """Run it, print the tables; returns the exit status."""
    random.seed(asked.seed)
    clip = asked.clip or make_clip(folder / "clip.mp4")
    event = EVENT if asked.clip is None else tuple(map(float, asked.event.split("-")))
    checkpoint, threshold = asked.checkpoint, asked.threshold
    if checkpoint is None:
        checkpoint, threshold = make_detector(folder / "detector.pt", clip)
    servers = {f"cam{number}": Server(clip) for number in range(asked.cameras)}
    shutil.rmtree(folder / "broker", ignore_errors=True)
    broker, receiver, disk = Broker(folder / "broker"), Receiver(), Disk(folder / "disk")
    clock = Clock(folder / "clock")
    config = {
        "checkpoint": str(checkpoint),
        "out": str(disk.folder / "events"),
        "keep_gigabytes": DISK_MB / 2000,
        "cameras": {name: server.url for name, server in servers.items()},
        "sinks": {"mqtt": {"host": "127.0.0.1", "port": broker.port}, "webhook": {"url": receiver.url}},
        **({"threshold": threshold} if threshold is not None else {}),
    }
    (folder / "cameras.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = ["-c", str(folder / "cameras.yaml"), *(word for one in asked.overrides for word in ("-o", one))]
    watching = Watching(words, folder / "log.txt", free_port(), clock.environment)
    try:
        watching.wait_for("lad_camera_online", asked.cameras)
        first = time.time() + 10
        others = {
            "clock": clock.set_back,
            "broker": lambda: broker.rest(DOWN_SECONDS),
            "disk": lambda: disk.fill(DOWN_SECONDS),
        }
        memory = _disturb(asked, servers, others, watching)
        last = time.time() - 30  # later events may not have been told
        counted = {name: watching.total(name) for name in ("lad_reconnects_total", "lad_dropped_clips_total")}
        status, took = watching.stop()
    finally:
        watching.process.kill()
        for end in [server.end for server in servers.values()] + [broker.end, receiver.end, disk.end]:
            end()
    counted["cuts"] = sum(len(server.cuts) for server in servers.values())
    told = {name: _judge(server, name, watching, event, first, last) for name, server in servers.items()}
    grown = _print(told, memory, counted, status, took)
    lost = _print_sinks(watching, {"mqtt": broker.lines, "webhook": receiver.lines})
    wrong = lost or any(one.missed or one.twice or one.false for one in told.values())
    return int(wrong or grown or status != 0 or took > 5)


def _disturb(
    asked: argparse.Namespace,
    servers: dict[str, Server],
    others: Mapping[str, Callable[[], object]],
    watching: Watching,
) -> list[tuple[float, int, int]]:
    """Disturb servers and others for as long as asked; returns seconds, and the memory then."""
    end, begun = time.monotonic() + 60 * asked.minutes, time.monotonic()
    moments = sorted(
        [(random.uniform(20, max(60 * asked.minutes - 60, 21)), "kill") for _ in range(asked.kills)]
        + [(random.uniform(20, max(60 * asked.minutes - 60, 21)), "stop") for _ in range(asked.stops)]
        + [(60 * asked.minutes * share, name) for share, name in zip((0.25, 0.5, 0.75), others, strict=True)]
    )
    memory: list[tuple[float, int, int]] = []
    while time.monotonic() < end:
        passed = time.monotonic() - begun
        if moments and moments[0][0] < passed:
            _, what = moments.pop(0)
            server = random.choice(list(servers.values()))
            match what:
                case "kill":
                    server.kill()
                case "stop":
                    server.stop()
                case _:
                    others[what]()
        memory.append((passed, *watching.memory()))
        if watching.process.poll() is not None:
            raise SystemExit("lad watch has ended")
        time.sleep(LOOK_SECONDS)
    return memory


def _judge(server: Server, name: str, watching: Watching, event: tuple[float, ...], first: float, last: float) -> Told:
    """Hold what was told against what was filmed. What a cut touched is not judged."""
    begins = {
        notice["after"]["id"]: notice["after"]["start_time"]
        for notice in watching.notices
        if notice["after"]["camera"] == name and notice["type"] == "new"
    }
    # A server that was stopped sends at once what it did not send meanwhile: what is told of that is not judged either.
    unseen = [(begun - SLACK_SECONDS, ended + 2 * SLACK_SECONDS) for begun, ended in server.cuts]
    count: Counter[str] = Counter()
    explained: set[str] = set()
    for loop in sorted(server.begun):
        start, end = loop + event[0] - SLACK_SECONDS, loop + event[1] + SLACK_SECONDS
        found = [one for one, time in begins.items() if start <= time <= end]
        explained.update(found)
        touched = any(start < cut[1] and cut[0] < end for cut in unseen)
        if touched or start < first or end > last:
            continue
        count["true"] += 1
        count["once" if len(found) == 1 else "twice" if found else "missed"] += 1
    false = [
        one
        for one, time in begins.items()
        if one not in explained and not any(cut[0] <= time <= cut[1] for cut in unseen)
    ]
    return Told(count["true"], count["once"], count["missed"], count["twice"], len(false))


def _print_sinks(watching: Watching, sinks: dict[str, list[str]]) -> bool:
    """Print what came to each sink of what was told on standard output; returns whether something is missing."""
    told = Counter(json.dumps(notice, sort_keys=True) for notice in watching.notices)
    print("\n| sink | notices | lost | more than once | in order |\n|---|---|---|---|---|")
    missing = 0
    for name, lines in sinks.items():
        came = [json.dumps(json.loads(line), sort_keys=True) for line in lines]
        lost = len(told.keys() - set(came))
        first = list(dict.fromkeys(came))
        missing += lost
        print(
            f"| {name} | {len(told)} | {lost} | {len(came) - len(first)} | "
            f"{'yes' if first == [one for one in told if one in set(came)] else 'no'} |"
        )
    return missing > 0


def _print(
    told: dict[str, Told], memory: list[tuple[float, int, int]], counted: dict[str, float], status: int, took: float
) -> bool:
    """Print the tables; returns whether memory grew."""
    print("| camera | events filmed whole | told once | not told | told more often | told and not filmed |")
    print("|---|---|---|---|---|---|")
    for name, one in told.items():
        print(f"| {name} | {one.true} | {one.once} | {one.missed} | {one.twice} | {one.false} |")
    _, itself, cameras = map(list, zip(*memory, strict=True))
    together = [sum(sizes) for sizes in zip(itself, cameras, strict=True)]
    print("\n| memory in fifths of the time, MB | first | second | third | fourth | last |\n|---|---|---|---|---|---|")
    for name, sizes in (("together", together), ("`lad watch` itself", itself), ("the cameras' processes", cameras)):
        print(f"| {name} | " + " | ".join(f"{one / 1e6:.0f}" for one in _fifths(sizes)) + " |")
    _, settled, *_, last = _fifths(together)
    print("\n| | |\n|---|---|")
    print(f"| servers killed, or stopped for half a minute | {counted['cuts']:.0f} times |")
    print(f"| connected again | {counted['lad_reconnects_total']:.0f} times |")
    print(f"| clips left out | {counted['lad_dropped_clips_total']:.0f} |")
    print(f"| SIGTERM | exit status {status} after {took:.1f} s |")
    return last > MEMORY_GROWTH * settled


def _fifths(sizes: Sequence[float]) -> list[float]:
    """Means of the fifths of a list."""
    edges = [round(part * len(sizes) / 5) for part in range(6)]
    return [sum(sizes[begin:end]) / max(end - begin, 1) for begin, end in pairwise(edges)]
