"""`lad extract`: every video to `features/<stream>/<video id>.npy`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lad.dataset import Video
from lad.device import STEADY_THREADS, extraction_devices, repeatable
from lad.engine.messages import Extracted, Fleet, Made, PoolEvent, Progressed
from lad.extract.clips import count_clips
from lad.extract.extraction import Computed, Event, extract_videos
from lad.extract.jobs import Failed, Finished, Job, Reached, Started
from lad.extract.read_torchcodec import check_torchcodec
from lad.extract.video import Limits, VideoInfo
from lad.features.given import GIVEN
from lad.features.recipe import EXTRACT, FeatureRecipe, load_extractor
from lad.files import replacing
from lad.pipeline.facts import FACTS, kept
from lad.pipeline.fleet import fleet_told, write_fleet
from lad.pipeline.inventory import Plan, check_splits, features_facts, plan, take_given
from lad.pipeline.pace import Pace
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.shards import Merged, bytes_of, read_merged
from lad.remote.fetch import Remote
from lad.remote.url import Url
from lad.version import code_version
from lad.work.journal import Item
from lad.work.layout import Work
from lad.work.partial import Partial, folder_of, resume, sweep

CHANGED = "it changed while it was read: it is done when it is complete, by the next run"


def extract_features(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter
) -> StageResult:
    """Extract what is missing or stale; every failure is recorded, the rest is done.

    Raises:
        weights.WeightsError, device.DeviceError, read_torchcodec.ReaderMissing: nothing can be extracted at all.
        StageError: a content is in two splits.
    """
    result = StageResult(EXTRACT)
    _sweep(work)
    stage = _Extraction(project, recipe, work, asked, reporter, result)
    videos = project.footage
    today = plan(project, recipe, work, asked, reporter, videos)
    check_splits(project, recipe, work, asked)
    result.failed = take_given(project, recipe, work, reporter, videos, today)
    for video in videos:
        if reason := today.unreadable.get(video.id):
            stage.record_unreadable(video, reason)
    jobs = [job for video in videos if video.id not in result.failed for job in stage.jobs(video, today)]
    if jobs:
        if recipe.clips.reader == "torchcodec" and asked.ray is None:  # of Ray, its nodes have to be able to use it
            check_torchcodec()
        stage.run(jobs, today)
    return result


def _where(item: str, reached: Reached) -> str:
    """What is being extracted and where it is."""
    return f"{item}, frame {reached.frames}" + (f" of {reached.promised}" if reached.promised else "")


def _sweep(work: Work) -> None:
    """Drop what was saved of half-done videos that are done or failed for good by now."""
    rows = work.manifest.items(EXTRACT)
    unfinished = [item for (_, item), row in rows.items() if row.status == "pending" or row.failure == "io"]
    sweep(work.home, {item.partition("/")[2] for item in unfinished})


class _Extraction:
    """The stage at work: what is to be done, and what becomes of each video."""

    def __init__(
        self,
        project: Project,
        recipe: FeatureRecipe,
        work: Work,
        asked: Asked,
        reporter: Reporter,
        result: StageResult,
    ) -> None:
        self.project, self.recipe, self.work, self.asked = project, recipe, work, asked
        self.reporter, self.result = reporter, result
        self.before = work.manifest.items(EXTRACT)  # not yet what `take_given` records
        self.merged = read_merged(work.home) if asked.shard else Merged()
        self.videos = {video.id: video for video in project.footage}

    @cached_property
    def devices(self) -> list[str]:
        return extraction_devices(self.project.config.device)

    @property
    def is_alone(self) -> bool:
        """Whether this process does it itself."""
        return self.asked.ray is None and len(self.devices) == 1

    def jobs(self, video: Video, today: Plan) -> list[Job]:
        """The job that makes what is missing of a video's features; none where nothing is, or nothing can be done."""
        todo: list[str] = []
        for item, now in today.fingerprints[video.id].items():
            row = self.before.get((EXTRACT, item))
            hopeless = row and (row.status, row.failure, row.fingerprint) == ("failed", "content", now)
            if row and hopeless and not self.asked.force:
                self.result.failed[video.id] = row.error or ""  # the same content fails again
            elif self.asked.force or not self._is_done(row, item, now):
                todo.append(item.partition("/")[0])
        if todo and video.is_features:
            self.result.done += 1  # recorded by now
            taken = self.work.manifest.get(EXTRACT, f"{GIVEN}/{video.id}")
            if taken and taken.info["warnings"]:
                self.result.warnings[video.id] = taken.info["warnings"]
        elif todo:
            return [self._job(video, tuple(todo))]
        elif video.id not in self.result.failed:
            self.result.skipped += 1
        return []

    def _is_done(self, row: Item | None, item: str, fingerprint: str) -> bool:
        done = self.work.manifest.is_done(row, fingerprint, verify=self.asked.verify)
        return done or self.merged.has(item, fingerprint)

    def has_failed(self, job: Job) -> bool:
        """Whether an earlier run could not do it."""
        rows = (self.before.get((EXTRACT, f"{stream}/{job.item}")) for stream in job.spec.streams)
        return any(row is not None and row.status == "failed" for row in rows)

    def _job(self, video: Video, streams: tuple[str, ...]) -> Job:
        extract = self.project.config.extract
        return Job(
            item=video.id,
            path=video.path if isinstance(video.path, Path) else Path(),
            spec=replace(self.recipe.clips, streams=streams),
            folder_fps=self.project.folder_fps(video),
            limits=Limits(max_pixels=extract.max_pixels, max_frames=extract.max_frames),
            remote=self._remote(video.path) if isinstance(video.path, Url) else None,
        )

    def _remote(self, url: Url) -> Remote:
        return Remote(url, self.work.manifest.contents.facts(url), self.project.room)

    def run(self, jobs: list[Job], today: Plan) -> None:
        """Do the jobs, one event after the other."""
        jobs.sort(key=self.has_failed)  # a video that breaks a GPU must not keep others from it again
        partials: dict[str, Partial] = {}
        resumes = self.is_alone and not self.asked.force  # elsewhere every video begins at its start
        for number, job in enumerate(jobs):
            items = [f"{stream}/{job.item}" for stream in job.spec.streams]
            fingerprints = {item: today.fingerprints[job.item][item] for item in items}
            partials[job.item] = Partial(folder_of(self.work.home, job.item), fingerprints)
            if resumes:
                partial = partials[job.item] = resume(self.work.home, job.item, fingerprints)
                before = partial.last(job.spec.still) if job.spec.still else {}
                jobs[number] = replace(job, choice=partial.reader, skip_clips=partial.clips, before=before)
        pace = Pace(jobs)
        with self.reporter.progress("extract", len(jobs)) as bar, closing(self._events(jobs)) as events:
            for event in events:
                if isinstance(event, Fleet):
                    left, speed = pace.seconds_left, pace.clips_per_second
                    write_fleet(self.work.home, "extracting", event, pace.share, left, speed)
                    continue
                item, partial = event.item, partials[event.item]
                wanted = partial.fingerprints
                match event:
                    case Started(skip_clips=0):
                        self._record_start(partial.fingerprints)
                        partial.restart(event.choice)
                    case Started():
                        self._record_start(partial.fingerprints)
                        self.reporter.say(f"{item}: resumed at clip {event.skip_clips}")
                    case Computed():
                        rows = {one: rows for one, rows in event.batch.items() if f"{one}/{item}" in wanted}
                        partial.add(rows, event.back)
                        clips = next(iter(event.batch.values())).shape[-2]
                        pace.computed(item, event.reached, clips, partial.clips)
                        bar.show(share=pace.share, speed=pace.speed, note=_where(item, event.reached))
                    case Progressed():
                        pace.computed(item, event.reached, event.clips, event.all_clips)
                        bar.show(share=pace.share, speed=pace.speed, note=_where(item, event.reached))
                    case Failed() | Finished() | Made() if not self._is_as_it_was(item):
                        self._fail(partial, item, "io", CHANGED)
                    case Failed():
                        self._fail(partials.pop(item), item, event.failure, event.error)
                    case Finished():
                        self._finish(partials.pop(item), item, event.info)  # so that its features leave memory
                    case Made(_, Extracted() as made, files):
                        partial.take(made.clips, made.still, files)
                        self._finish(partials.pop(item), item, made.info)
                if isinstance(event, Failed | Finished | Made):
                    pace.ended(item)
                    bar.advance()
                    bar.show(share=pace.share)

    def _events(self, jobs: list[Job]) -> Generator[Event | PoolEvent, None, None]:
        """What comes of the jobs: by this process with its decoders, by one for each of several GPUs, or by Ray."""
        config, recipe, home, say = self.project.config, self.recipe, self.work.home, self.reporter.say
        workers, stall_seconds = config.workers, config.extract.stall_seconds
        if self.is_alone:
            say(f"extract: {recipe.describe()}, {workers} decoders")
            with repeatable(recipe.device, STEADY_THREADS):
                yield from extract_videos(
                    jobs,
                    lambda: load_extractor(recipe),
                    batch_clips=recipe.clips.batch_clips,
                    workers=workers,
                    stall_seconds=stall_seconds,
                )
            return
        # The longest first, as far as bytes tell.
        jobs = sorted(jobs, key=lambda job: (self.has_failed(job), -_bytes(job)))
        with fleet_told(home):
            if self.asked.ray is None:
                from lad.engine.processes import extract_on_devices

                say(f"extract: {recipe.describe()}, {len(self.devices)} processes of {workers} decoders")
                yield from extract_on_devices(
                    jobs, recipe, home, self.devices, workers=workers, stall_seconds=stall_seconds, say=say
                )
            else:
                from lad.engine.on_ray import extract_on_ray

                threads = config.threads or 1
                say(f"extract: {replace(recipe, threads=threads).describe()}, actors of {workers} decoders")
                yield from extract_on_ray(
                    jobs,
                    recipe,
                    home,
                    self.asked.ray,
                    workers=workers,
                    threads=threads,
                    stall_seconds=stall_seconds,
                    say=say,
                )

    def _is_as_it_was(self, item: str) -> bool:
        """Whether a video's file did not change from when it was hashed to now: else nobody knows what was decoded.

        One at a URL was checked when it was fetched.
        """
        path = self.videos[item].path
        return isinstance(path, Url) or not path.exists() or self.work.manifest.contents.is_unchanged(path)

    def _finish(self, partial: Partial, item: str, info: VideoInfo) -> None:
        """A video's last batch is there: save it, unless its clips are not what its frames come to."""
        expected = count_clips(self.recipe.clips, info)
        if not partial.clips:
            error = f"{info.frames} frames are no whole clip, and extract.tail is drop"
            self._fail(partial, item, "content", error)
        elif expected != partial.clips:
            # Decoded in part by an earlier run, it was not the same both times: nothing of it can be trusted.
            error = f"{partial.clips} clips came of it, of its frames {expected}"
            self._fail(partial, item, "worker", error)
        else:
            self._save(self.videos[item], partial, info)
            partial.remove()

    def _fail(self, partial: Partial, item: str, failure: str, error: str) -> None:
        self._record_failure(item, partial.fingerprints, failure, f"{self.videos[item].path}: {error}")
        if failure != "io" or error == CHANGED:  # else its disk may come back, with all of it
            partial.remove()

    def _save(self, video: Video, features: Partial, found: VideoInfo) -> None:
        """Write a video's features and times, and its rows."""
        warnings = list(found.warnings)
        if video.n_frames not in (None, found.frames):
            warnings.append(f"the dataset counts {video.n_frames} frames, {found.frames} were decoded")
        if warnings:
            self.result.warnings[video.id] = warnings
            self.reporter.say(f"warning: {video.id}: {'; '.join(warnings)}")
        info = {
            "frames": found.frames,
            "fps": found.fps,
            "height": found.size[0],
            "width": found.size[1],
            "reader": found.reader,
            "warnings": warnings,
            "lad": code_version(),
        }
        if self.recipe.clips.still:
            info["still"] = features.still
            self.result.judged_clips += features.clips
            self.result.still_clips += sum(end - start for start, end in features.still)
        facts = features_facts(self.project, self.recipe, video)
        times = self.work.times(video.id)
        with replacing(times) as temporary, temporary.open("wb") as file:
            np.save(file, np.array(found.times, dtype=np.float64), allow_pickle=False)
        paths = {item: self.work.features(item.partition("/")[0], video.id) for item in features.fingerprints}
        for item, path in paths.items():
            features.write(item.partition("/")[0], path)
        with self.work.manifest.transaction():  # all streams or none: what is saved for later is of all of them
            for item, path in paths.items():
                self.work.manifest.finish(EXTRACT, item, [path, times], {**info, FACTS: kept(facts[item])})
        self.result.done += 1

    def record_unreadable(self, video: Video, reason: str) -> None:
        """Record a video whose file cannot be read."""
        items = [f"{stream}/{video.id}" for stream in ((GIVEN,) if video.is_features else self.recipe.streams)]
        self._record_start(dict.fromkeys(items, ""))
        self._record_failure(video.id, items, "io", reason)

    def _record_start(self, fingerprints: Mapping[str, str]) -> None:
        with self.work.manifest.unhurried(), self.work.manifest.transaction():
            for item, today in fingerprints.items():
                self.work.manifest.start(EXTRACT, item, today)

    def _record_failure(self, video_id: str, items: Iterable[str], failure: str, error: str) -> None:
        with self.work.manifest.transaction():
            for item in items:
                self.work.manifest.fail(EXTRACT, item, failure, error)
        self.result.failed[video_id] = error
        self.reporter.say(f"failed: {error}")


def _bytes(job: Job) -> int:
    """Of a video, as far as anybody knows."""
    return (job.remote.facts.size or 0) if job.remote else bytes_of(job.path)
