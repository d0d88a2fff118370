"""Detectors of somebody else, and feature files scored without a configuration."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.given import (
    CLASSES,
    benchmark,
    checkpoint,
    features,
    scores,
)


def header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return next(csv.reader(file))[3:]


def test_a_feature_file_is_scored_as_it_is_without_a_configuration(lad, root, tmp_path):
    work = tmp_path / "work"
    assert lad("train", *benchmark(root, tmp_path / "trained"))[0] == 0
    video = tmp_path / "some.npy"
    np.save(video, np.hstack([features("crash_1", "rgb"), features("crash_1", "flow")]))
    best = str(tmp_path / "trained/checkpoints/best.pt")
    status, out, err = lad("score", "--checkpoint", best, str(video), "--work", str(work), "--json")
    assert status == 0, out + err
    data = json.loads(out)
    ((name, info),) = data["scores"].items()
    assert info["frames"] == 96 and info["seconds"] == 96 / 25
    assert not (work / "features").exists()
    assert lad("score", *benchmark(root, tmp_path / "trained"))[0] == 0
    np.testing.assert_array_equal(scores(work, name)[:90], scores(tmp_path / "trained", "crash_1"))
    np.save(video, features("crash_1", "rgb"))
    status, _, err = lad("score", "--checkpoint", best, str(video), "--work", str(work))
    assert status == 2 and f"{video}: 1024 numbers a clip, i3d rgb + flow has 2048" in err


@pytest.mark.parametrize(("dim", "streams"), [(2048, "[rgb, flow]"), (1024, "[rgb]")])
@pytest.mark.parametrize("classes", [14, 3])
def test_a_released_checkpoint_needs_no_configuration(lad, root, tmp_path, dim, streams, classes):
    path = checkpoint(tmp_path, dim=dim, classes=classes, window=3)
    video = tmp_path / "some.npy"
    np.save(video, np.resize(features("crash_1", "rgb"), (6, dim)))
    work = tmp_path / "work"
    status, out, err = lad("score", "--checkpoint", str(path), str(video), "--work", str(work), "--json")
    assert status == 0, out + err
    ((name, info),) = json.loads(out)["scores"].items()
    expected = list(CLASSES) if classes == 14 else [f"class_{number}" for number in range(3)]
    assert header(work / "scores" / f"{name}.csv") == expected == list(info["votes"])
    assert sum(info["votes"].values()) == 4, "windows of 3 among 6 clips"
    made = (work / "config.yaml").read_text()
    assert "preset: wan2021" in made and "window: 3" in made and ("- flow" in made) == (streams != "[rgb]")


def test_a_released_checkpoint_of_other_features_asks_for_a_configuration(lad, root, tmp_path, monkeypatch):
    path = checkpoint(tmp_path, dim=512)
    np.save(tmp_path / "some.npy", np.ones((4, 512), np.float32))
    words = ["score", "--checkpoint", str(path), str(tmp_path / "some.npy"), "--work", str(tmp_path / "work")]
    status, _, err = lad(*words)
    assert status == 2 and len(err.splitlines()) == 1
    assert str(path) in err and "512 numbers a clip" in err and "-c CONFIG" in err
    monkeypatch.setattr("lad.pipeline.run.stages", lambda: pytest.fail("a stage begins"))
    status, _, err = lad("score", "--checkpoint", str(path), *benchmark(root, tmp_path / "work"))
    assert status == 2 and err.splitlines()[-1] == (
        f"error: {path}: made for features of 512 numbers a clip, these have 2048 (rgb + flow)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("configured", [False, True], ids=["bare", "config"])
def test_a_released_checkpoint_is_evaluated(lad, root, tmp_path, configured):
    path, work = checkpoint(tmp_path), tmp_path / "work"
    words = benchmark(root, work)
    status, out, err = lad("evaluate", "--checkpoint", str(path), *(words if configured else words[2:]))
    assert status == 0, out + err
    metrics = json.loads((work / "metrics.json").read_text())
    assert metrics["frames"] == 146 and metrics["accuracy_video"] is not None
    assert header(work / "scores/crash_4.csv") == list(CLASSES)
    preset = "kinetics" if configured else "wan2021"
    assert f"preset: {preset}" in (work / "config.yaml").read_text()


@pytest.mark.slow
def test_the_real_released_checkpoint_scores_features_and_videos(lad, root, tmp_path, shared_data, make_video):
    path, work = str(shared_data / "golden" / "aed_t_iter_1.pkl"), tmp_path / "work"
    words = benchmark(root, work)[2:]
    status, out, err = lad("evaluate", "--checkpoint", path, *words)
    assert status == 0, out + err
    assert json.loads((work / "metrics.json").read_text())["frames"] == 146
    bare = scores(work, "crash_4")
    assert header(work / "scores/crash_4.csv") == list(CLASSES)
    status, out, err = lad("score", "--checkpoint", path, *benchmark(root, tmp_path / "configured"))
    assert status == 0, out + err
    np.testing.assert_array_equal(scores(tmp_path / "configured", "crash_4"), bare)

    video = make_video(tmp_path / "street.mp4", 20)
    settings = ["extract.flow=dis", "extract.weights={rgb: random, flow: random}"]
    quick = [word for setting in settings for word in ("-o", setting)]
    work = tmp_path / "video"
    status, out, err = lad("score", "--checkpoint", path, str(video), *quick, "--work", str(work), "--json")
    assert status == 0, out + err
    ((name, info),) = json.loads(out)["scores"].items()
    assert info["frames"] == 20 and list(info["votes"]) == list(CLASSES) and sum(info["votes"].values()) == 1
    for stream in ("rgb", "flow"):
        assert np.load(work / "features" / stream / f"{name}.npy").shape == (2, 1024)
    assert "preset: wan2021" in (work / "config.yaml").read_text()
