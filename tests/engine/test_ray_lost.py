"""`--engine ray` when a machine of its cluster is lost: a node, or the head."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import SMALL, VIDEOS, actors_of, left_behind, write_videos

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
def driver(address: str, test: Path, actors: int) -> Iterator[Driver]:
    """`lad extract`, with so many actors at work; they stand still, else they may be done before anybody looks."""
    data = write_videos(test / "data")
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(test / "work"), *SMALL]
    words += ["--engine", "ray", "--ray-address", address]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while len(actors_of(test)) < actors:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.1)
        tell_actors(test, signal.SIGSTOP)
        yield process
    finally:
        process.kill()


def tell_actors(test: Path, what: signal.Signals) -> None:
    for actor in actors_of(test):
        os.kill(actor, what)


def nodes_of(work: Path) -> dict[str, int]:
    """The nodes that extract, as `lad status` says, and how many actors each has."""
    try:
        return json.loads((work / "fleet.json").read_text())["nodes"]
    except FileNotFoundError:
        return {}


def test_a_head_that_is_lost_ends_the_run_with_the_reason(head: Any, tmp_path: Path) -> None:
    with driver(head.address, tmp_path, actors=1) as run:
        head.head_node.kill_gcs_server()
        _, err = run.communicate(timeout=120)
    assert run.returncode == 2 and "the head of the cluster" in err and "goes on from here" in err, err
    assert "Traceback" not in err and not left_behind(tmp_path / "work"), err


def test_a_node_that_is_lost_is_said_in_a_line_of_ours_and_a_new_one_takes_its_place(head: Any, tmp_path: Path) -> None:
    node = head.add_node(**NODE)
    with driver(head.address, tmp_path, actors=2) as run:
        head.remove_node(node, allow_graceful=False)
        assert run.stderr is not None
        said = []
        while "lost the node" not in "".join(said[-1:]):
            said.append(run.stderr.readline())
            assert said[-1], said
        new = head.add_node(**NODE)
        while not any(name.endswith(new.node_id[:NODE_DIGITS]) for name in nodes_of(tmp_path / "work")):
            assert run.poll() is None, run.communicate()
            time.sleep(0.02)
        tell_actors(tmp_path, signal.SIGCONT)
        out, err = run.communicate(timeout=300)
    assert run.returncode == 1 and out.startswith(f"extract: {VIDEOS} done, 1 failed\n"), out + err
    assert "raylet" not in out + err and "\x1b" not in out + err, "Ray prints pages of its own, in colours, to stdout"
    allowed = ("extract:", "warning: lost the node", "warning: lost a process", "failed:", "1 video failed:", "  ")
    err = "".join(said) + err
    assert all(line.startswith(allowed) for line in err.splitlines()), err
    assert err.count("lost the node") == 1 and not left_behind(tmp_path / "work")
