"""Which intervals of scores are events, and scores that are none."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.detectors import write_detector

from lad.detector.checkpoint import CheckpointError, load_checkpoint
from lad.intervals import events_above

Lad = Callable[..., tuple[int, str, str]]


def found(pattern: str, merge: float, least: float, fps: float = 10.0) -> list[tuple[int, int]]:
    scores = np.array([float(mark == "#") for mark in pattern])
    times = np.arange(len(pattern)) / fps
    return events_above(scores, 0.5, times=times, ends=times + 1 / fps, merge_seconds=merge, min_seconds=least)


def test_without_a_rule_every_run_of_frames_is_an_event() -> None:
    assert found("##..#.###", 0, 0) == [(0, 2), (4, 5), (6, 9)]


def test_gaps_that_are_shorter_are_closed() -> None:
    assert found("##..#....##", 0.3, 0) == [(0, 5), (9, 11)]
    assert found("##..#....##", 0.2, 0) == [(0, 2), (4, 5), (9, 11)]  # a gap as long as that is none to close


def test_blips_are_dropped_after_gaps_are_closed() -> None:
    assert found("#.......##", 0, 0.2) == [(8, 10)]
    assert found("#.#.....#.", 0.15, 0.25) == [(0, 3)]


def test_times_decide_not_numbers_of_frames() -> None:
    scores, times = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 9.0])
    ends = np.array([1.0, 9.0, 9.1])
    assert events_above(scores, 0.5, times=times, ends=ends, merge_seconds=2.0) == [(0, 1), (2, 3)]


@pytest.fixture
def video(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    return make_video(tmp_path / "v.mp4", 60)


def score(lad: Lad, checkpoint: Path, video: Path, work: Path, *more: str) -> tuple[int, str, str]:
    return lad("score", "--checkpoint", str(checkpoint), str(video), "--work", str(work), "--device", "cpu", *more)


def test_scores_that_are_not_finite_fail_in_one_line(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    data = torch.load(best, weights_only=True)
    data["model"]["linear.weight"].fill_(3e38)
    torch.save(data, best)
    status, _, err = score(lad, best, video, tmp_path / "work")
    assert status == 1
    assert "scores that are not finite" in err
    assert "RuntimeWarning" not in err
    assert not list((tmp_path / "work" / "scores").glob("v*.csv"))


def test_a_deviation_of_nothing_is_no_detector(tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    data = torch.load(best, weights_only=True)
    data["model"]["feature_std"].zero_()
    torch.save(data, best)
    with pytest.raises(CheckpointError, match="feature_std holds numbers that are not above 0"):
        load_checkpoint(best)


def test_a_video_without_an_event_has_no_category_on_the_terminal(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    status, out, _ = score(lad, best, video, tmp_path / "work", "-o", "score.threshold=1")
    assert status == 0
    assert "no event above 1" in out
    assert "fall" not in out and "fight" not in out


def test_an_alarm_gets_each_event_as_json(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    heard = tmp_path / "heard.jsonl"
    command = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"a\").write(sys.stdin.read())' {heard}"
    status, _, err = score(lad, best, video, tmp_path / "work", "-o", "score.threshold=0", "--alarm", command)
    assert status == 0, err
    (event,) = [json.loads(line) for line in heard.read_text().splitlines()]
    assert (event["start"], event["end"]) == (0, 60)
    assert event["path"] == str(video)
    assert {"video", "start_time", "end_time", "category", "peak", "threshold"} <= set(event)
    score(lad, best, video, tmp_path / "work", "-o", "score.threshold=0", "--alarm", command)
    assert len(heard.read_text().splitlines()) == 1  # of newly scored videos only


def test_an_alarm_that_fails_is_told_again_by_the_next_run(lad: Lad, video: Path, tmp_path: Path) -> None:
    best, work = write_detector(tmp_path / "best.pt"), tmp_path / "work"
    heard = tmp_path / "heard.jsonl"
    threshold = ("-o", "score.threshold=0", "--alarm")
    status, _, err = score(lad, best, video, work, *threshold, "false")
    assert status == 1
    assert "warning: v-" in err and "the alarm for frames 0-60 did not go off: false ended with exit status 1" in err
    for _ in range(2):  # the second time there is nothing left to tell
        status, _, err = score(lad, best, video, work, *threshold, f"sh -c 'cat >> {heard}'")
        assert status == 0, err
        assert len(heard.read_text().splitlines()) == 1


def test_an_alarm_that_is_no_command_is_refused_before_anything_is_done(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    status, _, err = score(lad, best, video, tmp_path / "work", "--alarm", "nosuchcommand now")
    assert status == 2 and "--alarm: there is no command 'nosuchcommand': give its whole path" in err
    assert not (tmp_path / "work").exists()


def test_a_doubted_detector_is_doubted_at_every_scoring(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    data = torch.load(best, weights_only=True)
    data["doubt"] = "its validation AUC is 0.48 on 8 videos, which may be chance (0.5)"
    torch.save(data, best)
    _, out, err = score(lad, best, video, tmp_path / "work", "--json")
    assert "may be worth nothing: its validation AUC is 0.48" in err
    (info,) = json.loads(out)["scores"].values()
    assert info["doubt"] == data["doubt"]


def test_a_checkpoint_of_a_newer_lad_is_refused(tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    data = torch.load(best, weights_only=True)
    torch.save({**data, "format": 99}, best)
    with pytest.raises(CheckpointError, match="a newer lad wrote it: update this one"):
        load_checkpoint(best)


@pytest.mark.parametrize(
    ("number", "lacks"),
    [(3, ("network", "selection", "doubt", "familiar", "known_cameras")), (4, ("familiar", "known_cameras"))],
)
def test_a_checkpoint_of_a_former_format_is_read(tmp_path: Path, number: int, lacks: tuple[str, ...]) -> None:
    best = write_detector(tmp_path / "best.pt")
    data = torch.load(best, weights_only=True)
    for key in lacks:
        del data[key]
    torch.save({**data, "format": number}, best)
    older = load_checkpoint(best)
    assert older.detector().window == 2 and older.familiar is None and older.known_cameras is None


def test_a_video_can_be_scored_before_the_others_are_evaluated(
    lad: Lad, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "path", "split", "label", "events"])
        for number, label in enumerate(["fall", "fight", "fall"]):
            make_video(root / f"{number}.mp4", 40)
            writer.writerow([number, f"{number}.mp4", "test", label, "5-20" if number else ""])
    best = write_detector(tmp_path / "best.pt")
    common = ["--data", str(root), "--work", str(tmp_path / "work"), "--device", "cpu", "--checkpoint", str(best)]
    common += ["-o", "data.dataset=dataset.csv", "-o", "extract.backbone=tiny"]
    assert lad("extract", *common[:-6], "-o", "data.dataset=dataset.csv", "-o", "extract.backbone=tiny")[0] == 0
    assert lad("score", str(root / "0.mp4"), *common)[0] == 0
    status, out, err = lad("evaluate", *common)
    assert status == 0, err
    assert "score: 2 done, 1 done before" in out  # the one that was named is not done again


def test_what_an_alarm_prints_is_not_on_stdout(lad: Lad, video: Path, tmp_path: Path) -> None:
    best = write_detector(tmp_path / "best.pt")
    status, out, err = score(
        lad, best, video, tmp_path / "work", "-o", "score.threshold=0", "--json", "--alarm", "echo it rings"
    )
    assert status == 0 and "it rings" in err
    assert json.loads(out)["stages"]["score"]["done"] == 1
