"""Frames that follow each other to batches of clips, as `lad score` makes them of a video, while they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.sampling import nearest_sampled, resample
from lad.extract.video import VideoInfo
from lad.watch.messages import Batch, StretchEnd


@dataclass
class _Covered:
    """Frames whose clips were not given yet.

    Attributes:
        rate: of the sampled frames; None: all.
        taken: frames so far.
        sampled: of them, for clips.
    """

    rate: float | None
    taken: int = 0
    sampled: int = 0
    _times: list[float] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)

    def add(self, time: float, since_first: float) -> None:
        place = self.taken if self.rate is None else int(nearest_sampled(np.array([since_first]), self.rate)[0])
        self.taken += 1
        self._times.append(time)
        self._places.append(place)

    def until(self, place: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Times and places of the frames before a sampled frame, or of all that are left; they are given once."""
        count = len(self._places) if place is None else int(np.searchsorted(self._places, place))
        found = np.array(self._times[:count], np.float64), np.array(self._places[:count], np.int64)
        del self._times[:count], self._places[:count]
        return found


def cut(
    number: int,
    frames: Iterable[tuple[ArrayLike, float]],
    info: VideoInfo,
    spec: ClipSpec,
    pixel_aspect: float,
    offset: Callable[[], float | None],
) -> Iterator[Batch | StretchEnd]:
    """Cut one stretch into clips.

    Args:
        number: of the stretch.
        frames: each with the time at which it was taken.
        info: the last of its `times` is that of the frame which was taken last, in seconds since the first of the
            stretch; `fps` is final after the last frame.
        spec: how to cut.
        pixel_aspect: how much wider than high a pixel is shown.
        offset: from the monotonic clock to that of the frames' times.
    """
    covered = _Covered(spec.fps)

    def noted() -> Iterator[ArrayLike]:
        for frame, time in frames:
            covered.add(time, info.times[-1])
            yield frame

    def counted(sampled: Iterable[ArrayLike]) -> Iterator[ArrayLike]:
        for frame in sampled:
            covered.sampled += 1
            yield frame

    first = 0
    sampled = counted(resample(noted(), info, spec.fps))
    for clips in clip_batches(sampled, spec, pixel_aspect=pixel_aspect):
        count = len(next(iter(clips.values())))
        # Of a last clip that is filled up, not all frames are real: what lies beyond them comes with the end.
        times, places = covered.until(min(spec.start(first + count), covered.sampled))
        yield Batch(number, first, clips, times, places, offset())
        first += count
    yield StretchEnd(number, *covered.until(None), covered.sampled)
