"""A second one-class test, of cameras on which speed is not all: the surveillance clips and UR Fall.

Of each source every second normal video teaches, and the other normal ones and those with an event test: a detector for
each source, by `train.cameras: each`. Sources with too little normal footage, or without an event, are left out. The
falls of UR Fall happen in another room than its daily activities, which teach: beside the AUC of all frames there is
that within the fall videos, which no room explains.

    python -m benchmarks.one_class_sources --data DIR --work DIR [--layer]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lad.dataset import Video, dataset_text, read_dataset
from lad.evaluation.bootstrap import Measured, interval, resampled
from lad.evaluation.metrics import average_precision, roc_auc
from lad.files import write_bytes
from lad.pipeline.scored import read_scores
from lad.tables import markdown_table

MIN_FRAMES = 100  # of normal footage that teaches: what a detector has to have
MIN_VIDEOS = 2
LAYER = "Mixed_3c"
RECIPE = ("extract.rgb_short_side=256", "extract.context=batch")  # as configs/surveillance.yaml has I3D's features
# What a detector looks at -> options of `lad run`.
VARIANTS = {
    "how fast things move": ("extract.streams=[]", "extract.motion=true"),
    "I3D's features": ("extract.streams=[rgb]", "extract.motion=false"),
    "both": ("extract.streams=[rgb]", "extract.motion=true"),
}
WITH_LAYER = {
    f"the layer {LAYER}": ("extract.streams=[rgb]", f"extract.layers=[{LAYER}]", "extract.motion=false"),
    f"the layer {LAYER} and motion": ("extract.streams=[rgb]", f"extract.layers=[{LAYER}]", "extract.motion=true"),
}


def surveillance(folder: Path) -> list[Video]:
    """Every second normal video of each source that has enough of them teaches; all else of it tests."""
    by_source: dict[str, list[Video]] = {}
    for video in read_dataset(folder / "dataset.csv"):
        by_source.setdefault(video.source, []).append(video)
    chosen: list[Video] = []
    for videos in by_source.values():
        normal = [video for video in videos if not video.is_abnormal]
        taught = normal[::2]
        frames = sum(video.n_frames or 0 for video in taught)
        if len(taught) >= MIN_VIDEOS and frames >= MIN_FRAMES and len(normal) < len(videos):
            chosen += [replace(video, split="train" if video in taught else "test") for video in videos]
    return chosen


def ur_fall(folder: Path) -> list[Video]:
    """Every second daily activity teaches; the others and the falls test."""
    videos = read_dataset(folder / "dataset.csv")
    normal = [video for video in videos if not video.is_abnormal]
    return [replace(one, source="ur_fall", split="train" if one in normal[::2] else "test") for one in videos]


SETS = {"surveillance": surveillance, "ur_fall": ur_fall}


def run(data: Path, work: Path, name: str, options: Sequence[str]) -> dict[str, Any]:
    """Extract, train, score and evaluate; returns `metrics.json`."""
    place = work / name
    listed = SETS[name](data / name)
    write_bytes(place / "dataset.csv", dataset_text(listed, data / name))
    settings = [f"data.dataset={place / 'dataset.csv'}", "train.detector=normality", *RECIPE, *options]
    words = [word for setting in settings for word in ("-o", setting)]
    command = [sys.executable, "-m", "lad", "run", "--data", str(data / name), "--work", str(place / "work"), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((place / "work" / "metrics.json").read_text(encoding="utf-8"))


def measured(place: Path, name: str) -> list[Measured]:
    """The test videos with their scores; a video is its own source where all are of one."""
    found = []
    for video in read_dataset(place / "work" / "dataset.csv"):
        if video.split == "test":
            scores = read_scores(place / "work" / "scores" / f"{video.id}.csv")
            source = video.id if name == "ur_fall" else video.source
            found.append(Measured(video.id, source, video.frame_labels(len(scores)), scores))
    return found


def auc(videos: Sequence[Measured]) -> float | None:
    """Of all their frames."""
    return roc_auc(np.concatenate([one.truth for one in videos]), np.concatenate([one.scores for one in videos]))


def cells_of(videos: Sequence[Measured], name: str) -> list[str]:
    """AUC with its interval, AP, and AUC where no camera explains it: within sources, or within fall videos."""
    between = interval(resampled([videos])["auc"])
    truth, scores = (np.concatenate([getattr(one, key) for one in videos]) for key in ("truth", "scores"))
    if name == "ur_fall":
        falls = [one for one in videos if one.truth.any()]
        inner, within = auc(falls), interval(resampled([falls])["auc"])
    else:
        sources = sorted({one.source for one in videos})
        of_each = [auc([one for one in videos if one.source == source]) for source in sources]
        known = np.array([value for value in of_each if value is not None])
        drawn = np.random.default_rng(0).choice(known, (1000, len(known))).mean(axis=1)
        inner, within = float(known.mean()), interval(drawn)
    return [_with(roc_auc(truth, scores), between), f"{average_precision(truth, scores):.3f}", _with(inner, within)]


def _with(value: float | None, between: tuple[float, float] | None) -> str:
    spread = f" [{between[0]:.3f}, {between[1]:.3f}]" if between else ""
    return "" if value is None else f"{value:.3f}{spread}"


def budget(metrics: dict[str, Any]) -> str:
    """Alarms on normal footage that nobody trained on, how much there was of it, and what a day that comes to."""
    found = metrics["alarms_per_day"]
    spread = f" [{', '.join(f'{end:.0f}' for end in found['interval'])}]" if found["interval"] else ""
    return f"{found['alarms']} in {60 * found['normal_hours']:.1f} min: {found['met']:.0f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with surveillance/ and ur_fall/")
    parser.add_argument("--work", type=Path, required=True, help="for features, detectors and scores")
    parser.add_argument("--layer", action="store_true", help=f"also with I3D's layer {LAYER}")
    args = parser.parse_args()
    variants = VARIANTS | (WITH_LAYER if args.layer else {})
    for name in SETS:
        rows, said = [], ""
        for variant, options in variants.items():
            metrics = run(args.data.absolute(), args.work.absolute(), name, options)
            videos = measured(args.work / name, name)
            rows.append([variant, *cells_of(videos, name), budget(metrics)])
            taught = metrics["protocol"]["videos"]
            anomalous = sum(int(one.truth.sum()) for one in videos)
            said = (
                f"{taught['train']} normal videos teach {len(metrics.get('cameras', [name]))} detectors, "
                f"{taught['test']} test: {metrics['frames']} frames, {anomalous} anomalous"
            )
        inner = "within the fall videos" if name == "ur_fall" else "within a source, mean"
        titles = ["what is looked at", "frame AUC", "AP", inner, "alarms a day on normal footage, 2 asked for"]
        print(f"\n{name}: {said}\n\n{markdown_table(titles, rows)}", flush=True)


if __name__ == "__main__":
    main()
