"""`lad review --next`: which moments of a work directory's scored videos a verdict would teach most about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lad.config import Config, load_config
from lad.dataset import Video
from lad.detector.review_order import (
    MAX_CANDIDATES,
    MAX_LABELLED,
    Moment,
    bounded,
    describe,
    moments_of,
    order,
)
from lad.features.given import GIVEN, given_parts, given_paths
from lad.features.labels import with_events_in_frames, with_review
from lad.features.layout import OWN
from lad.features.recipe import EXTRACT, clip_spec, configured_streams
from lad.features.video import VideoFeatures
from lad.ours import CONFIG
from lad.pipeline.reporter import Reporter, StageError
from lad.pipeline.scored import ScoredVideo, read_scores, scored_videos
from lad.work.layout import Work
from lad.work.verdicts import reviews_in


@dataclass(frozen=True)
class NextMoment:
    """A moment to look at.

    Attributes:
        video: its id.
        path: where it is.
        start, end: frames, half-open.
        start_time, end_time: seconds.
        score: the mean of its frames, in [0, 1].
        threshold: what a frame has to exceed to be part of an event.
    """

    video: str
    path: str
    start: int
    end: int
    start_time: float
    end_time: float
    score: float
    threshold: float


@dataclass(frozen=True)
class _Scored:
    """A scored video with its features, and with what is known of its frames."""

    scored: ScoredVideo
    features: VideoFeatures
    video: Video


def moments_to_review(work: Work, count: int, reporter: Reporter) -> list[NextMoment]:
    """Moments that nobody has labelled, the one that would teach most first; `count` at most.

    Test videos are left out: their verdicts teach nothing.

    Raises:
        StageError: nothing was scored here.
        ConfigError, DatasetError, VerdictsError: a file of the work directory is not as lad wrote it.
        OSError, FeaturesError: features or scores are not there any more.
    """
    config = load_config(work.home / CONFIG, [])
    reviews = reviews_in(work.home)
    known: dict[str, _Scored] = {}
    for one in scored_videos(work):
        row = one.known or Video(id=one.id, path=one.path)
        video = Video(one.id, one.path, row.split, row.label, row.events, reviewed=reviews.get(one.id))
        if video.split != "test":
            features = _features(work, config, one, video)
            known[one.id] = _Scored(one, features, with_events_in_frames(with_review(video), features.timeline))
    if not known:
        raise StageError(f"{work.folder}: every scored video is of the split test: verdicts on it teach nothing")
    new: list[Moment] = []
    old: list[Moment] = []
    with reporter.progress("moments", len(known)) as bar:
        for video_id, with_features in known.items():
            unknown, labelled = _moments(with_features, config.train.window)
            new, old = _few(new + unknown, MAX_CANDIDATES), _few(old + labelled, MAX_LABELLED)
            bar.advance(video_id)
    new, old = bounded(new, MAX_CANDIDATES), bounded(old, MAX_LABELLED)
    if not new:
        return []
    candidates = _described(new, known)
    taught = _described(old, known) if old else candidates[:0]
    chosen = [new[index] for index, _ in zip(order(candidates, taught), range(count), strict=False)]
    return [_told(moment, known[moment.video]) for moment in chosen]


def _few(moments: list[Moment], most: int) -> list[Moment]:
    """Few enough that memory does not grow with the number of videos; sorted only now and then."""
    return bounded(moments, most) if len(moments) > 2 * most else moments


def _features(work: Work, config: Config, one: ScoredVideo, video: Video) -> VideoFeatures:
    streams = configured_streams(config.extract)
    if video.is_features:
        row = work.manifest.get(EXTRACT, f"{GIVEN}/{one.id}")
        layout = row.info.get("layout", OWN) if row else OWN
        crops = len(given_parts(video, streams)[0])
        return VideoFeatures(given_paths(video, streams), None, one.frames, one.fps, layout=layout, crop_files=crops)
    paths = [work.features(stream, one.id) for stream in streams]
    clips = clip_spec(config.extract, "cpu")
    return VideoFeatures(paths, work.times(one.id), one.frames, one.fps, clips.fps, clips.stride, clips.together)


def _moments(one: _Scored, window: int) -> tuple[list[Moment], list[Moment]]:
    scores = read_scores(one.scored.scores)
    labelled = one.video.known_frames(len(scores))
    if not one.video.unlabelled and not one.video.split and not one.video.is_weak:  # nobody said anything of it
        labelled[:] = one.video.is_abnormal
    timeline, clips = one.features.timeline(), one.features.open().clips
    return moments_of(one.scored.id, timeline, clips, scores, labelled, one.scored.threshold, window)


def _described(moments: list[Moment], known: dict[str, _Scored]) -> np.ndarray:
    """`(moments, dim)` float32, one video's features after the other; there is a moment at least."""
    by_video: dict[str, list[int]] = {}
    for index, moment in enumerate(moments):
        by_video.setdefault(moment.video, []).append(index)
    rows = [describe(known[name].features.open(), [moments[i] for i in places]) for name, places in by_video.items()]
    found = np.empty((len(moments), rows[0].shape[1]), dtype=np.float32)
    for places, part in zip(by_video.values(), rows, strict=True):
        found[places] = part
    return found


def _told(moment: Moment, one: _Scored) -> NextMoment:
    timeline = one.features.timeline()
    return NextMoment(
        video=moment.video,
        path=str(one.scored.path),
        start=moment.start,
        end=moment.end,
        start_time=round(float(timeline.times[moment.start]), 3),
        end_time=round(float(timeline.ends[moment.end - 1]), 3),
        score=round(moment.score, 6),
        threshold=one.scored.threshold,
    )
