"""What the numbers of `metrics.json` mean in a run of our own, and where the threshold comes from."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.labelled import CONFIG, DESIGN, Row, read_metrics, row, write_rows

from lad.cli import run as run_cli
from lad.detector.checkpoint import load_checkpoint
from lad.files import file_sha256

FOLDS = ("-o", "train.selection=cross-validation", "-o", "train.folds=2")


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
