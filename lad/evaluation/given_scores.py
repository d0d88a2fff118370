"""`lad evaluate --scores`: scores that somebody else made, read and measured as `lad`'s own are."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lad import __version__
from lad.dataset import Video
from lad.detector.checkpoint import DEFAULT_THRESHOLD
from lad.evaluation.results import ScoredVideo, compute_metrics
from lad.files import read_npy
from lad.pipeline.evaluate import STAGE, label_indices, protocol, test_videos, write_evaluation
from lad.pipeline.inventory import labelled_frames, labels_misfit
from lad.pipeline.project import Run, StageError, StageResult, folder_fps


def evaluate_given(run: Run, folder: Path) -> tuple[StageResult, dict[str, Any], Path]:
    """Evaluate scores that somebody else made of the `test` videos: a `<video id>.csv` or `.npy` each.

    Returns:
        what came of the videos, the metrics, and the folder where they were written.

    Raises:
        StageError: there is no test video, or none of them has scores there.
    """
    result = StageResult(STAGE)
    scored: list[ScoredVideo] = []
    test = test_videos(run.videos)
    for video in test:
        try:
            path = _find_given(folder, video, test)
            scores = _read_given(path)
        except (OSError, ValueError) as error:
            result.failed[video.id] = f"{video.id}: {error}"
            continue
        if reason := labels_misfit(video, len(scores), path):
            result.failed[video.id] = f"{video.id}: {reason}"
            continue
        if (labelled := labelled_frames(video, len(scores))) != len(scores):
            result.warnings[video.id] = [f"{len(scores)} scores for {labelled} labelled frames"]
            run.say(f"warning: {video.id}: {result.warnings[video.id][0]}")
        scored.append(
            ScoredVideo(
                video=video,
                truth=video.frame_labels(len(scores)),
                scores=scores,
                seconds=len(scores) / folder_fps(run, video),
                labels=label_indices(run, video),
                predicted=None,
                votes=np.zeros(len(run.classes), dtype=np.int64),
            )
        )
    if not scored:
        raise StageError(f"{folder}: no test video has scores there: {next(iter(result.failed.values()))}")
    threshold = run.config.score.threshold
    metrics = compute_metrics(scored, run.classes, DEFAULT_THRESHOLD if threshold is None else threshold)
    made = protocol(run, run.videos, sorted(result.failed))
    kept = ("data", "split", "seed", "videos", "left_out", "events", "false_alarms_hour")
    metrics |= {
        "protocol": {"scores": str(folder), **{name: made[name] for name in kept}},
        "weights": {},
        "lad": __version__,
    }
    place = run.work / "evaluations" / folder.resolve().name  # of `..` too
    write_evaluation(run, place, scored, metrics)
    result.done = len(scored)
    return result, metrics, place


def _find_given(folder: Path, video: Video, test: Sequence[Video]) -> Path:
    """A video's file of scores: by its id, or by the last part of it where no other video shares that.

    Raises:
        ValueError: there is none.
    """
    last = video.id.rpartition("/")[2]
    names = [video.id]
    if sum(other.id.rpartition("/")[2] == last for other in test) == 1:
        names.append(last)
    for name in names:
        for suffix in (".csv", ".npy"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    raise ValueError(f"no {folder / video.id}.csv or .npy")


def _read_given(path: Path) -> np.ndarray:
    """`(frames,)` float64 out of a `.npy`, or of a CSV's column `score`, or of a CSV of one column without a header.

    Raises:
        OSError, ValueError: the file cannot be read so, or a score is not finite.
    """
    if path.suffix == ".npy":
        scores = np.atleast_1d(read_npy(path).squeeze())
    else:
        try:
            scores = _read_csv(path)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}: {error}") from error
    real = np.issubdtype(scores.dtype, np.integer) or np.issubdtype(scores.dtype, np.floating)
    if scores.ndim != 1 or not len(scores) or not real:
        raise ValueError(f"{path}: holds {scores.dtype} {scores.shape}; scores are one number a frame")
    with np.errstate(over="ignore"):
        rounded = scores.astype(np.float32)  # so that 0.1 is the same number in a CSV and a float32 npy
    if not np.isfinite(rounded).all():
        raise ValueError(f"{path}: a score is not finite as a float32")
    return rounded.astype(np.float64)


def _read_csv(path: Path) -> np.ndarray:
    """The column `score`, or the only one of a file without a header.

    Raises:
        OSError, ValueError, csv.Error: the file cannot be read so.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    named = "score" in header
    column = header.index("score") if named else 0
    if not named and (len(header) != 1 or not _is_number(header[0])):
        raise ValueError(f"no column `score` in its first line, {', '.join(header)!r}")
    with warnings.catch_warnings():  # of no numbers at all: who asked says that
        warnings.simplefilter("ignore")
        return np.loadtxt(path, delimiter=",", skiprows=int(named), usecols=column, ndmin=1, encoding="utf-8-sig")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
