"""`lad score`: features and a detector to a score for every frame, `scores/<video id>.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lad import __version__
from lad.dataset import Video
from lad.extract.clips import CLIP_FRAMES
from lad.files import fingerprint, write_text
from lad.metrics import events_above
from lad.pipeline.checkpoint import load_checkpoint
from lad.pipeline.extract import VideoFeatures, find_features
from lad.pipeline.stage import Run, StageError, StageResult, numerics, prepare_torch

if TYPE_CHECKING:
    from lad.models.aed import AED

STAGE = "score"
CODE_VERSION = 1
WINDOWS_A_BLOCK = 64  # windows through the detector at a time: bounds the memory of a long video


@dataclass(frozen=True)
class VideoScores:
    """What the detector says of one video.

    Attributes:
        frames: `(16 * clips,)` float32 score in [0,1] of each frame, the last clip's padding included.
        classes: `(clips, categories)` float32 probabilities, summing to 1.
        votes: `(categories,)` int64: windows that each category won.
    """

    frames: np.ndarray
    classes: np.ndarray
    votes: np.ndarray


def score_features(detector: AED, features: np.ndarray, *, merge: Literal["mean", "max"] = "mean") -> VideoScores:
    """Score a video: windows of K consecutive clips, stride 1, merged where they overlap.

    Each clip's share of the first ConvLSTM layer is computed once a block, not once a window; time and memory are
    linear in the video's length. A video shorter than K clips is filled up with its last clip, whose copies count for
    nothing.

    Args:
        detector: on the device where it is to run.
        features: `(clips, D)` float32.
        merge: of the scores that overlapping windows give a frame; category probabilities are always averaged.
    """
    import torch

    clips, window = len(features), detector.window
    windows = max(clips - window + 1, 1)
    rows = torch.from_numpy(np.ascontiguousarray(features))
    sums = np.zeros((max(clips, window), CLIP_FRAMES), dtype=np.float64)
    class_sums = np.zeros((max(clips, window), detector.classes), dtype=np.float64)
    counts = np.zeros((max(clips, window), 1))
    votes = np.zeros(detector.classes, dtype=np.int64)
    device = detector.feature_mean.device
    with torch.inference_mode():
        for first in range(0, windows, WINDOWS_A_BLOCK):
            size = min(WINDOWS_A_BLOCK, windows - first)
            needed = torch.arange(first, first + size + window - 1).clamp(max=clips - 1)
            projected = detector.project(rows[needed].to(device))
            logits, scores = detector.detect(torch.stack([projected[k : k + size] for k in range(window)]))
            by_clip = scores.view(size, window, CLIP_FRAMES).cpu().numpy()
            probabilities = torch.softmax(logits, dim=1).cpu().numpy()
            votes += np.bincount(probabilities.argmax(axis=1), minlength=detector.classes)
            for k in range(window):
                place = slice(first + k, first + k + size)
                if merge == "max":
                    sums[place] = np.maximum(sums[place], by_clip[:, k])
                else:
                    sums[place] += by_clip[:, k]
                class_sums[place] += probabilities
                counts[place] += 1
    merged = sums if merge == "max" else sums / counts
    return VideoScores(
        frames=merged[:clips].reshape(-1).astype(np.float32),
        classes=(class_sums / counts)[:clips].astype(np.float32),
        votes=votes,
    )


def find_checkpoint(run: Run) -> Path:
    """The detector to score with.

    Raises:
        StageError: it is not there.
    """
    path = run.config.score.checkpoint or run.work / "checkpoints" / "best.pt"
    if not path.is_file():
        raise StageError(f"{path}: no such checkpoint: run `lad train`, or name one with --checkpoint")
    return path


def score_path(work: Path, video_id: str) -> Path:
    return work / "scores" / f"{video_id}.csv"


def score_videos(run: Run, videos: list[Video]) -> StageResult:
    """Score what is missing or stale of `videos`, and rewrite `scores/summary.csv`.

    Raises:
        StageError: there is no checkpoint, it does not fit the features, or videos were not extracted yet.
    """
    result = StageResult(STAGE)
    path = find_checkpoint(run)
    features, failed = find_features(run, videos)
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    checkpoint_sha256 = run.manifest.content_sha256(path, verify=run.verify)
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "checkpoint": checkpoint_sha256,
        "merge": run.config.score.merge,
        "threshold": run.config.score.threshold,
        "numerics": numerics(run.config),
    }
    rows = run.manifest.items(STAGE)
    todo: list[tuple[Video, VideoFeatures, str]] = []
    for video in videos:
        if video.id not in features:
            continue
        today = fingerprint({**facts, "features": features[video.id].fingerprint})
        if not run.force and run.manifest.is_done(rows.get((STAGE, video.id)), today, verify=run.verify):
            result.skipped += 1
        else:
            todo.append((video, features[video.id], today))
    if todo:
        _score(run, path, checkpoint_sha256, todo, result)
    if todo or not (run.work / "scores" / "summary.csv").exists():
        _write_summary(run, checkpoint_sha256)
    return result


def _score(
    run: Run, path: Path, checkpoint_sha256: str, todo: list[tuple[Video, VideoFeatures, str]], result: StageResult
) -> None:
    device = prepare_torch(run.config)
    checkpoint = load_checkpoint(path)
    detector = checkpoint.detector().to(device)
    classes = checkpoint.classes or [f"class_{index}" for index in range(detector.classes)]
    with run.progress("score", len(todo)) as (bar, task):
        for video, features, today in todo:
            clips = features.load()
            if clips.shape[1] != detector.feature_dim:
                raise StageError(
                    f"{path}: made for features of {detector.feature_dim} numbers a clip, "
                    f"these have {clips.shape[1]} ({' + '.join(run.config.extract.streams)})"
                )
            run.manifest.start(STAGE, video.id, today)
            scores = score_features(detector, clips, merge=run.config.score.merge)
            info = _write_scores(run, video, features, scores, classes)
            info |= {"warnings": features.warnings, "checkpoint": checkpoint_sha256, "lad": __version__}
            run.manifest.finish(STAGE, video.id, [score_path(run.work, video.id)], info)
            result.done += 1
            bar.update(task, advance=1, note=video.id)


def _write_scores(
    run: Run, video: Video, features: VideoFeatures, scores: VideoScores, classes: list[str]
) -> dict[str, Any]:
    """Write the CSV of one video and return what its row in the manifest says."""
    times = features.load_times()
    ends = np.append(times[1:], times[-1] + 1 / features.fps)
    # With extract.tail `drop` the frames after the last whole clip take its last score: every frame has one.
    frames = np.arange(len(times)).clip(max=len(scores.frames) - 1)
    frame_scores = scores.frames[frames]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["frame", "time", "score", *classes])
    clip_columns = [[f"{p:.5g}" for p in row] for row in scores.classes]
    for frame, (time, score) in enumerate(zip(times, frame_scores, strict=True)):
        writer.writerow([frame, f"{time:.3f}", f"{score:.7g}", *clip_columns[frames[frame] // CLIP_FRAMES]])
    write_text(score_path(run.work, video.id), out.getvalue())
    threshold = run.config.score.threshold
    peak = int(frame_scores.argmax())
    return {
        "frames": len(times),
        "fps": features.fps,
        "seconds": round(float(ends[-1]), 3),
        "peak_score": round(float(frame_scores[peak]), 6),
        "peak_frame": peak,
        "peak_time": round(float(times[peak]), 3),
        "category": classes[int(scores.classes.mean(axis=0).argmax())],
        "votes": {name: int(count) for name, count in zip(classes, scores.votes, strict=True)},
        "threshold": threshold,
        "events": [
            {
                "start": start,
                "end": end,
                "start_time": round(float(times[start]), 3),
                "end_time": round(float(ends[end - 1]), 3),
                "category": classes[int(scores.classes[frames[start:end] // CLIP_FRAMES].mean(axis=0).argmax())],
            }
            for start, end in events_above(frame_scores, threshold)
        ],
    }


SUMMARY_COLUMNS = ("video", "frames", "seconds", "peak_score", "peak_time", "category", "events", "warnings", "error")


def _write_summary(run: Run, checkpoint_sha256: str) -> None:
    """One line a video: those that this detector scored, and those that have no features, with the reason."""
    from lad.pipeline.extract import STAGE as EXTRACT

    lines: dict[str, list[object]] = {}
    for (_, item), row in run.manifest.items(EXTRACT).items():
        if row.status == "failed":
            video_id = item.partition("/")[2]
            lines[video_id] = [video_id, "", "", "", "", "", "", "", row.error]
    for (_, video_id), row in run.manifest.items(STAGE).items():
        info = row.info
        if row.status == "done" and info.get("checkpoint") == checkpoint_sha256 and video_id not in lines:
            events = ";".join(f"{event['start']}-{event['end']}" for event in info["events"])
            facts = [info[key] for key in ("frames", "seconds", "peak_score", "peak_time", "category")]
            lines[video_id] = [video_id, *facts, events, "; ".join(info["warnings"]), ""]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    writer.writerows(lines[video_id] for video_id in sorted(lines))
    write_text(run.work / "scores" / "summary.csv", out.getvalue())


def read_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A `scores/<video id>.csv` -> scores `(frames,)` float64, category probabilities `(frames, categories)`."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return table[:, 2], table[:, 3:]
