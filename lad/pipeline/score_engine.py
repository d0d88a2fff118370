"""Where videos are scored: in this process, one after the other, or by actors of Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from lad.detector.cameras import UnknownCamera
from lad.detector.checkpoint import CheckpointError
from lad.detector.score_video import ToKnow, ToScore, VideoScorer
from lad.detector.scoring import ScoreError
from lad.device import repeatable
from lad.engine.messages import Fleet, Known, Made, PoolEvent, Scored
from lad.engine.ray_cluster import OnRay
from lad.extract.jobs import Failed, Started
from lad.features.video import FeaturesError
from lad.pipeline.fleet import fleet_told, write_fleet
from lad.pipeline.pace import Count
from lad.work.layout import Work

OnPart = Callable[[int, float], None]  # number of a video, how much of it is done


@dataclass(frozen=True)
class ScoreEngine:
    """Scores videos, or gets to know cameras by them.

    Attributes:
        scorer: the detector. Ray is told where it lies and how it scores.
        work: where scores are written.
        asked: of Ray; None: this process does it.
        stall_seconds: without progress an actor is ended.
        say: gets a line for what is worth knowing.
    """

    scorer: VideoScorer
    work: Work
    asked: OnRay | None
    stall_seconds: float
    say: Callable[[str], None]

    def run(
        self, jobs: Sequence[ToScore | ToKnow], on_part: OnPart = lambda number, share: None
    ) -> Generator[PoolEvent, None, None]:
        """Do the jobs, and yield what comes of each: `Started`, and `Made`, when its CSV is written, or `Failed`.

        Args:
            jobs: the videos.
            on_part: told on the way, in this process.

        Raises:
            CheckpointError, OSError, FeaturesError: the detector cannot be used, or the first features cannot be read.
            OSError: scores cannot be written.
            EngineError: there is no such cluster, or none of its nodes takes videos.
        """
        if self.asked is None:
            yield from self._here(jobs, on_part)
        else:
            yield from self._on_ray(jobs, self.asked)

    def _here(self, jobs: Sequence[ToScore | ToKnow], on_part: OnPart) -> Iterator[PoolEvent]:
        with repeatable(self.scorer.settings.recipe.device, self.scorer.settings.threads):
            _check(self.scorer, jobs)
            for number, job in enumerate(jobs):
                yield Started(job.item, "auto", 0)
                if problem := self._problem(job):
                    yield problem
                    continue
                try:
                    if isinstance(job, ToKnow):
                        yield Made(job.item, Known(job.item, {}, self.scorer.get_to_know(job)), {})
                    else:
                        info = self.scorer.score(job, self.work.scores(job.item), partial(on_part, number))
                        yield Made(job.item, Scored(job.item, {}, info), {})
                except ScoreError as error:
                    yield Failed(job.item, "content", str(error))

    def _problem(self, job: ToScore | ToKnow) -> Failed | None:
        """Why a video alone cannot be scored, as an actor would say it; None: it can."""
        try:
            self.scorer.check(job)
        except CheckpointError as error:
            return Failed(job.item, "content", str(error))
        except (OSError, FeaturesError) as error:
            return Failed(job.item, "io", str(error))
        return None

    def _on_ray(self, jobs: Sequence[ToScore | ToKnow], asked: OnRay) -> Iterator[PoolEvent]:
        from lad.engine.on_ray import score_on_ray

        _check(self.scorer.on_cpu(), jobs)
        count = Count(len(jobs))
        jobs = sorted(jobs, key=lambda job: -job.features.frames)  # the longest first
        events = score_on_ray(
            jobs,
            self.scorer.settings,
            self.scorer.path,
            self.work.scores,
            asked,
            stall_seconds=self.stall_seconds,
            say=self.say,
        )
        with fleet_told(self.work.home), closing(events):
            for event in events:
                if isinstance(event, Fleet):
                    write_fleet(self.work.home, "scoring", event, count.share, count.seconds_left)
                    continue
                if isinstance(event, Made | Failed):
                    count.ended()
                yield event


def _check(scorer: VideoScorer, jobs: Sequence[ToScore | ToKnow]) -> None:
    """See that the detector can be used for such features, before what other detectors made is replaced."""
    for job in jobs:
        with suppress(UnknownCamera):  # said when its turn comes
            scorer.check(job)
            return
