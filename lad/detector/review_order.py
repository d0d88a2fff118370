"""What to look at next: moments that nobody has labelled, in the order in which a verdict would teach most.

A moment is a stretch of as many clips as a detector sees at once. Each next one is the one whose features are farthest
from all that is labelled and from the moments before it in the order. This is the farthest-first choice of Sener and
Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018. How near a moment's score
is to the threshold does not count in it, since that made it worse: benchmarks/review_order.py. It only has a say in
which moments of a long video are looked at.

Time and memory grow with a video's length only as reading its scores does: of each video a few moments are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lad.extract.sampling import Timeline
from lad.features.video import ClipFeatures

MAX_CANDIDATES = 8192  # moments of all videos of which features are read
MAX_OF_VIDEO = 32  # of them of one video
MAX_LABELLED = 2048  # labelled moments that they are held against
SMALLEST = 1e-6  # deviation of a feature that is always the same


@dataclass(frozen=True)
class Moment:
    """A stretch of a video.

    Attributes:
        video: its id.
        start, end: frames, half-open.
        first, last: the clips that show it, half-open.
        score: its mean score, in [0, 1].
        certainty: how far that is from the threshold, from 0 (on it) to 1 (as far as a score can be).
    """

    video: str
    start: int
    end: int
    first: int
    last: int
    score: float
    certainty: float


def moments_of(
    video: str, timeline: Timeline, clips: int, scores: np.ndarray, labelled: np.ndarray, threshold: float, window: int
) -> tuple[list[Moment], list[Moment]]:
    """A video cut into moments one after the other: those that nobody has labelled, and those that somebody has.

    Args:
        video: its id.
        timeline: of its frames.
        clips: how many it has.
        scores: `(frames,)` float in [0, 1].
        labelled: `(frames,)` bool.
        threshold: of events.
        window: clips in a moment; the last one of a video may have fewer.
    """
    group = timeline.clip_of_frame(clips) // window
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))
    means = np.add.reduceat(scores, starts) / (ends - starts)
    known = np.add.reduceat(labelled.astype(np.int64), starts) * 2 >= ends - starts
    reach = max(threshold, 1 - threshold)
    certainty = np.minimum(np.abs(means - threshold) / reach, 1.0)
    # Of a long video those near the threshold are kept, and as many more from all over it.
    unknown, seen = np.flatnonzero(~known), np.flatnonzero(known)
    near = unknown[np.argsort(certainty[unknown], kind="stable")[: MAX_OF_VIDEO // 2]]
    chosen = np.union1d(near, _spread(unknown, MAX_OF_VIDEO // 2))

    def moment(index: int) -> Moment:
        first = int(group[starts[index]]) * window
        numbers = float(means[index]), float(certainty[index])
        return Moment(video, int(starts[index]), int(ends[index]), first, min(first + window, clips), *numbers)

    return [moment(i) for i in chosen.tolist()], [moment(i) for i in _spread(seen, MAX_OF_VIDEO).tolist()]


def _spread(items: np.ndarray, most: int) -> np.ndarray:
    """At most so many of `items`, from all over them."""
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, most).astype(int)]


def bounded(moments: Sequence[Moment], most: int) -> list[Moment]:
    """At most so many of all videos' moments: of each video the most doubtful one first, then its second, ..."""
    if len(moments) <= most:
        return list(moments)
    rank: dict[str, int] = {}
    ranked = []
    for moment in sorted(moments, key=lambda one: (one.certainty, one.video, one.start)):
        rank[moment.video] = rank.get(moment.video, -1) + 1
        ranked.append((rank[moment.video], moment.certainty, moment.video, moment.start, moment))
    return [one[-1] for one in sorted(ranked, key=lambda one: one[:-1])[:most]]


def describe(features: ClipFeatures, moments: Iterable[Moment]) -> np.ndarray:
    """`(moments, dim)` float32: the mean of each one's clips, of the first crop; nothing else of the file is read."""
    return np.stack([features.rows(0, slice(one.first, one.last)).mean(axis=0) for one in moments])


def order(candidates: np.ndarray, labelled: np.ndarray) -> Iterator[int]:
    """Which candidate comes first, second, ...: the one that is farthest from all that is known by then.

    Features are standardised before. Where nothing is labelled, the first is the one nearest to the mean of all: the
    most ordinary one. Each step takes time and memory in proportion to the number of candidates.

    Args:
        candidates: `(candidates, dim)` float32, what they show.
        labelled: `(any, dim)` float32, what is labelled; there may be none.
    """
    both = np.concatenate([candidates, labelled])
    middle, spread = both.mean(axis=0), np.maximum(both.std(axis=0), SMALLEST)
    points, known = (candidates - middle) / spread, (labelled - middle) / spread
    distance, ordinary = _nearest(points, known), -np.linalg.norm(points, axis=1)
    left = np.ones(len(points), dtype=bool)
    for _ in range(len(points)):
        value = np.where(np.isinf(distance), ordinary, distance)  # before anything is known all are as far
        best = int(np.where(left, value, -np.inf).argmax())
        left[best] = False
        yield best
        distance = np.minimum(distance, _nearest(points, points[best : best + 1]))


def _nearest(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `(n, dim)` points from the nearest of `(m, dim)`, in blocks; of none: infinite."""
    squares = np.einsum("nd,nd->n", points, points)
    nearest = np.full(len(points), np.inf)
    for first in range(0, len(known), 256):
        block = known[first : first + 256]
        products = points @ block.T
        found = squares[:, None] + np.einsum("md,md->m", block, block) - 2 * products
        nearest = np.minimum(nearest, found.min(axis=1))
    return np.sqrt(np.maximum(nearest, 0.0))
