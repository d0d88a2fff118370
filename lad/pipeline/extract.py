"""`lad extract`: every video to `features/<stream>/<video id>.npy`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lad import __version__
from lad.dataset import Video
from lad.extract.container import Limits
from lad.extract.runtime import BATCHES_AT_ONCE
from lad.extract.sampling import clip_starts, sample_indices
from lad.extract.workers import ClipJob, Clips, Failed, Finished, Message, Started, decode_videos
from lad.features.given import GIVEN, take_given
from lad.files import replacing
from lad.memory import give_back_freed
from lad.models import weights
from lad.pipeline.inventory import feature_path, flow_weights_name, plan
from lad.pipeline.project import (
    EXTRACT,
    Run,
    StageResult,
    feature_runtime,
    folder_fps,
    prepare_torch,
    resolve_device,
    thread_count,
    weights_name,
)
from lad.work.partial import Partial, resume, sweep

if TYPE_CHECKING:
    from lad.extract.decode import VideoInfo
    from lad.extract.extractor import FeatureExtractor


@dataclass(frozen=True)
class Features:
    """The features of the next batch of clips of a video: stream -> `(clips, dim)`, or `(crops, clips, dim)`."""

    item: str
    batch: dict[str, np.ndarray]


Computed = Started | Features | Finished | Failed


def extract_features(run: Run, videos: list[Video]) -> StageResult:
    """Extract what is missing or stale of `videos`; every failure is recorded, the rest goes on.

    Raises:
        StageError, weights.WeightsError: nothing can be extracted at all.
    """
    result = StageResult(EXTRACT)
    before = run.manifest.items(EXTRACT)
    unfinished = [item for (_, item), row in before.items() if row.status == "pending" or row.failure == "io"]
    sweep(run.home, {item.partition("/")[2] for item in unfinished})
    today = plan(run, videos)
    result.failed = take_given(run, videos, today.fingerprints)
    for video in videos:
        if reason := today.unreadable.get(video.id):
            items = _items(run, video)
            _record_start(run, dict.fromkeys(items, ""))
            _record_failure(run, video.id, items, "io", reason, result)
    jobs: list[ClipJob] = []
    for video in videos:
        if video.id in result.failed:
            continue
        todo: list[str] = []
        for item, now in today.fingerprints[video.id].items():
            row = before.get((EXTRACT, item))
            if row and not run.force and (row.status, row.failure, row.fingerprint) == ("failed", "content", now):
                result.failed[video.id] = row.error or ""  # the same content fails again
            elif run.force or not run.manifest.is_done(row, now, verify=run.verify):
                todo.append(item.partition("/")[0])
        if todo and video.is_features:
            result.done += 1  # taken above
            if (taken := run.manifest.get(EXTRACT, f"{GIVEN}/{video.id}")) and taken.info["warnings"]:
                result.warnings[video.id] = taken.info["warnings"]
        elif todo:
            jobs.append(_job(run, video, tuple(todo)))
        elif video.id not in result.failed:
            result.skipped += 1
    if jobs:
        _extract(run, jobs, today.fingerprints, result)
    return result


def _items(run: Run, video: Video) -> list[str]:
    streams = [GIVEN] if video.is_features else run.config.extract.streams
    return [f"{stream}/{video.id}" for stream in streams]


def _job(run: Run, video: Video, streams: tuple[str, ...]) -> ClipJob:
    extract = run.config.extract
    return ClipJob(
        item=video.id,
        path=video.path,
        streams=streams,
        flow=extract.flow,
        tail=extract.tail,
        batch_clips=extract.batch_clips,
        folder_fps=folder_fps(run, video),
        stride=extract.clip_stride,
        crops=extract.crops,
        rgb_short_side=extract.rgb_short_side,
        fps=extract.fps,
        flow_device=resolve_device(run.config.device),
        flow_weights=flow_weights_name(run),
        limits=Limits(max_pixels=extract.max_pixels, max_frames=extract.max_frames),
    )


def _extract(run: Run, jobs: list[ClipJob], fingerprints: Mapping[str, Mapping[str, str]], result: StageResult) -> None:
    extractor = load_extractor(run)
    videos = {video.id: video for video in run.videos}
    partials: dict[str, Partial] = {}
    for number, job in enumerate(jobs):
        items = [f"{stream}/{job.item}" for stream in job.streams]
        partial = resume(run.home, job.item, {item: fingerprints[job.item][item] for item in items})
        if not run.force:
            jobs[number] = replace(job, reader=partial.reader, skip_clips=partial.clips)
        partials[job.item] = partial
    clips_done = 0
    stall_seconds = run.config.extract.stall_seconds

    with run.progress("extract", len(jobs)) as (bar, task):
        messages = decode_videos(jobs, workers=run.config.workers, stall_seconds=stall_seconds)
        for message in _computed(messages, extractor, BATCHES_AT_ONCE):
            item = message.item
            partial = partials[item]
            if isinstance(message, Started):
                _record_start(run, partial.fingerprints)
                if message.skip_clips:
                    bar.update(task, note=f"{item} (resumed at clip {message.skip_clips})")
                    run.say(f"{item}: resumed at clip {message.skip_clips}")
                else:
                    partial.restart(message.reader)
                continue
            if isinstance(message, Features):
                partial.add(message.batch)
                clips_done += sum(features.shape[-2] for features in message.batch.values())
                bar.update(task, note=f"{item} ({clips_done} clips)")
                continue
            if isinstance(message, Failed):
                error = f"{videos[item].path}: {message.error}"
                _record_failure(run, item, partial.fingerprints, message.failure, error, result)
            elif not partial.clips:
                error = f"{videos[item].path}: {message.info.frames} frames are no whole clip, and extract.tail is drop"
                _record_failure(run, item, partial.fingerprints, "content", error, result)
            elif (expected := _count_clips(run, message.info)) != partial.clips:
                # Decoded in part by an earlier run, it was not the same both times: nothing of it can be trusted.
                error = f"{videos[item].path}: {partial.clips} clips came of it, of its frames {expected}"
                _record_failure(run, item, partial.fingerprints, "worker", error, result)
            else:
                _save(run, videos[item], partial, message.info, result)
            del partials[item]
            if not (isinstance(message, Failed) and message.failure == "io"):  # its disk may come back, with all of it
                partial.remove()
            bar.advance(task)


def _computed(messages: Iterator[Message], extractor: FeatureExtractor, at_once: int) -> Iterator[Computed]:
    """The messages in their order, features in the place of clips, of `at_once` batches at a time."""

    def compute(clips: Clips) -> Features:
        return Features(clips.item, {stream: extractor(stream, batch) for stream, batch in clips.batch.items()})

    waiting: deque[Future[Features] | Computed] = deque()
    largest = 0
    with ThreadPoolExecutor(at_once, thread_name_prefix="network") as network:
        try:
            for message in messages:
                if not isinstance(message, Clips):
                    waiting.append(message)
                else:
                    size = sum(batch.nbytes for batch in message.batch.values())
                    if size > largest:  # what is kept of smaller ones are holes too small for it
                        give_back_freed()
                        largest = size
                    waiting.append(network.submit(compute, message))
                while waiting and (len(waiting) > at_once or not isinstance(waiting[0], Future) or waiting[0].done()):
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            network.shutdown(cancel_futures=True)


def _result(waiting: Future[Features] | Computed) -> Computed:
    return waiting.result() if isinstance(waiting, Future) else waiting


def _count_clips(run: Run, info: VideoInfo) -> int:
    extract = run.config.extract
    sampled = len(sample_indices(np.array(info.times), info.fps, extract.fps))
    return len(clip_starts(sampled, extract.clip_stride, extract.tail))


def _record_start(run: Run, fingerprints: Mapping[str, str]) -> None:
    with run.manifest.transaction():
        for item, today in fingerprints.items():
            run.manifest.start(EXTRACT, item, today)


def _record_failure(
    run: Run, video_id: str, items: Iterable[str], failure: str, error: str, result: StageResult
) -> None:
    with run.manifest.transaction():
        for item in items:
            run.manifest.fail(EXTRACT, item, failure, error)
    result.failed[video_id] = error
    run.say(f"failed: {error}")


def _save(run: Run, video: Video, features: Partial, info: VideoInfo, result: StageResult) -> None:
    """Write a video's features and times, and its rows."""
    warnings = list(info.warnings)
    if video.n_frames not in (None, info.frames):
        warnings.append(f"the dataset counts {video.n_frames} frames, {info.frames} were decoded")
    if warnings:
        result.warnings[video.id] = warnings
        run.say(f"warning: {video.id}: {'; '.join(warnings)}")
    facts = {
        "frames": info.frames,
        "fps": info.fps,
        "height": info.size[0],
        "width": info.size[1],
        "reader": info.reader,
        "warnings": warnings,
        "lad": __version__,
    }
    times = feature_path(run.home, "times", video.id)
    with replacing(times) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(info.times, dtype=np.float64), allow_pickle=False)
    paths = {item: feature_path(run.home, item.partition("/")[0], video.id) for item in features.fingerprints}
    for item, path in paths.items():
        features.write(item.partition("/")[0], path)
    with run.manifest.transaction():  # all streams or none: what is saved for later is of all of them
        for item, path in paths.items():
            run.manifest.finish(EXTRACT, item, [path, times], facts)
    result.done += 1


def load_extractor(run: Run) -> FeatureExtractor:
    """The feature networks of the configured streams on their device."""
    device = prepare_torch(run.config)
    from lad.extract.extractor import FeatureExtractor

    config, threads = run.config.extract, thread_count(run.config)
    runtime, dtype = feature_runtime(run.config)
    names: dict[str, str] = {stream: weights_name(config, stream) for stream in config.streams}
    described = " + ".join(f"{s} ({names[s]}{', ' + config.flow if s == 'flow' else ''})" for s in config.streams)
    run.say(
        f"extract: {config.backbone} {described}, {device}, {runtime} {dtype}"
        f"{f', {threads} threads' if device == 'cpu' else ''}, {run.config.workers} decoders"
    )
    networks = {
        stream: weights.load(name, backbone=config.backbone, stream=stream, seed=config.weights_seed)
        for stream, name in names.items()
    }
    return FeatureExtractor(
        networks,
        backbone=config.backbone,
        preset=config.preset,
        device=device,
        crops=config.crops,
        context=config.context,
        runtime=runtime,
        dtype=dtype,
        threads=threads,
    )
