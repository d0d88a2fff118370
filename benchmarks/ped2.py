"""Ped2, paper protocol: the detector against a logistic regression on the same features, splits and training clips.

    python benchmarks/ped2.py --data <UCSD Ped2> [--splits 10] [--work runs/bench-ped2]

Runs `lad run -c configs/ped2.yaml` through the real command line: features are extracted once, and what was done is
not done again. Prints a table and writes `<work>/results.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lad.config import load_config
from lad.dataset import Video, read_dataset
from lad.extract.clips import CLIP_FRAMES
from lad.files import write_json
from lad.metrics import roc_auc
from lad.pipeline.features import feature_path

CONFIG = Path(__file__).parents[1] / "configs" / "ped2.yaml"
REGRESSION_C = 1e-2
SMOOTHING_CLIPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "ucsd_ped2")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-ped2"))
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("-o", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"no UCSD Ped2 at {arguments.data}: say where it is with --data")
    overrides = [f"protocol.splits={arguments.splits}", *arguments.overrides]
    streams = list(load_config(CONFIG, overrides).extract.streams)
    print(f"{' + '.join(streams)}, {arguments.splits} splits; frame-level AUC", flush=True)
    command = [sys.executable, "-m", "lad", "run", "-q", "--json", "-c", str(CONFIG), "--data", str(arguments.data)]
    command += ["--work", str(arguments.work), *(word for text in overrides for word in ("-o", text))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)["metrics"]
    splits = []
    print("split  detector  logistic regression")
    for metrics in found.get("splits", [found]):
        name = (metrics["protocol"]["split"] or "").removeprefix("split_")
        place = arguments.work / "splits" / name if name else arguments.work
        videos = read_dataset(place / "dataset.csv", arguments.data)
        split = {"detector": metrics["auc"], "regression": regression_auc(arguments.work, videos, streams)}
        splits.append({"split": name, **split, "metrics": metrics})
        print(f"{name:>5}  {split['detector']:8.4f}  {split['regression']:19.4f}")
    for name in ("detector", "regression"):
        values = [split[name] for split in splits]
        print(f"{name}: mean {np.mean(values):.4f}, {min(values):.4f} .. {max(values):.4f}, sd {np.std(values):.4f}")
    write_json(arguments.work / "results.json", {"streams": streams, "splits": splits})


def regression_auc(work: Path, videos: Sequence[Video], streams: Sequence[str]) -> float:
    """Frame-level AUC of a logistic regression on standardised clip features, smoothed over three clips."""

    def features(video: Video) -> np.ndarray:
        return np.hstack([np.load(feature_path(work, stream, video.id), allow_pickle=False) for stream in streams])

    def clip_labels(video: Video, clips: int) -> np.ndarray:
        return video.frame_labels(clips * CLIP_FRAMES).reshape(clips, CLIP_FRAMES).mean(axis=1) >= 0.5

    train = [(features(video), video) for video in videos if video.split == "train"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGRESSION_C, max_iter=5000))
    model.fit(
        np.concatenate([clips for clips, _ in train]),
        np.concatenate([clip_labels(video, len(clips)) for clips, video in train]),
    )
    truth, scores = [], []
    for video in videos:
        if video.split != "test":
            continue
        decision = np.pad(model.decision_function(features(video)), SMOOTHING_CLIPS // 2, mode="edge")
        smooth = np.convolve(decision, np.full(SMOOTHING_CLIPS, 1 / SMOOTHING_CLIPS), mode="valid")
        frames = np.load(feature_path(work, "times", video.id), allow_pickle=False).size
        truth.append(video.frame_labels(frames))
        scores.append(np.repeat(smooth, CLIP_FRAMES)[:frames])
    auc = roc_auc(np.concatenate(truth), np.concatenate(scores))
    assert auc is not None, "every test half of Ped2 holds normal and anomalous frames"
    return auc


if __name__ == "__main__":
    main()
