"""Features of somebody else: the layout of LAD2000's authors, and the commands that use it."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from helpers.work import items
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


def checkpoint(folder: Path, *, dim: int = 2048, classes: int = 14, window: int = 5) -> Path:
    """A state dict as the authors' training code writes it."""
    torch.manual_seed(0)
    state = AED(feature_dim=dim, classes=classes, window=window, layers=2, hidden=4).state_dict()
    released = {key: value for key, value in state.items() if not key.startswith("feature_")}
    torch.save(released, folder / "iter_6000.pkl")
    return folder / "iter_6000.pkl"
