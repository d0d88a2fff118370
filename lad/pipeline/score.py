"""`lad score`: features and a detector to a score for every frame, `scores/<video id>.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lad import __version__
from lad.clip import CLIP_FRAMES
from lad.config import ExtractConfig
from lad.dataset import Video
from lad.detector.calibration import Calibration
from lad.detector.checkpoint import Checkpoint, load_checkpoint
from lad.features.given import GIVEN
from lad.features.video import ClipFeatures
from lad.files import fingerprint, replacing, write_text
from lad.intervals import events_above
from lad.pipeline.inventory import UNKNOWN_WEIGHTS, VideoFeatures, find_features, weights_in_use
from lad.pipeline.project import EXTRACT, Run, StageError, StageResult, numerics, prepare_torch

if TYPE_CHECKING:
    from lad.models.registry import Detector

STAGE = "score"
CODE_VERSION = 3
WINDOWS_A_BLOCK = 64  # windows through the detector at a time: bounds the memory of a long video


@dataclass(frozen=True)
class VideoScores:
    """What the detector says of one video.

    Attributes:
        clips: `(clips, 16)` float32 score in [0,1] of each frame of each clip, the last clip's padding included.
        classes: `(clips, categories)` float32 probabilities, summing to 1.
        votes: `(categories,)` int64: windows that each category won.
    """

    clips: np.ndarray
    classes: np.ndarray
    votes: np.ndarray


def score_features(
    detector: Detector, features: ClipFeatures, *, merge: Literal["mean", "max"] = "mean"
) -> VideoScores:
    """Score a video: windows of K consecutive clips, stride 1, merged where they overlap, the mean of all crops.

    Each clip's share of the first ConvLSTM layer is computed once a block, not once a window; features are read block
    by block; time and memory are linear in the video's length. A video shorter than K clips is filled up with its
    last clip, whose copies count for nothing.

    Args:
        detector: on the device where it is to run.
        features: of the video's clips.
        merge: of the scores that overlapping windows give a frame; category probabilities are always averaged.
    """
    clips, window = features.clips, detector.window
    windows = max(clips - window + 1, 1)
    sums = np.zeros((max(clips, window), CLIP_FRAMES), dtype=np.float64)
    class_sums = np.zeros((max(clips, window), detector.classes), dtype=np.float64)
    counts = np.zeros((max(clips, window), 1))
    votes = np.zeros(detector.classes, dtype=np.int64)
    for first in range(0, windows, WINDOWS_A_BLOCK):
        size = min(WINDOWS_A_BLOCK, windows - first)
        needed = np.arange(first, first + size + window - 1).clip(max=clips - 1)
        by_clip, probabilities = _score_block(detector, features, needed)
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
        clips=merged[:clips].astype(np.float32), classes=(class_sums / counts)[:clips].astype(np.float32), votes=votes
    )


def _score_block(detector: Detector, features: ClipFeatures, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(windows, K, 16)` and category probabilities `(windows, categories)` of the windows within `clips`."""
    import torch

    window, size = detector.window, len(clips) - detector.window + 1
    scores = np.zeros((size, window, CLIP_FRAMES), dtype=np.float32)
    probabilities = np.zeros((size, detector.classes), dtype=np.float32)
    with torch.inference_mode():
        for crop in range(features.crops):
            rows = torch.from_numpy(features.rows(crop, clips)).to(detector.feature_mean.device)
            projected = detector.project(rows)
            logits, frames = detector.detect(projected.unfold(0, size, 1).movedim(-1, 1))
            scores += frames.view(size, window, CLIP_FRAMES).cpu().numpy()
            probabilities += torch.softmax(logits, dim=1).cpu().numpy()
    return scores / features.crops, probabilities / features.crops


def find_checkpoint(run: Run) -> Path:
    """The detector to score with.

    Raises:
        StageError: it is not there.
    """
    path = run.config.score.checkpoint or run.work / "checkpoints" / "best.pt"
    if not path.is_file() and (run.work / "splits").is_dir():
        raise StageError(f"{run.work}: holds a detector for each random split: name one with --checkpoint")
    if not path.is_file():
        raise StageError(f"{path}: no such checkpoint: run `lad train`, or name one with --checkpoint")
    return path


def score_path(work: Path, video_id: str) -> Path:
    return work / "scores" / f"{video_id}.csv"


def score_fingerprint(run: Run, features: VideoFeatures, checkpoint_sha256: str) -> str:
    """What the scores of a video depend on, with a given detector."""
    return fingerprint(
        {
            "stage": STAGE,
            "code": CODE_VERSION,
            "checkpoint": checkpoint_sha256,
            "merge": run.config.score.merge,
            "threshold": run.config.score.threshold,
            "classes": run.classes,
            "numerics": numerics(run.config),
            "features": features.fingerprint,
        }
    )


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
    rows = run.manifest.items(STAGE)
    todo: list[tuple[Video, VideoFeatures, str]] = []
    for video in videos:
        if video.id not in features:
            continue
        today = score_fingerprint(run, features[video.id], checkpoint_sha256)
        if not run.force and run.manifest.is_done(rows.get((STAGE, run.item(video.id))), today, verify=run.verify):
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
    calibration = Calibration(**checkpoint.calibration)
    chosen = run.config.score.threshold
    threshold = checkpoint.threshold if chosen is None else chosen
    classes = _class_names(run, checkpoint.classes, detector.classes)
    if differences := _other_features(run, checkpoint, [video for video, _, _ in todo]):
        run.say(f"warning: {path} was trained on other features: {'; '.join(differences)}")
    with run.progress("score", len(todo)) as (bar, task):
        for video, source, today in todo:
            features = source.open()
            if features.dim != detector.feature_dim:
                raise StageError(
                    f"{path}: made for features of {detector.feature_dim} numbers a clip, "
                    f"these have {features.dim} ({' + '.join(run.config.extract.streams)})"
                )
            run.manifest.start(STAGE, run.item(video.id), today)
            scores = score_features(detector, features, merge=run.config.score.merge)
            info = _write_scores(score_path(run.work, video.id), source, scores, calibration, classes, threshold)
            info |= {"warnings": source.warnings, "checkpoint": checkpoint_sha256, "lad": __version__}
            run.manifest.finish(STAGE, run.item(video.id), [score_path(run.work, video.id)], info)
            result.done += 1
            bar.update(task, advance=1, note=video.id)


def _other_features(run: Run, checkpoint: Checkpoint, videos: list[Video]) -> list[str]:
    """How the features that a detector learned from differ from those that it is to score, as far as anybody knows."""
    if checkpoint.config is None:
        return []
    learned = {stream: identity.startswith(UNKNOWN_WEIGHTS) for stream, identity in checkpoint.weights.items()}
    given = all(video.is_features for video in videos)
    if any(learned.values()) != given:
        whose = ("features that were given", "features that lad makes")
        return [f"{whose[given]}, and these are {whose[not given]}"]
    if given:
        return []
    now = run.config.extract.model_dump(mode="json")
    then = ExtractConfig().model_dump(mode="json") | checkpoint.config["extract"]  # it may be older than a key
    keys = ["backbone", "preset", "crops", "context", "fps", "clip_stride"]
    keys += [key for key, stream in (("rgb_short_side", "rgb"), ("flow", "flow")) if stream in now["streams"]]
    found = [f"{key} {then.get(key)}, now {now[key]}" for key in keys if then.get(key) != now[key]]
    for stream, identity in weights_in_use(run).items():
        if checkpoint.weights.get(stream, identity) != identity:
            found.append(f"{stream} weights {checkpoint.weights[stream]}, now {identity}")
    return found


def _class_names(run: Run, known: list[str], classes: int) -> list[str]:
    """What the detector's categories are called: released checkpoints do not say, so the data do where they fit."""
    if known:
        return known
    return run.classes if len(run.classes) == classes else [f"class_{index}" for index in range(classes)]


def _write_scores(
    path: Path,
    source: VideoFeatures,
    scores: VideoScores,
    calibration: Calibration,
    classes: list[str],
    threshold: float,
) -> dict[str, Any]:
    """Write the CSV of one video and return what its row in the manifest says."""
    times = source.times
    ends = np.append(times[1:], times[-1] + 1 / source.fps)
    frame_scores = calibration(source.by_frame(scores.clips))
    clips = source.clip_of_frame(len(scores.clips))
    class_columns = [",".join(f"{p:.5g}" for p in row) for row in scores.classes.tolist()]
    rows = enumerate(zip(times.tolist(), frame_scores.tolist(), clips.tolist(), strict=True))
    # Written line by line, since a day of video has two million of them; numbers need none of csv.writer's quotes.
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(["frame", "time", "score", *classes])
        file.writelines(
            f"{frame},{time:.3f},{score:.7g},{class_columns[clip]}\n" for frame, (time, score, clip) in rows
        )
    peak = int(frame_scores.argmax())
    return {
        "frames": len(times),
        "fps": source.fps,
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
                "category": classes[int(scores.classes[clips[start:end]].mean(axis=0).argmax())],
            }
            for start, end in events_above(frame_scores, threshold)
        ],
    }


SUMMARY_COLUMNS = ("video", "frames", "seconds", "peak_score", "peak_time", "category", "events", "warnings", "error")


def _write_summary(run: Run, checkpoint_sha256: str) -> None:
    """One line a video: those that this detector scored, and those that have no features, with the reason."""
    lines: dict[str, list[object]] = {}
    for (_, item), row in run.manifest.items(EXTRACT).items():
        stream, _, video_id = item.partition("/")
        if row.status == "failed" and stream in (GIVEN, *run.config.extract.streams):
            lines[video_id] = [video_id, "", "", "", "", "", "", "", row.error]
    prefix = run.item("")
    for (_, item), row in run.manifest.items(STAGE).items():
        info, video_id = row.info, item.removeprefix(prefix)
        ours = item.startswith(prefix) and row.status == "done" and info.get("checkpoint") == checkpoint_sha256
        if ours and video_id not in lines:
            events = ";".join(f"{event['start']}-{event['end']}" for event in info["events"])
            facts = [info[key] for key in ("frames", "seconds", "peak_score", "peak_time", "category")]
            lines[video_id] = [video_id, *facts, events, "; ".join(info["warnings"]), ""]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    writer.writerows(lines[video_id] for video_id in sorted(lines))
    write_text(run.work / "scores" / "summary.csv", out.getvalue())


def read_scores(path: Path) -> np.ndarray:
    """A `scores/<video id>.csv` -> scores `(frames,)` float64."""
    with path.open(encoding="utf-8", newline="") as file:
        next(csv.reader(file))  # the names of categories, which may be of several lines
        return np.loadtxt(file, delimiter=",", usecols=2, ndmin=1)
