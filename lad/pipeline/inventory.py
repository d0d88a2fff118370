"""The features of a run's videos: which of them are today's, where they lie, which frames they tell of.

They are made by `lad extract`, or were made by somebody else: then they are used where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.extract import sampling
from lad.features.given import GIVEN, given_fingerprint, given_paths, take_given
from lad.features.video import ClipFeatures, open_features
from lad.files import fingerprint, read_npy
from lad.models import weights
from lad.models.published import NETWORKS
from lad.pipeline.project import EXTRACT, Run, StageError, StageResult, feature_numerics, folder_fps, weights_name
from lad.work.manifest import Item

CODE_VERSION = 2  # raised by hand when the same input gives other features, by more than rounding (1e-4)
LABELS = "labels"  # stands for a stage in the manifest's rows of videos whose labels do not fit
UNKNOWN_WEIGHTS = "not known"


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video, as files, and the frames that they tell of.

    Attributes:
        paths: `.npy` files, `(clips, dim)` or `(crops, clips, dim)`, one a configured stream, or one of all of them.
        times_path: `.npy`, `(frames,)` float64, seconds since the first frame; None: the frames are evenly spaced.
        frames: how many the video has.
        fps: average frames a second.
        rate: frames a second at which clips were cut from it; None: its own.
        stride: frames from one clip's start to the next.
        fingerprint: of all files together.
        warnings: what was odd about the video.
    """

    paths: list[Path]
    times_path: Path | None
    frames: int
    fps: float
    rate: float | None
    stride: int
    fingerprint: str
    warnings: list[str]

    def open(self) -> ClipFeatures:
        """The features, which stay on the disk.

        Raises:
            OSError: a file is not there any more.
            StageError: a file is not as it was made.
        """
        try:
            return ClipFeatures([open_features(path) for path in self.paths])
        except ValueError as error:
            raise _damaged(error) from error

    @cached_property
    def times(self) -> np.ndarray:
        """`(frames,)` float64: seconds since the first frame."""
        if self.times_path is None:
            return np.arange(self.frames) / self.fps
        try:
            return np.array(read_npy(self.times_path))
        except ValueError as error:
            raise _damaged(error) from error

    def by_clip(self, frame_labels: np.ndarray, clips: int) -> tuple[np.ndarray, np.ndarray]:
        """`(frames,)` labels -> labels of the frames of each clip and which of these are real, `(clips, 16)` float32.

        Clips beyond the video's end hold no real frame.
        """
        labels = sampling.sampled_labels(frame_labels, self.times, self.fps, self.rate)
        index, inside = sampling.clip_frames(len(labels), self.stride, "pad")
        targets = np.zeros((clips, CLIP_FRAMES), dtype=np.float32)
        real = np.zeros_like(targets)
        known = min(clips, len(index))
        real[:known] = inside[:known]
        targets[:known] = labels[index[:known]] * inside[:known]
        return targets, real

    def by_frame(self, clip_scores: np.ndarray) -> np.ndarray:
        """`(clips, 16)` -> `(frames,)`: the mean where clips overlap; frames after the last clip take its score."""
        return sampling.spread(clip_scores, self.times, self.fps, self.rate, self.stride)

    def clip_of_frame(self, clips: int) -> np.ndarray:
        """`(frames,)` int64: a clip that holds each frame, the last one for frames after it."""
        return sampling.clip_of_frame(self.times, self.rate, self.stride, clips)

    def clip_times(self, clips: int) -> np.ndarray:
        """`(clips, 2)` float64: the seconds at which each clip begins and ends."""
        return sampling.clip_times(self.times, self.fps, self.rate, self.stride, "pad")[:clips]


def _damaged(error: ValueError) -> StageError:
    return StageError(f"{error}: `lad extract --verify` makes damaged features anew")


def feature_path(home: Path, stream: str, video_id: str) -> Path:
    # Not with_suffix: an id may hold dots of its own.
    return home / "features" / stream / f"{video_id}.npy"


def labels_misfit(video: Video, frames: int, counted: Path | None = None) -> str | None:
    """Why a video's labels cannot be used: they are for another number of frames, by more than a clip.

    Args:
        video: with its labels.
        frames: how many there are.
        counted: the file that has so many, which the reason names; by default the video.
    """
    labelled = labelled_frames(video, frames)
    if abs(labelled - frames) <= CLIP_FRAMES:
        return None
    return f"{counted or video.path}: its labels are for {labelled} frames and it has {frames}: more than a clip apart"


def labelled_frames(video: Video, frames: int) -> int:
    """How many frames a video's labels are for: as the dataset says, else `frames`, or more if an event ends later."""
    last = max((event.end or event.start + 1 for event in video.events), default=0)
    return video.n_frames or max(last, frames)


def check_labels(run: Run, videos: Sequence[Video], features: dict[str, VideoFeatures], result: StageResult) -> None:
    """Count as failed those of `videos` whose labels do not fit, and record them; warn of those a few frames off."""
    for video in videos:
        if video.id not in features:
            continue
        frames = features[video.id].frames
        before = run.manifest.get(LABELS, video.id)
        if reason := labels_misfit(video, frames):
            result.failed[video.id] = reason
            run.manifest.start(LABELS, video.id, fingerprint([video.n_frames, frames]))
            run.manifest.fail(LABELS, video.id, "content", reason)
        elif before and before.status == "failed":
            run.manifest.start(LABELS, video.id, fingerprint([video.n_frames, frames]))
            run.manifest.finish(LABELS, video.id, [], {})
        elif (labelled := labelled_frames(video, frames)) != frames:
            result.warnings[video.id] = [f"its labels are for {labelled} frames, it has {frames}"]


def weights_in_use(run: Run) -> dict[str, str]:
    """stream -> identity of its weights, fetched first where they are not here yet.

    Raises:
        weights.WeightsError: they cannot be had.
    """
    extract = run.config.extract
    if all(video.is_features for video in run.videos):
        return dict.fromkeys(extract.streams, f"{UNKNOWN_WEIGHTS}: the features were given")
    return {
        stream: _identity(run, weights_name(extract, stream), extract.backbone, stream, extract.weights_seed)
        for stream in extract.streams
    }


def _identity(run: Run, name: str, backbone: str, stream: str, seed: int = 0) -> str:
    weights.check(name, backbone=backbone, stream=stream)
    if name != "random" and weights.find(name) is None:
        run.say(f"fetching the weights {name} (once)")
        with run.progress(f"weights {name}", None) as (bar, task):
            weights.fetch(name, on_progress=lambda done, total, _: bar.update(task, completed=done, total=total))
    return weights.identity(name, backbone=backbone, stream=stream, seed=seed)


@dataclass(frozen=True)
class Plan:
    """What the features of a run's videos depend on today.

    Attributes:
        fingerprints: video id -> item of the stage `extract` -> fingerprint.
        unreadable: video id -> why it cannot be read.
    """

    fingerprints: dict[str, dict[str, str]]
    unreadable: dict[str, str]


def plan(run: Run, videos: Sequence[Video]) -> Plan:
    """Hash what is not known yet of the videos' contents, and tell today's fingerprints."""
    decoded = any(not video.is_features for video in videos)
    shared = _stream_facts(run) if decoded else {}
    fingerprints: dict[str, dict[str, str]] = {}
    unreadable: dict[str, str] = {}
    if not run.verify:  # else every file is hashed below, known or not
        streams = run.config.extract.streams
        given = [given_paths(video, streams) for video in videos if video.is_features]
        run.manifest.learn_contents([path for paths in given for path in paths])
    with run.progress("check", len(videos)) as (bar, task):
        for video in videos:
            bar.update(task, advance=1, note=video.id)
            try:
                if video.is_features:
                    fingerprints[video.id] = {f"{GIVEN}/{video.id}": given_fingerprint(run, video)}
                    continue
                content = run.manifest.content_sha256(video.path, verify=run.verify)
            except OSError as error:
                unreadable[video.id] = f"{error.filename or video.path}: cannot be read: {error.strerror or error}"
                continue
            # The frame rate of a folder of images is not in its content, but in the times that are written.
            rate = folder_fps(run, video) if video.path.is_dir() else None
            facts = {"content": content, "folder_fps": rate}
            fingerprints[video.id] = {
                f"{stream}/{video.id}": fingerprint({**shared[stream], **facts})
                for stream in run.config.extract.streams
            }
    return Plan(fingerprints, unreadable)


def _stream_facts(run: Run) -> dict[str, dict[str, object]]:
    extract = run.config.extract
    identities = weights_in_use(run)
    facts: dict[str, dict[str, object]] = {}
    for stream in extract.streams:
        facts[stream] = {
            "stage": EXTRACT,
            "code": CODE_VERSION,
            "backbone": extract.backbone,
            "weights": identities[stream],
            "preset": extract.preset,
            "flow": flow_in_use(run) if stream == "flow" else None,
            "crops": extract.crops,
            "fps": extract.fps,
            "clip_stride": extract.clip_stride,
            "tail": extract.tail,
            "batch_clips": extract.batch_clips,
            "numerics": feature_numerics(run.config),
        }
        if stream == "rgb" and extract.rgb_short_side:
            facts[stream]["short_side"] = extract.rgb_short_side
        if extract.context != "clip":
            facts[stream]["context"] = extract.context
    return facts


def flow_in_use(run: Run) -> str:
    """The flow method, with its version where that is not the first, or the identity of a network's weights."""
    extract = run.config.extract
    if extract.flow == "tvl1":
        return "tvl1:2"  # the first was OpenCV's
    name = flow_weights_name(run)
    return extract.flow if name is None else f"{extract.flow}:{_identity(run, name, extract.flow, 'flow')}"


def flow_weights_name(run: Run) -> str | None:
    """The weights of a flow method that is a network."""
    extract = run.config.extract
    if (extract.flow, "flow") not in NETWORKS:
        return None
    return extract.flow_weights or weights.default_name(extract.flow, "flow")


def find_features(run: Run, videos: Sequence[Video]) -> tuple[dict[str, VideoFeatures], dict[str, str]]:
    """Today's features of `videos`: (video id -> features, video id -> why it has none).

    Raises:
        StageError: features are missing or stale, which `lad extract` would mend.
    """
    today = plan(run, videos)
    failed = {**today.unreadable, **take_given(run, videos, today.fingerprints)}
    rows = run.manifest.items(EXTRACT)
    found: dict[str, VideoFeatures] = {}
    missing: list[str] = []
    for video in videos:
        if video.id in failed:
            continue
        items = {item: rows.get((EXTRACT, item)) for item in today.fingerprints[video.id]}
        bad = next((row for row in items.values() if row and row.status == "failed"), None)
        if all(run.manifest.is_done(row, today.fingerprints[video.id][item]) for item, row in items.items()):
            row = next(row for row in items.values() if row)
            found[video.id] = _video_features(run, video, row, fingerprint(list(today.fingerprints[video.id].values())))
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


def _video_features(run: Run, video: Video, row: Item, today: str) -> VideoFeatures:
    extract = run.config.extract
    paths = [feature_path(run.home, stream, video.id) for stream in extract.streams]
    return VideoFeatures(
        paths=given_paths(video, extract.streams) if video.is_features else paths,
        times_path=None if video.is_features else feature_path(run.home, "times", video.id),
        frames=row.info["frames"],
        fps=row.info["fps"],
        rate=None if video.is_features else extract.fps,
        stride=CLIP_FRAMES if video.is_features else extract.clip_stride,
        fingerprint=today,
        warnings=row.info["warnings"],
    )
