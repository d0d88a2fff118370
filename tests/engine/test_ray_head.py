"""`--engine ray` when the head of its cluster is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.elsewhere import SMALL, left_behind, write_videos

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.slow


def actors_of(work: Path) -> list[int]:
    """The actors of the cluster of this test, by its environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Actor") and os.fsencode(f"LAD_TEST={work}") in environ:
                found.append(int(folder.name))
    return found


def test_a_head_that_is_lost_ends_the_run_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = write_videos(tmp_path / "data"), tmp_path / "work"
    monkeypatch.setenv("LAD_TEST", str(work))
    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    words = [sys.executable, "-m", "lad", "extract", "--data", str(data), "--work", str(work), *SMALL]
    words += ["--engine", "ray", "--ray-address", cluster.address]
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while driver.poll() is None and not (found := actors_of(work)):
            time.sleep(0.1)
        for actor in found:
            os.kill(actor, signal.SIGSTOP)  # else it may be done before anybody looks
        cluster.head_node.kill_gcs_server()
        _, err = driver.communicate(timeout=120)
        assert driver.returncode == 2 and "the head of the cluster" in err and "goes on from here" in err, err
        assert "Traceback" not in err and not left_behind(work), err
    finally:
        driver.kill()
        cluster.shutdown()
