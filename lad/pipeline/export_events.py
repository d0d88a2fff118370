"""`lad export --layout srt|eaf|fiftyone`: found and true events, for players and other programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lad.dataset import Video
from lad.datasets import eaf, fiftyone
from lad.datasets.exchange import Mark, mark_name, record_of
from lad.events import TimedEvent, in_frames
from lad.pipeline.clips import read_curve
from lad.pipeline.export import write_export
from lad.pipeline.reporter import Reporter, StageResult
from lad.pipeline.scored import ScoredVideo, scored_videos
from lad.remote.url import Url
from lad.text import printable, timecode
from lad.work.layout import Work

STAGE = "export"
MARKUP = str.maketrans("<>{}", "‹›()")  # what players obey in a subtitle


def export_srt(work: Work, out: Path | None, reporter: Reporter, *, force: bool = False) -> StageResult:
    """Write the found events of each video as subtitles: `<video id>.srt`, or beside the video where `out` is None.

    Raises:
        StageError: nothing was scored here, or somebody else's file is in the way.
        OSError: it cannot be written.
    """
    result, videos = StageResult(STAGE), scored_videos(work)
    beside = {video.id: _beside(video.path) for video in videos if not isinstance(video.path, Url)}
    places = Counter(beside.values())
    for video in _in_turn(videos, reporter):
        if out:
            path = out / f"{video.id}.srt"
        elif isinstance(video.path, Url):
            result.failed[video.id] = (
                f"{video.path}: it lies at a URL, where nothing is written: name a folder with --out"
            )
            continue
        elif not video.path.exists():
            result.failed[video.id] = f"{video.path}: it is not there any more, so nothing is written beside it"
            continue
        elif places[path := beside[video.id]] > 1:
            result.failed[video.id] = (
                f"{video.path}: another video would have its subtitles in {path}, too: name a folder with --out"
            )
            continue
        _count(result, write_export(work, path, srt_text(video).encode(), force=force))
    return result


def _beside(path: Path) -> Path:
    """Where players look for the subtitles of a video; the name of a folder of frames has no suffix."""
    return path.with_name(f"{path.name}.srt") if path.is_dir() else path.with_suffix(".srt")


def srt_text(video: ScoredVideo) -> str:
    """The found events of a video as subtitles (SubRip): its category and its highest score, while it lasts."""
    blocks = []
    for number, event in enumerate(video.events, 1):
        times = " --> ".join(_srt_time(time) for time in (event.start_time, event.end_time))
        name = " ".join(printable(event.category).split()).translate(MARKUP)
        blocks.append(f"{number}\n{times}\n{name} {event.peak:.2f}\n")
    return "\n".join(blocks)


def _srt_time(seconds: float) -> str:
    hours, rest = timecode(seconds).replace(".", ",").split(":", 1)
    return f"{int(hours):02d}:{rest}"


def export_eaf(work: Work, out: Path | None, reporter: Reporter, *, force: bool = False) -> StageResult:
    """Write an `.eaf` file for each video, with what was found and what dataset.csv says.

    Raises:
        StageError: nothing was scored here, or somebody else's file is in the way.
        OSError: it cannot be written.
    """
    assert out is not None
    result = StageResult(STAGE)
    for video in _in_turn(scored_videos(work), reporter):
        if isinstance(video.path, Url):
            result.failed[video.id] = f"{video.path}: ELAN opens no video at a URL: download it, and score the file"
            continue
        path = out / f"{video.id}{eaf.SUFFIX}"
        found = [eaf.to_mark(event.start_time, event.end_time, event.category) for event in video.events]
        true, record = [], None
        if video.known is not None:
            true = [eaf.to_mark(*times, mark_name(video.known)) for times in _true_times(video, video.known)]
            record = record_of(video.known, true)
        content = eaf.eaf_bytes(path, video.path, {eaf.TRUTH: true, eaf.FOUND: found}, record)
        _count(result, write_export(work, path, content, force=force))
    return result


def export_fiftyone(work: Work, out: Path | None, reporter: Reporter, *, force: bool = False) -> StageResult:
    """Write FiftyOne's `labels.json` of what was found, `truth.json` of what dataset.csv says, and `data.json`.

    Raises:
        StageError: nothing was scored here, or somebody else's file is in the way.
        OSError: it cannot be written.
    """
    assert out is not None
    result = StageResult(STAGE)
    places, found, truth, records = {}, {}, {}, {}
    for video in _in_turn(scored_videos(work), reporter):
        places[fiftyone.data_key(video.id, video.path)] = str(video.path)
        found[video.id] = [
            fiftyone.detection(event.start, event.end, event.category, event.peak) for event in video.events
        ]
        if video.known is not None:
            name = mark_name(video.known)
            frames = _true_frames(video, video.known)
            truth[video.id] = [fiftyone.detection(start, end, name) for start, end in frames]
            records[video.id] = record_of(video.known, [Mark(start + 1, end, name) for start, end in frames])
        result.done += 1
    files = {fiftyone.DATA: places, fiftyone.LABELS: fiftyone.labels_data(found, {})}
    if truth:
        files[fiftyone.TRUTH] = fiftyone.labels_data(truth, records)
    for file, data in files.items():
        write_export(work, out / file, (json.dumps(data, indent=2) + "\n").encode(), force=force)
    return result


LAYOUTS: dict[str, Callable[..., StageResult]] = {"srt": export_srt, "eaf": export_eaf, "fiftyone": export_fiftyone}


def _in_turn(videos: Sequence[ScoredVideo], reporter: Reporter) -> Iterator[ScoredVideo]:
    with reporter.progress(STAGE, len(videos)) as bar:
        for video in videos:
            yield video
            bar.advance(video.id)


def _count(result: StageResult, written: bool) -> None:
    result.done += written
    result.skipped += not written


def _true_frames(video: ScoredVideo, known: Video) -> list[tuple[int, int]]:
    """The frames of each true event, half-open: of a click that one, of `?` the whole video."""
    timed = any(isinstance(event, TimedEvent) for event in known.events)
    times = read_curve(video)[0] if timed else np.zeros(0)
    frames = in_frames(known.events, times, video.fps)
    return [(event.start, video.frames if event.end is None else event.end) for event in frames]


def _true_times(video: ScoredVideo, known: Video) -> list[tuple[float, float]]:
    """The seconds at which each true event starts and ends."""
    if not known.events:
        return []
    times, _ = read_curve(video)
    ends = np.append(times[1:], video.seconds)
    return [
        (float(times[min(start, len(times) - 1)]), float(ends[min(end, len(ends)) - 1]))
        for start, end in _true_frames(video, known)
    ]
