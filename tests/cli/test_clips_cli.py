"""Crops, rates, overlapping clips, flow methods and the authors' layout, through the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.work import BEST, items, same_tensors, tensors

from lad.dataset import COLUMNS

pytestmark = pytest.mark.slow

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb, flow], batch_clips: 2}
train:
  window: 2
  hidden: 4
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  steps: 4
  evaluate_every: 2
  val_fraction: 0.4
threads: 1
workers: 1
"""
# video: frames, events, category, split
VIDEOS = {
    "walk_1": (33, "5-20", "walk", "train"),
    "walk_2": (20, "", "walk", "train"),
    "run_1": (47, "10-30", "run", "train"),
    "run_2": (36, "", "run", "train"),
    "run_3": (40, "20-40", "run", "test"),
}
SHORT = "run_1"


@pytest.fixture(scope="session")
def folder(tmp_path_factory, make_video) -> Path:
    """Five labelled clips, and the configuration beside them."""
    root = tmp_path_factory.mktemp("clips")
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for video, (frames, events, label, split) in VIDEOS.items():
            make_video(root / f"{video}.mp4", frames)
            writer.writerow([video, f"{video}.mp4", split, label, events, frames, 25, ""])
    (root / "small.yaml").write_text(CONFIG)
    return root


def arguments(folder: Path, work: Path, *overrides: str) -> list[str]:
    words = [word for setting in overrides for word in ("-o", setting)]
    return ["-c", str(folder / "small.yaml"), "--data", str(folder), "--work", str(work), *words]


def extract(lad, folder: Path, work: Path, *overrides: str, videos: tuple[str, ...] = ()) -> dict:
    """`lad extract --json`; of `videos` alone where some are named."""
    paths = [str(folder / f"{video}.mp4") for video in videos]
    status, out, err = lad("extract", "--json", *arguments(folder, work, *overrides), *paths)
    assert status == 0, out + err
    return json.loads(out)


def scored(work: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Times and scores of a video's frames."""
    table = np.loadtxt(work / "scores" / f"{video}.csv", delimiter=",", skiprows=1)[:, :3]
    assert table[:, 0].tolist() == list(range(len(table)))
    return table[:, 1], table[:, 2]


def features(work: Path, stream: str, video: str) -> np.ndarray:
    return np.load(work / "features" / stream / f"{video}.npy", allow_pickle=False)


@pytest.mark.parametrize("crops", [5, 10])
def test_crops_are_extracted_trained_on_and_averaged(lad, folder, tmp_path, crops):
    work = tmp_path / "work"
    status, out, err = lad("run", *arguments(folder, work, f"extract.crops={crops}"))
    assert status == 0, out + err
    for video, (frames, *_) in VIDEOS.items():
        for stream in ("rgb", "flow"):
            array = features(work, stream, video)
            assert array.shape == (crops, -(-frames // 16), 128) and array.dtype == np.float32
            assert len(np.unique(array, axis=0)) == crops, "no two views are alike"
        assert len(scored(work, video)[0]) == frames
    each = []
    for crop in range(crops):  # the same detector on the features of one crop alone, as somebody else's
        one = np.hstack([features(work, stream, SHORT)[crop] for stream in ("rgb", "flow")])
        path = tmp_path / f"crop_{crop}.npy"
        np.save(path, one)
        best = str(work / "checkpoints" / "best.pt")
        assert lad("score", "--checkpoint", best, str(path), "--work", str(tmp_path / "each"))[0] == 0
    for path in sorted((tmp_path / "each" / "scores").glob("crop_*.csv")):
        each.append(scored(tmp_path / "each", path.stem)[1][: VIDEOS[SHORT][0]])
    assert len(each) == crops and np.ptp(each, axis=0).max() > 1e-5, "or the mean would prove nothing"
    np.testing.assert_allclose(scored(work, SHORT)[1], np.mean(each, axis=0), atol=1e-6)


def test_rgb_of_another_size_is_made_anew_alone_and_its_detector_says_so(lad, folder, tmp_path):
    work = tmp_path / "work"
    assert lad("run", *arguments(folder, work))[0] == 0
    flow, rgb = features(work, "flow", SHORT), features(work, "rgb", SHORT)
    before = items(work, "extract")
    status, _, err = lad("score", *arguments(folder, work, "extract.rgb_short_side=256"))
    assert status == 2 and "run `lad extract` first" in err
    extract(lad, folder, work, "extract.rgb_short_side=256")
    changed = {item for item, row in items(work, "extract").items() if row.fingerprint != before[item].fingerprint}
    assert changed == {f"rgb/{video}" for video in VIDEOS}
    assert np.array_equal(features(work, "flow", SHORT), flow)
    again = features(work, "rgb", SHORT)
    assert again.shape == rgb.shape and not np.allclose(again, rgb)
    status, _, err = lad("score", *arguments(folder, work, "extract.rgb_short_side=256"))
    assert status == 0 and "trained on other features: rgb_short_side None, now 256" in err


def test_clips_seen_as_one_are_made_anew_and_their_detector_says_so(lad, folder, tmp_path):
    work = tmp_path / "work"
    assert lad("run", *arguments(folder, work))[0] == 0
    before = items(work, "extract")
    status, _, err = lad("score", *arguments(folder, work, "extract.context=batch"))
    assert status == 2 and "run `lad extract` first" in err
    extract(lad, folder, work, "extract.context=batch")
    after = items(work, "extract")
    assert {item for item in after if after[item].fingerprint != before[item].fingerprint} == set(before)
    status, _, err = lad("score", *arguments(folder, work, "extract.context=batch"))
    assert status == 0 and "trained on other features: context clip, now batch" in err


def test_clips_that_overlap_are_not_seen_as_one(lad, folder, tmp_path):
    both = ("extract.context=batch", "extract.clip_stride=8")
    status, _, err = lad("extract", *arguments(folder, tmp_path / "work", *both))
    assert status == 2 and "extract.context: clips that overlap are no piece of video" in err


def test_no_more_clips_are_seen_as_one_than_memory_has_room_for(lad, folder, tmp_path):
    both = ("extract.context=batch", "extract.batch_clips=17")
    status, _, err = lad("extract", *arguments(folder, tmp_path / "work", *both))
    assert status == 2 and "extract.batch_clips: a network sees at most 16 clips as one" in err


def test_crops_and_a_size_of_rgb_do_not_go_together(lad, folder, tmp_path):
    both = ("extract.crops=5", "extract.rgb_short_side=256")
    status, _, err = lad("extract", *arguments(folder, tmp_path / "work", *both))
    assert status == 2 and "extract.rgb_short_side: crops have a size of their own" in err


@pytest.mark.parametrize(
    ("overrides", "clips"),
    [
        (["extract.fps=10"], 2),  # 47 frames at 25 a second are 1.88 s: 19 frames
        (["extract.fps=40"], 5),  # 76 frames
        (["extract.clip_stride=8"], 5),
        (["extract.clip_stride=32"], 2),
        (["extract.tail=drop"], 2),
        (["extract.clip_stride=8", "extract.tail=drop"], 4),
        (["extract.fps=10", "extract.clip_stride=8", "extract.crops=5"], 2),
        (["extract.fps=20", "extract.clip_stride=8", "extract.tail=drop"], 3),  # 38 frames
        (["extract.fps=20", "extract.clip_stride=20"], 2),
    ],
)
def test_every_source_frame_has_a_score_and_its_time(lad, folder, tmp_path, overrides, clips):
    work = tmp_path / "work"
    status, out, err = lad("run", *arguments(folder, work, *overrides))
    assert status == 0, out + err
    for video, (frames, *_) in VIDEOS.items():
        times, values = scored(work, video)
        np.testing.assert_allclose(times, np.arange(frames) / 25, atol=1e-3)
        assert (values >= 0).all() and (values <= 1).all()
    for stream in ("rgb", "flow"):
        assert features(work, stream, SHORT).shape[-2] == clips
    protocol = json.loads((work / "metrics.json").read_text())["protocol"]
    said = {f"extract.{key}={protocol[key]:g}" for key in ("fps", "clip_stride", "crops") if protocol[key]}
    assert {word for word in overrides if "tail" not in word} <= said


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [(0, 16), (16, 32), (32, 47)]),
        (["extract.clip_stride=8"], [(0, 16), (8, 24), (16, 32), (24, 40), (32, 47)]),
        (["extract.clip_stride=20"], [(0, 16), (20, 36), (40, 47)]),
        (["extract.clip_stride=20", "extract.context=batch", "extract.batch_clips=2"], [(0, 16), (16, 32), (40, 47)]),
        (["extract.tail=drop"], [(0, 16), (16, 32)]),
        (["extract.fps=12.5"], [(0, 32), (32, 47)]),
        (["extract.fps=12.5", "extract.tail=drop"], [(0, 32)]),
        (["extract.fps=50", "extract.clip_stride=12"], [(6 * n, min(6 * n + 8, 47)) for n in range(8)]),
    ],
)
def test_extract_says_when_each_clip_begins_and_ends(lad, folder, tmp_path, overrides, expected):
    data = extract(lad, folder, tmp_path, "extract.streams=[rgb]", *overrides, videos=(SHORT,))
    (info,) = data["videos"].values()
    clips = [(clip["start"], clip["end"]) for clip in info["clips"]]
    np.testing.assert_allclose(clips, np.array(expected) / 25, atol=2e-3)
    assert (info["frames"], info["fps"], info["crops"], info["dim"]) == (47, 25, 1, 128)
    assert [np.load(path).shape for path in info["features"]] == [(len(expected), 128)]


def test_what_shapes_the_clips_redoes_extraction_and_what_does_not_redoes_nothing(lad, folder, tmp_path):
    work, settings = tmp_path / "work", ["extract.streams=[rgb]"]
    for change in ["batch_clips=2", "clip_stride=8", "crops=5", "fps=40", "tail=drop"]:
        settings.append(f"extract.{change}")
        done = [extract(lad, folder, work, *settings)["stages"]["extract"] for _ in range(2)]
        assert [(stage["done"], stage["skipped"]) for stage in done] == [(5, 0), (0, 5)], change
    again = extract(lad, folder, work, *settings, "extract.flow=farneback", "extract.stall_seconds=60")
    assert again["stages"]["extract"]["skipped"] == 5, "no flow is extracted"


def test_another_flow_method_redoes_flow_alone(lad, folder, tmp_path):
    work = tmp_path / "work"
    assert extract(lad, folder, work)["stages"]["extract"]["done"] == 5
    rgb = {video: features(work, "rgb", video) for video in VIDEOS}
    flow = {video: features(work, "flow", video) for video in VIDEOS}
    seen = {item: row.started for item, row in items(work, "extract").items()}
    written = (work / "features" / "rgb" / f"{SHORT}.npy").stat().st_mtime_ns
    for _ in range(2):
        extract(lad, folder, work, "extract.flow=farneback")
    redone = {item for item, row in items(work, "extract").items() if row.started != seen[item]}
    assert redone == {f"flow/{video}" for video in VIDEOS}
    assert (work / "features" / "rgb" / f"{SHORT}.npy").stat().st_mtime_ns == written
    for video in VIDEOS:
        np.testing.assert_array_equal(features(work, "rgb", video), rgb[video])
        assert not np.array_equal(features(work, "flow", video), flow[video])
    whole = tmp_path / "whole"
    extract(lad, folder, whole, "extract.flow=farneback", videos=(SHORT,))
    np.testing.assert_array_equal(features(whole, "flow", SHORT), features(work, "flow", SHORT))
    status, _, err = lad("extract", *arguments(folder, work, "extract.flow=farneback"), "--verify")
    assert status == 0, err
    assert {item: row.started for item, row in items(work, "extract").items() if item.startswith("rgb/")} == {
        item: started for item, started in seen.items() if item.startswith("rgb/")
    }, "the times that both streams share are still what was recorded"


def test_what_is_exported_trains_the_same_detector(lad, folder, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    extract(lad, folder, work)
    assert lad("train", *arguments(folder, work))[0] == 0
    status, said, err = lad("export", "--layout", "released", "--out", str(out), *arguments(folder, work))
    assert status == 0 and f"{out}" in said, err
    settings = ["data={benchmark: avenue, layout: released, classes: [run, walk]}"]
    again = tmp_path / "again"
    words = arguments(out, again, *settings)
    words[1] = str(folder / "small.yaml")
    for number in range(2):
        status, said, err = lad("run", *words, "--json")
        assert status == 0, said + err
        assert json.loads(said)["stages"]["train"]["done"] == 1 - number
    assert same_tensors(tensors(again / BEST), tensors(work / BEST))
    assert not (again / "features").exists()
    assert lad("score", *arguments(folder, work))[0] == 0
    for video in VIDEOS:
        np.testing.assert_array_equal(scored(again, video)[1], scored(work, video)[1])
    dataset = tmp_path / "dataset.csv"
    lad("prepare", "lad2000", "--layout", "released", "--root", str(out), "--out", str(dataset))
    with dataset.open() as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    for video, (frames, events, _, split) in VIDEOS.items():
        found = rows[video]
        assert (int(found["n_frames"]), found["events"], found["split"]) == (frames, events, split)


def test_what_the_layout_has_no_place_for_is_not_exported(lad, folder, tmp_path):
    for change in ("extract.crops=5", "extract.clip_stride=8", "extract.fps=10"):
        settings = ["extract.streams=[rgb]", change]
        extract(lad, folder, tmp_path / "work", *settings)
        words = arguments(folder, tmp_path / "work", *settings)
        status, out, err = lad("export", "--layout", "released", "--out", str(tmp_path / "out"), *words)
        assert status == 2 and not out and change.partition("=")[0] in err.splitlines()[-1]
        assert not (tmp_path / "out").exists()


def test_raft_is_listed_and_its_weights_are_checked_by_name(lad, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LAD_CACHE", str(tmp_path))
    status, out, _ = lad("weights", "list", "--json")
    (entry,) = [entry for entry in json.loads(out) if entry["name"] == "raft-large"]
    assert status == 0 and (entry["backbone"], entry["stream"], entry["cached"]) == ("raft", "flow", False)
    status, out, _ = lad("weights", "list")
    assert status == 0 and "raft-large" in out
    for name, reason in {"kinetics400-flow": "kinetics400-flow", "rafd": "rafd"}.items():
        settings = ["extract.flow=raft", f"extract.flow_weights={name}"]
        status, out, err = lad("extract", *arguments(folder, tmp_path / "work", *settings))
        assert status == 2 and not out and len(err.splitlines()) == 1, err
        assert "extract.flow_weights" in err and reason in err
    assert not (tmp_path / "work").exists()


def test_raft_works_and_a_slow_batch_is_no_stall(lad, folder, tmp_path, make_video):
    # One batch of both clips takes longer than that on one core; starting torch, which shows no sign of life, less.
    make_video(tmp_path / "street.mp4", 28)
    settings = ["extract.flow=raft", "extract.flow_weights=random", "extract.streams=[flow]"]
    words = arguments(folder, tmp_path / "work", *settings, "extract.stall_seconds=20", "extract.batch_clips=4")
    status, out, err = lad("extract", *words, str(tmp_path / "street.mp4"), "--json")
    assert status == 0, out + err
    (info,) = json.loads(out)["videos"].values()
    assert info["frames"] == 28 and [np.load(path).shape for path in info["features"]] == [(2, 128)]
    assert "flow (random, raft)" in err
