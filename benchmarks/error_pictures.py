"""A picture of the worst false alarms and misses of scored test videos, with their frames and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lad.dataset import Video
from lad.extract.readers import open_reader, read_frames
from lad.intervals import intervals

FRAMES_SHOWN = 4
AROUND = 24  # frames between the pictures of a strip


@dataclass(frozen=True)
class Error:
    """A run of frames that the detector gets wrong.

    Attributes:
        video: that it is in.
        scores, truth: of the whole video, `(frames,)`.
        start, end: the run, half-open. Its frames are all normal (a false alarm) or all anomalous (a miss).
        worst: its frame with the highest score (a false alarm) or the lowest (a miss).
    """

    video: Video
    scores: np.ndarray
    truth: np.ndarray
    start: int
    end: int
    worst: int


def find_errors(videos: Sequence[Video], scores_of: Mapping[str, np.ndarray], missed: bool, count: int) -> list[Error]:
    """The worst errors of one kind, the worst first. A video has one at most.

    Args:
        videos: to look at.
        scores_of: video id -> `(frames,)` scores.
        missed: find misses, which are events whose highest score is low. Else false alarms, which are normal runs whose
            highest score is high.
        count: how many, at most.
    """
    found = []
    for video in videos:
        scores = scores_of[video.id]
        truth = video.frame_labels(len(scores))
        runs = intervals(truth if missed else ~truth)
        peaks = [float(scores[start:end].max()) for start, end in runs]
        if not runs:
            continue
        one = int(np.argmin(peaks) if missed else np.argmax(peaks))
        start, end = runs[one]
        worst = start + int(scores[start:end].argmin() if missed else scores[start:end].argmax())
        found.append((peaks[one] if missed else -peaks[one], video.id, Error(video, scores, truth, start, end, worst)))
    return [error for _, _, error in sorted(found, key=lambda one: one[:2])][:count]


def draw_errors(path: Path, alarms: Sequence[Error], misses: Sequence[Error], threshold: float) -> None:
    """Draw a row for each error: four frames around its worst one and the curve of its video, true events shaded."""
    rows = [("false alarm", one) for one in alarms] + [("miss", one) for one in misses]
    figure = Figure(figsize=(13, 1.75 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), FRAMES_SHOWN + 1, squeeze=False, width_ratios=[1] * FRAMES_SHOWN + [1.6])
    for (kind, error), axes in zip(rows, panels, strict=True):
        for axis, (number, frame) in zip(axes, _strip(error), strict=False):
            axis.imshow(frame)
            axis.set_title(f"frame {number}, {error.scores[number]:.2f}", fontsize=7)
        for axis in axes[:-1]:
            axis.set_xticks([])
            axis.set_yticks([])
        axes[0].set_ylabel(f"{kind}\n{error.video.id}", fontsize=7)
        axes[-1].plot(error.scores, color="#1d3557", linewidth=1.2)
        for start, end in intervals(error.truth):
            axes[-1].axvspan(start, end, color="#d1495b", alpha=0.2, linewidth=0)
        axes[-1].axhline(threshold, color="#8d99ae", linestyle=":", linewidth=1)
        axes[-1].axvline(error.worst, color="#8d99ae", linewidth=0.8)
        axes[-1].set(ylim=(0, 1.02), xlim=(0, len(error.scores)))
        axes[-1].tick_params(labelsize=6)
    figure.savefig(path, dpi=70, pil_kwargs={"quality": 80})


def _strip(error: Error) -> list[tuple[int, np.ndarray]]:
    """The frames to show, with their numbers. They stay within the run as far as it reaches."""
    first = max(error.start, min(error.worst - AROUND, error.end - FRAMES_SHOWN * AROUND // 2))
    wanted = np.linspace(first, min(first + 2 * AROUND, error.end - 1), FRAMES_SHOWN).astype(int)
    wanted[np.abs(wanted - error.worst).argmin()] = error.worst
    chosen = set(wanted.tolist())
    return [(n, frame) for n, frame in enumerate(read_frames(open_reader(error.video.file))) if n in chosen]
