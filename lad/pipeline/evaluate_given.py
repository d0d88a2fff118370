"""`lad evaluate --scores`: scores that somebody else made, measured as `lad`'s own are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.config import Config
from lad.dataset import Video
from lad.evaluation.concatenated import scores_in_array
from lad.evaluation.given_scores import GivenScores, scores_in_folder
from lad.evaluation.results import ScoredVideo, compute_metrics, label_indices
from lad.extract.count import promised_frames
from lad.extract.sampling import evenly_spaced
from lad.features.given import read_headers
from lad.features.labels import labelled_frames, labels_misfit, with_events_in_frames
from lad.features.recipe import configured_streams
from lad.pipeline.evaluate import STAGE, protocol, write_evaluation
from lad.pipeline.labels import test_videos
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.version import code_version
from lad.work.layout import Work

KEPT = (
    *("data", "split", "seed", "videos", "left_out"),
    *("false_alarms_hour", "latency", "events", "merge_seconds", "min_seconds"),
)


def evaluate_given(
    project: Project, work: Work, asked: Asked, reporter: Reporter, scores: Path, listed: Path | None = None
) -> tuple[StageResult, dict[str, Any], Path]:
    """Evaluate scores that somebody else made of the `test` videos, by the labels of the dataset.

    Args:
        project: of the videos.
        work: where to write.
        asked: whether Ray draws the plots.
        reporter: who is told.
        scores: a folder with a `<video id>.csv` or `.npy` for each video, or one file of all of them.
        listed: of one file: the list in whose order the videos stand in it.

    Returns:
        what came of the videos, the metrics, and the folder where they were written.

    Raises:
        StageError: there is no test video, or none of them has scores there, or the file does not go with the list.
    """
    result = StageResult(STAGE)
    test, classes = test_videos(project.videos), project.classes
    frames, rates = known_lengths(project, test)
    try:
        if listed is None:
            found, lacking = scores_in_folder(scores, test, project.videos, frames)
        else:
            found, lacking = scores_in_array(scores, listed, test, frames)
    except (OSError, ValueError) as error:
        raise StageError(str(error)) from error
    result.failed = {video_id: f"{video_id}: {reason}" for video_id, reason in lacking.items()}
    how = say_how(found.values(), reporter)
    assumed = project.config.data.frame_folder_fps
    if unknown := [video_id for video_id in found if video_id not in rates]:
        reporter.say(
            f"{assumed:g} frames a second are assumed (data.frame_folder_fps): nobody says how many {len(unknown)} "
            f"videos have, such as {unknown[0]}"
        )
    scored: list[ScoredVideo] = []
    for one in test:
        if one.id not in found:
            continue
        given, fps = found[one.id].frames, rates.get(one.id, assumed)
        video = with_events_in_frames(one, partial(evenly_spaced, len(given), fps))
        if reason := labels_misfit(video, len(given), found[one.id].path):
            result.failed[video.id] = f"{video.id}: {reason}"
            continue
        if (labelled := labelled_frames(video, len(given))) != len(given):
            taken = "the last are left out" if labelled < len(given) else "they are taken as those of the first frames"
            result.warnings[video.id] = [f"{len(given)} scores for {labelled} labelled frames: {taken}"]
            reporter.say(f"warning: {video.id}: {result.warnings[video.id][0]}")
            given = given[:labelled]
        scored.append(
            ScoredVideo(
                video=video,
                truth=video.frame_labels(len(given)),
                scores=given,
                seconds=len(given) / fps,
                labels=label_indices(video, classes),
                predicted=None,
                votes=np.zeros(len(classes), dtype=np.int64),
                times=np.arange(len(given)) / fps,
            )
        )
    if not scored:
        raise StageError(f"{scores}: no test video has scores there: {next(iter(result.failed.values()))}")
    made = protocol(project, work, sorted(result.failed))
    measured_on = {"scores": str(scores.absolute()), "list": str(listed) if listed else None, "scores_are": how}
    measured_on |= {name: made[name] for name in KEPT}
    metrics, place = measure(scored, project.config, work, asked, reporter, scores, measured_on, classes)
    result.done = len(scored)
    return result, metrics, place


def place_of(work: Work, made: Path, asked: Asked) -> Path:
    """The folder for the metrics of somebody's file or folder, which is called as that is.

    Args:
        work: where it is.
        made: whose metrics they are.
        asked: whether others are replaced.

    Raises:
        StageError: those of another file that is called so are there.
    """
    place = work.folder / "evaluations" / made.resolve().name.removesuffix(".npy")  # of `..` too
    with suppress(OSError, ValueError, LookupError, TypeError):  # there are none, or they are no metrics of ours
        made_of = json.loads((place / "metrics.json").read_text(encoding="utf-8"))["protocol"]
        there = made_of.get("scores") or made_of["detections"]
        if not asked.force and Path(there).resolve() != made.resolve():
            raise StageError(
                f"{place}: has the metrics of {there}: name another work directory (--work), or give --force to "
                "replace them"
            )
    return place


def known_lengths(project: Project, videos: Sequence[Video]) -> tuple[dict[str, int], dict[str, float]]:
    """Video id -> its frames, and video id -> its frames a second: as the dataset, the given features or the file says.

    What nobody says is left out. Folders of frames have the rate that is configured for them.
    """
    frames = {video.id: video.n_frames for video in videos if video.n_frames}
    rates = {video.id: video.fps for video in videos if video.fps}
    here: dict[Path, str] = {}
    for video in videos:
        if video.is_features:
            if video.id not in frames:
                try:
                    streams = configured_streams(project.config.extract)
                    headers = read_headers(video, streams, project.config.data.npy_layout)
                except (OSError, ValueError):  # what cannot be read says nothing
                    continue
                frames[video.id] = headers.files[0].shape[1] * CLIP_FRAMES
        elif not (video.id in frames and video.id in rates) and isinstance(video.path, Path) and video.path.exists():
            here[video.path] = video.id
    for path, (count, fps) in promised_frames(list(here)).items():
        frames.setdefault(here[path], count)
        rates.setdefault(here[path], fps or project.config.data.frame_folder_fps)
    return frames, rates


def say_how(found: Iterable[GivenScores], reporter: Reporter) -> str:
    """Whether scores are one a frame or one a clip; that they are repeated is said."""
    clips = [given.a_clip for given in found]
    if not any(clips):
        return "one a frame"
    how = f"one a clip, repeated for its {CLIP_FRAMES} frames"
    which = "" if all(clips) else f"of {sum(clips)} of {len(clips)} videos: "
    reporter.say(f"scores: {which}{how}")
    return f"{which}{how}"


def measure(
    scored: Sequence[ScoredVideo],
    config: Config,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    scores: Path,
    measured_on: Mapping[str, Any],
    classes: Sequence[str] = (),
    *,
    divided: bool = True,
) -> tuple[dict[str, Any], Path]:
    """The metrics of somebody's scores, and the folder where they are written.

    Nothing is judged at a threshold that nobody asked for: scores of others may be logits or distances.
    """
    place = place_of(work, scores, asked)
    threshold = config.score.threshold
    metrics = compute_metrics(
        scored,
        classes,
        None if threshold is None else float(np.float32(threshold)),  # as the scores are rounded: equal is not above
        merge_seconds=config.score.merge_seconds,
        min_seconds=config.score.min_seconds,
        divided=divided,
    )
    metrics |= {"threshold": threshold, "protocol": dict(measured_on), "weights": {}, "lad": code_version()}
    write_evaluation(place, scored, metrics, config, work, asked, reporter)
    return metrics, place
