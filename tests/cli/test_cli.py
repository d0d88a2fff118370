"""The commands end to end, on small real videos with the `tiny` backbone."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pickles import Calls
from helpers.places import CONFIGS
from helpers.projects import opened
from helpers.small_run import FRAMES, arguments
from helpers.work import items, tensors
from rich.console import Console

from lad.console import ConsoleReporter
from lad.models.linear import LinearDetector
from lad.text import printable

METRICS = {"auc", "auc_abnormal", "ap", "far_all", "far_normal", "far_abnormal", "threshold"}
METRICS |= {"accuracy_window", "accuracy_video", "calibration_error", "reliability", "protocol", "weights"}
SLOW_IMPORTS = {
    "torch",
    "torchvision",
    "cv2",
    "av",
    "decord",
    "matplotlib",
    "sklearn",
    "scipy",
    "pandas",
    "ray",
}


def test_run_leaves_features_checkpoints_scores_metrics_and_plots(finished):
    for video, frames in FRAMES.items():
        for stream in ("rgb", "flow"):
            features = np.load(finished / "features" / stream / f"{video}.npy", allow_pickle=False)
            assert features.shape == (-(-frames // 16), 128) and features.dtype == np.float32
        with (finished / "scores" / f"{video}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(frames))
        assert list(rows[0]) == ["frame", "time", "score", "run", "walk"]
        assert float(rows[-1]["time"]) == pytest.approx((frames - 1) / 25, abs=2e-3)
        assert all(0 <= float(row["score"]) <= 1 for row in rows)
        assert all(float(row["run"]) + float(row["walk"]) == pytest.approx(1, abs=1e-3) for row in rows)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert set(metrics) >= METRICS
    assert metrics["weights"] == {"rgb": "random:tiny:rgb:seed=0", "flow": "random:tiny:flow:seed=0"}
    assert np.array(metrics["confusion"]["matrix"]).shape == (2, 2)
    assert len(list((finished / "checkpoints").glob("step_*.pt"))) <= 3
    for plot in ("roc.png", "confusion.png", "scores/walk/c.png", "scores/run/f.png"):
        assert (finished / "plots" / plot).read_bytes().startswith(b"\x89PNG")
    with (finished / "scores" / "summary.csv").open() as file:
        assert [row["video"] for row in csv.DictReader(file)] == sorted(FRAMES)


def run_watched(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that ends with status 3 where the command has imported what is slow to import."""
    code = (
        "import sys; from lad.cli import run\n"
        "status = run()\n"
        f"found = sorted({SLOW_IMPORTS!r} & sys.modules.keys())\n"
        "print('imported:', *found, file=sys.stderr)\n"
        "sys.exit(3 if found else status)"
    )
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)


def test_a_second_run_does_nothing_says_so_and_imports_nothing_slow(dataset, work):
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.suffix in (".npy", ".pt", ".csv", ".png")}
    done = run_watched("run", *arguments(dataset, work))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "nothing to do" in line] == [
        f"extract: nothing to do, {len(FRAMES)} done before",
        "train: nothing to do, 1 done before",
        f"score: nothing to do, {len(FRAMES)} done before",
        "evaluate: nothing to do, 1 done before",
    ]
    after = {p: p.stat().st_mtime_ns for p in before}
    assert {p for p in before if before[p] != after[p]} <= {work / "dataset.csv"}


def test_a_second_run_looks_through_the_videos_for_their_categories_once(lad, dataset, work, monkeypatch):
    """Not once a video: that is four million videos where there are two thousand."""
    from lad.pipeline import project as stage

    seen: list[int] = []
    found = stage.class_names
    monkeypatch.setattr(stage, "class_names", lambda videos: seen.append(len(videos)) or found(videos))
    assert lad("run", *arguments(dataset, work))[0] == 0
    assert seen == [len(FRAMES)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("score.threshold=0.3", {"score", "evaluate"}),
        ("train.seed=3", {"train", "score", "evaluate"}),
        ("extract.weights_seed=1", {"extract rgb", "extract flow", "train", "score", "evaluate"}),
        ("workers=1", set()),
    ],
)
def test_a_changed_key_redoes_what_depends_on_it_and_nothing_else(lad, dataset, work, change, redone):
    def started() -> dict[str, set[float]]:
        by_stage: dict[str, set[float]] = {}
        for stage, item, start in read_items(work):
            name = f"{stage} {item.partition('/')[0]}" if stage == "extract" else stage
            by_stage.setdefault(name, set()).add(start)
        return by_stage

    before = started()
    status, _, _ = lad("run", *arguments(dataset, work, "-o", change))
    after = started()
    assert status == 0
    assert {name for name in before if before[name] != after[name]} == redone


def test_another_flow_redoes_the_flow_stream_alone(dataset, tmp_path):
    from lad.config import load_config
    from lad.pipeline.inventory import plan

    def fingerprints(flow: str) -> dict[str, dict[str, str]]:
        config = load_config(dataset / "small.yaml", [f"data.root={dataset}", f"extract.flow={flow}"])
        with opened(config, tmp_path) as run:
            return plan(*run, run.project.videos).fingerprints

    before, after = fingerprints("dis"), fingerprints("tvl1")
    assert before.keys() == FRAMES.keys()
    for video in FRAMES:
        rgb, flow = f"rgb/{video}", f"flow/{video}"
        assert before[video][rgb] == after[video][rgb] and before[video][flow] != after[video][flow]


def read_items(work: Path) -> list[tuple[str, str, float]]:
    import sqlite3

    with sqlite3.connect(work / "manifest.sqlite") as db:
        return list(db.execute("SELECT stage, item, started FROM items"))


@pytest.fixture(scope="session")
def dirty_folder(tmp_path_factory, make_video) -> Path:
    """Good and bad files side by side."""
    folder = tmp_path_factory.mktemp("dirty")
    for frames in (1, 5, 17):
        make_video(folder / f"good {frames}.mp4", frames)
    make_video(folder / "cut.mp4", 60)
    data = (folder / "cut.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    make_video(folder / "sound.mp4", codec=None, audio=True)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (folder / "text.mp4").write_text("#EXTM3U\n/etc/passwd\n")
    return folder


def test_a_folder_with_broken_files_is_scored_as_far_as_it_goes(lad, finished, dirty_folder, tmp_path):
    best, work = str(finished / "checkpoints" / "best.pt"), tmp_path / "work"
    call = ("score", "--checkpoint", best, "--work", str(work), "--data", str(dirty_folder), str(dirty_folder))
    status, out, err = lad(*call)
    assert status == 1
    for name in ("good 1", "good 5", "good 17"):
        assert f"{name}: peak" in out
    for name, reason in {
        "empty": "the file is empty",
        "noise": "not a video",
        "text": "not a video",
        "sound": "no video stream (only sound)",
        "cut": "not a readable video",
    }.items():
        assert any(f"{name}.mp4: {reason}" in line for line in err.splitlines()), (name, err)
    for frames in (1, 5, 17):
        assert len((work / "scores" / f"good {frames}.csv").read_text().splitlines()) == frames + 1
    with (work / "scores" / "summary.csv").open() as file:
        summary = {row["video"]: row for row in csv.DictReader(file)}
    assert len(summary) == 8 and summary["good 5"]["frames"] == "5" and "empty" in summary["empty"]["error"]

    attempts = {item: start for _, item, start in read_items(work)}
    status, out, err = lad(*call)
    assert status == 1 and "5 videos failed" in err
    assert {item: start for _, item, start in read_items(work)} == attempts, "nothing that cannot change is tried again"

    status, out, _ = lad("status", "--work", str(work), "--failed")
    assert status == 1 and len(out.splitlines()) == 10  # five files, two streams
    status, out, _ = lad("status", "--work", str(work), "--json")
    data = json.loads(out)
    assert data["stages"]["extract"]["done"] == 6 and data["stages"]["extract"]["failed"] == 10


def test_a_mended_file_is_done_by_the_next_run(lad, finished, make_video, tmp_path):
    best, folder = str(finished / "checkpoints" / "best.pt"), tmp_path / "videos"
    folder.mkdir()
    (folder / "x.mp4").write_bytes(b"")
    call = ("score", "--checkpoint", best, "--work", str(tmp_path / "work"), "--data", str(folder), str(folder))
    assert lad(*call)[0] == 1
    make_video(folder / "x.mp4", 20)
    status, out, _ = lad(*call)
    assert status == 0 and "x: peak" in out


def test_score_prints_events_as_times_and_frames_and_as_json(lad, finished, dataset, tmp_path):
    best, video = str(finished / "checkpoints" / "best.pt"), str(dataset / "run" / "e.mp4")
    call = ("score", "--checkpoint", best, "--work", str(tmp_path), "-o", "score.threshold=0.0", video)
    status, out, _ = lad(*call)
    assert status == 0
    assert "event 0:00.0 - 0:02.6  frames 0-64" in out
    status, out, _ = lad(*call, "--json")
    (info,) = json.loads(out)["scores"].values()
    assert info["frames"] == 64 and info["events"][0]["end"] == 64 and info["category"] in ("run", "walk")


def test_scoring_a_video_alone_gives_what_the_run_gave(lad, finished, dataset, tmp_path):
    best, video = str(finished / "checkpoints" / "best.pt"), str(dataset / "walk" / "c.mp4")
    assert lad("score", "--checkpoint", best, "--work", str(tmp_path), "--data", str(dataset), video)[0] == 0
    assert (tmp_path / "scores/walk/c.csv").read_bytes() == (finished / "scores/walk/c.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "give -c CONFIG"),
        (["run", "-c", "nowhere.yaml"], "no such configuration file"),
        (["run", "-o", "train.stepps=3"], "unknown key 'train.stepps'"),
        (["run", "-o", "data.benchmark=ped9"], "'ped9' is not one of avenue, eaf, fiftyone, folder, lad2000"),
        (["run", "-o", "extract.backbone=i3d_r50", "-o", "extract.streams=[flow]"], "i3d_r50 has no flow stream"),
        (["run", "-o", "extract.flow=magic"], "'magic' is not one of dis, farneback, raft, tvl1"),
        (["run", "-o", "extract.weights.rgb=imagenet"], "'imagenet'"),
        (["run", "--data", "/nowhere"], "/nowhere is not a folder"),
        (["score", "--checkpoint", "nowhere.pt", "x.mp4"], "nowhere.pt"),
        (["score", "--checkpoint", __file__, "x.mp4"], "not a checkpoint"),
        (["train", "--workers", "0"], "--workers"),
        (["status", "--work", "/nowhere"], "nothing was done here"),
        (["prepare", "ped2", "--root", "."], "no UCSD Ped2 here"),
        (["weights", "fetch", "nothing"], "not known"),
        (["weights", "fetch", "kinetics400-rbg"], "did you mean 'kinetics400-rgb'?"),
        (["prepare", "pde2", "--root", "."], "did you mean 'ped2'?"),
        (["rnu"], "no command 'rnu': did you mean 'run'?"),
        (["weights", "lsit"], "did you mean 'list'?"),
        (["run", "-o", "train.stepps=3"], "did you mean 'train.steps'?"),
        (["run", "-o", "steps=3"], "did you mean 'train.steps'?"),
        (["run", "--data", ".", "--device", "gpu"], "choose auto, cpu, cuda, cuda:<number> or cuda:all"),
        (["score", "--checkpoint", ".", "x.mp4"], ".: is a folder: name the checkpoint in it"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(lad, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, _, err = lad(*words)
    assert status == 2 and said in err
    assert not list(tmp_path.rglob("*.npy"))


def test_scoring_before_extracting_says_what_to_run_first(lad, dataset, tmp_path):
    assert "lad extract" in lad("train", *arguments(dataset, tmp_path))[2]
    assert lad("score", *arguments(dataset, tmp_path))[0] == 2


def test_a_bare_state_dict_scores_with_a_configuration_beside_it(lad, finished, dataset, tmp_path):
    """As the authors' training code writes checkpoints: sizes come from the shapes, categories have no names."""
    bare = {key: value for key, value in tensors(finished / "checkpoints" / "best.pt").items() if "feature" not in key}
    torch.save(bare, tmp_path / "iter_1.pkl")
    call = ["--checkpoint", str(tmp_path / "iter_1.pkl"), str(dataset / "walk" / "b.mp4")]
    status, out, _ = lad("score", *arguments(dataset, tmp_path / "work"), *call)
    assert status == 0 and "walk/b: peak" in out
    header = (tmp_path / "work" / "scores" / "walk" / "b.csv").read_text().splitlines()[0]
    assert header == "frame,time,score,class_0,class_1"
    status, _, err = lad("score", "--work", str(tmp_path / "alone"), *call)
    assert status == 2 and "give -c CONFIG" in err


def test_a_video_of_the_dataset_named_alone_keeps_what_the_dataset_says(dataset):
    from lad.config import load_config
    from lad.pipeline.project import load_project

    config = load_config(dataset / "small.yaml", [f"data.root={dataset}"])
    (video,) = load_project(config, [str(dataset / "run" / "e.mp4")]).videos
    assert video.id == "run/e" and video.fps == 25 and video.label == "run" and video.events


def test_a_detector_for_other_features_is_refused(lad, finished, dataset, tmp_path):
    best, video = str(finished / "checkpoints" / "best.pt"), str(dataset / "walk" / "b.mp4")
    call = ("score", "--checkpoint", best, "--work", str(tmp_path), "-o", "extract.streams=[rgb]", video)
    status, _, err = lad(*call)
    assert status == 2 and "256 numbers a clip" in err and "128 (rgb)" in err


def test_a_detector_that_is_refused_leaves_the_scores_of_another_as_they_are(lad, dataset, work, tmp_path):
    torch.save(LinearDetector(feature_dim=128, classes=2, window=2).state_dict(), tmp_path / "other.pt")
    before = items(work, "score")
    status, _, err = lad("score", *arguments(dataset, work), "--checkpoint", str(tmp_path / "other.pt"))
    assert status == 2 and "128 numbers a clip" in err
    assert items(work, "score") == before


def test_a_checkpoint_that_would_run_code_is_refused(lad, tmp_path, dataset):
    import pickle

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Calls(Path.touch, tmp_path / "ran")))
    status, _, err = lad("score", "--checkpoint", str(tmp_path / "evil.pt"), str(dataset / "walk" / "b.mp4"))
    assert status == 2 and "evil.pt" in err and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_of_a_feature_network_are_no_detector_and_say_so(lad, tmp_path, suffix):
    from safetensors.torch import save_file

    state = {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(2, 3, 7, 7, 7)}
    path = tmp_path / f"rgb.{suffix}"
    torch.save(state, path) if suffix == "pt" else save_file(state, path)
    status, _, err = lad("score", "--checkpoint", str(path), "x.mp4")
    assert status == 2 and "weights of a feature network" in err and "best.pt" in err


def test_help_and_status_import_nothing_slow(finished):
    lists = (["weights", "list"], ["detectors", "list"], ["detectors", "show", "surveillance"])
    for words in (["--help"], ["run", "--help"], ["status", "--work", str(finished)], *lists):
        done = run_watched(*words)
        assert done.returncode == 0, (words, done.stderr)


def test_every_shipped_configuration_is_valid():
    from lad.config import load_config

    configs = sorted(CONFIGS.glob("*.yaml"))
    assert {path.stem for path in configs} >= {"demo", "ped2", "surveillance"}
    for path in configs:
        assert load_config(path, []).name == path.stem


def test_what_a_terminal_would_obey_is_shown_and_not_sent(lad, tmp_path):
    """A file's name may hold the escape codes that retitle a window or hide what was said before."""
    video = tmp_path / "\x1b]0;gotcha\x07\x9b2J.mp4"
    video.write_bytes(b"nothing")
    status, out, err = lad("extract", "-o", "extract.backbone=tiny", "--work", str(tmp_path / "work"), str(video))
    assert status == 1 and "gotcha" in err
    assert not {"\x1b", "\x07", "\x9b"} & set(out + err)


@pytest.mark.parametrize("name", ["x[/b]", "[red]b", "\x1b]0;gotcha\x07b", "\udcffb"])
def test_a_progress_bar_shows_names_as_they_are(name, tmp_path):
    """In a terminal: `[/b]` there is no tag that ends nothing, and escape codes are not sent."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system=None, width=200)
    with ConsoleReporter(console).progress("extract", 1) as bar:
        bar.show(note=name)
        bar.bar.refresh()
    assert printable(name) in shown.getvalue()
    assert "\x1b]0" not in shown.getvalue()


@pytest.mark.parametrize("words", [["--help"], ["weights", "list", "--json"]])
def test_who_reads_our_output_may_stop_early(words: list[str]) -> None:
    """As `lad ... | head -1` does: the command did all that it was asked, and has nothing to complain of."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lad", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, "")
