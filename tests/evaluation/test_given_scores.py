"""Somebody else's scores: their numbers, worked out by hand, and their files."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled import CONFIG, DESIGN, read_metrics, row, write_rows
from helpers.videos import write_video

from lad.dataset import Video
from lad.evaluation.results import ScoredVideo, compute_metrics
from lad.events import events_of
from lad.pipeline.scored import read_scores

JUDGED = ("-o", "score.threshold=0.5")  # of somebody else's scores nothing is judged unless one asks


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
    # Pickled where the array is of objects: such a file is one of those that have to be refused.
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
    assert status == 0 and f"{200 + min(frames, 100)} frames" in out, "there are 100 frames, whatever the scores say"
    assert any(f"c: {frames} scores for 100 labelled frames" in line for line in err.splitlines())


def test_an_event_that_ends_after_the_scores_is_a_warning_too(lad, by_hand):
    write_rows(
        by_hand, [row("a", "test", "run", "20-108"), row("b", "test", "run", "20-100"), row("c", "test", "walk")]
    )
    status, _, err = lad(*given(by_hand))
    assert status == 0
    assert [line for line in err.splitlines() if "warning" in line] == [
        "warning: a: 100 scores for 108 labelled frames: they are taken as those of the first frames"
    ]


def test_a_name_that_several_videos_of_the_dataset_have_is_no_name_of_one(lad, by_hand):
    """UCSD and Avenue number the videos of both halves from 1."""
    write_rows(by_hand, [row("testing/01", "test", "run", "20-40", 100), row("training/01", "train", "run", "", 100)])
    write_scores(by_hand / "theirs" / "01.csv", np.full(100, 0.1))
    status, _, err = lad(*given(by_hand))
    assert status == 2 and "2 videos are called 01, so a file of that name may be another's" in err
    write_scores(by_hand / "theirs" / "testing" / "01.csv", np.full(100, 0.1))
    assert lad(*given(by_hand))[0] == 0


def test_the_metrics_of_another_file_of_the_same_name_are_not_replaced(lad, by_hand):
    write_scores(by_hand / "others" / "theirs" / "a.csv", np.full(100, 0.1))
    assert lad(*given(by_hand))[0] == 0
    assert lad(*given(by_hand))[0] == 0, "the same again"
    status, _, err = lad(*given(by_hand, scores="others/theirs"))
    assert status == 2 and "has the metrics of" in err and "--force" in err
    assert lad(*given(by_hand, "--force", scores="others/theirs"))[0] == 1


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


def test_events_in_seconds_are_at_the_rate_of_the_file(lad, by_hand):
    write_video(by_hand / "a.mp4", 100, fps=50)
    write_rows(by_hand, [row("a", "test", "run", "1s-2s", "", ""), row("gone", "test", "walk", "", 100, "")])
    write_scores(by_hand / "theirs" / "a.csv", np.repeat([0.0, 1.0], 50))
    write_scores(by_hand / "theirs" / "gone.csv", np.zeros(100))
    status, _, err = lad(*given(by_hand))
    assert status == 0
    metrics = read_metrics(by_hand.parent / "work" / "evaluations" / "theirs")
    assert (metrics["auc"], metrics["anomalous_frames"], metrics["never_alarmed"]) == (1, 50, 0)
    assert (
        "25 frames a second are assumed (data.frame_folder_fps): nobody says how many 1 videos have, such as gone"
        in err
    )


@pytest.mark.parametrize("count", [97, 112, 113, 114, 127, 128])
def test_scores_of_clips_are_known_where_the_container_miscounts(lad, by_hand, count):
    frames = {"a": count, "b": 16 * 6 + 5, "c": 100}
    write_rows(by_hand, [row(name, "test", "run", "20-40" if name == "a" else "", n, 10) for name, n in frames.items()])
    for name, clips in (("a", 7), ("b", 7), ("c", 6)):
        write_scores(by_hand / "theirs" / f"{name}.csv", np.linspace(0, 1, clips))
    status, _, err = lad(*given(by_hand))
    assert status == 0 and "scores: one a clip, repeated for its 16 frames" in err
    assert read_metrics(by_hand.parent / "work" / "evaluations" / "theirs")["frames"] == sum(frames.values())


def test_where_some_files_are_of_clips_one_that_is_of_neither_is_refused(lad, by_hand):
    write_scores(by_hand / "theirs" / "a.csv", np.linspace(0, 1, 7))
    write_scores(by_hand / "theirs" / "c.csv", np.zeros(30))
    status, _, err = lad(*given(by_hand))
    assert status == 1
    assert "c.csv: 30 scores for 100 frames: neither one a frame nor one a clip" in err
    assert read_metrics(by_hand.parent / "work" / "evaluations" / "theirs")["protocol"]["left_out"] == ["c"]


@pytest.mark.parametrize("threshold", [0.3, 0.2, 0.7])
def test_a_score_that_equals_the_threshold_does_not_alarm(lad, by_hand, threshold):
    for name in "abc":
        write_scores(by_hand / "theirs" / f"{name}.csv", np.full(100, threshold))
    assert lad(*given(by_hand, "-o", f"score.threshold={threshold}"))[0] == 0
    metrics = read_metrics(by_hand.parent / "work" / "evaluations" / "theirs")
    assert (metrics["threshold"], metrics["far_all"], metrics["events"]["found"]) == (threshold, 0, 0)
