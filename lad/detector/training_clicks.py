"""One frame inside each event: intervals are grown around such clicks, and become labels of frames.

An interval reaches as far as the score stays high, the score is learned anew from the intervals, and so on for a few
rounds. That is the idea of GlanceVAD (Zhang et al., "GlanceVAD: Exploring glance supervision for label-efficient video
anomaly detection", 2024). Here a linear rule gives the scores, and never of a video that it learned from: else it would
know a clicked clip by heart, and the clips beside it not.

At first only clicked clips count as abnormal, and all others as normal. That is wrong of some, but as a click may be
anywhere in an event, the order of scores does not suffer (Elkan and Noto, "Learning classifiers from only positive and
unlabeled data", KDD 2008). After that only the clips with the lowest scores of a clicked video count as normal. What is
between teaches nothing: on Ped2 half of it was the rest of the event. A detector that sees whole videos would not see
it then, so for that all outside of the intervals counts as normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F

from lad.config import TrainConfig
from lad.detector.training_windows import TrainingError, TrainingVideo
from lad.detector.validation import divide
from lad.models.registry import sees_videos

ROUNDS = 3
PARTS = 5  # of the training videos: the intervals of each are grown by what the others teach
HEIGHT = 0.5  # an interval ends where the score falls below this part of the way from its video's lowest to the click's
LOWEST = 0.1  # the share of a clicked video's clips that counts as normal, at least one of them
STRENGTH = 1e-2  # C of the logistic regression, as scikit-learn has it
MAX_CLIPS = 20_000  # that teach in a round, in later ones fewer; of more footage evenly many, and all clicked ones
BLOCK = 1024  # clips that are scored at a time: a video may be days long
STD_FLOOR = 0.01  # of the mean deviation, as in all training


@dataclass(eq=False)
class _Taught:
    """A video that teaches.

    Attributes:
        video: it.
        step: one clip of so many teaches.
        abnormal: `(clips,)` bool, those that are taken for abnormal today.
        known: `(m,)` int64, the clips of which it is taken for known what they are.
        chosen: `(n,)` int64, those of them that teach.
        rows: `(n, D)` float32, their features.
    """

    video: TrainingVideo
    step: int
    abnormal: np.ndarray = field(init=False)
    known: np.ndarray = field(init=False)
    chosen: np.ndarray = field(init=False)
    rows: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        known = np.arange(self.video.features.clips)
        self.teach(_abnormal(self.video), known if self.video.clicks else known[self.video.known_clips])

    def teach(self, abnormal: np.ndarray, known: np.ndarray) -> None:
        """Let the clips `known` teach, of which `abnormal` says what they are."""
        kinds = (known[abnormal[known]], known[~abnormal[known]])
        clicked = np.flatnonzero(_abnormal(self.video)) if self.video.clicks else np.array([], dtype=np.int64)
        self.abnormal, self.known = abnormal, known
        self.chosen = np.union1d(np.concatenate([kind[:: self.step] for kind in kinds]), clicked)
        self.rows = _mean_of_crops(self.video, self.chosen)

    @property
    def group(self) -> str:
        return self.video.group

    @property
    def is_abnormal(self) -> bool:
        return self.video.is_abnormal


@dataclass(frozen=True)
class _Rule:
    """A linear rule: `weights` `(D,)` float64 and `offset` for features as they are, not standardised."""

    weights: np.ndarray
    offset: float

    def scores(self, video: TrainingVideo, near: int) -> np.ndarray:
        """`(clips,)` float64: the log-odds of each clip, the mean over itself and `near` clips on each side."""
        blocks = np.split(np.arange(video.features.clips), range(BLOCK, video.features.clips, BLOCK))
        found = np.concatenate([_mean_of_crops(video, block) @ self.weights for block in blocks]) + self.offset
        kernel = np.ones(2 * near + 1)
        total, count = (np.convolve(one, kernel)[near : near + len(found)] for one in (found, np.ones_like(found)))
        return total / count


def grow(
    train: Sequence[TrainingVideo], val: Sequence[TrainingVideo], config: TrainConfig, device: str
) -> tuple[list[TrainingVideo], list[TrainingVideo]]:
    """The videos, with labels of frames; what validates teaches nothing here either.

    Of a clicked video that teaches windows, the frames of intervals and of the lowest scores are labelled. Of one that
    validates every frame is: a threshold has to do for what is hard to tell, too. So is every frame of one that teaches
    as a whole: it would not be seen otherwise.

    Args:
        train, val: to learn from, and to validate on.
        config: of the training: `window` says over how many clips scores are averaged, `seed` how videos are divided.
        device: where the rule is learned.

    Raises:
        TrainingError: features are not finite.
    """
    near = config.window // 2
    step = -(-sum(video.features.clips for video in train) // MAX_CLIPS)
    taught = [_Taught(video, step) for video in train]
    parts = [part for part in divide(taught, PARTS, config.seed) if part]
    for _ in range(ROUNDS):
        grown: list[tuple[_Taught, np.ndarray]] = []
        for part in parts:
            rule = _learn([one for other in parts if other is not part for one in other] or part, device)
            grown += [(one, rule.scores(one.video, near)) for one in part if one.video.clicks]
        for one, scores in grown:
            abnormal = _around_clicks(one.video, scores)
            one.teach(abnormal, np.flatnonzero(abnormal | _lowest(scores)))
    whole = sees_videos(config.detector)
    labelled = [
        _labelled(one.video, one.abnormal, None if whole else one.known) if one.video.clicks else one.video
        for one in taught
    ]
    if not any(video.clicks for video in val):
        return labelled, list(val)
    rule = _learn(taught, device)
    return labelled, [_labelled(one, _around_clicks(one, rule.scores(one, near))) if one.clicks else one for one in val]


def _around_clicks(video: TrainingVideo, scores: np.ndarray) -> np.ndarray:
    """`(clips,)` bool: those around each click, as far as the scores `(clips,)` stay high."""
    grown = np.zeros(len(scores), dtype=bool)
    lowest = scores.min()
    for click in np.flatnonzero(_abnormal(video)):
        low = np.flatnonzero(scores < lowest + HEIGHT * (scores[click] - lowest))
        place = int(np.searchsorted(low, click))
        grown[low[place - 1] + 1 if place else 0 : low[place] if place < len(low) else None] = True
    return grown


def _lowest(scores: np.ndarray) -> np.ndarray:
    """`(clips,)` bool: the share of them that has the lowest scores `(clips,)`, at least one."""
    lowest = np.zeros(len(scores), dtype=bool)
    lowest[np.argsort(scores, kind="stable")[: max(int(LOWEST * len(scores)), 1)]] = True
    return lowest


def _labelled(video: TrainingVideo, abnormal: np.ndarray, known: np.ndarray | None = None) -> TrainingVideo:
    """A clicked video whose frames have the label of their clip, `abnormal` `(clips,)` bool.

    `known` `(n,)` int64: the clips whose frames are labelled; None: all. Clips that overlap share frames, and then the
    half of a neighbour may be labelled, too: without it, a single clip between others would have none of its own.
    """
    clip_of_frame = video.source.timeline().clip_of_frame(len(abnormal))
    frames = abnormal[clip_of_frame]
    labelled = np.isin(clip_of_frame, known) if known is not None else np.ones_like(frames)
    frames[list(video.clicks)] = labelled[list(video.clicks)] = True
    return replace(video, frame_labels=frames, labelled=None if labelled.all() else labelled, clicks=())


def _abnormal(video: TrainingVideo) -> np.ndarray:
    """`(clips,)` bool: those that hold a frame of an event, of which a clicked video has single ones."""
    return np.asarray(video.targets.any(axis=1))


def _mean_of_crops(video: TrainingVideo, clips: np.ndarray) -> np.ndarray:
    """`(n, D)` float32 of these clips, the mean over the crops."""
    crops = [video.features.rows(crop, clips) for crop in range(video.features.crops)]
    return np.asarray(np.mean(crops, axis=0, dtype=np.float32))


def _learn(taught: Sequence[_Taught], device: str) -> _Rule:
    """Logistic regression on standardised features of clips, both kinds of which weigh the same together."""
    rows = torch.from_numpy(np.concatenate([one.rows for one in taught])).to(device)
    labels = torch.from_numpy(np.concatenate([one.abnormal[one.chosen] for one in taught])).to(device, torch.float32)
    if not bool(torch.isfinite(rows).all()):
        bad = next(one.video for one in taught if not np.isfinite(one.rows).all())
        raise TrainingError(f"{bad.source.paths[0]}: holds numbers that are not finite")
    mean, deviation = rows.mean(dim=0), rows.std(dim=0, unbiased=False)
    deviation = deviation.clamp(min=max(float(deviation.mean()) * STD_FLOOR, 1e-12))
    rows = (rows - mean) / deviation
    weights = torch.zeros(rows.shape[1], device=device, requires_grad=True)
    offset = torch.zeros((), device=device, requires_grad=True)
    shares = torch.where(labels > 0, 0.5 / labels.sum().clamp(min=1), 0.5 / (1 - labels).sum().clamp(min=1))
    optimizer = torch.optim.LBFGS([weights, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        wrong = F.binary_cross_entropy_with_logits(rows @ weights + offset, labels, weight=shares, reduction="sum")
        total = wrong + weights.square().sum() / (2 * STRENGTH * len(rows))
        total.backward()
        return total

    optimizer.step(loss)
    found = (weights.detach() / deviation).double()
    return _Rule(found.cpu().numpy(), float(offset.detach()) - float(found @ mean.double()))
