"""How fast work on videos is, and how much of it is done: of an extraction inside a long video too."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lad.extract.jobs import Job, Reached
from lad.pipeline.reporter import SETTLED_SECONDS


class Pace:
    """Of the videos of an extraction. How long one takes before it was opened, the size of its file has to say."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        sizes = {job.item: _size(job) for job in jobs}
        self._sizes = sizes if all(sizes.values()) else dict.fromkeys(sizes, 1)
        self._parts = dict.fromkeys(sizes, 0.0)  # how much of each is done
        self._all, self._done = sum(self._sizes.values()), 0.0  # sizes, and what is done of them
        self._frames = self._seconds = self._clips = 0.0  # computed since `_begun`
        self._begun: float | None = None

    def computed(self, item: str, reached: Reached, clips: int, all_clips: int) -> None:
        """Count in the next `clips` of a video, which has `all_clips` by now and is decoded so far."""
        if reached.promised:
            self._set(item, min(1.0, reached.frames / reached.promised))
        if self._begun is None:  # the networks were loaded, and decoding began: what follows has a speed
            self._begun = time.monotonic()
            return
        frames = reached.frames * clips / all_clips
        self._clips += clips
        self._frames += frames
        self._seconds += frames / reached.fps if reached.fps else 0.0

    def ended(self, item: str) -> None:
        """A video is done or failed."""
        self._set(item, 1.0)

    def _set(self, item: str, part: float) -> None:
        self._done += self._sizes[item] * (part - self._parts[item])
        self._parts[item] = part

    @property
    def share(self) -> float:
        """How much of all videos is done, from 0 to 1."""
        return self._done / self._all

    @property
    def _took(self) -> float:
        return time.monotonic() - self._begun if self._begun is not None else 0.0

    @property
    def clips_per_second(self) -> float | None:
        """None while nobody can say."""
        return self._clips / self._took if self._clips and self._took >= SETTLED_SECONDS else None

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can say."""
        return self._took * (1 - self.share) / self.share if self.share and self._took >= SETTLED_SECONDS else None

    @property
    def speed(self) -> str:
        """`3.1x real time / 212 frames/s`; empty while nobody can say."""
        seconds = self._took
        if not self._frames or seconds < SETTLED_SECONDS:
            return ""
        return f"{self._seconds / seconds:.1f}x real time / {self._frames / seconds:.0f} frames/s"


class Count:
    """Of work on `videos` that take about as long each."""

    def __init__(self, videos: int) -> None:
        self._all, self._done = videos, 0
        self._begun = time.monotonic()

    def ended(self) -> None:
        """A video is done or failed."""
        self._done += 1

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return self._done / self._all

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can say."""
        took = time.monotonic() - self._begun
        return took * (1 - self.share) / self.share if self._done and took >= SETTLED_SECONDS else None


def _size(job: Job) -> int:
    """Bytes of a file; 0 of what has none of its own, as folders of frames."""
    if job.remote:
        return job.remote.facts.size or 0
    try:
        return job.path.stat().st_size if job.path.is_file() else 0
    except OSError:  # said when it is decoded
        return 0
