"""What training promises beyond what the commands show: who validates, what is kept, what is resumed."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.projects import opened

from lad.config import Config, load_config
from lad.dataset import COLUMNS, Video
from lad.detector.checkpoint import load_checkpoint, scoring_config
from lad.detector.validation import divide
from lad.events import Event
from lad.features.video import FeaturesError
from lad.pipeline.reporter import StageError

SMALL = [
    "extract.backbone=tiny",
    "train={window: 2, hidden: 8, abnormal_windows: 2, normal_windows: 2, steps: 6, evaluate_every: 2}",
    "threads=1",
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory, make_video) -> Path:
    """Eight clips, half of them with an event, four sources, two of them in the split `val`."""
    root = tmp_path_factory.mktemp("videos")
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(8):
            make_video(root / f"{number}.mp4", 40 + number)
            events = "8-30" if number % 2 else ""
            split = "val" if number >= 6 else "train"
            writer.writerow([number, f"{number}.mp4", split, "street", events, 40 + number, 25, f"camera{number // 2}"])
    return root


def train(folder: Path, work: Path, *more: str) -> dict:
    """Extract and train; returns what the manifest says of the training."""
    config: Config = load_config(None, ["data.dataset=dataset.csv", f"data.root={folder}", *SMALL, *more])
    with opened(config, work) as run:
        results = run.run("extract", "train")
        assert not any(result.failed for result in results)
        row = run.work.manifest.get("train", "detector")
    assert row is not None and row.status == "done"
    return row.info


def test_val_rows_validate_and_the_best_checkpoint_is_theirs(folder, tmp_path):
    info = train(folder, tmp_path)
    assert info["videos"] == 6 and info["selection"] == "validation on the `val` videos"
    best, last = (load_checkpoint(tmp_path / "checkpoints" / name) for name in ("best.pt", "last.pt"))
    curve = {entry["step"]: entry["auc"] for entry in last.history}
    assert set(curve) == {2, 4, 6} and last.step == 6
    assert curve[best.step] == max(curve.values()) and best.step == info["steps"]


def test_without_val_rows_whole_sources_are_held_out(folder, tmp_path):
    rows = (folder / "dataset.csv").read_text().replace(",val,", ",train,")
    (folder / "all_train.csv").write_text(rows)
    info = train(folder, tmp_path, "data.dataset=all_train.csv", "train.val_fraction=0.25")
    assert info["videos"] == 6, "one of four sources, with its two videos, validates"


def test_cross_validation_chooses_the_steps_and_refits_on_all(folder, tmp_path):
    rows = (folder / "dataset.csv").read_text().replace(",val,", ",train,")
    (folder / "all_train.csv").write_text(rows)
    more = ["data.dataset=all_train.csv", "train.selection=cross-validation", "train.folds=2"]
    info = train(folder, tmp_path, *more)
    assert info["videos"] == 8
    curves = [json.loads((tmp_path / f"checkpoints/fold_{n}/curve.json").read_text())["history"] for n in range(2)]
    mean = {a["step"]: (a["auc"] + b["auc"]) / 2 for a, b in zip(*curves, strict=True)}
    assert mean[info["steps"]] == max(mean.values())
    assert load_checkpoint(tmp_path / "checkpoints" / "best.pt").step == info["steps"]


def test_a_checkpoint_knows_its_classes_configuration_and_weights(folder, tmp_path):
    train(folder, tmp_path)
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / "best.pt")
    assert checkpoint.classes == ["street"] and checkpoint.weights == {"rgb": "random:tiny:rgb:seed=0"}
    config = scoring_config(tmp_path / "checkpoints" / "best.pt", ["score.threshold=0.7"])
    assert config.extract.backbone == "tiny" and config.train.window == 2 and config.score.threshold == 0.7
    assert config.data.dataset is None, "other videos, not those that it was trained on"


def test_features_are_standardised_by_the_training_videos_alone(folder, tmp_path):
    train(folder, tmp_path)
    state = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)["model"]
    clips = np.concatenate([np.load(tmp_path / "features" / "rgb" / f"{number}.npy") for number in range(6)])
    np.testing.assert_allclose(state["feature_mean"].numpy(), clips.mean(axis=0), atol=1e-5)
    assert (state["feature_std"] > 0).all()
    train(folder, tmp_path, "train.standardize=false")
    state = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)["model"]
    assert not state["feature_mean"].any() and (state["feature_std"] == 1).all()


@pytest.mark.slow
def test_another_run_does_not_go_on_from_an_old_checkpoint(folder, tmp_path):
    train(folder, tmp_path, "train.steps=8")
    train(folder, tmp_path)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.pt").step == 6
    assert not (tmp_path / "checkpoints" / "step_000008.pt").exists()


@pytest.mark.slow
def test_tensorboard_and_jsonl_logs_say_the_same(folder, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(folder, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "logs/train/metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "logs" / "train"))
    events.Reload()
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [one.value for one in events.Scalars("loss")] == pytest.approx([line["loss"] for line in lines])


def test_parts_keep_sources_together_and_share_the_abnormal_ones():
    videos = [
        Video(f"{source}/{n}", Path("x"), events=(Event(0, 1),) if source < 6 else (), source=str(source))
        for source in range(12)
        for n in range(3)
    ]
    parts = divide(videos, 3, seed=1)
    assert sorted(v.id for part in parts for v in part) == sorted(v.id for v in videos)
    sources = [{v.source for v in part} for part in parts]
    assert all(not a & b for a, b in [(sources[0], sources[1]), (sources[0], sources[2]), (sources[1], sources[2])])
    assert [sum(v.is_abnormal for v in part) for part in parts] == [6, 6, 6]
    assert divide(videos, 3, seed=1) == parts and divide(videos, 3, seed=2) != parts


@pytest.mark.parametrize(
    ("events_of", "said"),
    [([], "no training video has an event"), (["1"], r"all of one source \(.*\), which cannot both")],
)
def test_too_few_events_are_an_error_that_says_so(folder, tmp_path, events_of, said):
    with (folder / "dataset.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["split"], row["events"] = "train", "8-30" if row["video"] in events_of else ""
    with (folder / "few.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for selection in ("validation", "cross-validation"):
        with pytest.raises(StageError, match=said):
            train(folder, tmp_path, "data.dataset=few.csv", f"train.selection={selection}")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "score"])
@pytest.mark.parametrize("kind", ["rgb", "times"])
@pytest.mark.parametrize("times", ["its own", "as before"])
def test_damaged_features_are_named_and_made_anew(folder, tmp_path, stage, kind, times):
    train(folder, tmp_path)
    damaged = tmp_path / "features" / kind / "0.npy"
    whole, before = damaged.read_bytes(), damaged.stat()
    damaged.write_bytes(b"broken" + whole[6:])  # of the same size
    config = load_config(None, ["data.dataset=dataset.csv", f"data.root={folder}", *SMALL])
    said = pytest.raises(StageError, match=r"not as lad made them, or gone \(0\): run `lad extract` first")
    if times == "as before":  # so that nobody sees it who does not look inside
        os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
        said = pytest.raises(FeaturesError, match=rf"{kind}/0\.npy: not a plain \.npy array.*lad extract --verify")
    with opened(config, tmp_path, force=True) as run, said:
        run.run(stage)
    with opened(config, tmp_path, verify=times == "as before") as run:
        run.run("extract", stage)
    assert damaged.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["aed", "linear", "mil", "mil_causal"])
def test_every_detector_trains_scores_and_is_evaluated_through_the_same_commands(detector, folder, tmp_path, lad):
    (folder / "tested.csv").write_text((folder / "dataset.csv").read_text().replace(",val,", ",test,"))
    common = ["--data", str(folder), "--work", str(tmp_path), "-o", "data.dataset=tested.csv", "-q"]
    common += [word for override in (*SMALL, f"train.detector={detector}") for word in ("-o", override)]
    status, _, err = lad("run", *common)
    assert status == 0, err
    status, _, err = lad("score", "--checkpoint", str(tmp_path / "checkpoints" / "best.pt"), str(folder / "1.mp4"),
                         "--work", str(tmp_path / "other"), "-q")  # fmt: skip
    assert status == 0, err
    assert (tmp_path / "other" / "scores" / "summary.csv").exists()


@pytest.mark.slow
def test_features_relative_to_the_start_train_anew_and_an_event_there_is_told(folder, tmp_path, lad):
    (folder / "tested.csv").write_text((folder / "dataset.csv").read_text().replace(",val,", ",test,"))
    common = ["--data", str(folder), "--work", str(tmp_path), "-o", "data.dataset=tested.csv"]
    common += [word for override in (*SMALL, "train.detector=linear") for word in ("-o", override)]
    relative = ["-o", "train.reference_clips=1"]

    def trained_with() -> dict:
        return json.loads((tmp_path / "metrics.json").read_text())["protocol"]["config"]["train"]

    assert lad("run", *common)[0] == 0
    for later in ("reference_clips", "dtype"):
        assert later not in trained_with(), "numbers of before there was such a key would not be current"
    status, _, err = lad("evaluate", *common, *relative)
    assert status == 2 and "trained with another configuration (train.reference_clips)" in err
    status, _, err = lad("run", *common, *relative)
    assert status == 0, err
    assert "warning: train.reference_clips: in 3 videos, such as 1, an event begins before the end of clip 1" in err
    assert trained_with()["reference_clips"] == 1
    _, out, _ = lad("status", "-c", str(tmp_path / "config.yaml"), "-o", "train.reference_clips=0", *common[2:4])
    assert "train: stale: train.reference_clips 1 -> 0" in out
    of_videos = ["-o", "train.supervision=videos", "-o", "train.reference_clips=1024"]
    status, _, err = lad("train", *common, *of_videos)
    assert "6 videos, such as 0, have no more clips than 1024: they teach nothing" in err
    assert "in 3 videos, such as 1, an event begins before the end of clip 1024" in err, "where it is known"


def test_training_in_bfloat16_trains_anew_and_a_machine_without_it_is_told(folder, tmp_path, lad, monkeypatch):
    common = ["--data", str(folder), "--work", str(tmp_path), "-o", "data.dataset=dataset.csv"]
    common += [word for override in SMALL for word in ("-o", override)]
    coarse = ["-o", "train.dtype=bfloat16"]
    assert lad("extract", *common)[0] == 0
    assert lad("train", *common)[1].startswith("train: 1 done\n")
    (tmp_path / "cpuinfo").write_text("flags: fpu avx2\n")
    monkeypatch.setattr("lad.device.CPUINFO", tmp_path / "cpuinfo")
    _, out, _ = lad("status", "-c", str(tmp_path / "config.yaml"), *coarse, *common[2:4])
    assert "train: stale: train.dtype float32 -> bfloat16" in out
    status, out, err = lad("train", *common, *coarse)
    assert status == 0 and out.startswith("train: 1 done\n")
    assert "of features, in bfloat16\n" in err
    assert "warning: train.dtype: this machine has no instructions for bfloat16: float32 would be faster" in err
    status, out, err = lad("train", *common, *coarse)
    assert status == 0 and out.startswith("train: nothing to do, 1 done before\n") and "instructions" not in err
    assert "instructions" not in lad("train", *common)[2]
