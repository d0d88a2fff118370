"""`--engine ray` on real clusters: two nodes, each its own raylet, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import SMALL, VIDEOS, extract_alone, features, left_behind, write_videos
from helpers.work import items

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one CPU, and a node with one."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    made.add_node(**NODE)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return extract_alone(data, tmp_path_factory.mktemp("alone"))


def start(data: Path, work: Path, address: str, *more: str, **env: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--ray-address", address, *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})


def ended(driver: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = driver.communicate(timeout=300)
    assert "Traceback" not in err, err
    return driver.returncode, out, err


def actors() -> list[int]:
    """The processes of actors of `lad` on this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip()
            except OSError:
                continue
            if title.startswith(b"ray::Actor"):
                found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], object], driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)


def test_two_nodes_make_what_one_machine_makes(
    cluster: Any, data: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    status, out, err = ended(start(data, tmp_path, cluster.address))
    assert status == 1 and f"{VIDEOS} done, 1 failed" in out, out + err
    assert len(alone) == 3 * VIDEOS and features(tmp_path) == alone
    assert items(tmp_path, "extract")["rgb/yard/broken"].failure == "content"
    assert not left_behind(tmp_path)
    allowed = ("dataset:", "warning:", "extract:", "check:", "failed:", "1 video failed:", "  ")
    assert all(line.startswith(allowed) for line in err.splitlines()), f"nothing but what lad says: {err}"


def test_an_actor_that_is_killed_costs_nothing_but_time(
    cluster: Any, data: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    driver = start(data, tmp_path, cluster.address)
    wait_for(lambda: any((tmp_path / "features").rglob("*.npy")), driver)
    for process in actors():
        os.kill(process, signal.SIGKILL)
    status, out, err = ended(driver)
    assert status == 1 and f"{VIDEOS} done, 1 failed" in out, out + err
    assert features(tmp_path) == alone
    assert not left_behind(tmp_path)


def test_after_a_driver_that_was_killed_the_next_one_goes_on(
    cluster: Any, data: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    driver = start(data, tmp_path, cluster.address)
    wait_for(lambda: any((tmp_path / "features" / "flow").rglob("*.npy")), driver)
    driver.kill()
    driver.communicate()
    status, out, err = ended(start(data, tmp_path, cluster.address))
    assert status == 1 and "1 failed" in out, out + err
    assert features(tmp_path) == alone
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    done = [line["item"] for line in lines if line.get("status") == "done"]
    assert len(done) == len(set(done)) == 2 * VIDEOS, "nothing twice"
    assert not left_behind(tmp_path)


def test_features_are_sent_where_the_work_directory_is_not_shared(
    cluster: Any, data: Path, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is in a namespace of its own, where another disk is mounted over its work directory."""
    work = tmp_path / "work"
    work.mkdir()
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--ray-address", cluster.address]
    kept = tmp_path / "kept"
    script = 'mount -t tmpfs none "$1" && shift && "$@"; status=$?; cp -a "$0" "$KEPT"; exit $status'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(work), str(work), *words]
    if shutil.which("unshare") is None or subprocess.run([*command[:3], "true"]).returncode:
        pytest.skip("NO NAMESPACES: this machine lets nobody mount")
    driver = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "KEPT": str(kept)})
    assert driver.returncode == 1 and f"{VIDEOS} done, 1 failed" in driver.stdout, driver.stdout + driver.stderr
    assert features(kept) == alone
    assert not left_behind(kept) and not list(work.iterdir())


def test_weights_that_a_node_lacks_come_from_the_driver(cluster: Any, data: Path, tmp_path: Path) -> None:
    """Actors have the cache of the raylets, which is another one than the driver's."""
    pytest.skip("written below, when a small set of weights can be had")


def test_lad_status_says_who_is_at_work(cluster: Any, data: Path, tmp_path: Path, lad: Any) -> None:
    driver = start(data, tmp_path, cluster.address)
    wait_for((tmp_path / "fleet.json").exists, driver)
    _, out, _ = lad("status", "--work", str(tmp_path), "--json")
    found = json.loads(out)
    assert found["held"] and found["fleet"]["in_flight"] and sum(found["fleet"]["nodes"].values()) >= 1
    _, out, _ = lad("status", "--work", str(tmp_path))
    assert "videos in flight" in out and "yard/" in out
    ended(driver)
    assert "fleet" not in json.loads(lad("status", "--work", str(tmp_path), "--json")[1])


def test_without_an_address_this_machine_is_the_cluster(data: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(tmp_path), *SMALL]
    driver = subprocess.run([*words, "--engine", "ray", "--actors", "1"], capture_output=True, text=True, timeout=300)
    assert driver.returncode == 1 and f"{VIDEOS} done, 1 failed" in driver.stdout, driver.stdout + driver.stderr
    assert features(tmp_path) == alone


def test_a_cluster_that_is_not_there_is_one_line(data: Path, tmp_path: Path) -> None:
    status, _, err = ended(start(data, tmp_path, "127.0.0.1:1"))
    assert status == 2 and "error: no Ray at 127.0.0.1:1" in err
