"""What the numbers of `metrics.json` mean, where the threshold comes from, and somebody else's scores."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lad.cli import run as run_cli
from lad.dataset import COLUMNS, Video
from lad.detector.checkpoint import load_checkpoint
from lad.evaluation.results import ScoredVideo, compute_metrics
from lad.events import events_of
from lad.files import file_sha256
from lad.pipeline.scored import read_scores

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb], batch_clips: 2}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  steps: 4
  evaluate_every: 2
score: {merge_seconds: 0, min_seconds: 0}
threads: 1
"""
FOLDS = ("-o", "train.selection=cross-validation", "-o", "train.folds=2")
DESIGN = {"auc", "auc_abnormal", "ap", "far_all", "far_normal", "far_abnormal", "threshold", "accuracy_window"}
DESIGN |= {"accuracy_video", "protocol", "weights"}  # shared/design.md, "The command line"

JUDGED = ("-o", "score.threshold=0.5")  # of somebody else's scores nothing is judged unless one asks

Row = list[object]
Lad = Callable[..., tuple[int, str, str]]


def row(video: str, split: str, label: str, events: str = "", frames: object = "", fps: object = 25) -> Row:
    return [video, f"{video}.mp4", split, label, events, frames, fps, ""]


def write_rows(root: Path, rows: list[Row]) -> None:
    with (root / "dataset.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


# Numbers worked out by hand ---------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path) -> Path:
    """Three test videos of 100 frames at 10 a second that are nowhere, and somebody's scores of them."""
    root = tmp_path / "labels"
    (root / "theirs").mkdir(parents=True)
    (root / "small.yaml").write_text(CONFIG)
    rows = [
        row("a", "test", "run", "20-40", 100, 10),
        row("b", "test", "run", "10-20;50-90", 100, 10),
        row("c", "test", "walk", "", 100, 10),
    ]
    write_rows(root, rows)
    found = {"a": [(25, 45, 0.9), (60, 70, 0.8)], "b": [(50, 62, 0.7)], "c": [(0, 5, 0.6)]}
    for video, events in found.items():
        write_scores(root / "theirs" / f"{video}.csv", given_scores(events))
    return root


def given_scores(events: list[tuple[int, int, float]]) -> np.ndarray:
    scores = np.full(100, 0.1)
    for start, end, height in events:
        scores[start:end] = height
    return scores


def write_scores(path: Path, scores: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "frame,score\n" + "".join(f"{frame},{score}\n" for frame, score in enumerate(scores)), encoding="utf-8"
    )


def given(root: Path, *more: str, scores: str = "theirs", work: str = "work") -> list[str]:
    config = ["-c", str(root / "small.yaml"), "--data", str(root), "--work", str(root.parent / work)]
    return ["evaluate", *config, *JUDGED, "--scores", str(root / scores), *more]


def test_given_scores_have_the_numbers_that_one_works_out_by_hand(lad, by_hand):
    status, out, err = lad(*given(by_hand, "--json"))
    assert status == 0, err
    data = json.loads(out)
    place = by_hand.parent / "work" / "evaluations" / "theirs"
    metrics = read_metrics(place)
    assert data["metrics"] == metrics and data["work"] == str(place)
    assert set(metrics) >= DESIGN

    # 70 anomalous frames: 15 at .9, 12 at .7; 230 others: 5 at .9, 10 at .8, 5 at .6; all that is left at .1.
    wins = 15 * (225 + 5 / 2) + 12 * 215 + 43 * 210 / 2
    assert metrics["auc"] == pytest.approx(wins / (70 * 230))
    wins = 15 * (125 + 5 / 2) + 12 * 115 + 43 * 115 / 2
    abnormal_only = pytest.approx(wins / (70 * 130))
    assert metrics["auc_abnormal"] == abnormal_only
    hits = 15 / 70 * 15 / 20 + 12 / 70 * 27 / 42
    assert metrics["ap"] == pytest.approx(hits + 43 / 70 * 70 / 300)
    # a: 15 of 20 at .9 against 5 at .9, 10 at .8, 65 at .1; b: 12 of 50 at .7 against 50 at .1.
    a, b = (15 * (75 + 5 / 2) + 5 * 65 / 2) / (20 * 80), (12 * 50 + 38 * 50 / 2) / (50 * 50)
    assert metrics["auc_macro"] == pytest.approx((a + b) / 2)
    assert metrics["classes"]["run"] == {
        "videos": 2,
        "recall": None,
        "auc": abnormal_only,
        "ap": pytest.approx(hits + 43 / 70 * 70 / 200),
        "auc_against_normal": pytest.approx(metrics["auc"]),  # there is no other event
    }
    nothing = {"recall": None, "auc": None, "ap": None, "auc_against_normal": None}
    assert metrics["classes"]["walk"] == {"videos": 1, **nothing}

    assert metrics["threshold"] == 0.5
    assert metrics["far_all"] == pytest.approx(20 / 230)
    assert metrics["far_normal"] == pytest.approx(5 / 100)
    assert metrics["far_abnormal"] == pytest.approx(15 / 130)
    assert metrics["false_alarms_hour"] == pytest.approx(2 / 30 * 3600)  # a's second and c's, in 30 seconds
    # 20-40 is alarmed at 25, ten frames a second; 50-90 at once; 10-20 never.
    assert (metrics["latency"], metrics["never_alarmed"]) == (pytest.approx(0.25), 1)
    # 20-40 and 25-45 share 15 of 25 frames, 50-90 and 50-62 share 12 of 40; 10-20 is not found.
    assert metrics["events"] == {
        "true": 3,
        "found": 4,
        "precision": {iou: n / 4 for iou, n in {"0.1": 2, "0.2": 2, "0.3": 2, "0.4": 1, "0.5": 1}.items()},
        "recall": {iou: n / 3 for iou, n in {"0.1": 2, "0.2": 2, "0.3": 2, "0.4": 1, "0.5": 1}.items()},
    }
    assert metrics["frames"] == 300 and metrics["anomalous_frames"] == 70
    # Scores alone say nothing of categories.
    assert set(metrics["undefined"]) == {"accuracy_window", "accuracy_video"}
    assert metrics["accuracy_video"] is None and "without categories" in metrics["undefined"]["accuracy_video"]


def test_the_auc_of_a_category_holds_its_events_against_the_normal_frames_of_all_videos(lad, by_hand):
    with (by_hand / "dataset.csv").open(newline="") as file:
        rows = [[*one[:3], "fall" if one[0] == "b" else one[3], *one[4:]] for one in list(csv.reader(file))[1:]]
    write_rows(by_hand, rows)
    status, out, err = lad(*given(by_hand))
    assert status == 0, err
    classes = read_metrics(by_hand.parent / "work/evaluations/theirs")["classes"]
    # 230 normal frames: 5 at .9, 10 at .8, 5 at .6, 210 at .1; a: 15 at .9, 5 at .1; b: 12 at .7, 38 at .1.
    run, fall = (15 * (225 + 5 / 2) + 5 * 210 / 2) / (20 * 230), (12 * 215 + 38 * 210 / 2) / (50 * 230)
    assert classes["run"]["auc_against_normal"] == pytest.approx(run)
    assert classes["fall"]["auc_against_normal"] == pytest.approx(fall)
    assert classes["walk"]["auc_against_normal"] is None, "nothing happens in its videos"
    assert f"frame AUC of each category against normal frames: fall {fall:.4f}, run {run:.4f}\n" in out


@pytest.mark.slow
def test_a_million_frames_of_a_thousand_videos_are_evaluated_in_seconds():
    random, names, scored = np.random.default_rng(0), [f"kind {n}" for n in range(13)], []
    for number in range(1000):
        scores, truth = random.random(1000).round(3), np.arange(1000) % 100 < 40 * (number % 2)
        video = Video(f"v{number}", Path("v"), "test", names[number % 13], events_of(truth), 1000)
        index = (number % 13,)
        scored.append(ScoredVideo(video, truth, scores, 40.0, index, None, np.zeros(13, int), np.arange(1000) / 25))
    began = time.process_time()
    metrics = compute_metrics(scored, names, 0.5)
    assert time.process_time() - began < 30, "far more than it takes"
    assert metrics["auc_macro"] == pytest.approx(0.5, abs=0.01) and metrics["never_alarmed"] == 0


def test_a_configured_threshold_moves_what_depends_on_it_and_0_5_stands_beside_it(lad, by_hand):
    assert lad(*given(by_hand))[0] == 0
    before = read_metrics(by_hand.parent / "work/evaluations/theirs")
    status, out, _ = lad(*given(by_hand, "-o", "score.threshold=0.65"))
    after = read_metrics(by_hand.parent / "work/evaluations/theirs")
    assert status == 0 and after["threshold"] == 0.65 and "threshold 0.65" in out
    assert after["far_normal"] == 0 and after["false_alarms_hour"] == pytest.approx(1 / 30 * 3600)
    assert after["events"]["found"] == 3
    assert after["auc"] == before["auc"]
    assert after["at_0.5"] == before["at_0.5"]
    assert before["at_0.5"]["far_normal"] == before["far_normal"] == 0.05


@pytest.mark.parametrize(
    ("kept", "undefined"),
    [
        ("ab", {"far_normal": "no test video is normal"}),
        (
            "c",
            {
                "auc": "all test frames are alike",
                "auc_macro": "no test video has both",
                "auc_abnormal": "or there are none",
                "ap": "no test frame is anomalous",
                "far_abnormal": "or there are none",
                "latency": "no event is alarmed",
                "never_alarmed": "no test frame is anomalous",
            },
        ),
    ],
)
def test_a_number_that_is_undefined_is_null_with_its_reason(lad, by_hand, kept, undefined):
    with (by_hand / "dataset.csv").open(newline="") as file:
        rows = [one for one in csv.reader(file) if one[0] in kept]
    write_rows(by_hand, list(rows))
    status, out, err = lad(*given(by_hand))
    assert status == 0, err
    metrics = read_metrics(by_hand.parent / "work/evaluations/theirs")
    said = {name: reason for name, reason in metrics["undefined"].items() if not name.startswith("accuracy")}
    assert said.keys() == undefined.keys()
    for name, reason in undefined.items():
        assert metrics[name] is None and reason in said[name]
    assert "undefined" in out and not {None} & {metrics["far_all"], metrics["false_alarms_hour"]}
    if kept == "c":
        assert set(metrics["events"]["recall"].values()) == {None}


# Files of somebody else's scores ----------------------------------------------------------------------------------


def test_scores_come_as_csv_column_or_npy_by_the_videos_id_or_the_last_part_of_it(lad, by_hand):
    rows = [
        row("left/a", "test", "run", "20-40", 100, 10),
        row("left/b", "test", "run", "10-20;50-90", 100, 10),
        row("right/c", "test", "walk", "", 100, 10),
    ]
    assert lad(*given(by_hand))[0] == 0
    expected = read_metrics(by_hand.parent / "work/evaluations/theirs")
    theirs = {name: np.loadtxt(by_hand / "theirs" / f"{name}.csv", delimiter=",", skiprows=1)[:, 1] for name in "abc"}
    write_rows(by_hand, rows)
    others = by_hand / "others"
    (others / "left").mkdir(parents=True)
    (others / "a.csv").write_text("".join(f"{score}\n" for score in theirs["a"]))  # one column, no header
    np.save(others / "left" / "b.npy", theirs["b"][:, None])
    lines = ["\ufeffvideo, score ,note\n"] + [f"c,{score},quiet\n" for score in theirs["c"]]
    (others / "c.csv").write_text("".join(lines), encoding="utf-8")
    status, _, err = lad(*given(by_hand, scores="others"))
    assert status == 0, err
    metrics = read_metrics(by_hand.parent / "work/evaluations/others")
    assert metrics["auc"] == pytest.approx(expected["auc"]) and metrics["ap"] == pytest.approx(expected["ap"])
    assert metrics["events"] == expected["events"]
    assert not (by_hand.parent / "work" / "features").exists()


def test_a_base_name_that_two_videos_share_is_nobodys(lad, by_hand):
    rows = [row("left/a", "test", "run", "20-40", 100), row("right/a", "test", "walk", "", 100)]
    write_rows(by_hand, rows)
    write_scores(by_hand / "theirs/right/a.csv", given_scores([]))  # beside theirs/a.csv
    status, _, err = lad(*given(by_hand))
    assert status == 1 and "1 video failed" in err
    assert f"no {by_hand}/theirs/left/a.csv or .npy" in err


def _text(text: str) -> Callable[[Path], object]:
    return lambda place: place.with_suffix(".csv").write_text(text)


def _array(array: Any) -> Callable[[Path], object]:
    return lambda place: np.save(place.with_suffix(".npy"), array, allow_pickle=True)


def _bytes(content: bytes, suffix: str = ".npy") -> Callable[[Path], object]:
    return lambda place: place.with_suffix(suffix).write_bytes(content)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda place: None, "no "),
    "short": (_array(np.zeros(83)), "for 100 frames and it has 83"),
    "long": (_array(np.zeros(117)), "for 100 frames and it has 117"),
    "nan": (_array(np.full(100, np.nan)), "not finite"),
    "infinite": (_text("score\n" + "inf\n" * 100), "not finite"),
    "words": (_text("score\n" + "high\n" * 100), "high"),
    "no_column": (_text("frame,value\n0,0.5\n"), "no column `score` in its first line, 'frame, value'"),
    "ragged": (_text("frame,score\n0,0.5\n1\n"), "ragged"),
    "hollow": (_text(""), "no column `score`"),
    "header_alone": (_text("frame,score\n"), "one number a frame"),
    "latin": (_bytes(b"score\n\xff\xfe\n", ".csv"), "neither a .npy nor UTF-8 text"),
    "nothing": (_bytes(b""), "not a plain .npy"),
    "noise": (_bytes(b"\x93NUMPY\x01\x00" + bytes(range(200))), "not a plain .npy"),
    "zip": (_bytes(b"PK\x03\x04" + bytes(60)), "not a plain .npy"),
    "objects": (_array(np.array([{}, "a"], dtype=object)), "not a plain .npy"),
    "two_columns": (_array(np.zeros((100, 2))), "one number a frame"),
    "text_array": (_array(np.array(["a"] * 100)), "one number a frame"),
    "complex": (_array(np.zeros(100, dtype=complex)), "one number a frame"),
}


def test_wrong_files_are_named_with_their_reason_and_the_others_are_measured(lad, by_hand):
    good = [row("a", "test", "run", "20-40", 100, 10), row("c", "test", "walk", "", 100, 10)]
    write_rows(by_hand, good + [row(name, "test", "walk", "", 100, 10) for name in WRONG])
    for name, (write, _) in WRONG.items():
        write(by_hand / "theirs" / name)
    status, out, err = lad(*given(by_hand))
    assert status == 1 and f"{len(WRONG)} videos failed" in err
    for name, (_, reason) in WRONG.items():
        (line,) = [line for line in err.splitlines() if f"{name}:" in line or f"{name}.mp4:" in line]
        assert reason in line
        assert str(by_hand / "theirs" / name) in line, "the scores are wrong, not the video"
    assert "Warning" not in err, "numpy's own words are for programmers"
    assert "2 test videos, 200 frames" in out
    metrics = read_metrics(by_hand.parent / "work/evaluations/theirs")
    assert metrics["protocol"]["left_out"] == sorted(WRONG) and metrics["frames"] == 200


@pytest.mark.parametrize("frames", [84, 116])
def test_up_to_a_clip_of_frames_more_or_less_are_tolerated_with_a_warning(lad, by_hand, frames):
    write_scores(by_hand / "theirs" / "c.csv", np.full(frames, 0.1))
    status, out, err = lad(*given(by_hand))
    assert status == 0 and f"{200 + frames} frames" in out
    assert any(f"c: {frames} scores for 100 labelled frames" in line for line in err.splitlines())


def test_an_event_that_ends_after_the_scores_is_a_warning_too(lad, by_hand):
    write_rows(
        by_hand, [row("a", "test", "run", "20-108"), row("b", "test", "run", "20-100"), row("c", "test", "walk")]
    )
    status, _, err = lad(*given(by_hand))
    assert status == 0
    assert [line for line in err.splitlines() if "warning" in line] == [
        "warning: a: 100 scores for 108 labelled frames"
    ]


def test_a_video_of_one_frame_has_one_score(lad, by_hand):
    write_rows(by_hand, [row("a", "test", "run", "20-40", 100), row("dot", "test", "walk", "", 1)])
    np.save(by_hand / "theirs" / "dot.npy", np.array([0.2]))
    status, _, err = lad(*given(by_hand))
    assert status == 0, err


def test_names_with_dollars_are_drawn_as_they_are(lad, by_hand):
    """Not as formulas, which these are not."""
    write_rows(by_hand, [row("a$^$b", "test", "run$^$", "20-40", 100), row("c", "test", "walk", "", 100)])
    write_scores(by_hand / "theirs" / "a$^$b.csv", given_scores([(25, 45, 0.9)]))
    status, _, err = lad(*given(by_hand))
    assert status == 0, err
    plots = by_hand.parent / "work" / "evaluations" / "theirs" / "plots"
    assert {"confusion.png", "scores/a$^$b.png"} <= {str(path.relative_to(plots)) for path in plots.rglob("*.png")}


def test_scores_are_read_whatever_categories_are_called(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('frame,time,score,"a\n,b",#c\n0,0.000,0.25,0.5,0.5\n1,0.040,0.75,0.5,0.5\n')
    assert read_scores(path).tolist() == [0.25, 0.75]


def test_no_scores_at_all_are_one_line_and_status_2(lad, by_hand):
    (by_hand / "empty").mkdir()
    status, out, err = lad(*given(by_hand, scores="empty"))
    assert status == 2 and out == ""
    said = [line for line in err.splitlines() if not line.startswith("dataset: ")]
    assert len(said) == 1 and "no test video has scores there" in said[0]
    assert not (by_hand.parent / "work" / "evaluations").exists()
    status, _, err = lad(*given(by_hand, scores="nowhere"))
    assert status == 2 and "nowhere" in err
    status, _, err = lad(*given(by_hand, "--checkpoint", "best.pt"))
    assert status == 2 and "give one of them" in err


def test_scores_of_the_folder_above_do_not_take_the_place_of_the_run(lad, by_hand, monkeypatch):
    (by_hand / "theirs" / "deep").mkdir()
    monkeypatch.chdir(by_hand / "theirs" / "deep")
    status, _, err = lad(*given(by_hand)[:-1], "..")
    assert status == 0, err
    assert not (by_hand.parent / "work" / "metrics.json").exists()
    assert (by_hand.parent / "work/evaluations/theirs/metrics.json").exists()


# A run of our own -------------------------------------------------------------------------------------------------

FRAMES = {"a": 40, "b": 44, "c": 36, "d": 48, "v": 52, "w": 33, "e": 64, "f": 50}
ROWS = {
    "a": row("a", "train", "run", "10-30", 40),
    "b": row("b", "train", "run", "0-20", 44),
    "c": row("c", "train", "walk", "", 36),
    "d": row("d", "train", "walk", "", 48),
    "v": row("v", "val", "run", "12-40", 52),
    "w": row("w", "val", "walk", "", 33),
    "e": row("e", "test", "run", "10-30", 64),
    "f": row("f", "test", "walk", "", 50),
}


@pytest.fixture(scope="session")
def root(tmp_path_factory, make_video) -> Path:
    """Eight labelled clips of two categories, two of them in the split `val`."""
    folder = tmp_path_factory.mktemp("results")
    for video, frames in FRAMES.items():
        make_video(folder / f"{video}.mp4", frames, size=(32, 32))
    write_rows(folder, list(ROWS.values()))
    (folder / "small.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="session")
def finished_once(root, tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("once") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lad", *ours("run", root, work, "-q")])
        assert run_cli() == 0
    return work


@pytest.fixture
def work(finished_once, tmp_path) -> Path:
    """A work directory where everything is done."""
    return Path(shutil.copytree(finished_once, tmp_path / "work"))


def ours(command: str, root: Path, work: Path, *more: str) -> list[str]:
    return [command, "-c", str(root / "small.yaml"), "--data", str(root), "--work", str(work), *more]


def relabelled(tmp_path: Path, **changed: Row) -> tuple[str, str]:
    """The option that takes other labels of the same videos."""
    folder = tmp_path / "relabelled"
    folder.mkdir(exist_ok=True)
    write_rows(folder, [one for one in {**ROWS, **changed}.values() if one])
    return "-o", f"data.dataset={folder / 'dataset.csv'}"


def columns(work: Path, video: str) -> dict[str, np.ndarray]:
    with (work / "scores" / f"{video}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(one[name]) for one in rows]) for name in rows[0]}


def summary(work: Path) -> dict[str, dict[str, str]]:
    with (work / "scores" / "summary.csv").open(newline="") as file:
        return {one["video"]: one for one in csv.DictReader(file)}


def runs_above(scores: np.ndarray, threshold: float) -> str:
    above = np.flatnonzero(scores > threshold)
    parts = [part for part in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1) if len(part)]
    return ";".join(f"{part[0]}-{part[-1] + 1}" for part in parts)


def model(work: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(work / "checkpoints" / "best.pt").model)


@pytest.mark.slow
def test_the_threshold_is_where_youdens_j_is_highest_on_the_validation_videos(work):
    threshold = load_checkpoint(work / "checkpoints" / "best.pt").threshold
    truth = np.concatenate([(np.arange(52) >= 12) & (np.arange(52) < 40), np.zeros(33, dtype=bool)])
    scores = np.concatenate([columns(work, video)["score"] for video in "vw"])

    def youden(at: float) -> float:
        return (scores[truth] > at).mean() - (scores[~truth] > at).mean()

    # The files hold seven digits.
    assert youden(threshold) == pytest.approx(max(youden(score) for score in scores), abs=1e-9)
    assert youden(threshold) > 0 and threshold != 0.5

    metrics = read_metrics(work)
    assert metrics["threshold"] == threshold
    e, f = (columns(work, video)["score"] for video in "ef")
    quiet = np.concatenate([e[:10], e[30:]])
    assert metrics["far_normal"] == pytest.approx((f > threshold).mean())
    assert metrics["far_abnormal"] == pytest.approx((quiet > threshold).mean())
    assert metrics["at_0.5"]["far_normal"] == pytest.approx((f > 0.5).mean())
    assert metrics["at_0.5"]["far_abnormal"] == pytest.approx((quiet > 0.5).mean())
    for video, line in summary(work).items():
        assert line["events"] == runs_above(columns(work, video)["score"], threshold), video


@pytest.mark.slow
def test_a_configured_threshold_takes_the_place_of_the_chosen_one(lad, root, work):
    before = read_metrics(work)
    middle = float(np.median(columns(work, "e")["score"]))
    status, out, _ = lad(*ours("run", root, work, "-o", f"score.threshold={middle}"))
    after = read_metrics(work)
    assert status == 0 and "train: nothing to do" in out
    assert after["threshold"] == middle and after["protocol"]["threshold"] == "configured"
    assert summary(work)["e"]["events"] == runs_above(columns(work, "e")["score"], middle) != ""
    assert after["auc"] == before["auc"] and after["at_0.5"] == before["at_0.5"]
    assert load_checkpoint(work / "checkpoints" / "best.pt").threshold == before["threshold"]


@pytest.mark.slow
def test_cross_validation_takes_the_folds_mean_threshold_and_calibration_at_the_step_it_chose(
    lad, root, work, tmp_path
):
    status, _, err = lad(*ours("run", root, work, *relabelled(tmp_path, v=[], w=[]), *FOLDS))
    assert status == 0, err
    checkpoint = load_checkpoint(work / "checkpoints" / "best.pt")
    folds = [json.loads((work / f"checkpoints/fold_{n}/curve.json").read_text())["history"] for n in range(2)]
    at_step = [next(one for one in fold if one["step"] == checkpoint.step) for fold in folds]
    mean = {
        key: np.mean([one[key] for one in at_step if one[key] is not None]) for key in ("threshold", "slope", "offset")
    }
    assert at_step[0]["threshold"] != at_step[1]["threshold"]
    assert checkpoint.calibration == pytest.approx({key: mean[key] for key in ("slope", "offset")})
    odds = np.log(mean["threshold"] / (1 - mean["threshold"]))
    assert checkpoint.threshold == pytest.approx(1 / (1 + np.exp(-mean["slope"] * odds - mean["offset"])))
    assert read_metrics(work)["threshold"] == checkpoint.threshold


@pytest.mark.slow
def test_a_released_checkpoint_has_the_threshold_0_5_and_does_not_claim_to_have_chosen_it(lad, root, work, tmp_path):
    bare = {name: tensor for name, tensor in model(work).items() if not name.startswith("feature_")}
    torch.save(bare, tmp_path / "iter_1.pkl")
    status, _, err = lad(*ours("evaluate", root, work, "--checkpoint", str(tmp_path / "iter_1.pkl")))
    assert status == 0, err
    metrics = read_metrics(work)
    assert metrics["threshold"] == 0.5
    assert (
        metrics["protocol"]["threshold"] != "chosen on validation videos" and "0.5" in metrics["protocol"]["threshold"]
    )
    assert {name: metrics[name] for name in metrics["at_0.5"]} == metrics["at_0.5"]


@pytest.mark.slow
def test_metrics_of_a_named_detector_say_how_that_was_trained_and_not_how_the_run_would_have(lad, root, work, tmp_path):
    best = work / "checkpoints" / "best.pt"
    own = read_metrics(work)["protocol"]
    assert (own["window"], own["detector"], own["train_seed"]) == (2, "aed_t", 0)
    bare = {name: tensor for name, tensor in model(work).items() if not name.startswith("feature_")}
    torch.save(bare, tmp_path / "iter_1.pkl")
    other = ("-o", "train.window=7", "-o", "train.seed=3", "-o", "train.steps=9")
    trained = ("aed_t", "validation on the `val` videos", 0)
    for path, said in ((best, trained), (tmp_path / "iter_1.pkl", (None, None, None))):
        place = tmp_path / path.stem
        status, _, err = lad(*ours("extract", root, place))
        assert status == 0, err
        status, _, err = lad(*ours("evaluate", root, place, *other, "--checkpoint", str(path)))
        assert status == 0, err
        protocol = read_metrics(place)["protocol"]
        assert protocol["window"] == 2, "what the detector has, not what is configured"
        assert (protocol["detector"], protocol["selection"], protocol["train_seed"]) == said
        taught = own["config"]["train"] | {"supervision": "frames"}  # a detector's file says what `auto` came to
        assert protocol["config"]["train"] == (taught if path == best else None)
        assert protocol["checkpoint"] == file_sha256(path)


@pytest.mark.slow
def test_scores_of_two_detectors_are_never_evaluated_together_nor_for_another(lad, root, work, tmp_path):
    named = ("-o", "data.classes=[run, walk]")  # whichever videos a command names
    assert lad(*ours("run", root, work, *named))[0] == 0
    before = read_metrics(work)
    changed = {name: tensor + 0.01 for name, tensor in model(work).items()}
    torch.save({name: t for name, t in changed.items() if not name.startswith("feature_")}, tmp_path / "iter_1.pkl")
    other = (*named, "-o", f"score.checkpoint={tmp_path / 'iter_1.pkl'}")
    status, _, err = lad(*ours("evaluate", root, work, *other))
    assert status == 2 and f"not scored by {tmp_path / 'iter_1.pkl'}" in err

    assert lad(*ours("score", root, work, *other, str(root / "e.mp4")))[0] == 0
    for words in (named, other):
        status, _, err = lad(*ours("evaluate", root, work, *words))
        assert status == 2 and "not all scored by the same detector: run `lad score` first" in err
    assert lad(*ours("score", root, work, *named))[0] == 0
    assert lad(*ours("evaluate", root, work, *named))[0] == 0
    assert read_metrics(work) == before


@pytest.mark.slow
def test_our_own_scores_given_back_have_the_numbers_of_the_run(lad, root, work, tmp_path):
    theirs = Path(shutil.copytree(work / "scores", tmp_path / "mine"))
    call = ours("evaluate", root, tmp_path / "elsewhere", "--scores", str(theirs))
    assert lad(*call)[0] == 0
    metrics, again = read_metrics(work), read_metrics(tmp_path / "elsewhere" / "evaluations" / "mine")
    assert {again[name] for name in ("auc", "auc_abnormal", "ap")} == {
        metrics[name] for name in ("auc", "auc_abnormal", "ap")
    }
    assert again["at_0.5"] == metrics["at_0.5"] and again["frames"] == metrics["frames"]
    assert not list((tmp_path / "elsewhere").rglob("*.npy")) and not list((tmp_path / "elsewhere").rglob("*.pt"))


@pytest.mark.slow
def test_the_released_protocol_is_a_number_more_and_changes_no_other(lad, root, work):
    before, detector = read_metrics(work), model(work)
    assert "released_protocol" not in before
    status, out, err = lad(*ours("run", root, work, "-o", "protocol.released=true"))
    assert status == 0, err
    after = read_metrics(work)
    extra = after.pop("released_protocol")
    assert set(extra) == {"auc", "step", "how"} and "optimistic" in extra["how"]
    curve = [json.loads(line) for line in (work / "logs/train/metrics.jsonl").read_text().splitlines()]
    assert extra["auc"] == max(entry["test_auc"] for entry in curve)
    assert extra["step"] in [entry["step"] for entry in curve if entry["test_auc"] == extra["auc"]]
    assert f"released protocol: frame AUC {extra['auc']:.4f}" in out
    assert after == before
    ours_now = model(work)
    assert ours_now.keys() == detector.keys()
    assert all(torch.equal(ours_now[name], detector[name]) for name in detector)


@pytest.mark.slow
def test_evaluate_shows_the_released_protocol_only_where_it_is_asked_for(lad, root, work):
    call = ours("evaluate", root, work)
    assert lad(*ours("run", root, work, "-o", "protocol.released=true"))[0] == 0
    assert lad(*call)[0] == 0
    assert "released_protocol" not in read_metrics(work)
    assert lad(*call, "-o", "protocol.released=true")[0] == 0
    assert "released_protocol" in read_metrics(work)


@pytest.mark.slow
def test_a_video_of_several_categories_is_right_with_any_of_them(lad, root, work, tmp_path):
    both = relabelled(tmp_path, e=row("e", "test", "run|walk", "10-30", 64), f=row("f", "test", "walk|run", "", 50))
    status, _, err = lad(*ours("run", root, work, *both))
    assert status == 0, err
    metrics = read_metrics(work)
    assert metrics["accuracy_video"] == metrics["accuracy_window"] == 1
    assert np.array(metrics["confusion"]["matrix"]).trace() == 2, "each in the row of what it was taken for"
    assert [metrics["classes"][name]["videos"] for name in ("run", "walk")] == [2, 2]


@pytest.mark.slow
def test_a_test_video_without_a_known_category_counts_for_no_accuracy_but_for_all_else(lad, root, work, tmp_path):
    other = relabelled(tmp_path, e=row("e", "test", "swim", "10-30", 64))
    known = ("-o", "data.classes=[run, walk]")
    assert lad(*ours("run", root, work, *known))[0] == 0
    before = read_metrics(work)
    status, out, err = lad(*ours("run", root, work, *other, *known))
    assert status == 0 and "train: nothing to do" in out, err
    after = read_metrics(work)
    assert np.array(after["confusion"]["matrix"]).sum() == 1
    predicted = {name: columns(work, "f")[name].mean() for name in ("run", "walk")}
    assert after["accuracy_video"] == (max(predicted, key=predicted.__getitem__) == "walk")
    assert after["classes"]["run"]["videos"] == 0 and after["classes"]["run"]["auc"] is None
    same = ("auc", "ap", "far_all", "events", "false_alarms_hour")
    assert {name: after[name] for name in same if name != "events"} == {n: before[n] for n in same if n != "events"}
    assert after["events"] == before["events"]

    nobody = relabelled(tmp_path, e=row("e", "test", "", "10-30", 64), f=row("f", "test", "swim", "", 50))
    assert lad(*ours("run", root, work, *nobody, *known))[0] == 0
    metrics = read_metrics(work)
    assert metrics["accuracy_video"] is None and "no labels" in metrics["undefined"]["accuracy_video"]
    assert metrics["accuracy_window"] is None and metrics["auc"] == before["auc"]


@pytest.mark.slow
def test_a_training_video_without_a_known_category_is_a_mistake_that_is_named(lad, root, work, tmp_path):
    other = relabelled(tmp_path, c=row("c", "train", "swim", "", 36))
    status, _, err = lad(*ours("run", root, work, *other, "-o", "data.classes=[run, walk]"))
    assert status == 2
    assert "c: the label 'swim' of a training video is not in data.classes" in err.splitlines()[-1]


@pytest.mark.slow
def test_labels_for_another_number_of_frames_are_tolerated_up_to_a_clip_and_an_error_beyond(
    lad, root, make_video, tmp_path
):
    work = tmp_path / "work"
    other = make_video(tmp_path / "g.mp4", 33, size=(80, 48))
    changed = relabelled(
        tmp_path,
        a=row("a", "train", "run", "10-30", 40 + 16),
        b=row("b", "train", "run", "10-61"),  # an event that ends 17 frames after the video
        d=row("d", "train", "walk", "", 48 - 17),
        e=row("e", "test", "run", "10-80"),  # 16 frames after it
        f=row("f", "test", "walk", "", 50 + 17),
        g=["g", str(other), "test", "walk", "", 33 - 16, 25, ""],
    )
    expected = {"b.mp4": (61, 44), "d.mp4": (31, 48), "f.mp4": (67, 50)}
    for _ in range(2):  # nothing of it is forgotten by a run that finds everything done
        status, out, err = lad(*ours("run", root, work, *changed))
        assert status == 1 and "3 videos failed" in err
        for name, (labelled, there) in expected.items():
            assert f"{name}: its labels are for {labelled} frames and it has {there}" in err
        assert "2 test videos" in out
        metrics = read_metrics(work)
        assert metrics["protocol"]["left_out"] == ["f"]
        assert metrics["frames"] == 64 + 33 and metrics["anomalous_frames"] == 54
        assert "trained on 2 videos" in out  # a and c
    lines = summary(work)
    for video, labelled in {"a": 56, "g": 17}.items():
        assert f"the dataset counts {labelled} frames, {FRAMES.get(video, 33)} were decoded" in lines[video]["warnings"]


@pytest.mark.slow
def test_every_number_of_the_design_is_there_and_finite_or_null(work):
    metrics = read_metrics(work)
    assert set(metrics) >= DESIGN
    numbers = [metrics[name] for name in DESIGN - {"protocol", "weights"}]
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert set(metrics["undefined"]) == {name for name in metrics if metrics[name] is None}
