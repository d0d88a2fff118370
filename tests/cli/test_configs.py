"""Every configuration that is shipped for a benchmark runs from videos to metrics, on a small part of its layout."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.places import CONFIGS
from helpers.videos import numbered_frame, write_video
from scipy.io import savemat

from lad.cli import run as run_cli
from lad.datasets.ucsd import PED1, PED2, Part

pytestmark = pytest.mark.slow

FRAMES = 40
ABNORMAL = slice(8, 30)
# Networks and steps are small, and the crowd of what is missing is let be; everything else is as it is shipped.
SMALL = [
    "extract.backbone=tiny",
    "extract.layers=[]",  # it gives none
    "train.hidden=8",
    "train.steps=2",
    "train.evaluate_every=1",
    "train.abnormal_windows=2",
    "train.normal_windows=2",
    "train.folds=2",
    "data.allow_missing=true",
    "threads=1",
]


def labels() -> np.ndarray:
    truth = np.zeros(FRAMES, dtype=np.uint8)
    truth[ABNORMAL] = 1
    return truth


def frame_folder(folder: Path, frames: int = FRAMES) -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number + 1:03}.tif"), numbered_frame(number % 256, (32, 32)))


FIRST_FRAMES = itertools.count()  # no two videos hold the same


def video(path: Path) -> Path:
    first = next(FIRST_FRAMES)
    frames = (numbered_frame(number % 256, (32, 32)) for number in range(first, first + FRAMES))
    return write_video(path, frames, size=(32, 32))


def ucsd(root: Path, part: Part, clips: int) -> None:
    """The first `clips` of each half, with the official numbers of frames."""
    base = root / f"UCSD{part.name}"
    one = base / "one"
    frame_folder(one, 200)
    for half, counts in (("Train", part.normal), ("Test", part.abnormal)):
        for number, frames in enumerate(counts[:clips], start=1):
            folder = base / half / f"{half}{number:03}"
            folder.mkdir(parents=True)
            for image in sorted(one.iterdir())[:frames]:
                (folder / image.name).hardlink_to(image)
    shutil.rmtree(one)
    lines = ["TestVideoFile = {};"] + ["TestVideoFile{end+1}.gt_frame = [9:30];"] * len(part.abnormal)
    (base / "Test" / f"UCSD{part.name.lower()}.m").write_text("\n".join(lines))


def ped1(root: Path) -> None:
    ucsd(root, PED1, 5)


def ped2(root: Path) -> None:
    ucsd(root, PED2, 6)


def avenue(root: Path) -> None:
    for number in range(1, 17):
        video(root / "training_videos" / f"{number:02}.avi")
    masks = root / "ground_truth_demo" / "testing_label_mask"
    masks.mkdir(parents=True)
    for number in range(1, 22):
        video(root / "testing_videos" / f"{number:02}.avi")
        cells = np.empty((1, FRAMES), dtype=object)
        for frame, abnormal in enumerate(labels()):
            cells[0, frame] = np.full((4, 4), abnormal, dtype=np.uint8)
        savemat(masks / f"{number}_label.mat", {"volLabel": cells})


def shanghaitech(root: Path) -> None:
    names = {"SH_Train.txt": [], "SH_Test.txt": []}
    masks = root / "testing" / "test_frame_mask"
    masks.mkdir(parents=True)
    for scene in range(1, 5):
        for split, number in (("SH_Train.txt", 14), ("SH_Test.txt", 15)):
            frame_folder(root / "testing" / "frames" / f"{scene:02}_{number:04}")
            np.save(masks / f"{scene:02}_{number:04}.npy", labels())
            video(root / "training" / "videos" / f"{scene:02}_{number:03}.avi")
            names[split] += [f"{scene:02}_{number:04}", f"{scene:02}_{number:03}"]
    for name, lines in names.items():
        (root / name).write_text("\n".join(lines))


def lad2000(root: Path) -> None:
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for category in ("Crash", "Fighting"):
        for number in range(6):
            for kind in "an":
                name = f"v_{kind}_{category}_{number}"
                video(root / category / f"{name}.avi")
                if kind == "a":
                    savemat(root / category / f"{name}.mat", {"gt": labels()[None]})
                splits["train" if number < 4 else "test"].append(name)
    for split, names in splits.items():
        (root / f"{split}_split.txt").write_text("\n".join(names))


def ucf_crime(root: Path) -> None:
    train, test, times = [], [], []
    for number in range(1, 7):
        for category in ("Abuse", "Robbery"):
            name = f"{category}/{category}{number:03}_x264.mp4"
            video(root / name)
            (train if number < 5 else test).append(name)
            if number >= 5:
                times.append(f"{category}{number:03}_x264.mp4  {category}  9  30  -1  -1  ")
        half = "Training" if number < 5 else "Testing"
        name = f"{half}_Normal_Videos_Anomaly/Normal_Videos{number:03}_x264.mp4"
        video(root / name)
        (train if number < 5 else test).append(name)
        if number >= 5:
            times.append(f"Normal_Videos{number:03}_x264.mp4  Normal  -1  -1  -1  -1  ")
    (root / "Anomaly_Train.txt").write_text("\n".join(train))
    (root / "Anomaly_Test.txt").write_text("\n".join(test))
    (root / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt").write_text("\n".join(times))


def xd_violence(root: Path) -> None:
    for number in range(6):
        for codes in ("B1-0-0", "G-B2-0", "A"):
            half = "train" if number < 4 else "test"
            video(root / half / f"Film{number}.{codes[0]}__#0{number}-00_label_{codes}.mp4")
    lines = [f"{path.stem} 8 30" for path in sorted((root / "test").iterdir()) if "label_A" not in path.name]
    (root / "annotations.txt").write_text("\n".join(lines))


def folder(root: Path) -> None:
    for category in ("fights", "falls"):
        for number in range(5):
            video(root / category / f"{number}.mp4")
            video(root / category / f"normal_{number}.mp4")


def surveillance(root: Path) -> None:
    """A dataset.csv of the user's own: six cameras, each with a fight and a quiet moment, two of them to test."""
    lines = ["video,path,split,label,events,n_frames,fps,source"]
    for number in range(12):
        video(root / f"{number}.mp4")
        events = f"{ABNORMAL.start}-{ABNORMAL.stop}" if number % 2 else ""
        split = "test" if number >= 8 else "train"
        lines.append(f"{number},{number}.mp4,{split},Fighting,{events},{FRAMES},25,camera{number // 2}")
    (root / "dataset.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("make", "config", "splits"),
    [
        (lad2000, "lad2000", 1),
        (ucf_crime, "ucf_crime", 1),
        (shanghaitech, "shanghaitech", 1),
        (avenue, "avenue", 1),
        (ped1, "ped1", 1),
        (ped2, "ped2", 2),
        (ped2, "ped2-paper", 1),
        (ped2, "ped2-one-class", 1),
        (xd_violence, "xd_violence", 1),
        (folder, "folder", 2),
        (ucf_crime, "ucf_crime-weak", 1),
        (shanghaitech, "shanghaitech-weak", 1),
        (xd_violence, "xd_violence-weak", 1),
        (surveillance, "surveillance", 1),
        (surveillance, "surveillance-paper", 1),
    ],
)
def test_a_benchmark_s_configuration_runs_from_videos_to_metrics(
    make: Callable[[Path], None], config: str, splits: int, tmp_path: Path, monkeypatch, capfd
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    command = ["lad", "run", "--json", "-c", str(CONFIGS / f"{config}.yaml")]
    command += ["--data", str(root), "--work", str(tmp_path / "work")]
    command += [word for one in [*SMALL, f"protocol.splits={splits}"] for word in ("-o", one)]
    monkeypatch.setattr(sys, "argv", command)
    status = run_cli()
    out, err = capfd.readouterr()
    assert status == 0, err
    data = json.loads(out)
    assert not any(stage["failed"] for stage in data["stages"].values())
    metrics = data["metrics"]
    assert len(metrics.get("splits", [metrics])) == splits
    learned_from = {"videos"} if config.endswith("-weak") else {"frames", "auto", "normal"}
    assert metrics["protocol"]["supervision"] in learned_from
    for one in metrics.get("splits", [metrics]):
        assert one["auc"] is not None and one["protocol"]["videos"]["train"] and one["protocol"]["videos"]["test"]
    assert metrics["protocol"]["data"] in (config.partition("-")[0], "dataset.csv")
