"""What `extract.still: skip` would leave out of real videos, and what that would do to their scores.

    python -m benchmarks.still_real WORK [--checkpoint FILE] [--split test]

WORK is a work directory with features of all clips, of folders or files that are too short to have anything left out:
the first clips of a video teach what noise is. So all videos of one source are taken as one video here, one after the
other, which is harder than the same camera filming on. Only their pixels are looked at. A clip that would be left out
gets the features that it would have, and the detector scores both.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lad.clip import CLIP_FRAMES
from lad.config import Config, load_config
from lad.dataset import Video, read_dataset
from lad.detector.checkpoint import load_checkpoint
from lad.detector.scoring import make_scorer
from lad.evaluation.metrics import roc_auc
from lad.extract import process_setup
from lad.extract.readers import open_reader
from lad.extract.sampling import Timeline, evenly_spaced
from lad.extract.stillness import Stillness
from lad.features.recipe import clip_spec, configured_streams
from lad.features.video import ClipFeatures

Features = dict[str, list[np.ndarray]]  # video id -> of each stream `(clips, dim)`


def still_clips(videos: Sequence[Video], piece: int, fps: float) -> dict[str, np.ndarray]:
    """Video id -> `(clips,)` bool, of videos taken as one; of each only whole pieces of so many clips count."""
    clips: dict[str, int] = {}

    def frames() -> Iterator[ArrayLike]:
        for video in videos:
            reader = open_reader(video.file, lazy=True, folder_fps=fps)
            whole: list[ArrayLike] = []
            count = 0
            for frame in reader:
                count += 1
                whole.append(frame)
                if len(whole) == piece * CLIP_FRAMES:
                    yield from whole
                    whole = []
            clips[video.id] = count // (piece * CLIP_FRAMES) * piece

    stillness = Stillness(piece)
    for _ in stillness.frames(frames()):
        pass
    found, first = {}, 0
    for video, count in clips.items():
        found[video] = np.array([stillness.is_still(clip) for clip in range(first, first + count)], bool)
        first += count
    return found


def repeated(videos: Sequence[Video], features: Features, still: dict[str, np.ndarray], piece: int) -> Features:
    """The features with those of still clips replaced by those of the piece before."""
    changed = {video.id: [part.copy() for part in features[video.id]] for video in videos}
    before: list[np.ndarray] = []  # of each stream
    for video in videos:
        for first in range(0, len(still[video.id]), piece):
            for number, part in enumerate(changed[video.id]):
                if still[video.id][first]:
                    part[first : first + piece] = before[number]
            before = [part[first : first + piece] for part in changed[video.id]]
    return changed


def read_features(work: Path, config: Config, video: Video) -> list[np.ndarray]:
    streams = configured_streams(config.extract)
    return [np.load(work / "features" / stream / f"{video.id}.npy") for stream in streams]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="default: the work directory's own")
    parser.add_argument("--split", default="test", help="of the videos that count in the AUC")
    asked = parser.parse_args()
    process_setup.prepare()
    config = load_config(asked.work / "config.yaml", [])
    piece = clip_spec(config.extract.model_copy(update={"still": "skip"}), "cpu").still
    fps = config.data.frame_folder_fps
    scorer = make_scorer(load_checkpoint(asked.checkpoint or asked.work / "checkpoints" / "best.pt"), "cpu")
    by_source: dict[str, list[Video]] = defaultdict(list)
    for video in read_dataset(asked.work / "dataset.csv", config.data.root):
        by_source[video.source or ""].append(video)
    total, out, events, events_out = 0, 0, 0, 0
    truths: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {"see": [], "skip": []}
    for videos in by_source.values():
        still = still_clips(videos, piece, fps)
        features = {video.id: read_features(asked.work, config, video) for video in videos}
        skipped = repeated(videos, features, still, piece)
        for video in videos:
            times = np.load(asked.work / "features" / "times" / f"{video.id}.npy")
            timeline = Timeline(times, video.fps or fps) if len(times) else evenly_spaced(0, fps)
            labels = video.frame_labels(len(times))
            flags = still[video.id]
            abnormal = labels[: len(flags) * CLIP_FRAMES].reshape(-1, CLIP_FRAMES).any(axis=1)
            total, out = total + len(flags), out + int(flags.sum())
            events, events_out = events + int(abnormal.sum()), events_out + int((abnormal & flags).sum())
            if (abnormal & flags).any():
                print(f"{video.id}: left out in an event: clips {np.flatnonzero(abnormal & flags).tolist()}")
            if video.split == asked.split:
                truths.append(labels)
                for name, of in (("see", features), ("skip", skipped)):
                    parts = [part if part.ndim == 3 else part[None] for part in of[video.id]]
                    scores[name].append(scorer(ClipFeatures(parts), timeline, []).frames)
    print(f"{asked.work}: {out} of {total} clips left out, {events_out} of {events} clips with frames of an event")
    if not truths:
        raise SystemExit(f"no video is in the split {asked.split}: there is no AUC (--split)")
    auc = {name: roc_auc(np.concatenate(truths), np.concatenate(found)) for name, found in scores.items()}
    print(f"frame AUC: {auc['see']:.4f} seen, {auc['skip']:.4f} with clips left out")


if __name__ == "__main__":
    main()
