"""Features that somebody else made: used where they lie, checked, and recorded with their checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.features.video import open_features
from lad.files import fingerprint
from lad.models.registry import BACKBONES
from lad.pipeline.project import EXTRACT, Run, folder_fps
from lad.work.manifest import READERS

GIVEN = "given"  # stands for the stream in the items of such features


def given_paths(video: Video, streams: Sequence[str]) -> list[Path]:
    """The feature files of a video that comes as features: one a stream where its path says `{stream}`, else one."""
    paths = [Path(str(video.path).replace("{stream}", stream)) for stream in streams]
    return list(dict.fromkeys(paths))


def given_fingerprint(run: Run, video: Video) -> str:
    """What the use of a video's given features depends on."""
    paths = given_paths(video, run.config.extract.streams)
    contents = [run.manifest.content_sha256(path, verify=run.verify) for path in paths]
    return fingerprint(
        {
            "stage": EXTRACT,
            "given": contents,
            "of": [run.config.extract.backbone, *run.config.extract.streams],  # what they are checked against
            "frames": video.n_frames,
            "fps": folder_fps(run, video),
        }
    )


def take_given(run: Run, videos: Sequence[Video], fingerprints: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Record the features that were given, where they lie; returns why some cannot be used (video id -> reason)."""
    refused: dict[str, str] = {}
    todo: list[tuple[Video, str, str]] = []
    for video in videos:
        if video.is_features and video.id in fingerprints:
            ((item, now),) = fingerprints[video.id].items()
            if not run.manifest.is_done(run.manifest.get(EXTRACT, item), now):
                todo.append((video, item, now))

    def check(video: Video) -> tuple[int, list[str]] | ValueError:
        try:
            return _check_given(run, video, given_paths(video, run.config.extract.streams))
        except ValueError as error:
            return error

    with ThreadPoolExecutor(READERS) as readers, run.manifest.transaction():
        for (video, item, now), found in zip(todo, readers.map(check, [video for video, _, _ in todo]), strict=True):
            run.manifest.start(EXTRACT, item, now)
            if isinstance(found, ValueError):
                refused[video.id] = str(found)
                run.manifest.fail(EXTRACT, item, "content", str(found))
                run.say(f"failed: {found}")
                continue
            frames, warnings = found
            if warnings:
                run.say(f"warning: {video.id}: {'; '.join(warnings)}")
            info = {"frames": frames, "fps": folder_fps(run, video), "reader": GIVEN, "warnings": warnings}
            run.manifest.finish(EXTRACT, item, given_paths(video, run.config.extract.streams), info)
    return refused


def _check_given(run: Run, video: Video, paths: Sequence[Path]) -> tuple[int, list[str]]:
    """How many frames given features tell of, and what is odd about them.

    Raises:
        ValueError: they are no features, not of the configured streams, or of another number of frames than labelled.
    """
    shapes = []
    for path in paths:
        try:
            features = open_features(path)
            numbers = features[:]
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
        if not np.isfinite(numbers.min() + numbers.max()):  # as they are not where any number is not
            raise ValueError(f"{path}: holds numbers that are not finite")
        shapes.append(features.shape)
    extract = run.config.extract
    dim, wanted = sum(shape[2] for shape in shapes), BACKBONES[extract.backbone].feature_dim * len(extract.streams)
    if dim != wanted:
        streams = " + ".join(extract.streams)
        raise ValueError(
            f"{paths[0]}: {dim} numbers a clip, {extract.backbone} {streams} has {wanted}: set extract.streams to what "
            "it holds, or say {stream} in the dataset.csv's path where each stream has a file"
        )
    if len({shape[:2] for shape in shapes}) > 1:
        raise ValueError(f"{paths[0]}: {shapes[0]} does not go with {paths[-1]}: {shapes[-1]}")
    clips = shapes[0][1]
    frames = video.n_frames or clips * CLIP_FRAMES
    if abs(clips * CLIP_FRAMES - frames) > CLIP_FRAMES:
        raise ValueError(
            f"{paths[0]}: {clips} clips are {clips * CLIP_FRAMES} frames, its labels are for {frames}: "
            "more than a clip apart"
        )
    expected = {frames // CLIP_FRAMES, -(-frames // CLIP_FRAMES)}
    return frames, [] if clips in expected else [f"{clips} clips for {frames} labelled frames"]
