"""`lad evaluate --scores`: scores that somebody else made, measured as `lad`'s own are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lad.detector.checkpoint import DEFAULT_THRESHOLD
from lad.evaluation.given_scores import find_given, read_given
from lad.evaluation.results import ScoredVideo, compute_metrics, label_indices
from lad.extract.sampling import evenly_spaced
from lad.features.labels import labelled_frames, labels_misfit, with_events_in_frames
from lad.pipeline.evaluate import STAGE, protocol, write_evaluation
from lad.pipeline.labels import test_videos
from lad.pipeline.project import Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.version import code_version
from lad.work.layout import Work


def evaluate_given(
    project: Project, work: Work, reporter: Reporter, folder: Path
) -> tuple[StageResult, dict[str, Any], Path]:
    """Evaluate scores that somebody else made of the `test` videos: a `<video id>.csv` or `.npy` for each.

    Returns:
        what came of the videos, the metrics, and the folder where they were written.

    Raises:
        StageError: there is no test video, or none of them has scores there.
    """
    result = StageResult(STAGE)
    scored: list[ScoredVideo] = []
    test, classes = test_videos(project.videos), project.classes
    for one in test:
        try:
            path = find_given(folder, one, test)
            scores = read_given(path)
        except (OSError, ValueError) as error:
            result.failed[one.id] = f"{one.id}: {error}"
            continue
        video = with_events_in_frames(one, partial(evenly_spaced, len(scores), project.folder_fps(one)))
        if reason := labels_misfit(video, len(scores), path):
            result.failed[video.id] = f"{video.id}: {reason}"
            continue
        if (labelled := labelled_frames(video, len(scores))) != len(scores):
            result.warnings[video.id] = [f"{len(scores)} scores for {labelled} labelled frames"]
            reporter.say(f"warning: {video.id}: {result.warnings[video.id][0]}")
        scored.append(
            ScoredVideo(
                video=video,
                truth=video.frame_labels(len(scores)),
                scores=scores,
                seconds=len(scores) / project.folder_fps(video),
                labels=label_indices(video, classes),
                predicted=None,
                votes=np.zeros(len(classes), dtype=np.int64),
                times=np.arange(len(scores)) / project.folder_fps(video),
            )
        )
    if not scored:
        raise StageError(f"{folder}: no test video has scores there: {next(iter(result.failed.values()))}")
    threshold = project.config.score.threshold
    score = project.config.score
    metrics = compute_metrics(
        scored,
        classes,
        DEFAULT_THRESHOLD if threshold is None else threshold,
        merge_seconds=score.merge_seconds,
        min_seconds=score.min_seconds,
    )
    made = protocol(project, work, sorted(result.failed))
    kept = (
        "data",
        "split",
        "seed",
        "videos",
        "left_out",
        "false_alarms_hour",
        "events",
        "merge_seconds",
        "min_seconds",
    )
    metrics |= {
        "protocol": {"scores": str(folder), **{name: made[name] for name in kept}},
        "weights": {},
        "lad": code_version(),
    }
    place = work.folder / "evaluations" / folder.resolve().name  # of `..` too
    write_evaluation(place, scored, metrics, reporter)
    result.done = len(scored)
    return result, metrics, place
