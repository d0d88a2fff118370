"""Features of somebody else, through the commands: used where they lie, checked, never recomputed."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.given import (
    CLASSES,
    TRAINED,
    VIDEOS,
    attempts,
    benchmark,
    change_rows,
    checkpoint,
    dataset,
    feature_file,
    features,
    plain,
    prepared,
    scores,
    stamps,
    write_layout,
)
from helpers.work import BEST, items, same_tensors, tensors


@pytest.mark.parametrize("way", ["benchmark", "dataset"])
def test_the_chain_works_on_given_features_where_they_lie(lad, root, cache, tmp_path, way):
    work = tmp_path / "work"
    if way == "dataset":
        prepared(lad, root, "--streams", "rgb, flow")
    before = stamps(root)
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    words = (benchmark if way == "benchmark" else dataset)(root, work)
    for command in ("train", "score", "evaluate"):
        status, out, err = lad(command, *words)
        assert status == 0, out + err
    assert stamps(root) == before and not [path for path in cache.iterdir() if path.name != "matplotlib"]
    assert not (work / "features").exists()
    rows = items(work, "extract")
    assert set(rows) == {f"given/{video}" for video in VIDEOS}
    for video in VIDEOS:
        row = rows[f"given/{video}"]
        paths = [feature_file(root, video, stream) for stream in ("rgb", "flow")]
        assert [output.path for output in row.outputs] == [str(path) for path in paths] and row.status == "done"
        assert all(len(output.sha256) == 64 for output in row.outputs)
        assert len(scores(work, video)) == VIDEOS[video][0] == row.info["frames"]
    metrics = json.loads((work / "metrics.json").read_text())
    assert metrics["frames"] == 146 and metrics["auc"] is not None
    assert all("given" in identity for identity in metrics["weights"].values())
    classes = list(CLASSES) if way == "benchmark" else ["Crash", "Falling"]
    assert torch.load(work / "checkpoints/best.pt", weights_only=True)["classes"] == classes


@pytest.mark.slow
def test_a_second_run_does_nothing_and_a_changed_file_redoes_training_and_its_scores(lad, root, tmp_path):
    work = tmp_path / "work"
    words = benchmark(root, work)
    status, out, err = lad("run", *words)
    assert status == 0, out + err
    before, trained = stamps(work), tensors(work / BEST)
    status, out, _ = lad("run", *words, "--json")
    stages = json.loads(out)["stages"]
    assert status == 0 and [stage["done"] for stage in stages.values()] == [0, 0, 0, 0]
    after = stamps(work)
    results = [path for path in before if path.suffix in (".csv", ".pt", ".png") and path.name != "dataset.csv"]
    assert results and all(before[path] == after[path] for path in results)

    test_video = feature_file(root, "fall_4")
    np.save(test_video, features("fall_4", "rgb") + 1)
    status, out, _ = lad("run", *words, "--json")
    stages = json.loads(out)["stages"]
    assert status == 0 and [stages[name]["done"] for name in ("extract", "train", "score")] == [1, 0, 1]
    assert same_tensors(tensors(work / BEST), trained), "a test video is nothing to train on"

    extracted = attempts(work, "extract")
    np.save(feature_file(root, "crash_1"), features("crash_1", "rgb") + 1)  # crash_2 is held out to validate
    status, out, _ = lad("run", *words, "--json")
    stages = json.loads(out)["stages"]
    assert status == 0 and [stages[name]["done"] for name in ("extract", "train", "score")] == [1, 1, len(VIDEOS)]
    changed = {item for item, seen in attempts(work, "extract").items() if extracted[item] != seen}
    assert changed == {"given/crash_1"} and not same_tensors(tensors(work / BEST), trained)


@pytest.mark.slow
def test_of_a_dataset_the_test_videos_alone_may_be_scored(lad, root, tmp_path):
    words = benchmark(root, tmp_path / "work", "score.videos=test")
    status, _, err = lad("run", *words, "--json")
    assert status == 0, err
    assert {path.stem for path in (tmp_path / "work/scores").glob("*_?.csv")} == set(VIDEOS) - set(TRAINED)
    stages = json.loads(lad("status", *words, "--json")[1])["compared"]["stages"]
    assert stages["score"]["current"] == len(VIDEOS) - len(TRAINED) and stages["evaluate"]["current"] == 1
    assert lad("run", *benchmark(root, tmp_path / "all"), "--json")[0] == 0
    ours, of_all = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("work", "all"))
    assert ours["auc"] == of_all["auc"], "what is measured is the same"
    status, _, err = lad("score", *benchmark(root, tmp_path / "work"))
    assert status == 0 and items(tmp_path / "work", "score").keys() == set(VIDEOS), "the others are scored when asked"
    listing = prepared(lad, root)
    listing.write_text(listing.read_text().replace(",test,", ",,"))
    status, _, err = lad("score", *dataset(root, tmp_path / "work", "score.videos=test"))
    assert status == 2 and "score.videos is test, and no video is in the split `test`" in err.splitlines()[-1]


def test_each_file_is_looked_at_for_numbers_once(lad, root, tmp_path, monkeypatch):
    looked_at = []
    monkeypatch.setattr("lad.pipeline.inventory.is_finite", lambda path: looked_at.append(path) or True)
    monkeypatch.setattr("lad.features.given.is_finite", lambda path: pytest.fail(f"{path} is read once more"))
    assert lad("run", *benchmark(root, tmp_path / "work"), "-q")[0] == 0
    assert sorted(looked_at) == sorted(feature_file(root, video, s) for video in VIDEOS for s in ("rgb", "flow"))


def test_a_file_that_vanished_is_named_and_the_rest_goes_on(lad, root, tmp_path):
    prepared(lad, root)
    for video in ("crash_2", "fall_4"):
        feature_file(root, video, "flow").unlink()
    words = dataset(root, tmp_path / "work")
    status, _, err = lad("run", *words)
    assert status == 1
    for video in ("crash_2", "fall_4"):
        assert f"{feature_file(root, video, 'flow')}: cannot be read: No such file" in err
        assert not (tmp_path / "work/scores" / f"{video}.csv").exists()
    assert json.loads((tmp_path / "work/metrics.json").read_text())["frames"] == 96
    failed = {item for item, row in items(tmp_path / "work", "extract").items() if row.status == "failed"}
    assert failed == {"given/crash_2", "given/fall_4"}
    for video in ("crash_2", "fall_4"):
        np.save(feature_file(root, video, "flow"), features(video, "flow"))
    assert lad("run", *words)[0] == 0, "nothing is held against files that came back"
    assert json.loads((tmp_path / "work/metrics.json").read_text())["frames"] == 146


def test_a_layout_that_lacks_a_file_says_so_unless_it_may(lad, root, tmp_path):
    feature_file(root, "crash_2").unlink()
    status, out, err = lad("train", *benchmark(root, tmp_path / "work"))
    assert status == 2 and not out
    assert "missing: crash_2: features_video/i3d/rgb/crash_2/feature.npy" in err and "--allow-missing" in err
    status, _, err = lad("train", *benchmark(root, tmp_path / "work", "data.allow_missing=true"))
    assert status == 0 and "missing: crash_2" in err
    assert len(items(tmp_path / "work", "extract")) == len(TRAINED) - 1


def damaged(kind: str) -> bytes:
    whole = features("crash_2", "rgb")
    out = io.BytesIO()
    if kind == "objects":
        np.save(out, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    elif kind == "zip":
        np.savez(out, features=whole)
    elif kind == "nan":
        whole[2, 7] = np.nan
        np.save(out, whole)
    elif kind == "infinite":
        whole[0, 0] = np.inf
        np.save(out, whole)
    elif kind == "wrong dims":
        np.save(out, whole[:, :1000])
    elif kind == "one vector":
        np.save(out, whole[0])
    elif kind == "integers":
        np.save(out, whole.astype(np.int64))
    elif kind == "no clips":
        np.save(out, whole[:0])
    elif kind == "fewer clips":
        np.save(out, whole[:-2])
    elif kind == "other crops":
        np.save(out, np.stack([whole] * 5))
    else:
        np.save(out, whole)
    content = out.getvalue()
    parts = {
        "truncated": content[:-100],
        "empty": b"",
        "nonsense": b"nonsense",
        "broken zip": b"PK\x03\x04" + content,
        "long header": content[:8] + b"\xff\xff" + content[10:] + bytes(1 << 16),
        "broken header": content.replace(b"(4, 1024)", b"(4, 1024 "),
    }
    return parts.get(kind, content)


DAMAGES = {
    "truncated": "not a plain .npy array",
    "empty": "not a plain .npy array",
    "nonsense": "not a plain .npy array",
    "objects": "not a plain .npy array",
    "zip": "not a plain .npy array",
    "broken zip": "not a plain .npy array",
    "broken header": "not a plain .npy array",
    "long header": "not a plain .npy array",
    "nan": "not finite",
    "infinite": "not finite",
    "wrong dims": "2024 numbers a clip, i3d rgb + flow has 2048",
    "one vector": "holds float32 (1024,)",
    "integers": "holds int64 (4, 1024)",
    "no clips": "holds float32 (0, 1024)",
    "fewer clips": "does not go with",
    "other crops": "does not go with",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_features_that_are_none_fail_by_name_and_the_rest_goes_on(lad, root, tmp_path, kind):
    path = feature_file(root, "crash_2")
    path.write_bytes(damaged(kind))
    words = benchmark(root, tmp_path / "work")
    status, out, _ = lad("extract", *words, "--json")
    assert status == 1
    result = json.loads(out)["stages"]["extract"]
    assert list(result["failed"]) == ["crash_2"] and result["done"] == len(VIDEOS) - 1
    reason = result["failed"]["crash_2"]
    assert str(path) in reason and DAMAGES[kind] in reason and "\n" not in reason
    row = items(tmp_path / "work", "extract")["given/crash_2"]
    assert (row.status, row.failure, row.error) == ("failed", "content", reason)
    np.save(path, features("crash_2", "rgb"))
    status, out, _ = lad("extract", *words, "--json")
    assert status == 0 and json.loads(out)["stages"]["extract"]["done"] == 1


def test_training_and_scoring_go_on_without_features_that_hold_no_number(lad, root, tmp_path):
    for video in ("crash_2", "fall_4"):
        array = features(video, "flow")
        array[-1, -1] = np.nan
        np.save(feature_file(root, video, "flow"), array)
    status, out, err = lad("run", *benchmark(root, tmp_path / "work"))
    assert status == 1 and "trained on" in out, out + err
    assert all(f"{feature_file(root, video, 'flow')}" in err for video in ("crash_2", "fall_4"))
    assert json.loads((tmp_path / "work/metrics.json").read_text())["frames"] == 96
    assert "nan" not in (tmp_path / "work/scores/summary.csv").read_text()


def test_what_failed_under_other_streams_is_judged_anew(lad, root, tmp_path):
    shutil.rmtree(root)
    write_layout(root, combine=True)
    prepared(lad, root)
    work = tmp_path / "work"
    status, _, err = lad("extract", *dataset(root, work, "extract.streams=[rgb]"))
    assert status == 2 and "2048 numbers a clip, i3d rgb has 1024: set extract.backbone and extract.streams" in err
    status, _, err = lad("extract", *dataset(root, work, "extract.layers=[moving]"))
    assert status == 2 and "has 4096: set extract.layers to [] if it holds none" in err
    status, out, err = lad("extract", *dataset(root, work))
    assert status == 0, out + err
    status, _, err = lad("extract", *dataset(root, work, "extract.streams=[rgb]"))
    assert status == 2 and "extract.streams to what it holds" in err, "these are still not rgb features"


def test_training_alone_names_features_that_cannot_be_used(lad, root, tmp_path):
    prepared(lad, root)
    status, _, err = lad("train", *dataset(root, tmp_path / "work", "extract.streams=[rgb]", "extract.backbone=tiny"))
    assert status == 2 and f"{feature_file(root, 'crash_1')}: 1024 numbers a clip, tiny rgb has 128" in err


def test_one_stream_is_used_alone(lad, root, tmp_path):
    prepared(lad, root, "--streams", "rgb")
    shutil.rmtree(root / "LAD2000/features_video/i3d/flow")
    for number, words in enumerate([dataset, benchmark]):
        status, out, err = lad("train", *words(root, tmp_path / f"{number}", "extract.streams=[rgb]"))
        assert status == 0, out + err
        assert tensors(tmp_path / f"{number}" / BEST)["feature_mean"].shape == (1024,)


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float16": lambda array: array.astype(np.float16),
    "float64": lambda array: array.astype(np.float64),
    "big endian": lambda array: array.astype(">f4"),
    "fortran": np.asfortranarray,
    "one crop": lambda array: array[None],
}


@pytest.mark.slow
def test_the_form_of_the_files_does_not_move_the_results(lad, tmp_path):
    forms = {"streams": (plain, False), "combine": (plain, True)}
    forms |= {name: (change, name == "float16") for name, change in FORMS.items()}
    for name, (change, combine) in forms.items():
        root = write_layout(tmp_path / "data" / name, change, combine=combine)
        status, out, err = lad("train", *benchmark(root, tmp_path / name))
        assert status == 0, out + err
        assert lad("score", *benchmark(root, tmp_path / name))[0] == 0
        assert same_tensors(tensors(tmp_path / name / BEST), tensors(tmp_path / "streams" / BEST)), name
        for video in VIDEOS:
            ours, theirs = (tmp_path / which / "scores" / f"{video}.csv" for which in (name, "streams"))
            assert ours.read_bytes() == theirs.read_bytes(), name
    moved = {name: value + 1 for name, value in tensors(tmp_path / "combine" / BEST).items()}
    assert not same_tensors(tensors(tmp_path / "streams" / BEST), moved), "or the comparison would prove nothing"


def test_features_of_another_length_are_refused_before_any_is_read_whole(lad, root, tmp_path, monkeypatch):
    monkeypatch.setattr("lad.pipeline.run.stages", lambda: pytest.fail("a stage begins"))
    status, _, err = lad("run", *benchmark(root, tmp_path / "work", "extract.backbone=tiny"))
    assert status == 2 and "2048 numbers a clip, tiny rgb + flow has 256" in err, err


def test_a_clip_more_or_less_than_labelled_is_a_warning_and_two_are_an_error(lad, root, tmp_path):
    prepared(lad, root)

    def recut(video: str, clips: int) -> None:
        for stream in ("rgb", "flow"):
            array = features(video, stream)
            np.save(feature_file(root, video, stream), np.resize(array, (clips, 1024)))

    recut("crash_2", 3)  # 64 labelled frames are 4 clips
    recut("crash_4", 7)  # 96 are 6
    recut("fall_1", 7)  # 80 are 5
    recut("fall_4", 1)  # 50 are 4, or 3 without the tail
    words = dataset(root, tmp_path / "work")
    status, out, err = lad("run", *words, "--json")
    assert status == 1
    warnings = {"crash_2": ["3 clips for 64 labelled frames"], "crash_4": ["7 clips for 96 labelled frames"]}
    assert json.loads(out)["stages"]["extract"]["warnings"] == warnings
    assert "warning: crash_2: 3 clips for 64 labelled frames" in err
    assert f"{feature_file(root, 'fall_1')}: 7 clips are 112 frames, its labels are for 80" in err
    assert f"{feature_file(root, 'fall_4')}: 1 clips are 16 frames, its labels are for 50" in err
    rows = items(tmp_path / "work", "extract")
    taken = {item: row.info["warnings"] for item, row in rows.items() if row.status == "done"}
    assert {item: said for item, said in taken.items() if said} == {f"given/{v}": said for v, said in warnings.items()}
    with (tmp_path / "work/scores/summary.csv").open() as file:
        summary = {row["video"]: row for row in csv.DictReader(file)}
    assert summary["crash_2"]["warnings"] == "3 clips for 64 labelled frames" and "112" in summary["fall_1"]["error"]
    for video in ("crash_2", "crash_4"):  # a score for every labelled frame
        assert len(scores(tmp_path / "work", video)) == VIDEOS[video][0]
    tail = scores(tmp_path / "work", "crash_2")[47:]
    assert (tail == tail[0]).all(), "frames after the last clip have its last score"


def test_without_a_count_of_frames_the_clips_are_counted(lad, root, tmp_path):
    prepared(lad, root)
    change_rows(root, n_frames=lambda row: "")
    status, out, err = lad("score", *dataset(root, tmp_path / "work"), "--checkpoint", str(checkpoint(tmp_path)))
    assert status == 0, out + err
    assert len(scores(tmp_path / "work", "crash_1")) == 96 and len(scores(tmp_path / "work", "fall_2")) == 48
