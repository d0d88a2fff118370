"""Random splits from the command line: `protocol.splits` and `protocol.seed`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.projects import opened
from helpers.work import same_tensors, tensors

from lad.cli import run as run_cli
from lad.config import load_config
from lad.evaluation.results import summarise
from lad.pipeline.run import split_parts
from lad.work.manifest import read_manifest

pytestmark = pytest.mark.slow

CONFIG = """
data: {benchmark: folder}
protocol: {splits: 2, seed: 5}
extract: {backbone: tiny, streams: [rgb], batch_clips: 2}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  selection: cross-validation
  folds: 2
  steps: 4
  evaluate_every: 2
threads: 1
"""
VIDEOS = [f"{category}/{kind}_{n}" for category in ("fall", "fire") for kind in ("normal", "odd") for n in range(3)]
LEFT, TESTED = len(VIDEOS), 4  # one of each three tests
NUMBERS = {
    "auc",
    "auc_macro",
    "auc_abnormal",
    "ap",
    "latency",
    "never_alarmed",
    "far_all",
    "far_normal",
    "far_abnormal",
    "threshold",
    "false_alarms_hour",
}
NUMBERS |= {"accuracy_window", "accuracy_video", "calibration_error"}


@pytest.fixture(scope="session")
def tree(tmp_path_factory, make_video) -> Path:
    """Two categories of three normal and three abnormal clips, as `data.benchmark: folder` reads them."""
    root = tmp_path_factory.mktemp("tree") / "videos"
    for number, video in enumerate(VIDEOS):
        (root / video).parent.mkdir(parents=True, exist_ok=True)
        make_video(root / f"{video}.mp4", 33 + number, size=(32, 32))
    (root.parent / "small.yaml").write_text(CONFIG)
    return root


def arguments(tree: Path, work: Path, *more: str) -> list[str]:
    return ["-c", str(tree.parent / "small.yaml"), "--data", str(tree), "--work", str(work), *more]


@pytest.fixture(scope="session")
def finished_splits(tree, tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("splits") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lad", "run", "-q", *arguments(tree, work)])
        assert run_cli() == 0
    return work


@pytest.fixture
def work(finished_splits, tmp_path) -> Path:
    """A work directory where both splits are done."""
    return Path(shutil.copytree(finished_splits, tmp_path / "work"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def started(work: Path) -> dict[tuple[str, str], float | None]:
    """When every item of the manifest was begun."""
    with read_manifest(work) as manifest:
        return {key: item.started for key, item in manifest.items().items()}


def parts_of(work: Path, split: int) -> dict[str, str]:
    with (work / "splits" / str(split) / "dataset.csv").open(newline="") as file:
        return {row["video"]: row["split"] for row in csv.DictReader(file)}


def test_features_are_made_once_and_each_split_has_what_a_run_has(work):
    assert sorted(p.relative_to(work / "features/rgb").with_suffix("").as_posix() for p in work.rglob("rgb/**/*.npy"))
    assert Counter(stage for stage, _ in started(work)) == {
        "extract": LEFT,
        "train": 2,
        "score": 2 * LEFT,
        "evaluate": 2,
    }
    assert not (work / "checkpoints").exists() and not (work / "scores").exists() and not (work / "plots").exists()
    assert sorted(p.name for p in (work / "splits").iterdir()) == ["0", "1"]
    for number in range(2):
        split = work / "splits" / str(number)
        assert not (split / "features").exists()
        assert tensors(split / "checkpoints" / "best.pt")
        parts = parts_of(work, number)
        assert set(parts) == set(VIDEOS) and Counter(parts.values()) == {"train": LEFT - TESTED, "test": TESTED}
        assert {
            p.relative_to(split / "scores").with_suffix("").as_posix() for p in split.glob("scores/*/*.csv")
        } == set(VIDEOS)
        tested = {video for video, part in parts.items() if part == "test"}
        drawn = {
            p.relative_to(split / "plots/scores").with_suffix("").as_posix() for p in split.glob("plots/scores/*/*")
        }
        assert drawn == tested and (split / "plots/roc.png").exists()
    assert parts_of(work, 0) != parts_of(work, 1)


def test_metrics_are_the_mean_and_deviation_of_the_splits_own(work):
    metrics = read(work / "metrics.json")
    each = [read(work / "splits" / str(number) / "metrics.json") for number in range(2)]
    assert metrics["splits"] == [{"seed": 5 + number, **one} for number, one in enumerate(each)]
    assert set(metrics["sd"]) == NUMBERS <= set(metrics)
    for name in NUMBERS - {"auc_macro", "auc_abnormal", "far_abnormal"}:
        values = [one[name] for one in each]
        assert metrics[name] == pytest.approx(sum(values) / 2), name
        assert metrics["sd"][name] == pytest.approx(abs(values[0] - values[1]) / 2**0.5, abs=1e-12), name
    assert metrics["sd"]["auc"] > 0, "other videos, other numbers"
    # Videos that are abnormal as a whole have no normal frame.
    assert set(metrics["undefined"]) == {"auc_macro", "auc_abnormal", "far_abnormal"}
    for name in metrics["undefined"]:
        assert metrics[name] is None and metrics["sd"][name] is None
    assert [one["protocol"]["seed"] for one in each] == [5, 6]
    protocol = metrics["protocol"]
    assert (protocol["splits"], protocol["seed"], protocol["split"]) == (2, 5, None)
    assert metrics["weights"] == {"rgb": "random:tiny:rgb:seed=0"}


def test_a_split_where_a_number_is_undefined_does_not_count_for_it():
    names = ("auc", "ap", "far_all", "threshold")
    splits = [
        dict(zip(names, values, strict=True))
        | {"events": {"recall": {"0.1": values[1]}}, "at_0.5": {"far_all": values[2]}}
        | {"classes": {"run": {"auc_against_normal": values[0]}}}
        | {"undefined": {"ap": f"no frame is anomalous in split {number}"}}
        for number, values in enumerate([(0.5, None, 0.1, 0.5), (0.8, None, None, 0.5), (None, None, 0.3, 0.5)])
    ]
    summary = summarise(splits)
    assert summary["auc"] == pytest.approx(0.65) and summary["sd"]["auc"] == pytest.approx(0.3 / 2**0.5)
    assert summary["ap"] is None and summary["sd"]["ap"] is None
    assert summary["undefined"] == {"ap": "no frame is anomalous in split 0"}
    assert summary["events"]["recall"]["0.1"] is None and summary["at_0.5"]["far_all"] == pytest.approx(0.2)
    assert summary["classes"] == {"run": {"auc_against_normal": pytest.approx(0.65)}}
    assert summary["far_all"] == pytest.approx(0.2) and summary["sd"]["threshold"] == 0
    assert summarise(splits[:1])["sd"]["auc"] is None, "one number has no deviation"


def test_a_second_run_does_nothing_and_says_the_same_numbers(lad, tree, work):
    before, metrics = started(work), (work / "metrics.json").read_bytes()
    status, out, _ = lad("run", *arguments(tree, work), "--json")
    assert status == 0
    data = json.loads(out)
    assert {name: stage["done"] for name, stage in data["stages"].items()} == dict.fromkeys(
        ("extract", "train", "score", "evaluate"), 0
    )
    assert {name: stage["skipped"] for name, stage in data["stages"].items()} == {
        "extract": LEFT,
        "train": 2,
        "score": 2 * LEFT,
        "evaluate": 2,
    }
    assert data["splits"] == 2 and data["metrics"] == json.loads(metrics)
    assert started(work) == before and (work / "metrics.json").read_bytes() == metrics


def test_what_is_printed_names_the_splits_and_where_things_lie(lad, tree, work):
    status, out, _ = lad("run", *arguments(tree, work))
    assert status == 0
    metrics = read(work / "metrics.json")
    assert "split_0: train: nothing to do" in out and "split_1: evaluate: nothing to do" in out
    assert "2 random splits, seeds 5 to 6" in out
    (line,) = [line for line in out.splitlines() if "frame AUC, all videos" in line]
    assert f"{metrics['auc']:.4f}" in line and f"{metrics['sd']['auc']:.4f}" in line
    (line,) = [line for line in out.splitlines() if line.startswith("frame AUC of each split")]
    assert all(f"{one['auc']:.4f}" in line for one in metrics["splits"])
    row, reason = [line for line in out.splitlines() if "abnormal videos only" in line]
    assert "undefined" in row and reason.endswith("have no normal frame, or there are none")
    assert f"{work}/splits/*/scores/summary.csv" in out.splitlines() and f"{work}/metrics.json" in out.splitlines()


def test_a_changed_train_key_trains_every_split_again_and_extracts_nothing(lad, tree, work):
    before, auc = started(work), read(work / "metrics.json")["auc"]
    status, _, _ = lad("run", *arguments(tree, work, "-o", "train.seed=3"))
    after = started(work)
    assert status == 0 and before.keys() == after.keys()
    redone = Counter(stage for stage, item in before if before[stage, item] != after[stage, item])
    assert redone == {"train": 2, "score": 2 * LEFT, "evaluate": 2}
    metrics = read(work / "metrics.json")
    assert metrics["auc"] != auc and {one["protocol"]["train_seed"] for one in metrics["splits"]} == {3}


def test_a_split_is_the_run_of_its_seed_alone(lad, tree, work, tmp_path):
    alone = tmp_path / "alone"
    status, _, err = lad("run", *arguments(tree, alone, "-o", "protocol.splits=1", "-o", "protocol.seed=6"))
    assert status == 0, err
    split = work / "splits" / "1"
    ours, theirs = read(alone / "metrics.json"), read(split / "metrics.json")
    assert ours.pop("protocol") | {"split": "split_1"} == theirs.pop("protocol")
    assert ours == theirs
    assert same_tensors(tensors(alone / "checkpoints/best.pt"), tensors(split / "checkpoints/best.pt"))
    assert (alone / "dataset.csv").read_text() == (split / "dataset.csv").read_text()
    for video in VIDEOS:
        assert (alone / f"scores/{video}.csv").read_bytes() == (split / f"scores/{video}.csv").read_bytes()


def test_more_splits_leave_those_that_are_done_alone(lad, tree, work):
    before = started(work)
    status, _, _ = lad("run", *arguments(tree, work, "-o", "protocol.splits=3"))
    assert status == 0
    assert {key: start for key, start in started(work).items() if key in before} == before
    metrics = read(work / "metrics.json")
    assert [one["seed"] for one in metrics["splits"]] == [5, 6, 7]
    assert metrics["auc"] == pytest.approx(np.mean([one["auc"] for one in metrics["splits"]]))

    status, _, err = lad("run", *arguments(tree, work))
    assert status == 0 and "split 2 is of an earlier run and not counted" in err
    assert [one["seed"] for one in read(work / "metrics.json")["splits"]] == [5, 6]
    assert sorted(path.parent.name for path in work.glob("splits/*/metrics.json")) == ["0", "1"]
    assert {key: start for key, start in started(work).items() if key in before} == before


def test_a_split_keeps_its_name_however_many_there_are(tree, tmp_path):
    def names(splits: int) -> list[str]:
        config = load_config(tree.parent / "small.yaml", [f"data.root={tree}", f"protocol.splits={splits}"])
        with opened(config, tmp_path) as run:
            return [part.work.item("detector") for part in split_parts(run.project, run.work, run.reporter)]

    assert names(2) == names(11)[:2] and len(set(names(11))) == 11


def test_the_released_protocol_is_averaged_too_and_moves_no_detector(lad, tree, work, finished_splits):
    status, out, err = lad("run", *arguments(tree, work, "-o", "protocol.released=true"))
    assert status == 0, err
    metrics, before = read(work / "metrics.json"), read(finished_splits / "metrics.json")
    extra = [one["released_protocol"] for one in metrics["splits"]]
    assert all(set(one) == {"auc", "step", "how"} for one in extra)
    assert metrics["released_protocol"]["auc"] == pytest.approx((extra[0]["auc"] + extra[1]["auc"]) / 2)
    assert "optimistic" in metrics["released_protocol"]["how"]
    assert f"released protocol: frame AUC {metrics['released_protocol']['auc']:.4f}" in out
    assert {name: metrics[name] for name in NUMBERS} == {name: before[name] for name in NUMBERS}
    for number in range(2):
        place = f"splits/{number}/checkpoints/best.pt"
        assert same_tensors(tensors(work / place), tensors(finished_splits / place))


def test_a_broken_video_is_named_once_and_left_out_of_every_split(lad, tree, work, tmp_path):
    root = Path(shutil.copytree(tree, tmp_path / "videos"))
    broken = next(video for video in VIDEOS if parts_of(work, 0)[video] != parts_of(work, 1)[video])
    tested_by = [parts_of(work, number)[broken] for number in range(2)].index("test")
    (root / f"{broken}.mp4").write_bytes(b"\x00" * 4096)
    for _ in range(2):
        status, out, err = lad("run", *arguments(tree, work), "--data", str(root))
        assert status == 1
        listed = err.splitlines()[err.splitlines().index("1 video failed:") + 1 :]
        assert len(listed) == 1 and f"{broken}.mp4: not a video" in listed[0]
        assert "split_0: train: " in out and "split_1: evaluate: " in out
        metrics = read(work / "metrics.json")
        left_out = [one["protocol"]["left_out"] for one in metrics["splits"]]
        assert left_out[tested_by] == [broken] and left_out[1 - tested_by] == []
        for number, one in enumerate(metrics["splits"]):
            tested = sum(33 + VIDEOS.index(v) for v, part in parts_of(work, number).items() if part == "test")
            assert one["frames"] == tested - (33 + VIDEOS.index(broken) if number == tested_by else 0)
    status, out, _ = lad("status", "--work", str(work), "--failed")
    assert status == 1 and len(out.splitlines()) == 1 and f"{broken}.mp4" in out


def test_a_split_that_cannot_be_trained_is_named_and_the_ones_before_it_are_kept(lad, tree, work, tmp_path):
    root = Path(shutil.copytree(tree, tmp_path / "videos"))
    first, second = ({v for v, part in parts_of(work, n).items() if part == "train" and "odd" in v} for n in range(2))
    kept = sorted(first - second)  # two events at least for the first split, one for the second
    kept += sorted(first & second)[:1]
    assert len(kept) >= 2
    for video in VIDEOS:
        if "odd" in video and video not in kept:
            (root / f"{video}.mp4").write_bytes(f"nothing of {video}".encode())
    status, out, err = lad("run", *arguments(tree, work), "--data", str(root))
    assert status == 2
    last = err.splitlines()[-1]
    assert last.startswith("error: split_1: has no features: "), "the reason comes first"
    assert "of the other videos: the events of the training videos are all of one source" in last
    assert "split_0: train: 1 done" in out


def test_a_run_killed_between_splits_goes_on_with_the_second(lad, tree, finished_splits, tmp_path):
    work = tmp_path / "work"
    command = [sys.executable, "-m", "lad", "run", *arguments(tree, work)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (work / "splits" / "1" / "dataset.csv").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (work / "metrics.json").exists()
    before = {key: start for key, start in started(work).items() if key[0] == "extract" or key[1].startswith("split_0")}
    assert Counter(stage for stage, _ in before) == {"extract": LEFT, "train": 1, "score": LEFT, "evaluate": 1}

    status, out, err = lad("run", *arguments(tree, work))
    assert status == 0, err
    assert "split_0: train: nothing to do" in out and "split_1: train: 1 done" in out
    assert {key: start for key, start in started(work).items() if key in before} == before
    assert read(work / "metrics.json") == read(finished_splits / "metrics.json")
    for number in range(2):
        place = f"splits/{number}/checkpoints/best.pt"
        assert same_tensors(tensors(work / place), tensors(finished_splits / place))


def test_status_counts_the_items_of_all_splits(lad, work):
    status, out, _ = lad("status", "--work", str(work), "--json")
    assert status == 0
    done = {stage: counts["done"] for stage, counts in json.loads(out)["stages"].items()}
    assert done == {"extract": LEFT, "train": 2, "score": 2 * LEFT, "evaluate": 2}
    assert lad("status", "--work", str(work))[0] == 0


def test_status_compares_all_splits_with_a_configuration(lad, tree, work):
    def why(*more: str) -> dict[str, Any]:
        status, out, err = lad("status", *arguments(tree, work), "--json", *more)
        assert status == 0, err
        return {stage: one["why"] for stage, one in json.loads(out)["compared"]["stages"].items()}

    assert why() == {"extract": {}, "train": {}, "score": {}, "evaluate": {}}
    assert why("-o", "train.steps=3")["train"] == {"train.steps 4 -> 3": 2}


def test_scoring_without_a_detector_of_every_split_says_so_before_anything_is_done(lad, tree, work):
    shutil.rmtree(work / "splits" / "1" / "checkpoints")
    before = started(work)
    status, out, err = lad("score", *arguments(tree, work))
    assert status == 2 and out == "" and len(err.splitlines()) == 1
    assert f"{work}/splits/1/checkpoints/best.pt: no such checkpoint" in err and "lad train" in err
    assert started(work) == before


def test_a_video_of_ones_own_needs_one_detector(lad, tree, work, make_video, tmp_path):
    video = str(make_video(tmp_path / "street.mp4", 40, size=(32, 32)))
    before = started(work)
    status, out, err = lad("score", *arguments(tree, work), video)
    assert status == 2 and out == "" and "--checkpoint" in err and len(err.splitlines()) == 1
    assert started(work) == before
    best = str(work / "splits" / "1" / "checkpoints" / "best.pt")
    status, out, err = lad("score", *arguments(tree, work), "--checkpoint", best, video)
    assert status == 0 and ": peak" in out, err
    kept = {key: start for key, start in started(work).items() if key in before}
    assert kept == before, "the splits' own scores stay"


def test_scores_given_are_of_one_split(lad, tree, work, tmp_path):
    mine = str(work / "splits" / "1" / "scores")
    call = ["evaluate", *arguments(tree, tmp_path / "new"), "--scores", mine]
    status, out, err = lad(*call)
    assert status == 2 and out == "" and "protocol.seed" in err
    status, out, err = lad(*call, "-o", "protocol.splits=1", "-o", "protocol.seed=6")
    assert status == 0, err
    given = read(tmp_path / "new" / "evaluations" / "scores" / "metrics.json")
    assert given["auc"] == read(work / "splits" / "1" / "metrics.json")["auc"]


@pytest.mark.parametrize("data", ["dataset", "benchmark"])
def test_a_split_that_is_not_drawn_cannot_be_drawn_again(lad, tree, tmp_path, data):
    (tmp_path / "dataset.csv").write_text("video,path\na,a.mp4\n")
    config = tmp_path / "mine.yaml"
    given = f"dataset: {tmp_path}/dataset.csv" if data == "dataset" else "benchmark: shanghaitech"
    config.write_text(f"data: {{{given}, root: {tree}}}\nprotocol: {{splits: 3}}\n")
    status, out, err = lad("run", "-c", str(config), "--work", str(tmp_path / "work"))
    assert status == 2 and out == "" and len(err.splitlines()) == 1
    assert "protocol.splits" in err and "drawn at random" in err
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("score.threshold=0.3", "scored with another configuration: run `lad score` first"),
        ("score.merge=max", "scored with another configuration"),
        ("train.seed=9", "trained with another configuration (train.seed): run `lad train` first"),
    ],
)
def test_scores_of_another_configuration_are_not_evaluated_as_today_s(lad, tree, work, change, said):
    status, _, err = lad("evaluate", *arguments(tree, work), "-o", change)
    assert status == 2 and said in err and "split_0" in err
    assert not (work / "metrics.json").exists(), "numbers of the other configuration would look current"
    assert lad("run", *arguments(tree, work))[0] == 0 and (work / "metrics.json").exists()


def test_fewer_splits_leave_no_numbers_of_the_others_and_more_take_them_up_again(lad, tree, work, finished_splits):
    best = (work / "splits/1/checkpoints/best.pt").read_bytes()
    status, _, err = lad("run", *arguments(tree, work, "-o", "protocol.splits=1"))
    assert status == 0, err
    said = [line for line in err.splitlines() if "not counted" in line]
    assert said == [
        "splits 0 to 1 are of an earlier run and not counted: their detectors and scores are kept, and "
        f"-o protocol.splits=2 takes them up again; to remove them: rm -r {work}/splits/0 {work}/splits/1"
    ]
    metrics = read(work / "metrics.json")
    assert "splits" not in metrics and metrics["protocol"]["split"] is None
    for number in range(2):
        split = work / "splits" / str(number)
        assert sorted(path.name for path in split.iterdir()) == ["checkpoints", "logs", "scores"]
    status, out, _ = lad("status", "--work", str(work), "--json")
    data = json.loads(out)
    assert status == 0 and data["splits_not_counted"] == [0, 1]
    done = {stage: counts["done"] for stage, counts in data["stages"].items()}
    assert done == {"extract": LEFT, "train": 1, "score": LEFT, "evaluate": 1}
    assert "splits 0 to 1 are of an earlier run and not counted" in lad("status", "--work", str(work))[1]

    status, out, err = lad("run", *arguments(tree, work), "--json")
    assert status == 0, err
    stages = json.loads(out)["stages"]
    assert {name: stages[name]["done"] for name in stages} == {"extract": 0, "train": 0, "score": 0, "evaluate": 2}
    assert read(work / "metrics.json") == read(finished_splits / "metrics.json")
    assert (work / "splits/1/checkpoints/best.pt").read_bytes() == best
    assert not (work / "plots").exists(), "those of the run without random splits"
    assert "a detector of an earlier run without random splits" in err
    done = {
        stage: c["done"] for stage, c in json.loads(lad("status", "--work", str(work), "--json")[1])["stages"].items()
    }
    assert (done["train"], done["evaluate"]) == (2, 2)


def test_a_run_of_fewer_splits_that_cannot_be_trained_leaves_no_numbers_of_more(lad, tree, work):
    shutil.rmtree(work / "features")
    status, _, err = lad("train", *arguments(tree, work, "-o", "protocol.splits=1"))
    assert status == 2 and "splits 0 to 1 are of an earlier run" in err
    assert not list(work.rglob("metrics.json")), "they are of two splits, and config.yaml says one"


def test_videos_of_ones_own_and_somebody_s_scores_count_no_splits(lad, tree, work, make_video, tmp_path):
    before = {path: path.read_bytes() for path in work.rglob("metrics.json")}
    video, best = make_video(tmp_path / "street.mp4", 40, size=(32, 32)), work / "splits/1/checkpoints/best.pt"
    assert lad("score", *arguments(tree, work), "--checkpoint", str(best), str(video))[0] == 0
    mine = ["--scores", str(work / "splits/1/scores"), "-o", "protocol.splits=1", "-o", "protocol.seed=6"]
    assert lad("evaluate", *arguments(tree, work, *mine))[0] == 0
    assert len(before) == 3 and {path: path.read_bytes() for path in before} == before
    assert json.loads(lad("status", "--work", str(work), "--json")[1])["stages"]["evaluate"]["done"] == 2


def test_training_again_leaves_the_numbers_of_as_many_splits_alone(lad, tree, work):
    assert lad("run", *arguments(tree, work, "-o", "protocol.splits=1"))[0] == 0
    assert lad("run", *arguments(tree, work))[0] == 0
    before = (work / "metrics.json").read_bytes()
    status, out, _ = lad("train", *arguments(tree, work))
    assert status == 0 and "split_1: train: nothing to do" in out
    assert (work / "metrics.json").read_bytes() == before
