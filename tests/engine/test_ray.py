"""`--engine ray` on real clusters: two nodes, each its own raylet, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import (
    SMALL,
    VIDEOS,
    actors_of,
    apart,
    ended,
    extract_alone,
    features,
    left_behind,
    wait_for,
    write_videos,
)
from helpers.work import items

from lad.models import weights

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return extract_alone(data, tmp_path_factory.mktemp("alone"))


def start(
    data: Path,
    work: Path,
    address: str,
    *more: str,
    before: Sequence[str] = (),
    python: Sequence[str] = ("-m", "lad"),
    **env: str,
) -> subprocess.Popen[str]:
    words = [*before, sys.executable, *python, "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--ray-address", address, *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})


def fleet_of(work: Path) -> dict[str, Any]:
    try:
        return json.loads((work / "fleet.json").read_text())
    except OSError:
        return {}


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
    cluster: Any, nodes_cache: Path, data: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    driver = start(data, tmp_path, cluster.address)
    wait_for(lambda: any((tmp_path / "features").rglob("*.npy")), driver)
    for process in actors_of(nodes_cache):
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
    cluster: Any, data: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    """The driver is in a namespace of its own, where another disk is mounted over its work directory."""
    work, kept = tmp_path / "work", tmp_path / "kept"
    work.mkdir()
    status, out, err = ended(start(data, work, cluster.address, before=apart(work), KEPT=str(kept)))
    assert status == 1 and f"{VIDEOS} done, 1 failed" in out, out + err
    assert features(kept) == alone
    assert not left_behind(kept) and not list(work.iterdir())


def test_nodes_with_other_versions_extract_nothing(cluster: Any, data: Path, tmp_path: Path) -> None:
    other = "import lad.engine.handover as h, lad.__main__ as m; h.versions = lambda *_: {'torch': '0.4'}; m.main()"
    status, _, err = ended(start(data, tmp_path, cluster.address, python=["-c", other]))
    assert status == 2 and "and not 0.4: install the same on all nodes" in err, err
    assert not features(tmp_path) and not left_behind(tmp_path)


@pytest.mark.real
def test_weights_that_a_node_lacks_come_from_the_driver(
    cluster: Any, nodes_cache: Path, real_weights: str, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """The cache of the nodes is not that of the driver."""
    video, work = make_video(tmp_path / "data" / "street.mp4", 16), tmp_path / "work"
    small = ["-o", "extract.backbone=i3d", "-o", "extract.streams=[rgb]"]
    status, out, err = ended(start(video.parent, work, cluster.address, *small))
    assert status == 0 and "1 done" in out, out + err
    (sent,) = (nodes_cache / "weights").glob("*.safetensors")
    assert sent.read_bytes() == (weights.cache_folder() / sent.name).read_bytes()


def test_lad_status_says_who_is_at_work(cluster: Any, data: Path, tmp_path: Path, lad: Any) -> None:
    driver = start(data, tmp_path, cluster.address)
    wait_for(lambda: fleet_of(tmp_path).get("in_flight"), driver)
    driver.send_signal(signal.SIGSTOP)
    _, out, _ = lad("status", "--work", str(tmp_path), "--json")
    found = json.loads(out)
    assert found["held"] and found["fleet"]["in_flight"] and sum(found["fleet"]["nodes"].values()) >= 1
    _, out, _ = lad("status", "--work", str(tmp_path))
    assert "videos in flight" in out and "yard/" in out
    driver.send_signal(signal.SIGCONT)
    assert f"{VIDEOS} done, 1 failed" in ended(driver)[1]
    assert "fleet" not in json.loads(lad("status", "--work", str(tmp_path), "--json")[1])


def test_without_an_address_this_machine_is_the_cluster(data: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(tmp_path), *SMALL]
    driver = subprocess.run([*words, "--engine", "ray", "--actors", "1"], capture_output=True, text=True, timeout=300)
    assert driver.returncode == 1 and f"{VIDEOS} done, 1 failed" in driver.stdout, driver.stdout + driver.stderr
    assert features(tmp_path) == alone
