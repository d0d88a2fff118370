"""What it saves and costs to see fewer frames, or all of them in 8-bit integers: `extract.fps` below a video's own,
`extract.clip_stride` above 16, `extract.dtype: int8`.

    python -m benchmarks.fewer_frames [--only cost ped2 surveillance ur_fall] [--data DIR] [--page docs/performance.md]
    python -m benchmarks.fewer_frames --test "clip_stride 48" [--data DIR] [--page docs/performance.md]

Each setting is measured twice: with a detector that it taught, and with the detector that all frames taught.

- cost: CPU seconds of one thread, of which decoding is measured for each setting, and a clip's network for each
  precision.
- Ped2: rgb as configs/ped2.yaml has it, a logistic regression on clips, mean of the ten splits. It films 10 frames a
  second, so that `extract.fps` is that share of 10 which it would be of 25.
- surveillance: configs/surveillance.yaml. The sources of the training half are dealt into five parts, three times; each
  part is scored by what the other four taught.
- UR Fall: scored by what the surveillance training half taught. It rules settings with gaps out, which the other two
  would choose.
- with --test: the surveillance test half for this setting and for all frames. It chooses nothing.

AUC is of all frames of a video, whatever was seen of it. The clips of a setting with gaps are among those without, and
have the same features. Most surveillance videos last two seconds, so that a gap leaves out little of them; those of UR
Fall last five to eight.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy_rows import BENCHMARKS, ROOT, load_splits
from benchmarks.fewer_frames_page import ALL, NAMED, OTHER, OWN, SETTINGS, Setting, draw, lines
from benchmarks.known_camera import DIVISIONS, PARTS, Clip, odds_of, trained
from benchmarks.page import between
from lad.clip import CLIP_FRAMES
from lad.config import load_config
from lad.dataset import Video, read_dataset
from lad.detector.validation import divide
from lad.evaluation.bootstrap import Measured, interval, resampled
from lad.evaluation.metrics import roc_auc
from lad.extract.clips import ClipBatch, clip_batches
from lad.extract.readers import open_reader
from lad.extract.sampling import resample
from lad.features.recipe import FeatureRecipe, configured_streams, load_extractor, make_recipe
from lad.features.video import VideoFeatures
from lad.files import write_json

WORK = Path("runs/fewer_frames")
STRENGTH = 1e-2  # C of the regression, as in `benchmarks.accuracy`
SMOOTHED = 49  # frames that its decisions are averaged over: three clips without gaps
REPEATS, COST_BATCHES = 3, 3
COST_VIDEO, COST_FPS = "samples/v_ZNVhz7ctTq0.mp4", 30.0  # H.264 of 480x360
Scored = dict[str, list[list[Measured]]]  # detector -> videos of each split or division


@dataclass(frozen=True)
class Set:
    """Videos.

    Attributes:
        folder: below `--data`.
        config: name of the configuration.
        fps: frames a second, of which a setting takes a share.
        changes: to the configuration.
        together: clips that its network sees as one.
    """

    folder: str
    config: str
    fps: float = 25.0
    changes: tuple[str, ...] = ()
    together: int = 4


SETS = {
    "ped2": Set("ucsd_ped2", "ped2", 10.0, ("extract.streams=[rgb]",), together=1),
    "surveillance": Set("surveillance", "surveillance"),
    "ur_fall": Set("ur_fall", "surveillance"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES), help="what to measure")
    parser.add_argument("--test", choices=list(NAMED), help="measure the test half, of this setting")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.test:
        tested = others(arguments.data, (ALL, NAMED[arguments.test]), "surveillance", "test")
        write_json(WORK / "test.json", {"setting": arguments.test, "numbers": tested})
    for name in [] if arguments.test else arguments.only:
        write_json(WORK / f"{name}.json", MEASURES[name](arguments.data))
    measured = {file.stem: json.loads(file.read_text()) for file in sorted(WORK.glob("*.json"))}
    for line in lines(measured):
        print(line)
    if set(MEASURES) <= set(measured):
        arguments.page.write_text(between(arguments.page.read_text(), "fewer frames", list(lines(measured))))
        draw(arguments.page.parent / "fewer_frames.png", measured)
    return 0


def cost(data: Path) -> dict[str, Any]:
    """CPU seconds of 16 frames, by setting: the median of repeats that take turns."""
    video, frames = data / COST_VIDEO, 0
    for _ in open_reader(video):
        frames += 1
    clips = list(islice(cut_clips(ALL, video), COST_BATCHES))
    firsts = {one.dtype: one for one in reversed(SETTINGS)}
    extractors = {dtype: load_extractor(cost_recipe(one)) for dtype, one in firsts.items()}
    count = sum(len(batch["rgb"]) for batch in clips)

    def network(dtype: str) -> None:
        for batch in clips:
            extractors[dtype]("rgb", batch["rgb"])

    network_seconds: dict[str, list[float]] = {dtype: [] for dtype in extractors}
    for dtype in extractors:
        network(dtype)  # the first is for compiling
    for _ in range(REPEATS):
        for dtype, taken in network_seconds.items():
            taken.append(cpu_seconds(partial(network, dtype)) / count)
    decoding: dict[str, list[float]] = {one.name: [] for one in SETTINGS}
    for _ in range(REPEATS):
        for one in SETTINGS:
            seconds = cpu_seconds(partial(deque, cut_clips(one, video), 0))
            decoding[one.name].append(seconds / frames * CLIP_FRAMES)
    parts = {one.name: (median(decoding[one.name]), median(network_seconds[one.dtype]) * one.calls) for one in SETTINGS}
    whole = sum(parts[ALL.name])
    return {
        name: {"decoding": decoded, "network": computed, "ratio": (decoded + computed) / whole}
        for name, (decoded, computed) in parts.items()
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def cost_recipe(setting: Setting) -> FeatureRecipe:
    """Of rgb at 224x224."""
    extract = load_config(None, ["extract.streams=[rgb]"]).extract
    update = {"fps": setting.fps(COST_FPS), "clip_stride": setting.stride, "dtype": setting.dtype}
    changed = extract.model_copy(update=update)
    return make_recipe(changed, device="cpu", threads=1)


def cut_clips(setting: Setting, video: Path) -> Iterator[ClipBatch]:
    """The clips of a video, as a decoder makes them (`lad/extract/worker.py`)."""
    spec = cost_recipe(setting).clips
    reader = open_reader(video, rate=spec.fps, share=spec.share)
    return clip_batches(resample(reader, reader.info, spec.fps), spec)


def extracted(name: str, data: Path, setting: Setting) -> Path:
    """The work directory with the features of a set; those of a setting with gaps are among those without."""
    one = SETS[name]
    home = WORK / name / (f"share_{setting.share:g}" if setting.dtype == "auto" else setting.dtype)
    changes = [*one.changes, f"extract.dtype={setting.dtype}"]
    changes += [f"extract.fps={fps:g}"] if (fps := setting.fps(one.fps)) else []
    command = [sys.executable, "-m", "lad", "extract", "-q", "-c", one.config, "--data", str(data / one.folder)]
    done = subprocess.run([*command, "--work", str(home), *(word for change in changes for word in ("-o", change))])
    if done.returncode:  # it has said why
        sys.exit(done.returncode)
    return home


def listed(name: str, data: Path) -> list[Video]:
    """The videos of a set; UR Fall has two rooms, so that there each video is its own source."""
    folder = data / SETS[name].folder
    videos = read_dataset(folder / "dataset.csv", folder)
    return [replace(video, source=video.id) for video in videos] if name == "ur_fall" else videos


def clips_of(videos: Sequence[Video], home: Path, setting: Setting, name: str) -> list[Clip]:
    """The videos with the features that a setting makes."""
    one, clips = SETS[name], []
    arrays = configured_streams(load_config(Path(one.config), list(one.changes)).extract)
    for video in videos:
        *paths, times = (home / "features" / kind / f"{video.id}.npy" for kind in (*arrays, "times"))
        frames = len(np.load(times))
        fps = video.fps or one.fps
        source = VideoFeatures(paths, times, frames, fps, setting.fps(one.fps), setting.stride, one.together)
        rows = np.hstack([np.load(path) for path in paths])
        rows = rows[np.arange(len(rows)) // one.together % (setting.stride // CLIP_FRAMES) == 0]
        clips.append(Clip(video, source, rows, video.frame_labels(frames)))
    return clips


def ped2(data: Path) -> dict[str, Any]:
    """Every setting on the ten splits."""
    homes = {one: extracted("ped2", data, one) for one in SETTINGS}
    splits = [project.videos for project in load_splits("ped2", BENCHMARKS["ped2"].rows[0], data)]
    found: dict[str, Scored] = {one.name: {OWN: [], OTHER: []} for one in SETTINGS}
    for videos in splits:
        halves = [[video for video in videos if video.split == half] for half in ("train", "test")]
        usual = None
        for one, home in homes.items():
            train, tested = (clips_of(half, home, one, "ped2") for half in halves)
            model = regression(train)
            usual = usual or model
            found[one.name][OWN].append([decided(model, clip) for clip in tested])
            found[one.name][OTHER].append([decided(usual, clip) for clip in tested])
    return numbers(found)


def regression(clips: Sequence[Clip]) -> Any:
    """On standardised features of clips; a clip is abnormal if half of it is."""
    labels = [clip.timeline.by_clip(clip.truth, len(clip.rows))[0].mean(axis=1) >= 0.5 for clip in clips]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=5000))
    return model.fit(np.concatenate([clip.rows for clip in clips]), np.concatenate(labels))


def decided(model: Any, clip: Clip) -> Measured:
    """The frames of a video with the decisions on its clips, averaged over time."""
    one = clip.measured(model.decision_function(clip.rows))
    padded = np.pad(one.scores, SMOOTHED // 2, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
    return Measured(one.id, one.source, one.truth, smooth)


def surveillance(data: Path) -> dict[str, Any]:
    """Every setting in cross-validation over the sources of the training half."""
    homes = [extracted("surveillance", data, one) for one in SETTINGS]
    videos = [video for video in listed("surveillance", data) if video.split == "train"]
    sets = [clips_of(videos, home, one, "surveillance") for one, home in zip(SETTINGS, homes, strict=True)]
    with ProcessPoolExecutor(2) as pool:
        places = [(division, part) for division in range(DIVISIONS) for part in range(PARTS)]
        parts = dict(zip(places, pool.map(partial(of_part, sets), *zip(*places, strict=True)), strict=True))
    found: dict[str, Scored] = {
        one.name: {
            detector: [[v for p in range(PARTS) for v in parts[d, p][number][detector]] for d in range(DIVISIONS)]
            for detector in (OWN, OTHER)
        }
        for number, one in enumerate(SETTINGS)
    }
    return numbers(found)


def of_part(sets: Sequence[Sequence[Clip]], division: int, part: int) -> list[dict[str, list[Measured]]]:
    """What the detectors of each setting say of a part that they were not taught by."""
    torch.set_num_threads(1)
    held = {video.id for video in divide([clip.video for clip in sets[0]], PARTS, division)[part]}
    rest = [[clip for clip in clips if clip.video.id not in held] for clips in sets]
    tested = [[clip for clip in clips if clip.video.id in held] for clips in sets]
    return scored(rest, tested, WORK / "fits" / f"{division}_{part}")


def scored(
    taught: Sequence[Sequence[Clip]], tested: Sequence[Sequence[Clip]], folder: Path
) -> list[dict[str, list[Measured]]]:
    """Of each setting the videos to test, by the detector that it taught and by that of the first setting."""
    models = [trained(clips, [clip.rows for clip in clips], folder) for clips in taught]
    return [
        {
            detector: [clip.measured(odds_of(one, clip, clip.rows)) for clip in clips]
            for detector, one in ((OWN, model), (OTHER, models[0]))
        }
        for model, clips in zip(models, tested, strict=True)
    ]


def others(data: Path, settings: Sequence[Setting], name: str, split: str = "") -> dict[str, Any]:
    """Settings on videos that the training half of the surveillance set did not teach, by what it taught."""

    def clips(name: str, split: str) -> list[list[Clip]]:
        videos = [video for video in listed(name, data) if split in ("", video.split)]
        return [clips_of(videos, extracted(name, data, one), one, name) for one in settings]

    both = scored(clips("surveillance", "train"), clips(name, split), WORK / "fits" / "others")
    found: dict[str, Scored] = {
        one.name: {detector: [videos] for detector, videos in of_it.items()}
        for one, of_it in zip(settings, both, strict=True)
    }
    return numbers(found)


def ur_fall(data: Path) -> dict[str, Any]:
    """Every setting on UR Fall."""
    return others(data, SETTINGS, "ur_fall")


def numbers(found: dict[str, Scored]) -> dict[str, Any]:
    """Of each setting and detector the AUC, the mean over splits, and how far it is from that of all frames."""
    all_frames = found[ALL.name][OWN]
    base, drawn = auc(all_frames), resampled(all_frames)["auc"]
    return {
        name: {
            detector: {
                "auc": auc(splits),
                "interval": interval(moved := resampled(splits)["auc"]),
                "more": auc(splits) - base,
                "more_interval": interval(moved - drawn),
            }
            for detector, splits in scored.items()
        }
        for name, scored in found.items()
    }


def auc(splits: Sequence[Sequence[Measured]]) -> float:
    both = [[np.concatenate([getattr(v, what) for v in split]) for what in ("truth", "scores")] for split in splits]
    return float(np.mean([roc_auc(truth, scores) or 0.0 for truth, scores in both]))


MEASURES = {"cost": cost, "ped2": ped2, "surveillance": surveillance, "ur_fall": ur_fall}


if __name__ == "__main__":
    sys.exit(main())
