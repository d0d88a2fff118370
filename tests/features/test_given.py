"""Features and checkpoints of somebody else, through the commands: used where they lie, checked, never recomputed."""

from __future__ import annotations

import csv
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.work import BEST, items, same_tensors, tensors

from lad.datasets import BENCHMARKS
from lad.models.aed import AED

CLASSES = BENCHMARKS["lad2000"].classes

# video: frames, events, index of its class (Crash, Falling), split
VIDEOS = {
    "crash_1": (90, [(20, 50)], 0, "train"),
    "crash_2": (64, [(0, 30)], 0, "train"),
    "crash_3": (100, [], 0, "train"),
    "fall_1": (80, [(40, 80)], 5, "train"),
    "fall_2": (33, [], 5, "train"),
    "fall_3": (70, [], 5, "train"),
    "crash_4": (96, [(48, 80)], 0, "test"),
    "fall_4": (50, [], 5, "test"),
}
TRAINED = [name for name, (*_, split) in VIDEOS.items() if split == "train"]
CONFIG = """
extract: {streams: [rgb, flow]}
train:
  window: 2
  hidden: 4
  abnormal_windows: 2
  normal_windows: 2
  learning_rate: 1.0e-3
  steps: 4
  evaluate_every: 2
  val_fraction: 0.34
threads: 1
"""


def features(video: str, stream: str) -> np.ndarray:
    """`(clips, 1024)` float32 that float16 holds exactly."""
    frames = VIDEOS[video][0]
    rng = np.random.default_rng([len(stream), *video.encode()])
    return (rng.integers(-64, 64, (-(-frames // 16), 1024)) / 8).astype(np.float32)


def plain(array: np.ndarray) -> np.ndarray:
    return array


def write_layout(root: Path, change: Callable[[np.ndarray], np.ndarray] = plain, *, combine: bool = False) -> Path:
    """`root/LAD2000` as the authors' code keeps it, every feature array changed by `change`."""
    base = root / "LAD2000"
    (base / "GT").mkdir(parents=True)
    frame_labels = {}
    for video, (frames, events, _, _) in VIDEOS.items():
        frame_labels[video] = np.zeros((1, frames))
        for start, end in events:
            frame_labels[video][0, start:end] = 1
        streams = {stream: features(video, stream) for stream in ("rgb", "flow")}
        if combine:
            streams = {"combine": np.hstack([streams["rgb"], streams["flow"]])}
        for stream, array in streams.items():
            path = base / "features_video" / "i3d" / stream / video / "feature.npy"
            path.parent.mkdir(parents=True)
            np.save(path, change(array))
    labels = {video: index for video, (_, _, index, _) in VIDEOS.items()}
    (base / "GT/frame_label_IET.pickle").write_bytes(pickle.dumps(frame_labels))
    (base / "GT/video_label_IET.pickle").write_bytes(pickle.dumps(labels))
    for name in ("train", "test"):
        lines = [f"{video}\n" for video, (*_, split) in VIDEOS.items() if split == name]
        (base / f"{name}_split.txt").write_text("".join(lines))
    (root / "given.yaml").write_text(CONFIG)
    return root


def feature_file(root: Path, video: str, stream: str = "rgb") -> Path:
    return root / "LAD2000" / "features_video" / "i3d" / stream / video / "feature.npy"


@pytest.fixture
def root(tmp_path) -> Path:
    return write_layout(tmp_path / "data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """No weights are here, and none may be fetched."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("LAD_CACHE", str(folder))

    def fetch(name: str, **_: object) -> None:
        pytest.fail(f"the weights {name} are fetched")

    monkeypatch.setattr("lad.models.weights.fetch", fetch)
    return folder


def benchmark(root: Path, work: Path, *overrides: str) -> list[str]:
    settings = ["data.benchmark=lad2000", "data.layout=released", *overrides]
    words = [word for setting in settings for word in ("-o", setting)]
    return ["-c", str(root / "given.yaml"), "--data", str(root), "--work", str(work), *words]


def prepared(lad, root: Path, *more: str) -> Path:
    """The dataset.csv that `lad prepare` makes of the layout."""
    out = root / "dataset.csv"
    status, _, err = lad("prepare", "lad2000", "--layout", "released", "--root", str(root), "--out", str(out), *more)
    assert status == 0, err
    return out


def dataset(root: Path, work: Path, *overrides: str) -> list[str]:
    words = [word for setting in overrides for word in ("-o", setting)]
    config = ["-c", str(root / "given.yaml"), "-o", f"data.dataset={root / 'dataset.csv'}", "--data", str(root)]
    return [*config, "--work", str(work), *words]


def change_rows(root: Path, **columns: Callable[[dict[str, str]], str]) -> None:
    """Change columns of the dataset.csv."""
    with (root / "dataset.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows = [{**row, **{name: value(row) for name, value in columns.items()}} for row in rows]
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def attempts(work: Path, stage: str) -> dict[str, tuple[int, float | None]]:
    return {item: (row.attempt, row.started) for item, row in items(work, stage).items()}


def scores(work: Path, video: str) -> np.ndarray:
    return np.loadtxt(work / "scores" / f"{video}.csv", delimiter=",", skiprows=1)[:, 2]


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


TEN_CROPS = np.repeat(np.array([1, -1, 0.5], np.float32), [4, 3, 3])[:, None, None]


def test_features_of_several_crops_train_and_their_scores_are_the_mean(lad, root, tmp_path):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    status, out, err = lad("train", *benchmark(root, tmp_path / "crops"))
    assert status == 0, out + err
    content = torch.load(tmp_path / "crops/checkpoints/best.pt", weights_only=True)
    content["calibration"] = {"slope": 1.0, "offset": 0.0}  # it would come after the mean, and is no straight line
    torch.save(content, tmp_path / "plain.pt")
    plain = ("--checkpoint", str(tmp_path / "plain.pt"))
    assert lad("score", *benchmark(root, tmp_path / "crops"), *plain)[0] == 0
    found = scores(tmp_path / "crops", "crash_1")
    each = []
    for number, factor in enumerate((1, -1, 0.5)):
        alone = write_layout(tmp_path / f"crop{number}", lambda array, factor=factor: array * np.float32(factor))
        work = tmp_path / f"crop{number}" / "work"
        assert lad("score", *benchmark(alone, work), *plain)[0] == 0
        each.append(scores(work, "crash_1"))
    assert np.ptp(each, axis=0).max() > 1e-5, "or the mean would prove nothing"
    np.testing.assert_allclose(found, np.average(each, axis=0, weights=[4, 3, 3]), atol=1e-6)


def turned(array: np.ndarray) -> np.ndarray:
    """As RTFM's extractors write ten crops: `(clips, crops, dim)`."""
    return (array * TEN_CROPS).transpose(1, 0, 2)


def test_crops_that_come_second_are_turned_and_said_once_or_named(lad, root, tmp_path):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    status, out, err = lad("train", *benchmark(root, tmp_path / "ours"))
    assert status == 0 and "features are read as" not in err, out + err
    shutil.rmtree(root)
    write_layout(root, turned)
    for name, asked in {"auto": (), "named": ("data.npy_layout=clips, crops,dim",)}.items():
        status, out, err = lad("train", *benchmark(root, tmp_path / name, *asked))
        assert status == 0, out + err
        said = [line for line in err.splitlines() if "features are read as" in line]
        assert len(said) == (not asked)
        assert all("are read as clips,crops,dim (" in line and "6 is no number of crops" in line for line in said)
        assert same_tensors(tensors(tmp_path / name / BEST), tensors(tmp_path / "ours" / BEST))
    status, _, err = lad("train", *benchmark(root, tmp_path / "wrong", "data.npy_layout=crops,clips,dim"))
    assert status == 2 and "(6, 10, 1024) as crops,clips,dim has 6 crops: there can be 1, 5 or 10" in err


@pytest.mark.parametrize("first", ["feature__0.npy", "feature.npy"])
def test_crops_may_be_files_of_their_own(lad, root, tmp_path, first):
    shutil.rmtree(root)
    write_layout(root, lambda array: array * TEN_CROPS)
    for number, change in enumerate((lambda row: row["path"], apart(root, first))):
        prepared(lad, root, *(["--force"] if number else []))
        change_rows(root, path=change)
        for command in ("train", "score"):
            status, out, err = lad(command, *dataset(root, tmp_path / f"{number}"))
            assert status == 0, out + err
    assert same_tensors(tensors(tmp_path / "0" / BEST), tensors(tmp_path / "1" / BEST))
    np.testing.assert_array_equal(scores(tmp_path / "0", "crash_4"), scores(tmp_path / "1", "crash_4"))


def apart(root: Path, first: str) -> Callable[[dict[str, str]], str]:
    """What becomes of a path when each crop is written into a file of its own, the first one so called."""

    def write(row: dict[str, str]) -> str:
        for stream in ("rgb", "flow"):
            path = root / row["path"].replace("{stream}", stream)
            for crop, array in enumerate(np.load(path)):
                np.save(path.with_name(f"feature__{crop}.npy" if crop else first), array)
            if first != path.name:
                path.unlink()
        return row["path"].replace("feature.npy", "feature__{crop}.npy")

    return write


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([(6, 128)] * 4, "a__{crop}.npy: 4 files of crops are there, and there can be 1, 5 or 10"),
        ([*[(6, 128)] * 4, (5, 128)], "a__4.npy: (5, 128) does not go with"),
        ([(5, 6, 128)] * 5, "a__0.npy: holds 5 crops, and others are in files of their own"),
        ([], "a__0.npy: cannot be read: No such file"),
    ],
)
def test_files_of_crops_that_do_not_fit_are_refused_in_one_line(lad, tmp_path, shapes, reason):
    for crop, shape in enumerate(shapes):
        np.save(tmp_path / f"a__{crop}.npy", np.zeros(shape, np.float32))
    (tmp_path / "dataset.csv").write_text("video,path\na,a__{crop}.npy\n")
    words = ["-o", "data.dataset=dataset.csv", "-o", "extract.backbone=tiny", "-o", "extract.streams=[rgb]"]
    status, out, err = lad("extract", "--data", str(tmp_path), "--work", str(tmp_path / "work"), *words)
    assert status in (1, 2) and reason in out + err, out + err


@pytest.mark.parametrize(
    ("shape", "frames", "reason"),
    [
        ((10, 10, 128), "160", "is 10 crops of 10 clips, or 10 clips of 10 crops: set data.npy_layout"),
        ((5, 10, 128), "", "is 5 crops of 10 clips, or 5 clips of 10 crops: set data.npy_layout"),
        ((3, 6, 128), "", "neither 3 nor 6 is a number of crops, which is 1, 5 or 10"),
        ((128, 6), "", "6 numbers a clip, tiny rgb has 128: its axes are (128, 6): say which is which"),
        ((10, 128, 6), "", "its axes are (10, 128, 6): say which is which with data.npy_layout"),
    ],
)
def test_axes_that_cannot_be_told_apart_are_refused_in_one_line(lad, tmp_path, shape, frames, reason):
    status, out = extracted(lad, tmp_path, np.zeros(shape, np.float32), frames)
    said = out.splitlines()[-1]
    assert status in (1, 2) and reason in said and str(tmp_path / "a.npy") in said


@pytest.mark.parametrize(
    ("shape", "frames", "asked", "read"),
    [
        ((6, 10, 128), "", "auto", 96),
        ((6, 10, 128), "96", "clips,crops,dim", 96),
        ((5, 10, 128), "160", "auto", 160),
        ((5, 10, 128), "80", "auto", 80),
        ((10, 10, 128), "", "clips,crops,dim", 160),
        ((128, 6), "", "dim,clips", 96),
        ((10, 128, 6), "", "crops,dim,clips", 96),
        ((1, 1, 128), "", "auto", 16),
        ((7, 128), "", "clips,crops,dim", 112),
    ],
)
def test_axes_are_read_as_named_or_as_the_only_way_that_gives_crops(lad, tmp_path, shape, frames, asked, read):
    status, out = extracted(lad, tmp_path, np.zeros(shape, np.float32), frames, f"data.npy_layout={asked}")
    assert status == 0, out
    assert items(tmp_path / "work", "extract")["given/a"].info["frames"] == read


def extracted(lad, folder: Path, array: np.ndarray, frames: str, *overrides: str) -> tuple[int, str]:
    np.save(folder / "a.npy", array)
    (folder / "dataset.csv").write_text(f"video,path,n_frames\na,a.npy,{frames}\n")
    settings = ["extract.backbone=tiny", f"data.dataset={folder / 'dataset.csv'}", *overrides]
    words = [word for setting in settings for word in ("-o", setting)]
    status, out, err = lad("extract", "--work", str(folder / "work"), *words)
    return status, out + err


def test_ten_crops_as_rtfm_writes_them_are_not_taken_for_clips(lad, tmp_path, shared_cases):
    status, out = extracted(lad, tmp_path, np.load(shared_cases / "ten_crops_last.npy"), "")
    assert status == 0 and "read as clips,crops,dim" in out and "6 is no number of crops" in out
    assert items(tmp_path / "work", "extract")["given/a"].info["frames"] == 96


@pytest.mark.parametrize("asked", ["clips", "clips,clips,dim", "dim,time", "crops,clips,dim,dim"])
def test_a_layout_of_other_axes_is_refused(lad, tmp_path, asked):
    status, out = extracted(lad, tmp_path, np.zeros((6, 128), np.float32), "", f"data.npy_layout={asked}")
    assert status == 2 and "name each axis once" in out


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


def checkpoint(folder: Path, *, dim: int = 2048, classes: int = 14, window: int = 5) -> Path:
    """A state dict as the authors' training code writes it."""
    torch.manual_seed(0)
    state = AED(feature_dim=dim, classes=classes, window=window, layers=2, hidden=4).state_dict()
    released = {key: value for key, value in state.items() if not key.startswith("feature_")}
    torch.save(released, folder / "iter_6000.pkl")
    return folder / "iter_6000.pkl"


def header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return next(csv.reader(file))[3:]


def test_a_feature_file_is_scored_as_it_is_without_a_configuration(lad, root, tmp_path):
    work = tmp_path / "work"
    assert lad("train", *benchmark(root, tmp_path / "trained"))[0] == 0
    video = tmp_path / "some.npy"
    np.save(video, np.hstack([features("crash_1", "rgb"), features("crash_1", "flow")]))
    best = str(tmp_path / "trained/checkpoints/best.pt")
    status, out, err = lad("score", "--checkpoint", best, str(video), "--work", str(work), "--json")
    assert status == 0, out + err
    data = json.loads(out)
    ((name, info),) = data["scores"].items()
    assert info["frames"] == 96 and info["seconds"] == 96 / 25
    assert not (work / "features").exists()
    assert lad("score", *benchmark(root, tmp_path / "trained"))[0] == 0
    np.testing.assert_array_equal(scores(work, name)[:90], scores(tmp_path / "trained", "crash_1"))
    np.save(video, features("crash_1", "rgb"))
    status, _, err = lad("score", "--checkpoint", best, str(video), "--work", str(work))
    assert status == 2 and f"{video}: 1024 numbers a clip, i3d rgb + flow has 2048" in err


@pytest.mark.parametrize(("dim", "streams"), [(2048, "[rgb, flow]"), (1024, "[rgb]")])
@pytest.mark.parametrize("classes", [14, 3])
def test_a_released_checkpoint_needs_no_configuration(lad, root, tmp_path, dim, streams, classes):
    path = checkpoint(tmp_path, dim=dim, classes=classes, window=3)
    video = tmp_path / "some.npy"
    np.save(video, np.resize(features("crash_1", "rgb"), (6, dim)))
    work = tmp_path / "work"
    status, out, err = lad("score", "--checkpoint", str(path), str(video), "--work", str(work), "--json")
    assert status == 0, out + err
    ((name, info),) = json.loads(out)["scores"].items()
    expected = list(CLASSES) if classes == 14 else [f"class_{number}" for number in range(3)]
    assert header(work / "scores" / f"{name}.csv") == expected == list(info["votes"])
    assert sum(info["votes"].values()) == 4, "windows of 3 among 6 clips"
    made = (work / "config.yaml").read_text()
    assert "preset: wan2021" in made and "window: 3" in made and ("- flow" in made) == (streams != "[rgb]")


def test_a_released_checkpoint_of_other_features_asks_for_a_configuration(lad, root, tmp_path, monkeypatch):
    path = checkpoint(tmp_path, dim=512)
    np.save(tmp_path / "some.npy", np.ones((4, 512), np.float32))
    words = ["score", "--checkpoint", str(path), str(tmp_path / "some.npy"), "--work", str(tmp_path / "work")]
    status, _, err = lad(*words)
    assert status == 2 and len(err.splitlines()) == 1
    assert str(path) in err and "512 numbers a clip" in err and "-c CONFIG" in err
    monkeypatch.setattr("lad.pipeline.run.stages", lambda: pytest.fail("a stage begins"))
    status, _, err = lad("score", "--checkpoint", str(path), *benchmark(root, tmp_path / "work"))
    assert status == 2 and err.splitlines()[-1] == (
        f"error: {path}: made for features of 512 numbers a clip, these have 2048 (rgb + flow)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("configured", [False, True], ids=["bare", "config"])
def test_a_released_checkpoint_is_evaluated(lad, root, tmp_path, configured):
    path, work = checkpoint(tmp_path), tmp_path / "work"
    words = benchmark(root, work)
    status, out, err = lad("evaluate", "--checkpoint", str(path), *(words if configured else words[2:]))
    assert status == 0, out + err
    metrics = json.loads((work / "metrics.json").read_text())
    assert metrics["frames"] == 146 and metrics["accuracy_video"] is not None
    assert header(work / "scores/crash_4.csv") == list(CLASSES)
    preset = "kinetics" if configured else "wan2021"
    assert f"preset: {preset}" in (work / "config.yaml").read_text()


@pytest.mark.slow
def test_the_real_released_checkpoint_scores_features_and_videos(lad, root, tmp_path, shared_data, make_video):
    path, work = str(shared_data / "golden" / "aed_t_iter_1.pkl"), tmp_path / "work"
    words = benchmark(root, work)[2:]
    status, out, err = lad("evaluate", "--checkpoint", path, *words)
    assert status == 0, out + err
    assert json.loads((work / "metrics.json").read_text())["frames"] == 146
    bare = scores(work, "crash_4")
    assert header(work / "scores/crash_4.csv") == list(CLASSES)
    status, out, err = lad("score", "--checkpoint", path, *benchmark(root, tmp_path / "configured"))
    assert status == 0, out + err
    np.testing.assert_array_equal(scores(tmp_path / "configured", "crash_4"), bare)

    video = make_video(tmp_path / "street.mp4", 20)
    settings = ["extract.flow=dis", "extract.weights={rgb: random, flow: random}"]
    quick = [word for setting in settings for word in ("-o", setting)]
    work = tmp_path / "video"
    status, out, err = lad("score", "--checkpoint", path, str(video), *quick, "--work", str(work), "--json")
    assert status == 0, out + err
    ((name, info),) = json.loads(out)["scores"].items()
    assert info["frames"] == 20 and list(info["votes"]) == list(CLASSES) and sum(info["votes"].values()) == 1
    for stream in ("rgb", "flow"):
        assert np.load(work / "features" / stream / f"{name}.npy").shape == (2, 1024)
    assert "preset: wan2021" in (work / "config.yaml").read_text()
