"""`lad score VIDEO` with nothing else: the detector that comes with `lad`, which it names with its number."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import write_detector
from helpers.detectors_included import include_small_detector
from helpers.small import write_data
from helpers.work import items

import lad as library
from lad.detector.included import read_card
from lad.files import file_sha256

Lad = Callable[..., tuple[int, str, str]]
MakeVideo = Callable[..., Path]
NUMBER = "0.894 [0.82, 0.98]"
TINY = ("-o", "extract.backbone=tiny", "-o", "extract.streams=[rgb]", "-o", "train.window=2")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The checksum of a small detector that comes with `lad`, in a folder of the user's."""
    sha256 = include_small_detector(tmp_path / "detectors", monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return sha256


@pytest.fixture
def video(small: str, make_video: MakeVideo) -> Path:
    return make_video(Path("street.mp4"), 40)


def test_a_video_alone_is_scored_and_the_detector_is_named_with_its_number(lad: Lad, small: str, video: Path) -> None:
    status, out, err = lad("score", str(video))
    assert status == 0 and "street" in out
    (line,) = [line for line in err.splitlines() if line.startswith("detector:")]
    assert "surveillance" in line and NUMBER in line and "lad detectors show surveillance" in line
    (row,) = items(Path("runs/score"), "score").values()
    assert row.info["checkpoint"] == small
    assert json.loads(Path("runs/score/scores/events.json").read_text())["detector"] == small


def test_a_folder_of_videos_alone_is_scored(lad: Lad, small: str, video: Path) -> None:
    status, out, err = lad("score", "--data", ".", "--work", "../work")
    assert status == 0 and "street" in out and NUMBER in err


def test_the_second_time_there_is_nothing_to_do_and_a_program_is_told_of_the_detector(
    lad: Lad, small: str, video: Path
) -> None:
    assert lad("score", str(video))[0] == 0
    status, out, _ = lad("score", str(video), "--json")
    data = json.loads(out)
    assert status == 0 and data["stages"]["score"]["skipped"] == 1
    assert data["detector"]["name"] == "surveillance" and data["detector"]["sha256"] == small
    assert NUMBER in data["detector"]["measured"]


def test_it_is_the_same_by_its_name_and_in_the_library(lad: Lad, small: str, video: Path) -> None:
    assert lad("score", str(video), "--checkpoint", "surveillance", "--device", "cpu")[0] == 0
    (path,) = Path("runs/score/scores").glob("street*.csv")
    with path.open(newline="") as file:
        of_command = [float(row["score"]) for row in csv.DictReader(file)]
    assert np.allclose(library.load("surveillance", device="cpu").score(video).frames, of_command, atol=1e-6)


def test_a_detector_that_was_trained_in_the_work_directory_is_taken_instead(
    lad: Lad, small: str, video: Path, tmp_path: Path
) -> None:
    assert lad("extract", str(video), "--work", str(tmp_path / "mine"), *TINY)[0] == 0
    (tmp_path / "mine" / "checkpoints").mkdir()
    best = write_detector(tmp_path / "mine" / "checkpoints" / "best.pt", seed=1)
    status, _, err = lad("score", str(video), "--work", str(tmp_path / "mine"), *TINY)
    assert status == 0 and "detector: surveillance" not in err
    (row,) = items(tmp_path / "mine", "score").values()
    assert row.info["checkpoint"] == file_sha256(best)
    # It knows how its features are made.
    status, out, err = lad("score", str(video), "--work", str(tmp_path / "mine"))
    assert (
        status == 0
        and "score: nothing to do" in out
        and "backbone: tiny" in (tmp_path / "mine" / "config.yaml").read_text()
    ), err


def test_tables_and_what_is_said_are_of_the_files_that_are_there_now(
    lad: Lad, small: str, video: Path, make_video: MakeVideo
) -> None:
    def tables() -> tuple[str, str, list[dict[str, str]]]:
        with Path("runs/score/scores/summary.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        scores = Path("runs/score/scores")
        return (scores / "events.csv").read_text(), (scores / "events.json").read_text(), rows

    whole = video.read_bytes()
    make_video(Path("other.mp4"), 20)
    assert lad("score", ".")[0] == 0
    before = tables()
    assert [Path(row["path"]).name for row in before[2]] == ["other.mp4", "street.mp4"]
    video.write_bytes(whole[: len(whole) // 3])
    status, out, _ = lad("score", ".")
    assert status == 1 and "other" in out and "street" not in out, "its scores are those of another file"
    events, data, rows = tables()
    assert "street" not in events and "street" not in data and "not a readable video" in rows[1]["error"]
    video.write_bytes(whole)
    assert lad("score", ".")[0] == 0
    assert tables() == before


def test_a_detector_that_is_named_is_taken_instead(lad: Lad, small: str, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt", seed=1)
    for words in (["--checkpoint", str(best)], ["-o", f"score.checkpoint={best}", *TINY]):
        status, _, err = lad("score", str(video), "--work", str(tmp_path / words[0]), *words)
        assert status == 0 and "detector: surveillance" not in err, err
        (row,) = items(tmp_path / words[0], "score").values()
        assert row.info["checkpoint"] == file_sha256(best)


def test_with_a_configuration_a_detector_has_to_be_trained_or_named(lad: Lad, small: str, tmp_path: Path) -> None:
    words = write_data(tmp_path / "data")
    status, _, err = lad("score", *words, "--work", str(tmp_path / "work"), str(tmp_path / "data" / "a.mp4"))
    assert status == 2 and "a detector has to be trained first" in err


def test_without_a_video_it_says_what_is_missing(lad: Lad, small: str) -> None:
    status, _, err = lad("score")
    assert status == 2 and "name videos, or give -c CONFIG" in err


@pytest.mark.slow
@pytest.mark.parametrize("taught", [True, False])
def test_an_evaluation_on_videos_that_taught_it_is_doubted(
    lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: bool
) -> None:
    words = write_data(tmp_path / "data", labels=("fight", "fall"))
    learned = (tmp_path / "data" / ("e.mp4" if taught else "a.mp4"),)  # e and f are in the split `test`
    include_small_detector(tmp_path / "detectors", monkeypatch, taught_by=learned)
    words = [*words, "--work", str(tmp_path / "work"), "-o", "extract.streams=[rgb]"]
    assert lad("extract", *words)[0] == 0
    status, out, err = lad("evaluate", *words, "--checkpoint", "surveillance", "--json")
    assert status == 0, err
    said = "1 of the 2 test videos taught the detector surveillance"
    assert (said in err, said in json.loads(out)["metrics"]["doubt"]) == (taught, taught)


@pytest.mark.real
@pytest.mark.slow
def test_a_fight_of_a_real_camera_is_found_by_the_real_one(
    lad: Lad, shared_data: Path, real_weights: str, tmp_path: Path
) -> None:
    fight = shared_data / "surveillance" / "videos" / "Fighting" / "fi016.mp4"
    status, out, err = lad("score", str(fight), "--work", str(tmp_path))
    assert status == 0 and read_card("surveillance").line in err
    (event,) = [line for line in out.splitlines() if line.startswith("  event 0:00.0 - 0:02.2")]
    category, _, actions = event.partition("; looks like: ")
    assert category.endswith("Fighting") and len(actions.split(", ")) == 3
    (row,) = csv.DictReader((tmp_path / "scores" / "events.csv").open(newline=""))
    (summary,) = csv.DictReader((tmp_path / "scores" / "summary.csv").open(newline=""))
    assert row["looks_like"] == summary["looks_like"] == actions
    (told,) = json.loads((tmp_path / "scores" / "events.json").read_text())["videos"][0]["events"]
    assert told["looks_like"] == actions.split(", ")
