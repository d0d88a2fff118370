"""Training on normal footage alone, from the command line: what fast things come to, and what is said of it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.crossings import EVENT, write_crossings
from helpers.projects import opened

import lad as library
from lad.config import load_config
from lad.detector.checkpoint import load_checkpoint
from lad.evaluation.plots import draw_heat
from lad.pipeline import heat
from lad.work.manifest import read_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    return write_crossings(tmp_path_factory.mktemp("crossings") / "data")


class Finished(NamedTuple):
    work: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory) -> Finished:
    """A finished run and what it said."""
    work = tmp_path_factory.mktemp("crossings") / "work"
    command = [sys.executable, "-m", "lad", "run", *options, "--work", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Finished(work, done.stdout, done.stderr)


def frame_scores(work: Path, video: str) -> np.ndarray:
    with (work / "scores" / f"{video}.csv").open() as file:
        return np.array([float(row["score"]) for row in csv.DictReader(file)])


def test_fast_things_score_high_where_nothing_but_normal_videos_taught(finished: Finished) -> None:
    metrics = json.loads((finished.work / "metrics.json").read_text())
    assert metrics["auc"] > 0.95
    assert metrics["protocol"]["supervision"] == "normal"
    assert metrics["accuracy_video"] is None, "normal footage teaches no category"
    assert metrics["calibration_error"] is None, "a score is a share of normal frames"
    assert not (finished.work / "plots" / "reliability.png").exists()
    with_event, without = frame_scores(finished.work, "4"), frame_scores(finished.work, "5")
    assert with_event[slice(*EVENT)].mean() > 0.97 > without.mean()
    assert ((with_event >= 0) & (with_event <= 1)).all()


def test_the_run_says_that_normal_footage_teaches_and_how_much_of_it(finished: Finished) -> None:
    assert "it learns from normal footage alone (train.supervision normal)" in finished.err
    assert "of normal footage held out say what is usual" in finished.err
    assert "extract: motion, cpu" in finished.err and "weights" not in finished.out
    assert "alarms a day: 2 asked for" in finished.out and "trained on 4 videos of normal footage" in finished.out


def test_trained_again_it_is_the_same_bytes_and_nothing_is_done_twice(finished, options, tmp_path, lad) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished.work, work)
    shutil.rmtree(work / "checkpoints")
    shutil.rmtree(work / "scores")
    status, out, _ = lad("run", *options, "--work", str(work), "--json")
    stages = json.loads(out)["stages"]
    assert status == 0 and stages["extract"]["done"] == 0 and stages["train"]["done"] == 1
    for name in ("checkpoints/best.pt", "checkpoints/last.pt", "scores/4.csv"):
        assert (work / name).read_bytes() == (finished.work / name).read_bytes(), name
    _, out, _ = lad("run", *options, "--work", str(work), "--json")
    assert {stage["done"] for stage in json.loads(out)["stages"].values()} == {0}


def test_a_budget_of_alarms_sets_the_threshold_and_is_held_against_what_is_met(
    finished, options, tmp_path, lad
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished.work, work)
    met = {}
    for asked in (1, 2, 500_000 / 10):
        status, _, err = lad("run", *options, "--work", str(work), "-o", f"score.alarms_per_day={asked:g}")
        assert status == 0, err
        metrics = json.loads((work / "metrics.json").read_text())
        met[asked] = (metrics["threshold"], metrics["alarms_per_day"])
    assert met[1][0] > met[2][0] > met[50_000][0]
    assert met[2][0] == json.loads((finished.work / "metrics.json").read_text())["threshold"], "2 where nobody asks"
    budget = met[50_000][1]
    assert budget["asked"] == 50_000 and budget["sources"] == 4
    low, high = budget["interval"]
    assert low <= budget["met"] <= high


@pytest.mark.parametrize("kind", ["event", "normal"])
def test_what_a_review_found_is_no_normal_footage_and_the_rest_still_teaches(
    kind: str, finished, options, tmp_path, lad
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished.work, work)
    lines = [f"2026-11-29T09:14:02+01:00,anna,{video},{kind},10,30,,,5f0c1d3a9b7{video}" for video in (0, 1)]
    (work / "labels.csv").write_text("\n".join(["time,who,video,kind,start,end,label,replaces,verdict", *lines, ""]))
    status, out, err = lad("run", *options, "--work", str(work))
    assert status == 0, err
    assert "nobody can tell what changed (2 verdicts on 2 videos): a detector of normal footage" in out + err
    told = [info for (stage, _), info in infos(work).items() if stage == "train"]
    assert [info["validation"]["normal_frames"] for info in told] == [4 * 48 - (40 if kind == "event" else 0)]


def infos(work: Path) -> dict[tuple[str, str], dict]:
    with read_manifest(work) as manifest:
        return {key: row.info for key, row in manifest.items().items()}


def test_the_library_scores_as_the_command_does(finished, options) -> None:
    video = Path(options[-1]) / "4.mp4"
    scores = library.load(str(finished.work / "checkpoints/best.pt"), device="cpu").score(video)
    assert scores.frames == pytest.approx(frame_scores(finished.work, "4"), abs=1e-6)
    assert scores.events and {event.category for event in scores.events} == {"event"}


def test_looks_count_beside_motion_where_a_network_has_a_stream(options, tmp_path, lad) -> None:
    more = ("-o", "extract.streams=[rgb]", "--work", str(tmp_path / "work"))
    status, _, err = lad("run", *options, *more)
    assert status == 0, err
    model = load_checkpoint(tmp_path / "work/checkpoints/best.pt").detector()
    assert model.bank.shape == (12, 128) and model.has_motion
    assert json.loads((tmp_path / "work/metrics.json").read_text())["auc"] > 0.7


def test_each_event_has_a_heat_map_that_shows_where_it_is(finished, options, tmp_path, monkeypatch) -> None:
    found = {path.stem for path in (finished.work / "plots" / "heat").iterdir()}
    told = [(video, event["start"]) for (stage, video), info in infos(finished.work).items() if stage == "score"
            for event in info["events"] if video in ("4", "5", "6", "7")]  # fmt: skip
    assert found == {f"{video}_{start}" for video, start in told} and told
    work = tmp_path / "work"
    shutil.copytree(finished.work, work)
    (work / "metrics.json").unlink()
    seen: list[np.ndarray] = []

    def draw(path: Path, picture: np.ndarray, excess: np.ndarray, title: str) -> Path:
        assert picture.shape == (240, 360, 3) and excess.shape == (24, 36) and f"{path.stem.split('_')[0]}, " in title
        seen.append(excess)
        return draw_heat(path, picture, excess, title)

    monkeypatch.setattr(heat, "draw_heat", draw)
    config = load_config(Path(options[1]), [], options={"data.root": Path(options[3])})
    with opened(config, work) as run:
        run.run("evaluate")
    rows = [np.unravel_index(one.argmax(), one.shape)[0] for one in seen]
    assert len(seen) == len(told) and all(row <= 7 for row in rows), "the box in the upper row is the fast one"


def test_status_says_how_far_footage_has_moved_from_what_taught(finished, tmp_path, lad) -> None:
    status, out, _ = lad("status", "--work", str(finished.work))
    assert status == 0 and "drift: " in out and "1% is usual" in out
    assert "3 clips are too few to say whether to train again" in out, "of the last of two normal test videos"
    _, out, _ = lad("status", "--work", str(finished.work), "--json")
    (drift,) = json.loads(out)["drift"]
    assert (drift["camera"], drift["by"], drift["last"]["clips"], drift["retrain"]) == ("", "videos", 3, False)
