"""`lad score --normal FOOTAGE`: a detector gets to know a camera, and says so."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import write_detector
from helpers.detectors_included import include_small_detector
from helpers.work import items

import lad as library
from lad.work.verdicts import Verdict, append

Lad = Callable[..., tuple[int, str, str]]
MakeVideo = Callable[..., Path]
KNOWN = {"usual": -3.0, "slope": 1.0, "offset": 0.0}
HELP = "is not known: a few minutes of its normal footage may help"


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> Path:
    """A video in a folder of the user's, beside one of quiet hours; a small detector can get to know its camera."""
    include_small_detector(tmp_path / "detectors", monkeypatch, known_cameras=KNOWN)
    (tmp_path / "here" / "quiet").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    make_video(Path("quiet/monday.mp4"), 50)
    make_video(Path("quiet/sunday.mp4"), 36)
    return make_video(Path("street.mp4"), 40)


def scores(work: Path, name: str = "street") -> np.ndarray:
    (path,) = (work / "scores").glob(f"{name}*.csv")
    with path.open(newline="") as file:
        return np.array([float(row["score"]) for row in csv.DictReader(file)])


def test_normal_footage_moves_the_scores_and_it_is_said(lad: Lad, street: Path) -> None:
    status, _, err = lad("score", str(street), "--work", "plain")
    assert status == 0 and HELP in err and "--normal" in err
    status, _, err = lad("score", str(street), "--work", "known", "--normal", "quiet")
    assert status == 0 and HELP not in err
    assert "the camera: known by 5 clips of its normal footage; so little can do harm: show it 15 seconds" in err
    plain, known = scores(Path("plain")), scores(Path("known"))
    assert (known < plain).all(), "its quiet hours score higher than what is usual"
    assert np.array_equal(np.argsort(plain, kind="stable"), np.argsort(known, kind="stable"))


def test_normal_footage_is_not_scored_and_no_features_are_made_twice(lad: Lad, street: Path) -> None:
    words = ("score", str(street), "--work", "known", "--normal", "quiet", "--json")
    status, out, _ = lad(*words)
    first = json.loads(out)["stages"]
    assert status == 0 and (first["extract"]["done"], first["score"]["done"]) == (3, 1)
    assert len(list(Path("known/scores").glob("*.csv"))) == len(["street", "summary", "events"])
    again = json.loads(lad(*words)[1])["stages"]
    assert [again[stage]["done"] for stage in ("extract", "score")] == [0, 0]


def test_without_the_footage_the_next_command_scores_as_ever(lad: Lad, street: Path) -> None:
    """A camera without a name is known for one command."""
    lad("score", str(street), "--work", "plain")
    lad("score", str(street), "--work", "known", "--normal", "quiet")
    assert lad("score", str(street), "--work", "known")[0] == 0
    assert np.array_equal(scores(Path("plain")), scores(Path("known")))


def test_a_camera_with_a_name_is_known_by_the_next_command_too(lad: Lad, street: Path) -> None:
    words = ("score", str(street), "--work", "known", "--source", "gate")
    assert lad(*words, "--normal", "quiet")[0] == 0
    known = scores(Path("known"))
    status, _, err = lad(*words, "--force")
    assert status == 0 and "camera gate: known by 5 clips of its normal footage" in err
    assert np.array_equal(scores(Path("known")), known)
    status, _, err = lad("score", str(street), "--work", "known", "--source", "yard")
    assert status == 0 and f"camera yard {HELP}" in err and (known < scores(Path("known"))).all()


def test_verdicts_on_the_videos_of_a_named_camera_teach(lad: Lad, street: Path, make_video: MakeVideo) -> None:
    """Whose name was said to another command."""
    videos = [str(make_video(Path(f"{frames}.mp4"), frames)) for frames in (40, 44, 48, 52)]
    assert lad("score", *videos, "--work", "known", "--source", "gate")[0] == 0
    for video in json.loads(Path("known/scores/events.json").read_text())["videos"]:
        name = video["video"]
        verdicts = (Verdict(name, "event", 0, 16, "run"), Verdict(name, "normal", 16, 40))
        append(Path("known/labels.csv"), verdicts)
    status, _, err = lad("run", "--work", "known", "-o", "train.steps=2", "-o", "train.evaluate_every=1")
    assert status == 0, err


@pytest.mark.slow
def test_watch_takes_what_score_got_to_know_of_a_camera(lad: Lad, street: Path) -> None:
    words = ("--work", "known", "--source", "street", "--normal", "quiet")
    assert lad("score", str(street), *words)[0] == 0
    Path("cameras.yaml").write_text("known: known\ncameras: {street: street.mp4, other: street.mp4}\n")
    status, _, err = lad("watch", "-c", "cameras.yaml", "--scores", "watched", "--no-clips", "--device", "cpu")
    assert status == 0 and "street: known by 5 clips of its normal footage" in err
    how = "`lad score VIDEO --source other --normal FOOTAGE --work known`"
    assert f"other: this detector does not know it yet in known: {how}" in err
    found = {name: np.loadtxt(f"watched/{name}.csv", delimiter=",", skiprows=1)[:, 2] for name in ("street", "other")}
    assert np.allclose(found["street"], scores(Path("known")), atol=1e-6)
    assert (found["street"] < found["other"]).all()


@pytest.mark.slow
def test_watch_takes_what_is_known_by_the_same_settings_alone(lad: Lad, street: Path) -> None:
    assert lad("score", str(street), "--work", "known", "--source", "street", "--normal", "quiet")[0] == 0
    Path("cameras.yaml").write_text("known: known\ncameras: {street: street.mp4}\n")
    words = ("watch", "-c", "cameras.yaml", "--no-clips", "--device", "cpu")
    status, _, err = lad(*words, "-o", "extract.fps=8")
    assert status == 0 and "street: this detector does not know it yet" in err
    status, _, err = lad(*words, "--latency", "low")
    assert status == 2 and "known: what lad score knows of a camera is of exact scores" in err


def test_watch_says_that_a_detector_cannot_know_cameras(lad: Lad, street: Path, tmp_path: Path) -> None:
    other = write_detector(tmp_path / "best.pt")
    Path("cameras.yaml").write_text("known: known\ncameras: {street: street.mp4}\n")
    status, _, err = lad("watch", "-c", "cameras.yaml", "--checkpoint", str(other), "--device", "cpu")
    assert status == 2 and "was not trained to get to know cameras" in err


def test_a_folder_in_which_watch_finds_nothing_known_is_one_line(lad: Lad, street: Path) -> None:
    Path("cameras.yaml").write_text("known: nowhere\ncameras: {street: street.mp4}\n")
    status, _, err = lad("watch", "-c", "cameras.yaml", "--device", "cpu")
    assert status == 2 and "nowhere: nothing was done here yet" in err


def test_a_file_alone_and_a_glob_are_footage_too_and_a_video_is_not_known_by_itself(lad: Lad, street: Path) -> None:
    _, _, err = lad("score", str(street), "--work", "one", "--normal", "quiet/monday.mp4", "--normal", "quiet/s*.mp4")
    assert "known by 5 clips" in err
    _, _, err = lad("score", str(street), "--work", "two", "--normal", str(street), "--normal", "quiet/sunday.mp4")
    assert "known by 2 clips" in err


def test_the_library_gets_to_know_a_camera_as_the_command_does(lad: Lad, street: Path) -> None:
    lad("score", str(street), "--work", "known", "--normal", "quiet")
    detector = library.load("surveillance", device="cpu")
    known = detector.get_to_know(sorted(Path("quiet").glob("*.mp4")))
    assert np.allclose(known.score(street).frames, scores(Path("known")), atol=1e-6)
    assert not np.allclose(detector.score(street).frames, scores(Path("known"))), "the other one is as it was"


def test_footage_that_is_not_there_is_said_at_once(lad: Lad, street: Path) -> None:
    status, _, err = lad("score", str(street), "--normal", "noisy")
    assert status == 2 and "noisy: no such file, folder or match" in err and not Path("runs/score/features").exists()


def test_a_detector_that_was_not_trained_for_it_says_so(lad: Lad, street: Path, tmp_path: Path) -> None:
    other = write_detector(tmp_path / "best.pt")
    status, _, err = lad("score", str(street), "--checkpoint", str(other), "--normal", "quiet")
    assert status == 2 and "was not trained to get to know cameras" in err and "train.adapt=source" in err
    status, _, err = lad("score", str(street), "--checkpoint", str(other))
    assert status == 0 and HELP not in err


ROWS = """video,path,split,label,events,source
street,street.mp4,test,fight,5-20,yard
monday,quiet/monday.mp4,train,fight,,yard
sunday,quiet/sunday.mp4,train,fall,,gate
"""


@pytest.fixture
def dataset(street: Path) -> tuple[str, ...]:
    Path("dataset.csv").write_text(ROWS)
    return ("--data", ".", "-o", "data.dataset=dataset.csv", "--work", "work")


def test_normal_training_videos_of_a_source_tell_of_its_camera(lad: Lad, dataset: tuple[str, ...]) -> None:
    status, _, err = lad("score", *dataset)
    assert status == 0, err
    assert "camera yard: known by 3 clips of its normal footage" in err
    assert "camera gate" not in err and HELP in err, "of the other camera there is nothing but what is scored"
    assert set(items(Path("work"), "camera")) == {"yard", "gate"}


def test_what_is_known_of_a_camera_is_kept_by_its_name(lad: Lad, dataset: tuple[str, ...]) -> None:
    lad("score", *dataset)
    before = scores(Path("work"))
    Path("dataset.csv").write_text("".join(line for line in ROWS.splitlines(True) if "monday" not in line))
    status, out, _ = lad("score", *dataset, "--json")
    assert status == 0 and json.loads(out)["stages"]["score"]["done"] == 0
    status, _, err = lad("score", *dataset, "--force")
    assert status == 0 and "camera yard: known by 3 clips" in err
    assert np.array_equal(scores(Path("work")), before)


def test_naming_a_video_of_a_camera_changes_nothing_of_what_is_known_of_it(lad: Lad, dataset: tuple[str, ...]) -> None:
    Path("dataset.csv").write_text(ROWS.replace("fall,,gate", "fall,,yard"))
    assert lad("score", *dataset)[0] == 0
    before = items(Path("work"), "camera")
    assert before["yard"].info["footage"].keys() == {"monday", "sunday"}
    assert lad("score", *dataset, "quiet/sunday.mp4")[0] == 0
    assert items(Path("work"), "camera") == before
    status, out, _ = lad("score", *dataset, "--json")
    assert status == 0 and json.loads(out)["stages"]["score"]["done"] == 0


def test_footage_that_the_dataset_lists_is_the_same_video(lad: Lad, dataset: tuple[str, ...]) -> None:
    words = ("street.mp4", "--normal", "street.mp4", "--normal", "quiet/monday.mp4", "--json")
    status, out, err = lad("score", *dataset, *words)
    assert status == 0 and json.loads(out)["stages"]["extract"]["done"] == 2
    assert "camera yard: known by 3 clips" in err, "a video does not count for its own scores"


def test_evaluate_takes_the_scores_of_known_cameras(lad: Lad, dataset: tuple[str, ...]) -> None:
    lad("score", *dataset)
    status, _, err = lad("evaluate", *dataset, "--checkpoint", "surveillance", "--json")
    assert status == 0, err


def test_footage_of_one_camera_is_not_taken_for_videos_of_several(lad: Lad, dataset: tuple[str, ...]) -> None:
    status, _, err = lad("score", *dataset, "--normal", "quiet")
    assert status == 2 and "2 sources" in err and "'gate', 'yard'" in err


def test_footage_that_cannot_be_read_does_not_keep_the_video_from_being_scored(lad: Lad, street: Path) -> None:
    Path("quiet/monday.mp4").write_bytes(b"no video")
    status, out, err = lad("score", str(street), "--work", "known", "--normal", "quiet/monday.mp4")
    assert status == 1 and "monday.mp4" in err
    assert "score: 1 done" in out and len(scores(Path("known"))) == 40
