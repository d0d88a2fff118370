"""Normal footage of several cameras, from the command line: a detector for each, in one file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from helpers.crossings import crossing, write_crossings
from helpers.videos import write_video

from lad.detector.cameras import of_camera
from lad.detector.checkpoint import load_checkpoint
from lad.work.manifest import read_manifest

pytestmark = pytest.mark.slow
CAMERAS = ("yard", "gate")


class Finished(NamedTuple):
    data: Path
    work: Path
    err: str

    @property
    def options(self) -> list[str]:
        return ["-c", str(self.data / "crossings.yaml"), "--data", str(self.data), "--work", str(self.work)]


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Finished:
    place = tmp_path_factory.mktemp("cameras")
    options = write_crossings(place / "data", train=8, test=4, cameras=CAMERAS)
    command = [sys.executable, "-m", "lad", "run", *options, "--work", str(place / "work")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Finished(place / "data", place / "work", done.stderr)


@pytest.fixture
def finished(once: Finished, tmp_path: Path) -> Finished:
    """A finished run that may be changed."""
    for name, place in (("data", once.data), ("work", once.work)):
        shutil.copytree(place, tmp_path / name)
    return Finished(tmp_path / "data", tmp_path / "work", once.err)


def add_footage(data: Path, camera: str, seeds: range) -> None:
    with (data / "dataset.csv").open("a") as file:
        for seed in seeds:
            write_video(data / f"{camera}{seed}.mp4", crossing(seed), size=(180, 120))
            file.write(f"{camera}{seed},{camera}{seed}.mp4,train,normal,,{camera}\n")


def test_each_camera_is_learned_and_measured_by_itself(once: Finished) -> None:
    assert load_checkpoint(once.work / "checkpoints/best.pt").cameras == ["gate", "yard"]
    assert "train: gate: " in once.err and "train: yard: " in once.err
    metrics = json.loads((once.work / "metrics.json").read_text())
    assert metrics["auc"] > 0.9
    assert set(metrics["cameras"]) == set(CAMERAS)
    for camera in metrics["cameras"].values():
        assert camera["auc"] > 0.9 and camera["events"] is not None and camera["alarms_per_day"]["asked"] == 2
        assert camera["calibration_error"] is None and "no probability" in camera["undefined"]["calibration_error"]
    assert metrics["threshold"] is None and "of its own" in metrics["undefined"]["threshold"]


def test_a_camera_is_added_without_touching_the_others(finished: Finished, lad) -> None:
    best = finished.work / "checkpoints/best.pt"
    before = load_checkpoint(best)
    scored = {path.name: path.read_bytes() for path in (finished.work / "scores").glob("*.csv")}
    add_footage(finished.data, "roof", range(40, 43))
    assert lad("extract", *finished.options)[0] == 0
    status, _, err = lad("train", *finished.options, "--add", "roof")
    assert status == 0, err
    assert "train: roof: " in err and "train: gate: " not in err
    with read_manifest(finished.work) as manifest:
        trained = manifest.get("train", "detector")
    assert trained and trained.info["validation"]["cameras"].keys() == {"gate", "roof", "yard"}
    after = load_checkpoint(best)
    assert after.cameras == ["gate", "roof", "yard"]
    for camera in CAMERAS:
        one, other = of_camera(before, camera), of_camera(after, camera)
        assert all(torch.equal(tensor, other.model[name]) for name, tensor in one.model.items())
        assert (one.threshold, one.network, one.fingerprint) == (other.threshold, other.network, other.fingerprint)
    assert lad("score", *finished.options)[0] == 0
    for name, content in scored.items():
        if name[0].isdigit():
            assert (finished.work / "scores" / name).read_bytes() == content, name
    status, out, _ = lad("train", *finished.options, "--json")
    assert json.loads(out)["stages"]["train"]["skipped"] == 1, "it is what training all of them would give"


def test_what_cannot_be_added_is_refused_with_what_to_do(finished: Finished, tmp_path, lad) -> None:
    status, _, err = lad("train", *finished.options, "--add", "roof")
    assert status == 2 and "no training video has this camera" in err and "there are gate, yard" in err
    status, _, err = lad("train", *finished.options, "--add", "gate", "-o", "train.cameras=one")
    assert status == 2 and "train.cameras=each" in err
    shutil.rmtree(finished.work / "checkpoints")
    status, _, err = lad("train", *finished.options, "--add", "gate")
    assert status == 2 and "`lad train` makes one" in err


def test_another_camera_gives_other_scores_whatever_the_configuration_says(finished: Finished, lad) -> None:
    best = str(finished.work / "checkpoints/best.pt")
    words = ("-o", "train.cameras=one", "--checkpoint", best, "--json")
    for camera in CAMERAS:
        status, out, err = lad("score", *finished.options, *words, "--source", camera)
        done = json.loads(out)["stages"]["score"]
        assert status == 0 and done["skipped"] < done["done"] + done["skipped"], err
    status, out, _ = lad("score", *finished.options, *words, "--source", CAMERAS[-1])
    assert json.loads(out)["stages"]["score"]["done"] == 0


def test_a_camera_without_training_footage_is_said(finished: Finished, lad) -> None:
    table = finished.data / "dataset.csv"
    rows = [row.replace(",train,", ",val,") if row.rstrip().endswith(",gate") else row for row in table.open()]
    table.write_text("".join(rows))
    status, _, err = lad("train", *finished.options)
    assert status == 2 and "camera gate: there is no training video of it" in err


def test_one_detector_of_all_footage_can_be_asked_for(finished: Finished, lad) -> None:
    status, _, err = lad("train", *finished.options, "-o", "train.cameras=one")
    assert status == 0, err
    assert load_checkpoint(finished.work / "checkpoints/best.pt").cameras == []
    status, _, err = lad("train", *finished.options, "--add", "gate")
    assert status == 2 and "is one detector of all footage" in err


def test_footage_of_which_some_names_no_camera_is_refused(finished: Finished, lad) -> None:
    table = finished.data / "dataset.csv"
    table.write_text(table.read_text().replace("0,0.mp4,train,normal,,yard", "0,0.mp4,train,normal,,"))
    status, _, err = lad("train", *finished.options)
    assert status == 2 and "0: which camera filmed them?" in err and "train.cameras=one" in err


def test_other_videos_are_scored_by_the_camera_that_is_named(finished: Finished, tmp_path, lad) -> None:
    best, video = str(finished.work / "checkpoints/best.pt"), str(finished.data / "8.mp4")
    there = ("--work", str(tmp_path / "other"), "--device", "cpu", "--checkpoint", best)
    status, _, err = lad("score", video, *there)
    assert status == 2 and "(gate, yard): say with --source which one filmed it" in err
    status, _, err = lad("score", video, *there, "--source", "roof")
    assert status == 2 and "does not know the camera roof" in err and "lad train --add roof" in err
    assert not list((tmp_path / "other").glob("features/*/*")), "that is said before anything is extracted"
    status, _, err = lad("score", video, *there, "--source", "yard")
    assert status == 0, err
    own, (other,) = finished.work / "scores/8.csv", (tmp_path / "other/scores").glob("8*.csv")
    assert own.read_bytes() == other.read_bytes(), "the data's column source says yard, too"
    assert lad("score", video, *there, "--source", "gate")[0] == 0
    assert own.read_bytes() != other.read_bytes(), "another camera has other scores"


def test_a_video_of_a_camera_that_nobody_knows_fails_and_the_others_are_scored(finished: Finished, lad) -> None:
    table = finished.data / "dataset.csv"
    table.write_text(table.read_text().replace("9,9.mp4,test,normal,,yard", "9,9.mp4,test,normal,,roof"))
    status, out, _ = lad("score", *finished.options, "--json")
    stage = json.loads(out)["stages"]["score"]
    assert status == 1 and list(stage["failed"]) == ["9"] and "does not know the camera roof" in stage["failed"]["9"]


def test_drift_is_told_of_each_camera(once: Finished, lad) -> None:
    _, out, _ = lad("status", "--work", str(once.work))
    assert "drift of gate: " in out and "drift of yard: " in out
    with read_manifest(once.work) as manifest:
        assert manifest.get("score", "8").info["camera"] == "yard"
