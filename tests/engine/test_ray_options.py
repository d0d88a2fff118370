"""What `--engine ray` and `--device cuda:all` say before anything is done. Needs no Ray and no GPU."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.videos import write_video

from lad.config import load_config
from lad.device import extraction_devices, resolve_device
from lad.engine import on_ray, ray_cluster
from lad.engine.ray_cluster import OnRay
from lad.features.recipe import make_recipe
from lad.files import write_json
from lad.ours import FLEET
from lad.work.manifest import open_manifest

Lad = Callable[..., tuple[int, str, str]]


def test_without_ray_one_line_says_how_to_install_it(lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda _: None)
    video = write_video(tmp_path / "street.mp4")
    status, _, err = lad("extract", str(video), "--work", str(tmp_path / "work"), "--engine", "ray")
    assert status == 2 and err == "error: Ray is not installed: pip install 'lad-video[ray]'\n"
    assert not (tmp_path / "work").exists()


def test_a_folder_called_ray_is_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(ray_cluster.EngineError, match="not installed"):
        ray_cluster.check_ray()


@pytest.mark.parametrize("words", [["--actors", "2"], ["--gpus-per-actor", "1"], ["--ray-address", "auto"]])
def test_options_of_ray_without_it_are_a_mistake(lad: Lad, words: list[str]) -> None:
    status, _, err = lad("extract", "street.mp4", *words)
    assert status == 2 and f"{words[0]} goes with --engine ray" in err


@pytest.mark.parametrize("command", ["extract", "score", "evaluate", "run"])
def test_all_stages_but_training_alone_can_be_given_to_ray(lad: Lad, command: str, tmp_path: Path) -> None:
    words = [command, "-c", "surveillance", "--data", str(tmp_path), "--work", str(tmp_path / "work")]
    status, _, err = lad(*words, "--engine", "ray", "--actors", "0")
    assert status == 2 and "0 is not in the range x>=1" in err
    status, _, err = lad(*words, "--actors", "2")
    assert status == 2 and "--actors goes with --engine ray" in err


def test_where_torchcodec_reads_the_driver_needs_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody could tell whether a node has another release."""
    monkeypatch.setattr(on_ray, "versions", lambda *names: dict.fromkeys(names, "unknown"))
    recipe = make_recipe(load_config(None, ["extract.backbone=tiny"]).extract, device="cpu", threads=1)
    recipe = replace(recipe, clips=replace(recipe.clips, reader="torchcodec"))
    events = on_ray.extract_on_ray([], recipe, tmp_path, OnRay(), workers=1, threads=1, stall_seconds=60, say=print)
    with pytest.raises(ray_cluster.EngineError, match=r"torchcodec is not installed here.*pip install"):
        next(events)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "[::1]:1"])
def test_a_cluster_that_is_not_there_is_said_at_once(address: str) -> None:
    with pytest.raises(ray_cluster.EngineError, match="no Ray at"):
        ray_cluster._check_address(address)


def test_where_there_is_no_gpu_all_of_them_are_one_line(lad: Lad, tmp_path: Path) -> None:
    if resolve_device("auto") == "cuda":
        pytest.skip("this machine has a GPU")
    video = write_video(tmp_path / "street.mp4")
    small = ["-o", "extract.backbone=tiny", "--work", str(tmp_path / "work")]
    status, _, err = lad("extract", str(video), *small, "--device", "cuda:all")
    assert status == 2 and "finds no usable GPU; pass --device cpu" in err


def test_all_gpus_are_a_process_each_for_extraction_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lad.device._count_gpus", lambda: 3)
    assert extraction_devices("cuda:all") == ["cuda:0", "cuda:1", "cuda:2"]
    assert extraction_devices("cuda") == ["cuda"] and extraction_devices("cpu") == ["cpu"]
    assert resolve_device("cuda:all") == "cuda"


def test_lad_status_says_which_nodes_extract(lad: Lad, tmp_path: Path) -> None:
    fleet = {
        "what": "extracting",
        "at": time.time(),
        "nodes": {"n1": 2, "n2": 1},
        "away": 1,
        "in_flight": {"yard/3": "n1", "yard/1": "n1", "gate": "n2"},
        "clips_per_second": 812.25,
        "share": 0.25,
        "seconds_left": 7260.0,
    }
    with open_manifest(tmp_path):
        write_json(tmp_path / FLEET, fleet)
        _, out, _ = lad("status", "--work", str(tmp_path))
        assert json.loads(lad("status", "--work", str(tmp_path), "--json")[1])["fleet"] == fleet
    assert (
        "extracting: 2 nodes, 3 processes at work, 1 not there, 3 videos in flight, 812.2 clips/s, "
        "about 2 h 01 min left\n  n1: 2 at work: yard/1, yard/3\n  n2: 1 at work: gate\n"
    ) in out
    with open_manifest(tmp_path):
        write_json(tmp_path / FLEET, fleet | {"at": time.time() - 100})
        assert "extracting" not in lad("status", "--work", str(tmp_path))[1], "that run was killed"
    assert "extracting" not in lad("status", "--work", str(tmp_path))[1], "nobody works there any more"
