"""The library: score videos, and extract features, in a few lines of Python.

    import lad

    detector = lad.load("best.pt")
    scores = detector.score("street.mp4")

Nothing here prints or keeps a work directory. Videos are decoded in processes beside yours, which are started by the
name of their module: scripts need no `if __name__ == "__main__"`, and notebooks and threads are fine. The numbers are
those of `lad score`, whose CSV rounds scores to seven digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lad.config import Config, ConfigError, load_config
from lad.detector.cameras import of_source
from lad.detector.checkpoint import CheckpointError, load_checkpoint, other_features, scoring_config
from lad.detector.included import find_detector
from lad.detector.known_camera import joined
from lad.detector.looks import looks_of
from lad.detector.scoring import Event, EventRule, ScoreError, Scorer, Scores, make_scorer
from lad.device import STEADY_THREADS, detector_threads, network_threads, repeatable, resolve_device
from lad.errors import LadError
from lad.extract.clips import count_clips
from lad.extract.extraction import Computed, extract_videos
from lad.extract.extractor import FeatureExtractor
from lad.extract.jobs import Failed, Finished, Job, Started
from lad.extract.read_torchcodec import check_torchcodec
from lad.extract.sampling import Timeline
from lad.extract.video import Limits, VideoError, VideoInfo
from lad.features.recipe import FeatureRecipe, load_extractor, make_recipe, missing_weights, recipe_problems
from lad.features.video import ClipFeatures
from lad.models import weights
from lad.remote.fetch import Remote
from lad.remote.room import Bounds
from lad.remote.store import in_a_line
from lad.remote.url import is_url, masked, url_of

__all__ = [
    "CheckpointError",
    "Detector",
    "Event",
    "Features",
    "LadError",
    "Scores",
    "VideoError",
    "extract_features",
    "extract_many",
    "load",
]

Place = str | Path


@dataclass(frozen=True)
class Features(Mapping[str, np.ndarray]):
    """The features of one video: stream -> `(clips, D)` float32, or `(crops, clips, D)` where there are several crops.

    Attributes:
        streams: the features, by stream.
        clip_times: `(clips, 2)` float64, the seconds at which each clip begins and ends.
        times: `(frames,)` float64, seconds of each frame since the first.
        fps: average frames a second.
        weights: stream -> name and checksum of the network's weights.
        warnings: what was odd about the video.
    """

    streams: dict[str, np.ndarray]
    clip_times: np.ndarray
    times: np.ndarray
    fps: float
    weights: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    def __getitem__(self, stream: str) -> np.ndarray:
        return self.streams[stream]

    def __iter__(self) -> Iterator[str]:
        return iter(self.streams)

    def __len__(self) -> int:
        return len(self.streams)


class Detector:
    """A detector with its feature networks, ready to score videos. `lad.load` makes one.

    Attributes:
        classes: names of its categories.
        threshold: what a frame's score has to exceed to be part of an event.
        weights: stream -> name and checksum of the feature networks' weights.
        warnings: how its features differ from those that it was trained on, as far as anybody knows; and whether
            validation doubted that it is worth anything.
    """

    def __init__(self, scorer: Scorer, extractor: _Extractor, warnings: Sequence[str] = ()) -> None:
        self._scorer, self._extractor = scorer, extractor
        self.classes, self.threshold = list(scorer.classes), scorer.threshold
        self.weights = dict(extractor.recipe.identities)
        self.warnings = list(warnings)

    def get_to_know(self, normal: Iterable[Place], *, folder_fps: float = 25.0) -> Detector:
        """It, for the camera whose footage this is: a few minutes in which nothing happens.

        Args:
            normal: video files and folders of numbered images.
            folder_fps: frames a second of a folder of images.

        Raises:
            CheckpointError: it was not trained to get to know cameras.
            VideoError: nothing can be read from a video.
        """
        if self._scorer.known_cameras is None:
            raise CheckpointError("the detector was not trained to get to know cameras (train.adapt=source)")
        pieces = []
        device, threads = self._extractor.recipe.device, detector_threads(self._extractor.config.threads)
        for _, found in self._extractor.run(list(normal), folder_fps):
            if isinstance(found, VideoError):
                raise found
            with repeatable(device, threads):
                pieces.append(self._scorer.get_to_know(found.features, found.timeline))
        return Detector(self._scorer.at(joined(pieces)), self._extractor, self.warnings)

    def score(self, path: Place, *, folder_fps: float = 25.0) -> Scores:
        """Score every frame of a video.

        Args:
            path: a video file, a folder of numbered images, or a URL (`https://`, `s3://`, `gs://`).
            folder_fps: frames a second of a folder of images.

        Returns:
            a score for each frame, its time, the events, and the probability of each category in each clip.

        Raises:
            VideoError: nothing can be read from it.
        """
        ((_, result),) = self.score_many([path], folder_fps=folder_fps)
        if isinstance(result, VideoError):
            raise result
        return result

    def score_many(
        self, paths: Iterable[Place], *, folder_fps: float = 25.0
    ) -> Iterator[tuple[Place, Scores | VideoError]]:
        """Score several videos, decoding the next ones meanwhile.

        Args:
            paths: video files, folders of numbered images, and URLs.
            folder_fps: frames a second of a folder of images.

        Yields:
            each path as it was given, with its scores or the reason why there are none; in the order in which videos
            are finished.
        """
        device, threads = self._extractor.recipe.device, detector_threads(self._extractor.config.threads)
        for path, found in self._extractor.run(list(paths), folder_fps):
            if isinstance(found, VideoError):
                yield path, found
                continue
            try:
                with repeatable(device, threads):
                    scores = self._scorer(found.features, found.timeline, found.info.warnings)
            except ScoreError as error:
                yield path, VideoError(f"{masked(str(path))}: {error}")
                continue
            yield path, scores


def load(
    checkpoint: Place,
    *,
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    threshold: float | None = None,
    max_memory: float | None = None,
    source: str | None = None,
) -> Detector:
    """Load a detector, and the feature networks that it needs; their weights are fetched if they are not here yet.

    Args:
        checkpoint: `best.pt` of `lad train`, the name of a detector that comes with `lad` (`surveillance`), or a
            checkpoint of the LAD2000 authors' code.
        device: `auto`, `cpu`, `cuda` or `cuda:<index>`. On a GPU, cuDNN is set to repeat its results, for the process.
        workers: processes that decode videos.
        threads: on a CPU; None: one for each core for the feature networks, which moves nothing, and two for the
            detector.
        threshold: of events; None: the checkpoint's.
        max_memory: GiB that the features which the checkpoint asks for may take; None: half of the machine's.
        source: the camera that filmed the videos, where the checkpoint has a detector for each of several.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, not one, asks for more than that, or does not know the
            camera.
        LadError: the weights cannot be had, or the device is not there.
    """
    path = find_detector(checkpoint)
    options = {"device": device, "workers": workers, "threads": threads, "score.max_memory": max_memory}
    config = scoring_config(path, [], options)
    loaded = of_source(load_checkpoint(path), path, source)
    extractor = _open_extractor(config)
    recipe = extractor.recipe
    scorer = make_scorer(
        loaded,
        recipe.device,
        merge=config.score.merge,
        threshold=config.score.threshold if threshold is None else threshold,
        alarms_per_day=config.score.alarms_per_day if threshold is None else None,
        classes=config.data.classes or (),
        rule=EventRule(config.score.merge_seconds, config.score.min_seconds),
        looks=looks_of(recipe),
    )
    warnings = other_features(loaded, config.extract, recipe.identities, given=False)
    return Detector(
        scorer, extractor, warnings + ([f"it may be worth nothing: {loaded.doubt}"] if loaded.doubt else [])
    )


def extract_features(
    path: Place,
    *,
    streams: Sequence[str] = ("rgb",),
    device: str = "auto",
    threads: int | None = None,
    folder_fps: float = 25.0,
    **options: Any,
) -> Features:
    """Extract the features of one video. For several, `extract_many` loads the networks once.

    Args:
        path: a video file, a folder of numbered images, or a URL (`https://`, `s3://`, `gs://`).
        streams: which of `rgb` and `flow`.
        device: `auto`, `cpu`, `cuda` or `cuda:<index>`.
        threads: of the networks on a CPU; None: one for each core.
        folder_fps: frames a second of a folder of images.
        options: any other key of the configuration's section `extract`, such as `rgb_short_side=360`.

    Returns:
        stream -> `(clips, D)` float32; its `clip_times` `(clips, 2)` are in seconds.

    Raises:
        VideoError: nothing can be read from the video.
        LadError: an option is wrong, weights cannot be had, or the device is not there.
    """
    found = extract_many(
        [path], streams=streams, device=device, workers=1, threads=threads, folder_fps=folder_fps, **options
    )
    ((_, result),) = found
    if isinstance(result, VideoError):
        raise result
    return result


def extract_many(
    paths: Iterable[Place],
    *,
    streams: Sequence[str] = ("rgb",),
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    folder_fps: float = 25.0,
    **options: Any,
) -> Iterator[tuple[Place, Features | VideoError]]:
    """Extract the features of several videos, decoding the next ones meanwhile.

    Args:
        paths: video files, folders of numbered images, and URLs.
        workers: processes that decode videos.
        streams: as in `extract_features`.
        device: as in `extract_features`.
        threads: as in `extract_features`.
        folder_fps: as in `extract_features`.
        options: as in `extract_features`.

    Yields:
        each path as it was given, with its features or the reason why there are none; in the order in which videos are
        finished.

    Raises:
        LadError: an option is wrong, weights cannot be had, or the device is not there.
    """
    extract = {"streams": list(streams), **options}
    config = load_config(None, [], base={"extract": extract, "device": device, "workers": workers, "threads": threads})
    extractor = _open_extractor(config)
    for path, found in extractor.run(list(paths), folder_fps):
        if isinstance(found, VideoError):
            yield path, found
            continue
        timeline = found.timeline
        clips = next(iter(found.batches.values())).shape[-2]
        yield (
            path,
            Features(
                streams=found.batches,
                clip_times=timeline.clip_times(clips),
                times=timeline.times,
                fps=timeline.fps,
                weights=dict(extractor.recipe.identities),
                warnings=found.info.warnings,
            ),
        )


@dataclass(frozen=True)
class _Found:
    """What came of one video: stream -> `(clips, D)` or `(crops, clips, D)`, and what reading it showed."""

    batches: dict[str, np.ndarray]
    timeline: Timeline
    info: VideoInfo

    @property
    def features(self) -> ClipFeatures:
        """As a detector takes them."""
        return ClipFeatures([array if array.ndim == 3 else array[None] for array in self.batches.values()])


@dataclass(frozen=True)
class _Extractor:
    """Feature networks, and how videos come to them."""

    config: Config
    recipe: FeatureRecipe
    networks: FeatureExtractor

    def run(self, paths: Sequence[Place], folder_fps: float) -> Iterator[tuple[Place, _Found | VideoError]]:
        """Each path with what came of it, as videos are finished."""
        extract, spec = self.config.extract, self.recipe.clips
        limits = Limits(max_pixels=extract.max_pixels, max_frames=extract.max_frames)
        jobs: list[Job] = []
        for number, path in enumerate(paths):
            job = Job(str(number), Path(path), spec, folder_fps, limits)
            try:
                jobs.append(replace(job, remote=self._remote(str(path))))
            except OSError as error:
                yield path, VideoError(f"{masked(str(path))}: {in_a_line(error)}", "io")
            except ValueError as error:
                yield path, VideoError(str(error))
        held: dict[str, dict[str, list[np.ndarray]]] = {}
        for event in extract_videos(
            jobs,
            lambda: self.networks,
            batch_clips=spec.batch_clips,
            workers=self.config.workers,
            stall_seconds=extract.stall_seconds,
        ):
            path = paths[int(event.item)]
            match event:
                case Started(skip_clips=0):
                    held[event.item] = {stream: [] for stream in spec.streams}
                case Started():  # its decoder was killed, and another one continues
                    pass
                case Computed():
                    for stream, batch in event.batch.items():
                        held[event.item][stream].append(batch)
                case Failed():
                    held.pop(event.item, None)
                    yield path, VideoError(f"{masked(str(path))}: {event.error}", event.failure)
                case Finished():
                    yield path, self._found(path, held.pop(event.item), event.info)

    def _remote(self, path: str) -> Remote | None:
        data = self.config.data
        bounds = Bounds.in_gb(data.download_dir, data.download_gb)
        return Remote.at(url_of(path), bounds) if is_url(path) else None

    def _found(self, path: Place, batches: Mapping[str, list[np.ndarray]], info: VideoInfo) -> _Found | VideoError:
        joined = {stream: np.concatenate(parts, axis=-2) for stream, parts in batches.items() if parts}
        if not joined:
            return VideoError(f"{masked(str(path))}: {info.frames} frames are no whole clip, and extract.tail is drop")
        clips, expected = next(iter(joined.values())).shape[-2], count_clips(self.recipe.clips, info)
        if clips != expected:  # a decoder that took over from a killed one saw another video
            return VideoError(f"{masked(str(path))}: {clips} clips came of it, of its frames {expected}", "worker")
        spec = self.recipe.clips
        return _Found(joined, Timeline(np.array(info.times), info.fps, spec.fps, spec.stride, spec.together), info)


def _open_extractor(config: Config) -> _Extractor:
    if problems := list(recipe_problems(config.extract)):
        raise ConfigError("\n".join(problems))
    for name in missing_weights(config.extract):
        weights.fetch(name)
    if config.extract.reader == "torchcodec":
        check_torchcodec()
    device, threads = resolve_device(config.device), network_threads(config.threads)
    recipe = make_recipe(config.extract, device=device, threads=threads)
    with repeatable(device, STEADY_THREADS):
        return _Extractor(config, recipe, load_extractor(recipe))
