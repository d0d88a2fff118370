"""Scores while clips come: each is given as soon as no clip to come can change it.

`score_features` of a whole video and `lad watch` of a camera both go through here, so their numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.extract.sampling import clip_start, last_clip, nearest_covered

if TYPE_CHECKING:
    from lad.models.registry import Detector, VideoDetector

WINDOWS_A_BLOCK = 64  # windows through the detector at a time: bounds the memory of a long video

Merge = Literal["mean", "max"]


@dataclass(frozen=True)
class ClipScores:
    """What a detector says of clips that follow one another.

    Attributes:
        clips: `(clips, 16)` float32 score in [0,1] of each frame of each clip, the last clip's padding included.
        classes: `(clips, categories)` float32 probabilities, summing to 1.
        votes: `(categories,)` int64: windows, or pieces, that each category won.
    """

    clips: np.ndarray
    classes: np.ndarray
    votes: np.ndarray


class ClipScorer(Protocol):
    """Scores of the clips of one video, in their order."""

    def add(self, rows: np.ndarray) -> ClipScores:
        """The next clips' features `(crops, clips, dim)` float32 -> the scores that are final now, of the oldest."""

    def end(self) -> ClipScores:
        """There are no more clips: the scores of all that are left."""


class WindowScorer:
    """Windows of K consecutive clips, stride 1, merged where they overlap, the mean of all crops.

    A clip's scores are final once the K - 1 clips after it are there. A video shorter than K clips is filled up with
    its last clip, whose copies count for nothing.

    Args:
        detector: on the device where it is to run.
        merge: of the scores that overlapping windows give a frame; category probabilities are always averaged.
    """

    def __init__(self, detector: Detector, merge: Merge = "mean") -> None:
        self._detector = detector
        self._merge: Merge = merge if detector.window > 1 else "mean"  # else nothing overlaps
        self._rows: np.ndarray | None = None  # of the clips whose scores are not final
        self._sums = np.zeros((0, CLIP_FRAMES))
        self._class_sums = np.zeros((0, detector.classes))
        self._counts = np.zeros((0, 1))

    def add(self, rows: np.ndarray) -> ClipScores:
        self._rows = rows if self._rows is None else np.concatenate((self._rows, rows), axis=1)
        return self._score(self._rows, self._rows.shape[1] - self._detector.window + 1)

    def end(self) -> ClipScores:
        if self._rows is None:
            return self._take(0, np.zeros(self._detector.classes, dtype=np.int64))
        left = self._rows.shape[1]
        votes = np.zeros(self._detector.classes, dtype=np.int64)
        if left and not len(self._counts):  # there was no window: one that is filled up
            places = np.arange(self._detector.window).clip(max=left - 1)
            votes = self._score(self._rows[:, places], 1, keep=True).votes
        self._rows = None
        return self._take(left, votes)

    def _score(self, rows: np.ndarray, windows: int, *, keep: bool = False) -> ClipScores:
        """Score the windows of `rows`; gives the clips of which no later window tells, unless all are kept."""
        detector, votes = self._detector, np.zeros(self._detector.classes, dtype=np.int64)
        if windows < 1:
            return self._take(0, votes)
        more = rows.shape[1] - len(self._counts)
        self._sums = np.pad(self._sums, ((0, more), (0, 0)))
        self._class_sums = np.pad(self._class_sums, ((0, more), (0, 0)))
        self._counts = np.pad(self._counts, ((0, more), (0, 0)))
        for first in range(0, windows, WINDOWS_A_BLOCK):
            size = min(WINDOWS_A_BLOCK, windows - first)
            by_clip, probabilities = score_windows(detector, rows[:, first : first + size + detector.window - 1])
            votes += np.bincount(probabilities.argmax(axis=1), minlength=detector.classes)
            for k in range(detector.window):
                place = slice(first + k, first + k + size)
                if self._merge == "max":
                    self._sums[place] = np.maximum(self._sums[place], by_clip[:, k])
                else:
                    self._sums[place] += by_clip[:, k]
                self._class_sums[place] += probabilities
                self._counts[place] += 1
        if keep:
            return self._take(0, votes)
        self._rows = rows[:, windows:]
        return self._take(windows, votes)

    def _take(self, clips: int, votes: np.ndarray) -> ClipScores:
        sums, classes, counts = self._sums[:clips], self._class_sums[:clips], self._counts[:clips]
        merged = sums if self._merge == "max" else sums / counts
        found = ClipScores(merged.astype(np.float32), (classes / counts).astype(np.float32), votes)
        self._sums, self._class_sums, self._counts = self._sums[clips:], self._class_sums[clips:], self._counts[clips:]
        return found


class CausalScorer:
    """Each clip by the one window that ends with it: its scores are final at once.

    The first clips of a video have windows that are filled up with copies of the first clip.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._before: np.ndarray | None = None  # the last K - 1 clips

    def add(self, rows: np.ndarray) -> ClipScores:
        detector, clips = self._detector, rows.shape[1]
        before = np.repeat(rows[:, :1], detector.window - 1, axis=1) if self._before is None else self._before
        rows = np.concatenate((before, rows), axis=1)
        self._before = rows[:, clips:]
        by_clip, classes = score_windows(detector, rows)
        votes = np.bincount(classes.argmax(axis=1), minlength=detector.classes)
        return ClipScores(by_clip[:, -1], classes, votes)

    def end(self) -> ClipScores:
        return _no_scores(self._detector.classes)


class PastScorer:
    """Each clip beside those before it, by a causal detector of whole videos: its scores are final at once.

    Beside a clip are as many of those before it as the detector takes, or half as many: they are let go by halves, at
    the same clips however many come at a time.
    """

    def __init__(self, detector: VideoDetector) -> None:
        self._detector = detector
        self._kept: np.ndarray | None = None  # the last clips, fewer than the detector takes

    def add(self, rows: np.ndarray) -> ClipScores:
        most = self._detector.max_clips
        parts = [_no_scores(self._detector.classes)]
        while rows.shape[1]:
            kept = rows[:, :0] if self._kept is None else self._kept
            seen = np.concatenate((kept, rows[:, : most - kept.shape[1]]), axis=1)
            rows = rows[:, seen.shape[1] - kept.shape[1] :]
            scores, classes = _by_clip(self._detector, seen, kept.shape[1])
            votes = np.bincount(classes.argmax(axis=1), minlength=self._detector.classes)
            parts.append(ClipScores(np.repeat(scores[:, None], CLIP_FRAMES, axis=1), classes, votes))
            self._kept = seen[:, most - most // 2 :] if seen.shape[1] == most else seen
        return join(iter(parts))

    def end(self) -> ClipScores:
        return _no_scores(self._detector.classes)


def _by_clip(detector: VideoDetector, rows: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(clips,)` and category probabilities `(clips, categories)` of the clips from the first wanted one on."""
    import torch

    features = torch.from_numpy(np.ascontiguousarray(rows)).to(detector.feature_mean.device)
    with torch.inference_mode():
        found = detector.by_clip(features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device))
        scores = torch.sigmoid(found[:, first:, -1]).mean(dim=0)
        classes = torch.softmax(found[:, first:, :-1], dim=2).mean(dim=0)
    return scores.cpu().numpy(), classes.cpu().numpy()


def _no_scores(classes: int) -> ClipScores:
    return ClipScores(
        np.zeros((0, CLIP_FRAMES), np.float32), np.zeros((0, classes), np.float32), np.zeros(classes, np.int64)
    )


def score_windows(detector: Detector, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(windows, K, 16)` and category probabilities `(windows, categories)` of all windows within some clips.

    Each clip's share of the first ConvLSTM layer is computed once, not once for each window.

    Args:
        rows: `(crops, clips, dim)` float32, at least K clips.
    """
    import torch

    window, size = detector.window, rows.shape[1] - detector.window + 1
    scores = np.zeros((size, window, CLIP_FRAMES), dtype=np.float32)
    probabilities = np.zeros((size, detector.classes), dtype=np.float32)
    with torch.inference_mode(), np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by who asks
        for crop in rows:
            features = torch.from_numpy(np.ascontiguousarray(crop)).to(detector.feature_mean.device)
            projected = detector.project(features)
            logits, frames = detector.detect(projected.unfold(0, size, 1).movedim(-1, 1))
            scores += frames.view(size, window, CLIP_FRAMES).cpu().numpy()
            probabilities += torch.softmax(logits, dim=1).cpu().numpy()
    return scores / len(rows), probabilities / len(rows)


@dataclass(frozen=True)
class FrameScores:
    """Frames whose scores are final.

    Attributes:
        times: `(n,)` float64, as they were given.
        scores: `(n,)` float64.
        classes: `(n, categories)` float32, the probabilities of a clip that holds each frame.
        actions: `(n, actions)` float32, likewise, of what it looks like; None: the features cannot tell.
    """

    times: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    actions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.times)

    def after(self, frames: int) -> FrameScores:
        """Without the first so many frames."""
        actions = None if self.actions is None else self.actions[frames:]
        return FrameScores(self.times[frames:], self.scores[frames:], self.classes[frames:], actions)


@dataclass
class FrameSpread:
    """Scores of clips to scores of source frames as both come: what `sampling.spread` gives of a whole video.

    Attributes:
        stride: sampled frames from one clip to the next.
        categories: how many.
        together: clips without gaps between them, as in `sampling.clip_starts`.
    """

    stride: int
    categories: int
    together: int = 1
    _times: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of frames whose scores are not final
    _places: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # the sampled frame whose score each has
    _clips: int = 0  # whose scores are there
    _base: int = 0  # the first sampled frame that is kept
    _sums: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of the sampled frames from there on
    _counts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _classes: list[np.ndarray] = field(default_factory=list)  # of the last clips

    def add(self, scores: np.ndarray, classes: np.ndarray, times: np.ndarray, places: np.ndarray) -> FrameScores:
        """The next clips and the next frames, of which either may be none -> the frames that are final now.

        Args:
            scores: `(clips, 16)` float32.
            classes: `(clips, categories)` float32.
            times: `(frames,)` float64.
            places: `(frames,)` int64, as `sampling.nearest_sampled` has them; never decreasing, and each of a sampled
                frame that is there.
        """
        self._take(times, places)
        for clip, probabilities in zip(scores, classes, strict=True):
            start = self._start(self._clips) - self._base
            more = start + CLIP_FRAMES - len(self._sums)
            self._sums, self._counts = np.pad(self._sums, (0, more)), np.pad(self._counts, (0, more))
            self._sums[start:] += clip
            self._counts[start:] += 1
            self._classes.append(probabilities)
            self._clips += 1
        return self._give(int(np.searchsorted(self._places, self._start(self._clips))))

    def end(self, times: np.ndarray, places: np.ndarray, sampled: int) -> FrameScores:
        """The last frames, after so many sampled ones -> all that are left. After the last clip they take its score."""
        self._take(times, places)
        covered = min(max(sampled, self._base + 1), self._base + len(self._sums))
        if not self._clips:
            return self._give(0)
        self._places = np.minimum(self._places, covered - 1)
        return self._give(len(self._places))

    def _start(self, clip: int) -> int:
        return clip_start(clip, self.stride, self.together)

    def _take(self, times: np.ndarray, places: np.ndarray) -> None:
        # Where clips were lost, the frames between the last of them and the first clip here are the first one's.
        covered = np.maximum(nearest_covered(places, self.stride, self.together), 0)
        self._times, self._places = np.append(self._times, times), np.append(self._places, covered)

    def _give(self, frames: int) -> FrameScores:
        """The oldest frames; what no later one needs goes."""
        places = self._places[:frames]
        scores = self._sums[places - self._base] / self._counts[places - self._base]
        first = self._clips - len(self._classes)
        clips = np.clip(last_clip(places, self.stride, self.together), first, self._clips - 1) - first
        classes = np.array(self._classes, np.float32)[clips] if frames else np.zeros((0, self.categories), np.float32)
        found = FrameScores(self._times[:frames], scores, classes)
        self._times, self._places = self._times[frames:], self._places[frames:]
        # Frames to come may still be put in the last clip, or at the last frame of a video that ends within it.
        keep = self._start(max(self._clips - 1, 0))
        self._sums, self._counts = self._sums[keep - self._base :], self._counts[keep - self._base :]
        self._base, self._classes = keep, self._classes[-1:]
        return found


def join(parts: Iterator[ClipScores]) -> ClipScores:
    """Scores of clips that come in parts, as one."""
    found = list(parts)
    return ClipScores(
        np.concatenate([one.clips for one in found]),
        np.concatenate([one.classes for one in found]),
        np.sum([one.votes for one in found], axis=0),
    )
