"""Scores of somebody else in the forms that the field keeps them in: one a clip, one array of all videos, logits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lad.names import Names, plain_names

FRAMES = {"Abuse/Abuse028_x264": 704, "Arson/Arson010_x264": 160, "Normal/Normal_Videos_003_x264": 330}
EVENTS = {"Abuse/Abuse028_x264": (165, 240), "Arson/Arson010_x264": (32, 96)}
Lad = Callable[..., tuple[int, str, str]]


def clips(video: str) -> int:
    return -(-FRAMES[video] // 16)


def clip_scores(video: str) -> np.ndarray:
    """`(clips,)` float32 within 0 and 1: higher in the event, with mistakes."""
    rng = np.random.default_rng(len(video))
    start, end = EVENTS.get(video, (0, 0))
    centres = np.arange(clips(video)) * 16 + 8
    inside = (centres >= start) & (centres < end)
    return np.clip(0.3 + 0.3 * inside + rng.normal(0, 0.2, len(centres)), 0, 1).astype(np.float32)


def truth(video: str, frames: int) -> np.ndarray:
    labels = np.zeros(frames)
    start, end = EVENTS.get(video, (0, 0))
    labels[start:end] = 1
    return labels


@pytest.fixture
def root(tmp_path) -> Path:
    """A dataset.csv of three test videos that are nowhere, and RTFM's files of them."""
    rows = ["video,path,split,label,events,n_frames"]
    for video, frames in FRAMES.items():
        start, end = EVENTS.get(video, (0, 0))
        rows.append(f"{video},{video}.mp4,test,,{f'{start}-{end}' if end else ''},{frames}")
    (tmp_path / "dataset.csv").write_text("\n".join(rows) + "\n")
    lines = [f"G:\\UCF_Test_ten_crop_i3d\\{video.rpartition('/')[2]}_i3d.npy" for video in FRAMES]
    (tmp_path / "test.list").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "gt.npy", np.concatenate([truth(video, clips(video) * 16) for video in FRAMES]))
    np.save(tmp_path / "pred.npy", np.concatenate([clip_scores(video) for video in FRAMES]))
    return tmp_path


def evaluated(lad: Lad, root: Path, scores: str, *more: str, dataset: bool = True) -> tuple[dict[str, Any], str]:
    words = ["-o", f"data.dataset={root / 'dataset.csv'}"] if dataset else []
    call = ["evaluate", *words, "--work", str(root / "work"), "--scores", str(root / scores), *more]
    status, out, err = lad(*call, "--json")
    assert status == 0, err
    return json.loads(out)["metrics"], err


def refused(lad: Lad, *words: str) -> str:
    status, out, err = lad("evaluate", *words)
    assert status == 2 and not out
    return err


def in_folder(root: Path, name: str, change: Callable[[np.ndarray], np.ndarray], suffix: str = "") -> str:
    (root / name).mkdir()
    for video in FRAMES:
        np.save(root / name / f"{video.rpartition('/')[2]}{suffix}.npy", change(clip_scores(video)))
    return name


def by_frame(scores: np.ndarray) -> np.ndarray:
    """The test's own way: of the last clip of 330 frames six are beyond the end, and tolerated with a warning."""
    return np.repeat(scores, 16)


NUMBERS = ("auc", "auc_abnormal", "ap", "frames", "anomalous_frames", "at_0.5")


def test_a_score_a_clip_is_repeated_for_its_16_frames_and_that_is_said(lad, root):
    assert len(clip_scores("Abuse/Abuse028_x264")) == 44 and FRAMES["Abuse/Abuse028_x264"] == 704
    metrics, err = evaluated(lad, root, in_folder(root, "a_clip", lambda scores: scores))
    assert "scores: one a clip, repeated for its 16 frames" in err and err.count("one a clip") == 1
    assert metrics["protocol"]["scores_are"] == "one a clip, repeated for its 16 frames"
    expected = [np.repeat(clip_scores(video), 16)[:frames] for video, frames in FRAMES.items()]
    labels = [truth(video, frames) for video, frames in FRAMES.items()]
    assert metrics["frames"] == sum(FRAMES.values())
    assert metrics["auc"] == pytest.approx(roc_auc_score(np.concatenate(labels), np.concatenate(expected)))
    assert metrics["ap"] == pytest.approx(average_precision_score(np.concatenate(labels), np.concatenate(expected)))
    again, err = evaluated(lad, root, in_folder(root, "a_frame", by_frame))
    assert "one a clip" not in err and again["protocol"]["scores_are"] == "one a frame"
    assert again["frames"] == metrics["frames"], "scores that fill up the last clip are not of frames"
    assert again["auc"] == pytest.approx(metrics["auc"])


def test_whole_clips_alone_may_have_scores_and_the_rest_has_the_last(lad, root):
    (root / "dropped").mkdir()
    for video, frames in FRAMES.items():
        np.save(root / "dropped" / f"{video.rpartition('/')[2]}.npy", clip_scores(video)[: frames // 16])
    metrics, _ = evaluated(lad, root, "dropped")
    assert metrics["frames"] == sum(FRAMES.values())


def test_without_its_number_of_frames_nobody_guesses_what_a_score_is_of(lad, root):
    text = (root / "dataset.csv").read_text()
    (root / "dataset.csv").write_text(text.replace("test,,,330", "test,,,"))
    folder = in_folder(root, "a_clip", lambda scores: scores)
    call = ["-o", f"data.dataset={root / 'dataset.csv'}", "--work", str(root / "work"), "--scores", str(root / folder)]
    status, _, err = lad("evaluate", *call)
    assert status == 1 and "21 scores, one a clip or one a frame? Write how many frames the video has" in err


@pytest.mark.parametrize("suffix", ["_i3d", ".mp4", "_c3d"])
def test_files_of_scores_may_have_the_fields_suffixes(lad, root, suffix):
    plain, _ = evaluated(lad, root, in_folder(root, "plain", lambda scores: scores))
    metrics, _ = evaluated(lad, root, in_folder(root, "theirs", lambda scores: scores, suffix))
    assert {name: metrics[name] for name in NUMBERS} == {name: plain[name] for name in NUMBERS}


def test_one_array_is_cut_in_the_order_of_the_list(lad, root):
    expected, _ = evaluated(lad, root, in_folder(root, "a_clip", lambda scores: scores))
    lines = (root / "test.list").read_text().splitlines()
    (root / "back.list").write_text("\n".join(reversed(lines)))
    exact = [np.repeat(clip_scores(video), 16)[:frames] for video, frames in FRAMES.items()]
    np.save(root / "exact.npy", np.concatenate(exact))
    np.save(root / "padded.npy", np.repeat(np.load(root / "pred.npy"), 16)[None])
    np.save(root / "back.npy", np.concatenate([clip_scores(video) for video in reversed(FRAMES)]))
    for scores, listed in {"pred": "test", "exact": "test", "padded": "test", "back": "back"}.items():
        metrics, _ = evaluated(lad, root, f"{scores}.npy", "--list", str(root / f"{listed}.list"))
        assert {name: metrics[name] for name in NUMBERS} == {name: expected[name] for name in NUMBERS}, scores
    wrong, _ = evaluated(lad, root, "pred.npy", "--list", str(root / "back.list"))
    assert wrong["auc"] != expected["auc"], "or the order would prove nothing"


def rtfm(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """As their `test_10crop.py` has it."""
    return np.load(root / "gt.npy"), np.repeat(np.load(root / "pred.npy"), 16)


def test_rtfms_own_files_need_no_dataset(lad, root):
    metrics, err = evaluated(lad, root, "pred.npy", "--gt", str(root / "gt.npy"), dataset=False)
    labels, scores = rtfm(root)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["ap"] == pytest.approx(average_precision_score(labels, scores))
    assert "one a clip, repeated for its 16 frames" in err and metrics["frames"] == len(labels)
    for name in ("auc_abnormal", "far_normal", "false_alarms_hour"):
        assert metrics[name] is None and metrics["undefined"][name]
    assert "where one video ends" in metrics["undefined"]["auc_abnormal"]
    assert (root / "work/evaluations/pred/metrics.json").is_file()
    again, err = evaluated(
        lad, root, "pred.npy", "--gt", str(root / "gt.npy"), "--list", str(root / "test.list"), dataset=False
    )
    assert again["auc"] == metrics["auc"] and "its feature files are not here" in err
    assert again["protocol"]["videos"]["test"] == 3
    status, out, _ = lad(
        "evaluate", "--scores", str(root / "pred.npy"), "--gt", str(root / "gt.npy"), "--work", str(root / "work")
    )
    assert status == 0 and "1200 frames; no threshold" in out and "frame AUC, all videos" in out


@pytest.mark.parametrize("by", ["features", "dataset"])
def test_a_list_whose_videos_lengths_are_known_gives_numbers_of_single_videos(lad, root, by):
    if by == "features":
        for video in FRAMES:  # as RTFM writes them: (clips, crops, dim)
            name = f"{video.rpartition('/')[2]}_i3d.npy"
            np.save(root / name, np.zeros((clips(video), 10, 8), np.float32))
    more = ["--gt", str(root / "gt.npy"), "--list", str(root / "test.list"), "-o", "data.npy_layout=clips,crops,dim"]
    metrics, err = evaluated(lad, root, "pred.npy", *more, dataset=by == "dataset")
    labels, scores = rtfm(root)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores)) and "not here" not in err
    abnormal = 704 + 160
    assert metrics["auc_abnormal"] == pytest.approx(roc_auc_score(labels[:abnormal], scores[:abnormal]))
    plots = root / "work/evaluations/pred/plots/scores"
    assert {path.stem for path in plots.iterdir()} == {f"{video.rpartition('/')[2]}_i3d" for video in FRAMES}


def test_frames_a_second_are_those_of_the_dataset_with_labels_of_their_own_too(lad, root):
    table = (root / "dataset.csv").read_text().splitlines()
    rows = [f"{table[0]},fps", *(f"{line},10" for line in table[1:])]
    (root / "dataset.csv").write_text("\n".join(rows) + "\n")
    more = ("--list", str(root / "test.list"), "-o", "score.threshold=0.6")
    by_dataset, _ = evaluated(lad, root, "pred.npy", *more)
    by_labels, err = evaluated(lad, root, "pred.npy", *more, "--gt", str(root / "gt.npy"))
    assert "are assumed" not in err and by_labels["protocol"]["fps"] == 10
    assert by_labels["false_alarms_hour"] == pytest.approx(by_dataset["false_alarms_hour"], rel=0.02)  # 6 frames more
    _, err = evaluated(lad, root, "pred.npy", *more, "--gt", str(root / "gt.npy"), dataset=False)
    assert "25 frames a second are assumed" in err


def test_lengths_that_do_not_agree_are_one_line_with_both_numbers(lad, root):
    np.save(root / "short.npy", np.load(root / "pred.npy")[:-2])
    (root / "two.list").write_text("\n".join((root / "test.list").read_text().splitlines()[:2]))
    (root / "other.list").write_text("/data/Abuse028_x264_i3d.npy\n/data/Stealing019_x264_i3d.npy\n")
    (root / "twice.list").write_text("/data/Abuse028_x264_i3d.npy\n/data/Abuse028_x264_i3d.npy\n")
    (root / "empty.list").write_text("\n")
    work = ["--work", str(root / "work")]
    dataset = [*work, "-o", f"data.dataset={root / 'dataset.csv'}"]
    gt = ["--gt", str(root / "gt.npy")]

    def listed(name: str) -> list[str]:
        return ["--list", str(root / f"{name}.list")]

    def scores(name: str) -> list[str]:
        return ["--scores", str(root / f"{name}.npy")]

    said = {
        "holds 73 scores": [*work, *scores("short"), *gt],
        "one for 16 frames (75)": [*work, *scores("short"), *gt],
        "holds 73 numbers; the 3 videos of the list have 1194 frames, or 75 clips": [
            *dataset,
            *scores("short"),
            *listed("test"),
        ],
        "holds 1200 numbers; the 2 videos of the list have 864 frames: give the list": [
            *dataset,
            *scores("pred"),
            *listed("two"),
            *gt,
        ],
        "/data/Stealing019_x264_i3d.npy is no test video": [*dataset, *scores("pred"), *listed("other")],
        "is Abuse/Abuse028_x264 again": [*dataset, *scores("pred"), *listed("twice")],
        "empty.list: lists no file": [*dataset, *scores("pred"), *listed("empty")],
        "labels are 0 and 1, and it holds 0.": [*work, *scores("pred"), "--gt", str(root / "pred.npy")],
        "--list LIST in which order": [*dataset, *scores("pred")],
        "--list and --gt go with --scores FILE": [*dataset, *listed("test")],
        "--scores is a folder": [*dataset, "--scores", str(root), *listed("test")],
        "give -c CONFIG": [*work, *scores("pred"), *listed("test")],
    }
    for reason, words in said.items():
        err = refused(lad, *words)
        assert reason in err.splitlines()[-1], err


@pytest.mark.parametrize("option", ["--scores", "--gt", "--list"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(lad, root, option):
    os.mkfifo(root / "pipe.npy")
    files = {"--scores": "pred.npy", "--gt": "gt.npy", "--list": "test.list"}
    for place in (root / "pipe.npy", Path("/dev/zero")):
        words = [word for name, file in (files | {option: str(place)}).items() for word in (name, str(root / file))]
        err = refused(lad, "--work", str(root / "work"), *words)
        assert str(place) in err and "not a regular file" in err


def test_raw_scores_are_ranked_and_judged_at_no_threshold_that_nobody_asked_for(lad, root):
    plain, _ = evaluated(lad, root, "pred.npy", "--gt", str(root / "gt.npy"), dataset=False)
    assert plain["threshold"] is None and plain["far_all"] is None and plain["events"] is None
    assert "set score.threshold" in plain["undefined"]["far_all"] == plain["undefined"]["threshold"]
    assert plain["at_0.5"]["far_all"] is not None, "which says of itself at what it is judged"
    np.save(root / "logits.npy", np.load(root / "pred.npy") * 40 - 20)
    raw, _ = evaluated(lad, root, "logits.npy", "--gt", str(root / "gt.npy"), dataset=False)
    assert raw["auc"] == pytest.approx(plain["auc"]) and raw["ap"] == pytest.approx(plain["ap"])
    assert set(raw["at_0.5"].values()) == {None} and "not within 0 and 1" in raw["undefined"]["at_0.5"]
    assert raw["calibration_error"] is None and raw["reliability"] is None
    asked, _ = evaluated(
        lad, root, "logits.npy", "--gt", str(root / "gt.npy"), "-o", "score.threshold=0.0", dataset=False
    )
    labels, scores = np.load(root / "gt.npy"), np.repeat(np.load(root / "logits.npy"), 16)
    assert asked["threshold"] == 0 and asked["far_all"] == pytest.approx((scores[labels == 0] > 0).mean())
    folder = in_folder(root, "distances", lambda scores: scores * 100)
    distances, _ = evaluated(lad, root, folder)
    assert distances["far_all"] is None and distances["auc_abnormal"] is not None


def test_real_labels_of_199_videos_are_read_as_they_are(lad, root, shared_data):
    gt = shared_data / "annotations/shanghaitech/gt-sh.npy"
    labels = np.load(gt)
    pred = labels[8::16] + np.random.default_rng(0).normal(size=len(labels) // 16)
    np.save(root / "sh.npy", pred)
    metrics, _ = evaluated(lad, root, "sh.npy", "--gt", str(gt), dataset=False)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, np.repeat(pred.astype(np.float32), 16)))
    assert metrics["frames"] == 142_912 and metrics["anomalous_frames"] == int(labels.sum())


def test_names_of_the_field_lead_to_the_video():
    assert plain_names(r"G:\UCF\Abuse028_x264_i3d") == ["Abuse028_x264_i3d", "Abuse028_x264", "Abuse028"]
    assert plain_names("a/01_0015.avi") == ["01_0015.avi", "01_0015"] and plain_names("_i3d") == ["_i3d"]
    names = Names(["Abuse/Abuse028_x264", "walk", "walk_clip", "left/a", "right/a"])
    assert names.find("/data/Abuse028_x264_i3d") == names.find("Abuse028") == "Abuse/Abuse028_x264"
    assert names.find("walk") == "walk" and names.find("walk_clip") == "walk_clip"
    assert names.find("walk_i3d") == "walk" and names.find("run") is None
    assert names.find("a") is None, "two videos are called so"
    assert names.find("left/a") == names.find("/data/left/a_i3d") == "left/a", "one of them has these last parts"
    assert names.why_not("a") == "may be left/a or right/a" and names.why_not("run") == "is no test video"
