"""`lad extract`: every video to `features/<stream>/<video id>.npy`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lad import __version__
from lad.dataset import Video
from lad.files import fingerprint, replacing
from lad.models import weights
from lad.pipeline.engine import ClipJob, Clips, Failed, Started, decode_videos
from lad.pipeline.stage import Run, StageError, StageResult, numerics, prepare_torch, weights_name

if TYPE_CHECKING:
    from lad.extract.decode import VideoInfo
    from lad.extract.features import FeatureExtractor

STAGE = "extract"
CODE_VERSION = 1  # raised by hand when the same input gives other features


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video, as files.

    Attributes:
        paths: `(clips, dim)` float32 `.npy` of each stream, in the order of the configured streams.
        times: `(frames,)` float64 `.npy`: seconds since the first frame.
        fingerprint: of all streams together.
        fps: average frames a second.
        warnings: what was odd about the video.
    """

    paths: list[Path]
    times: Path
    fingerprint: str
    fps: float
    warnings: list[str]

    def load(self) -> np.ndarray:
        """`(clips, D)` float32: the streams side by side."""
        return np.hstack([np.load(path, allow_pickle=False) for path in self.paths])

    def load_times(self) -> np.ndarray:
        return np.load(self.times, allow_pickle=False)


def feature_path(work: Path, stream: str, video_id: str) -> Path:
    # Not with_suffix: an id may hold dots of its own.
    return work / "features" / stream / f"{video_id}.npy"


def weights_in_use(run: Run) -> dict[str, str]:
    """stream -> identity of its weights, fetched first where they are not here yet.

    Raises:
        weights.WeightsError: they cannot be had.
    """
    extract = run.config.extract
    found: dict[str, str] = {}
    for stream in extract.streams:
        name = weights_name(extract, stream)
        weights.check(name, backbone=extract.backbone, stream=stream)
        if name != "random" and weights.find(name) is None:
            run.say(f"fetching the weights {name} (once)")
            with run.progress(f"weights {name}", None) as (bar, task):
                weights.fetch(name, on_progress=lambda done, total, _: bar.update(task, completed=done, total=total))
        found[stream] = weights.identity(name, backbone=extract.backbone, stream=stream, seed=extract.weights_seed)
    return found


def plan(run: Run, videos: list[Video]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Today's fingerprints (video id -> stream -> fingerprint), and why other videos cannot be read (id -> reason)."""
    extract = run.config.extract
    identities = weights_in_use(run)
    shared = {
        stream: {
            "stage": STAGE,
            "code": CODE_VERSION,
            "backbone": extract.backbone,
            "weights": identities[stream],
            "preset": extract.preset,
            "flow": extract.flow if stream == "flow" else None,
            "tail": extract.tail,
            "batch_clips": extract.batch_clips,
            "numerics": numerics(run.config),
        }
        for stream in extract.streams
    }
    fingerprints: dict[str, dict[str, str]] = {}
    unreadable: dict[str, str] = {}
    with run.progress("check", len(videos)) as (bar, task):
        for video in videos:
            bar.update(task, advance=1, note=video.id)
            try:
                content = run.manifest.content_sha256(video.path, verify=run.verify)
            except OSError as error:
                unreadable[video.id] = f"{video.path}: cannot be read: {error.strerror or error}"
                continue
            # The frame rate of a folder of images is not in its content, but in the times that are written.
            rate = folder_fps(run, video) if video.path.is_dir() else None
            facts = {"content": content, "folder_fps": rate}
            fingerprints[video.id] = {stream: fingerprint({**shared[stream], **facts}) for stream in extract.streams}
    return fingerprints, unreadable


def folder_fps(run: Run, video: Video) -> float:
    return video.fps or run.config.data.frame_folder_fps


def extract_features(run: Run, videos: list[Video]) -> StageResult:
    """Extract what is missing or stale of `videos`; every failure is recorded, the rest goes on.

    Raises:
        StageError, weights.WeightsError: nothing can be extracted at all.
    """
    result = StageResult(STAGE)
    fingerprints, unreadable = plan(run, videos)
    for video_id, reason in unreadable.items():
        streams = run.config.extract.streams
        _record_start(run, video_id, dict.fromkeys(streams, ""))
        _record_failure(run, video_id, streams, "io", reason, result)
    rows = run.manifest.items(STAGE)
    jobs: list[ClipJob] = []
    for video in videos:
        if video.id in unreadable:
            continue
        todo: list[str] = []
        for stream, today in fingerprints[video.id].items():
            row = rows.get((STAGE, f"{stream}/{video.id}"))
            if run.force or row is None:
                todo.append(stream)
            elif (row.status, row.failure, row.fingerprint) == ("failed", "content", today):
                result.failed[video.id] = row.error or ""  # the same content fails again
            elif not run.manifest.is_done(row, today, verify=run.verify):
                todo.append(stream)
        if todo:
            jobs.append(_job(run, video, tuple(todo)))
        elif video.id not in result.failed:
            result.skipped += 1
    if jobs:
        _extract(run, jobs, fingerprints, result)
    return result


def _job(run: Run, video: Video, streams: tuple[str, ...]) -> ClipJob:
    extract = run.config.extract
    rate = folder_fps(run, video)
    return ClipJob(video.id, video.path, streams, extract.flow, extract.tail, extract.batch_clips, rate)


def _extract(run: Run, jobs: list[ClipJob], fingerprints: dict[str, dict[str, str]], result: StageResult) -> None:
    extractor = load_extractor(run)
    videos = {video.id: video for video in run.videos}
    streams = {job.item: job.streams for job in jobs}
    features: dict[str, dict[str, list[np.ndarray]]] = {}
    clips_done = 0
    stall_seconds = run.config.extract.stall_seconds
    with run.progress("extract", len(jobs)) as (bar, task):
        for message in decode_videos(jobs, workers=run.config.workers, stall_seconds=stall_seconds):
            item = message.item
            if isinstance(message, Started):
                features[item] = {stream: [] for stream in streams[item]}
                _record_start(run, item, {stream: fingerprints[item][stream] for stream in streams[item]})
                continue
            if isinstance(message, Clips):
                for stream, clips in message.batch.items():
                    features[item][stream].append(extractor(stream, clips))
                    clips_done += len(clips)
                bar.update(task, note=f"{item} ({clips_done} clips)")
                continue
            given = features.pop(item)
            if isinstance(message, Failed):
                error = f"{videos[item].path}: {message.error}"
                _record_failure(run, item, streams[item], message.failure, error, result)
            elif not any(given.values()):
                error = f"{videos[item].path}: {message.info.frames} frames are no whole clip, and extract.tail is drop"
                _record_failure(run, item, streams[item], "content", error, result)
            else:
                _save(run, videos[item], given, message.info, result)
            bar.advance(task)


def _record_start(run: Run, item: str, fingerprints: dict[str, str]) -> None:
    with run.manifest.transaction():
        for stream, today in fingerprints.items():
            run.manifest.start(STAGE, f"{stream}/{item}", today)


def _record_failure(run: Run, item: str, streams: Iterable[str], failure: str, error: str, result: StageResult) -> None:
    with run.manifest.transaction():
        for stream in streams:
            run.manifest.fail(STAGE, f"{stream}/{item}", failure, error)
    result.failed[item] = error
    run.say(f"failed: {error}")


def _save(run: Run, video: Video, features: dict[str, list[np.ndarray]], info: VideoInfo, result: StageResult) -> None:
    """Write a video's features and times, and its rows."""
    warnings = list(info.warnings)
    if video.n_frames not in (None, info.frames):
        warnings.append(f"the dataset counts {video.n_frames} frames, {info.frames} were decoded")
    if warnings:
        result.warnings[video.id] = warnings
        run.say(f"warning: {video.id}: {'; '.join(warnings)}")
    facts = {
        "frames": info.frames,
        "fps": round(info.fps, 6),
        "height": info.size[0],
        "width": info.size[1],
        "reader": info.reader,
        "warnings": warnings,
        "lad": __version__,
    }
    times = feature_path(run.work, "times", video.id)
    _save_array(times, np.array(info.times, dtype=np.float64))
    for stream, batches in features.items():
        path = feature_path(run.work, stream, video.id)
        _save_array(path, np.concatenate(batches))
        run.manifest.finish(STAGE, f"{stream}/{video.id}", [path, times], facts)
    result.done += 1


def _save_array(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_extractor(run: Run) -> FeatureExtractor:
    """The feature networks of the configured streams on their device."""
    device = prepare_torch(run.config)
    from lad.extract.features import FeatureExtractor

    config = run.config.extract
    names: dict[str, str] = {stream: weights_name(config, stream) for stream in config.streams}
    threads = f", {numerics(run.config).get('threads')} threads" if device == "cpu" else ""
    described = " + ".join(f"{s} ({names[s]}{', ' + config.flow if s == 'flow' else ''})" for s in config.streams)
    run.say(f"extract: {config.backbone} {described}, {device} float32{threads}, {run.config.workers} decoders")
    networks = {
        stream: weights.load(name, backbone=config.backbone, stream=stream, seed=config.weights_seed)
        for stream, name in names.items()
    }
    return FeatureExtractor(networks, backbone=config.backbone, preset=config.preset, device=device)


def find_features(run: Run, videos: list[Video]) -> tuple[dict[str, VideoFeatures], dict[str, str]]:
    """Today's features of `videos`: (video id -> features, video id -> why it has none).

    Raises:
        StageError: features are missing or stale, which `lad extract` would mend.
    """
    fingerprints, unreadable = plan(run, videos)
    rows = run.manifest.items(STAGE)
    found: dict[str, VideoFeatures] = {}
    failed = dict(unreadable)
    missing: list[str] = []
    for video in videos:
        if video.id in unreadable:
            continue
        today = fingerprints[video.id]
        streams = {stream: rows.get((STAGE, f"{stream}/{video.id}")) for stream in run.config.extract.streams}
        bad = next((row for row in streams.values() if row and row.status == "failed"), None)
        if all(run.manifest.is_done(row, today[stream]) for stream, row in streams.items()):
            info = next(row.info for row in streams.values() if row)
            found[video.id] = VideoFeatures(
                paths=[feature_path(run.work, stream, video.id) for stream in streams],
                times=feature_path(run.work, "times", video.id),
                fingerprint=fingerprint(list(today.values())),
                fps=info["fps"],
                warnings=info["warnings"],
            )
        elif bad:
            failed[video.id] = bad.error or ""
        else:
            missing.append(video.id)
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise StageError(
            f"{len(missing)} videos have no features of this configuration ({some}): run `lad extract` first"
        )
    return found, failed
