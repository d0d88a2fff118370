"""`--engine ray` when a machine of its cluster is lost, or about to be: a node, or the head."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import SMALL, VIDEOS, left_behind, processes_of, write_videos

from lad.engine.ray_cluster import NODE_DIGITS

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
Driver = subprocess.Popen[str]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node."""
    monkeypatch.setenv("LAD_TEST", str(tmp_path))
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@contextmanager
def driver(address: str, test: Path, nodes: int) -> Iterator[Driver]:
    """`lad extract` on so many nodes; its decoders stand still, else it may be done before anybody looks."""
    data, work = write_videos(test / "data"), test / "work"
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--ray-address", address, "-o", "extract.stall_seconds=600"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: tell_decoders(test, signal.SIGSTOP) and len(nodes_of(work)) == nodes, process)
        yield process
    finally:
        process.kill()


def wait_for(condition: Callable[[], object], run: Driver) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()
        time.sleep(0.02)


def read_to(words: str, run: Driver) -> str:
    """What is said on stderr, up to the line with these words."""
    assert run.stderr is not None
    said = ""
    while words not in said:
        said += (line := run.stderr.readline())
        assert line, said
    return said


def tell_decoders(test: Path, what: signal.Signals) -> bool:
    """Send a signal to all; whether there are any."""
    decoders = [process for process, title in processes_of(test).items() if "lad.extract.worker" in title]
    for decoder in decoders:
        with suppress(ProcessLookupError):
            os.kill(decoder, what)
    return bool(decoders)


@contextmanager
def standing_still(test: Path) -> Iterator[None]:
    """No decoder works meanwhile, nor do those that begin now: else they may be done before a loss is noticed."""
    over = threading.Event()

    def stop() -> None:
        while not over.wait(0.05):
            tell_decoders(test, signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def nodes_of(work: Path) -> dict[str, int]:
    """The nodes that extract, as `lad status` says, and how many actors each has."""
    try:
        return json.loads((work / "fleet.json").read_text())["nodes"]
    except FileNotFoundError:
        return {}


def test_a_head_that_is_lost_ends_the_run_with_the_reason(head: Any, tmp_path: Path) -> None:
    with driver(head.address, tmp_path, nodes=1) as run:
        head.head_node.kill_gcs_server()
        _, err = run.communicate(timeout=120)
    assert run.returncode == 2 and "the head of the cluster" in err and "resumes from here" in err, err
    assert "Traceback" not in err and not left_behind(tmp_path / "work"), err


def test_a_node_that_is_lost_is_said_in_a_line_of_ours_and_a_new_one_takes_its_place(head: Any, tmp_path: Path) -> None:
    lost = head.add_node(**NODE)
    with driver(head.address, tmp_path, nodes=2) as run:
        head.remove_node(lost, allow_graceful=False)
        with standing_still(tmp_path):
            err = read_to("lost the node", run)
        new = head.add_node(**NODE)
        wait_for(lambda: new.node_id[:NODE_DIGITS] in " ".join(nodes_of(tmp_path / "work")), run)
        tell_decoders(tmp_path, signal.SIGCONT)
        out, rest = run.communicate(timeout=300)
    err += rest
    assert run.returncode == 1 and out.startswith(f"extract: {VIDEOS} done, 1 failed\n"), out + err
    assert "raylet" not in out + err and "\x1b" not in out + err, "Ray prints pages of its own, in colours, to stdout"
    allowed = ("extract:", "warning: lost the node", "warning: lost a process", "failed:", "1 video failed:", "  ")
    assert all(line.startswith(allowed) for line in err.splitlines()), err
    assert err.count("lost the node") == 1 and not left_behind(tmp_path / "work")


def test_a_node_that_is_drained_gives_its_videos_back(head: Any, tmp_path: Path) -> None:
    leaving = head.add_node(**NODE)
    drain = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "drain-node"]
    drain += ["--address", head.address, "--node-id", leaving.node_id, "--deadline-remaining-seconds", "600"]
    drain += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "it is a spot machine"]
    with driver(head.address, tmp_path, nodes=2) as run:
        subprocess.run(drain, check=True, capture_output=True, timeout=60)
        err = read_to("its node is about to go", run)
        wait_for(lambda: len(nodes_of(tmp_path / "work")) == 1, run)
        tell_decoders(tmp_path, signal.SIGCONT)
        out, rest = run.communicate(timeout=300)
    assert run.returncode == 1 and out.startswith(f"extract: {VIDEOS} done, 1 failed\n"), out + err + rest
    assert "lost the node" not in err + rest, "it went as it had said"
    assert not left_behind(tmp_path / "work")
