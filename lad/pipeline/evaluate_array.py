"""`lad evaluate --scores FILE --gt FILE`: one array of scores by one array of labels, as RTFM and others keep them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.config import Config
from lad.dataset import Video, is_safe_id
from lad.evaluation.concatenated import cut, ids_of, read_list, read_truth
from lad.evaluation.given_scores import GivenScores, by_frame, read_given
from lad.evaluation.results import ScoredVideo
from lad.events import events_of
from lad.features.given import read_headers
from lad.features.recipe import configured_streams
from lad.names import Names, last_part
from lad.pipeline.evaluate import STAGE
from lad.pipeline.evaluate_given import known_lengths, measure, say_how
from lad.pipeline.labels import test_videos
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.remote.url import Location
from lad.work.layout import Work


def evaluate_array(
    config: Config,
    project: Project | None,
    work: Work,
    asked: Asked,
    reporter: Reporter,
    scores: Path,
    gt: Path,
    listed: Path | None = None,
) -> tuple[StageResult, dict[str, Any], Path]:
    """Evaluate scores of many videos in one file by the labels of their frames in another.

    Args:
        config: of the threshold and of events.
        project: its test videos tell how long they are where the files of the list are not here; None: there is none.
        work: where to write.
        asked: whether Ray draws the plots.
        reporter: who is told.
        scores: one a frame or one a clip.
        gt: 0 or 1 for each frame.
        listed: the feature files in whose order the videos stand in both.

    Returns:
        what came of the videos, the metrics, and the folder where they were written.

    Raises:
        StageError: the files do not go together.
    """
    try:
        truth, given = read_truth(gt), read_given(scores)
        names = read_list(listed) if listed else []
        frames = _lengths(config, project, listed, names) if listed else None
        if frames:
            truths, _ = cut(truth, frames, str(gt), a_frame=True)
            parts, a_clip = cut(given, [len(part) for part in truths], str(scores))
        else:
            a_clip = _is_a_clip(given, truth, scores, gt)
            truths, parts = [truth], [given]
    except (OSError, ValueError) as error:
        raise StageError(str(error)) from error
    if names and not frames:
        reporter.say(
            f"warning: {listed}: its feature files are not here, so nobody can say where one video ends: "
            "numbers of single videos are undefined; say with --data DIR where they lie"
        )
    found = [
        GivenScores(scores, by_frame(part, len(true), a_clip=a_clip), a_clip)
        for part, true in zip(parts, truths, strict=True)
    ]
    if frames:
        _warn_of_labels(names, truths, gt, reporter)
    how = say_how(found, reporter)
    called = names if frames else [scores.stem]
    known, assumed = _rates(project, called), config.data.frame_folder_fps
    if None in known:
        reporter.say(f"{assumed:g} frames a second are assumed (data.frame_folder_fps)")
    rates = [rate or assumed for rate in known]
    scored = [
        ScoredVideo(
            video=Video(video_id, Path(video_id), split="test", events=events_of(true), n_frames=len(true)),
            truth=true,
            scores=one.frames,
            seconds=len(true) / fps,
            labels=(),
            predicted=None,
            votes=np.zeros(0, dtype=np.int64),
            times=np.arange(len(true)) / fps,
        )
        for video_id, one, true, fps in zip(_ids(called), found, truths, rates, strict=True)
    ]
    measured_on: dict[str, Any] = {
        "scores": str(scores.absolute()),
        "gt": str(gt),
        "list": str(listed) if listed else None,
        "scores_are": how,
        "fps": rates[0] if len(set(rates)) == 1 else None,
        "videos": {"test": len(names) or None},
        "left_out": [],
        "merge_seconds": config.score.merge_seconds,
        "min_seconds": config.score.min_seconds,
    }
    metrics, place = measure(scored, config, work, asked, reporter, scores, measured_on, divided=bool(frames))
    return StageResult(STAGE, done=len(names) or 1), metrics, place


def _rates(project: Project | None, called: Sequence[str]) -> list[float | None]:
    """Frames a second of each video; None: no dataset knows it by this name."""
    if project is None:
        return [None] * len(called)
    videos = {video.id: video for video in project.videos if video.split == "test"}
    ids = Names(videos)
    found = [ids.find(name.removesuffix(".npy")) for name in called]
    _, rates = known_lengths(project, [videos[video_id] for video_id in found if video_id])
    return [rates.get(video_id) if video_id else None for video_id in found]


def _warn_of_labels(names: Sequence[str], truths: Sequence[np.ndarray], gt: Path, reporter: Reporter) -> None:
    """A list in another order than the labels, or labels the other way round, show in the videos called normal."""
    odd = [name for name, true in zip(names, truths, strict=True) if "normal" in last_part(name).lower() and true.any()]
    if odd:
        reporter.say(
            f"warning: {gt}: {len(odd)} videos called normal have anomalous frames ({last_part(odd[0])}): is the list "
            "in the order of the labels?"
        )


def _is_a_clip(given: np.ndarray, truth: np.ndarray, scores: Path, gt: Path) -> bool:
    """Whether scores are one a clip of the labelled frames, all videos together.

    Raises:
        ValueError: they are neither that nor one a frame.
    """
    if len(given) not in (len(truth), len(truth) / CLIP_FRAMES):
        raise ValueError(
            f"{scores}: holds {len(given)} scores, {gt} {len(truth)} labels: there must be one a frame, or one for "
            f"{CLIP_FRAMES} frames ({len(truth) / CLIP_FRAMES:g}); name the list of feature files with --list where "
            "their lengths are to be read"
        )
    return len(given) != len(truth)


def _lengths(config: Config, project: Project | None, listed: Path, names: Sequence[str]) -> list[int] | None:
    """How many frames each video of a list has: by its feature file, or by the dataset; None: nobody says.

    Raises:
        ValueError: a feature file is none, or the list does not go with the dataset.
    """
    files = [_feature_file(listed, config.data.root, name) for name in names]
    if all(files):
        videos = [Video(str(file), file) for file in files if file]
        headers = [
            read_headers(video, configured_streams(config.extract)[:1], config.data.npy_layout) for video in videos
        ]
        return [one.files[0].shape[1] * CLIP_FRAMES for one in headers]
    if project is None:
        return None
    test = test_videos(project.videos)
    frames, _ = known_lengths(project, test)
    ids = ids_of(listed, test)
    return [frames[video_id] for video_id in ids] if frames.keys() >= set(ids) else None


def _feature_file(listed: Path, root: Location | None, line: str) -> Path | None:
    """Where the file of a line is: as it says, or below --data or beside the list: lists name other people's disks."""
    folders = [folder for folder in (root, listed.parent) if isinstance(folder, Path)]
    places = [place for folder in folders for place in (folder / line, folder / last_part(line))]
    places.insert(0, Path(line))
    return next((place for place in places if place.is_file()), None)


def _ids(names: Sequence[str]) -> list[str]:
    """What the videos of a list are called in the plots' names."""
    short = [last_part(name).removesuffix(".npy") for name in names]
    usable = len(set(short)) == len(short) and all(map(is_safe_id, short))
    return short if usable else [f"video_{number}" for number in range(len(short))]
