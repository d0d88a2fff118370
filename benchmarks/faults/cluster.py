"""`lad extract --engine ray` on four machines, of which one after the other is lost."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.common import (
    CONFIG,
    STARTED,
    add_line,
    differences,
    finish,
    kill_session,
    last_line,
    open_folder,
    read_lines,
    report,
    start,
    table,
    unfinished,
)
from benchmarks.faults.machines import RAY_FOLDER, Machine, new_machine
from lad.dataset import read_dataset, write_dataset
from lad.engine.extracting import SCRATCH
from lad.held import held_folder
from lad.ours import JOURNAL

KINDS = ("actor", "node", "network", "driver", "head")
VIDEOS = 60
PORT = 6379
MOST_BETWEEN = 5  # videos that are done from one kill to the next
POLL_SECONDS = 0.1
HANG_SECONDS = 900.0  # without one more video
STORE_BYTES = 80 << 20
MOST_STARTS = 50  # of the driver in a run
RAY = {
    "RAY_TMPDIR": str(RAY_FOLDER.parent),
    "RAY_AUTH_MODE": "token",
    "RAY_memory_monitor_refresh_ms": "0",  # memory is the business of this machine, not of those that it plays
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def ray_runs(data: Path, kills: int, backbone: str, seed: int) -> int:
    """Kill until there were `kills` kills; each run ends with what one machine makes.

    Every second run does without a shared work directory.
    """
    os.environ.update(RAY, RAY_AUTH_TOKEN=secrets.token_hex(32))
    facts = {"data": str(data.absolute()), "backbone": backbone, "seed": seed}
    folder = open_folder(f"ray-{backbone}", facts).absolute()
    options = _shortest(data, folder, backbone)
    reference = folder / "reference"
    if not (folder / "reference.done").exists():
        shutil.rmtree(reference, ignore_errors=True)
        if finish(start(["extract", *options, "--work", str(reference)], folder / "reference.log"), 3600) != 0:
            raise SystemExit(f"the run on one machine failed: {last_line(folder / 'reference.log')}")
        (folder / "reference.done").touch()
    cluster = Cluster(folder)
    path = folder / "results.jsonl"
    while (number := len(read_lines(path))) < 1000 and (left := kills - _kills(path)) > 0:
        row = _Run(cluster, folder, options, number, seed, left).to_the_end()
        add_line(path, row)
        print(f"run {number}: {'; '.join(row['problems']) or 'identical'}", flush=True)
    return _report(folder, cluster.scratch_left())


def _kills(path: Path) -> int:
    return sum(len(row["kills"]) for row in read_lines(path))


def _shortest(data: Path, folder: Path, backbone: str) -> list[str]:
    """Write a dataset.csv of the shortest videos, and a configuration. Returns the options to use them."""
    videos = sorted(read_dataset(data / "dataset.csv", data), key=lambda video: (video.n_frames or 0, video.id))
    write_dataset(folder / "dataset.csv", videos[:VIDEOS], data)
    config = folder / "ray.yaml"
    config.write_text(CONFIG.format(dataset=folder / "dataset.csv", backbone=backbone) + "workers: 1\n")
    return ["-q", "-c", str(config), "--data", str(data.absolute())]


class Cluster:
    """A head and two nodes with a CPU each, and the machine of the driver, which has none for actors."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "ray.log"
        names = ("head", "node1", "node2", "driver")
        self.machines = {name: new_machine(name, 2 + i, folder / "tmp" / name) for i, name in enumerate(names)}
        self.head, self.driver = self.machines["head"], self.machines["driver"]
        self.address = f"{self.head.address}:{PORT}"
        for machine in self.machines.values():
            self.start(machine)

    def start(self, machine: Machine) -> None:
        """Have Ray run on a machine."""
        where = (
            ["--head", f"--port={PORT}", "--include-dashboard=false"]
            if machine is self.head
            else ["--address", self.address]
        )
        cpus = 0 if machine is self.driver else 1
        ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
        options = [f"--num-cpus={cpus}", f"--node-ip-address={machine.address}"]
        options += [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        with self.log.open("ab") as log:
            for _ in range(3):  # a machine that is busy may be late
                done = subprocess.run(machine.words([*ray, "start", *where, *options]), stdout=log, stderr=log)
                if done.returncode == 0:
                    return
                machine.crash()
        raise SystemExit(f"Ray did not start on {machine.name}: {last_line(self.log)}")

    def restart(self) -> None:
        """Have it all anew."""
        for machine in self.machines.values():
            machine.crash()
        for machine in self.machines.values():
            self.start(machine)

    def actors(self) -> list[int]:
        """The processes of actors of `lad`."""
        return [
            pid
            for machine in self.machines.values()
            for pid in machine.processes()
            if _title(pid).startswith(b"ray::Actor")
        ]

    def scratch_left(self) -> list[str]:
        """What killed actors left in temporary folders and the next one on the same machine does not remove."""
        left = []
        for machine in self.machines.values():
            with held_folder(machine.folder, SCRATCH):
                pass
            left += [f"left on {machine.name}: {path.name}" for path in machine.folder.glob(f"{SCRATCH}*")]
        return left


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class _Run:
    """One extraction of all videos, with kills until it is done."""

    def __init__(
        self, cluster: Cluster, folder: Path, options: list[str], number: int, seed: int, most_kills: int
    ) -> None:
        self.cluster, self.folder, self.number, self.most_kills = cluster, folder, number, most_kills
        self.rng = random.Random(1000 * seed + number)
        self.work, self.log = folder / "work", folder / "work.log"
        self.is_shared = number % 2 == 0
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.log.unlink(missing_ok=True)
        for machine in cluster.machines.values():
            machine.hide(self.work, not self.is_shared and machine is not cluster.driver)
        words = ["extract", *options, "--work", str(self.work), "--engine", "ray", "--ray-address", cluster.address]
        self.command = cluster.driver.words([sys.executable, "-m", "lad", *words])
        self.kills: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.starts = 0

    def to_the_end(self) -> dict[str, Any]:
        began = time.monotonic()
        driver = self._start()
        kinds: list[str] = []
        while True:
            target = self._done() + self.rng.randint(1, MOST_BETWEEN)
            if self._wait(driver, lambda target=target: self._done() >= target):  # type: ignore[misc]
                if len(self.kills) == self.most_kills:
                    self._wait(driver, lambda: False)
                    continue
                time.sleep(self.rng.random())
                if not kinds:
                    kinds = self.rng.sample(KINDS, len(KINDS))
                driver = self._kill(kinds.pop(), driver)
            elif driver.returncode == 1 and self.starts < MOST_STARTS:  # a video was lost three times
                driver = self._start()
            else:
                if driver.returncode:
                    self.problems.append(f"exit status {driver.returncode}: {last_line(self.log)}")
                break
        seconds = time.monotonic() - began
        return {
            "run": self.number, "shared": self.is_shared, "starts": self.starts, "kills": self.kills,
            "seconds": round(seconds, 1), "problems": self.problems + self._wrong(),
        }  # fmt: skip

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        with self.log.open("ab") as log:
            driver = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        STARTED.append(driver)
        return driver

    def _done(self) -> int:
        """How many videos are done."""
        return sum(1 for _ in (self.work / "features" / "flow").rglob("*.npy"))

    def _wait(self, driver: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False: the driver ended before."""
        done, since = self._done(), time.monotonic()
        while driver.poll() is None:
            last = self.kills[-1] if self.kills else None
            if last and last["recovery"] is None and self._done() > last["after"]:
                last["recovery"] = round(time.monotonic() - self.killed_at, 1)
            if condition():
                return True
            if self._done() > done:
                done, since = self._done(), time.monotonic()
            if time.monotonic() - since > HANG_SECONDS:
                self.problems.append(f"no video in {HANG_SECONDS:.0f} s: {last_line(self.log)}")
                kill_session(driver.pid)
                driver.wait()
            time.sleep(POLL_SECONDS)
        return False

    def _kill(self, kind: str, driver: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Lose something, have it replaced, and return the driver that goes on."""
        cluster, done = self.cluster, self._done()
        self.killed_at = time.monotonic()
        node = cluster.machines[self.rng.choice(("node1", "node2"))]
        what = node.name
        status: int | None = None
        match kind:
            case "actor":
                found = cluster.actors()
                if not found:
                    return driver
                what = f"1 of {len(found)}"
                os.kill(self.rng.choice(found), signal.SIGKILL)
            case "node":
                node.crash()
                cluster.start(node)
            case "network":
                node.plug("down")
                time.sleep(5 + 30 * self.rng.random())  # shorter and longer than Ray waits
                node.plug("up")
                time.sleep(1)
                node.crash()
                cluster.start(node)
            case "driver":
                kill_session(driver.pid)
                driver.wait()
                driver = self._start()
            case "head":
                cluster.head.crash()
                status = finish(driver, HANG_SECONDS)
                if status is None:
                    self.problems.append("the driver hung after the head was lost")
                elif status not in (0, 2):
                    self.problems.append(f"exit status {status} after the head was lost: {last_line(self.log)}")
                cluster.restart()
                driver = self._start()
        self.kills.append({"kind": kind, "what": what, "after": done, "status": status, "recovery": None})
        print(f"  {kind:8} {what:6} after {done} videos", flush=True)
        return driver

    def _wrong(self) -> list[str]:
        """What is not as one machine leaves it."""
        found = unfinished(self.work) + differences(self.work, self.folder / "reference")
        finished = Counter(row["item"] for row in read_lines(self.work / JOURNAL) if row.get("status") == "done")
        found += [f"{count} times in the journal: {item}" for item, count in finished.items() if count > 1]
        if len(finished) != 2 * VIDEOS:
            found.append(f"{len(finished)} items in the journal")
        if "Traceback" in self.log.read_text(errors="replace"):
            found.append("a traceback in the log")
        deadline = time.monotonic() + 60
        while (left := self.cluster.actors()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        found += [f"{len(left)} actors were left alive"] if left else []
        if found:
            shutil.rmtree(self.folder / f"failed-{self.number}", ignore_errors=True)
            shutil.copytree(self.work, self.folder / f"failed-{self.number}")
        shutil.copy(self.log, self.folder / f"run-{self.number}.log")
        return found


def _report(folder: Path, scratch: list[str]) -> int:
    rows = read_lines(folder / "results.jsonl")
    kills = [(row, kill) for row in rows for kill in row["kills"]]
    lines = []
    for kind in KINDS:
        those = [(row, kill) for row, kill in kills if kill["kind"] == kind]
        took = [kill["recovery"] for _, kill in those if kill["recovery"] is not None]
        times = [f"{statistics.median(took):.0f}", f"{max(took):.0f}"] if took else ["", ""]
        shared = sum(row["shared"] for row, _ in those)
        lines.append([kind, shared, len(those) - shared, *times])
    header = ["lost", "work directory shared", "not shared", "next video after, median s", "at most, s"]
    same = sum(not row["problems"] for row in rows)
    starts = sum(row["starts"] - 1 for row in rows)
    text = (
        f"{len(kills)} kills in {len(rows)} runs, {same} of them identical; {starts} reruns\n\n{table(header, lines)}"
    )
    problems = [f"run {row['run']}: {problem}" for row in rows for problem in row["problems"]]
    return report(folder, f"{text}\n\n{table(header, lines)}", problems + scratch)
