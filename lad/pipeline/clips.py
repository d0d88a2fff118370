"""`lad clips`: each event that was found as a video of its own."""

from __future__ import annotations

import csv
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from lad.config import load_config
from lad.cutting.cutter import Cutter
from lad.cutting.film import Piece
from lad.cutting.job import Cut, CutJob
from lad.cutting.overlay import Overlay
from lad.dataset import FEATURES_SUFFIX, MAX_NAME_BYTES
from lad.detector.scoring import Event as FoundEvent
from lad.events import TimedEvent, in_frames
from lad.extract.video import DEFAULT_LIMITS, Limits, VideoError
from lad.files import LEFTOVER_SECONDS, fingerprint, replacing, sweep_leftovers
from lad.ours import CONFIG
from lad.pipeline.at_hand import at_hand
from lad.pipeline.events import event_data
from lad.pipeline.project import Asked
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.pipeline.scored import STAGE as SCORE
from lad.pipeline.scored import ScoredVideo, scored_videos
from lad.text import timecode
from lad.work.layout import Work

STAGE = "clips"
CODE_VERSION = 1
CLIPS_A_JOB = 64  # of one video: each holds a folder open until all are there
MAX_CATEGORY = 40  # letters of a category in the name of a clip


@dataclass(frozen=True)
class Wanted:
    """Which clips, and how.

    Attributes:
        before, after: seconds to show around an event.
        merge: events with a shorter gap in seconds between them are one clip.
        overlay: whether the score is drawn into the picture.
        videos: patterns (`fnmatch`) of ids; none: all videos.
        categories: of events; none: all.
        min_peak: what an event has to reach.
        limit: so many, the worst first; None: all.
    """

    before: float = 5.0
    after: float = 5.0
    merge: float = 2.0
    overlay: bool = False
    videos: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    min_peak: float = 0.0
    limit: int | None = None

    def takes(self, event: FoundEvent) -> bool:
        return event.peak >= self.min_peak and (not self.categories or event.category in self.categories)


@dataclass(frozen=True)
class Clip:
    """Events of a video that are shown together.

    Attributes:
        video: of which.
        events: in order.
        path: of the clip.
    """

    video: ScoredVideo
    events: tuple[FoundEvent, ...]
    path: Path

    @property
    def peak(self) -> float:
        return max(event.peak for event in self.events)

    @property
    def category(self) -> str:
        """Of its worst event."""
        return max(self.events, key=lambda event: event.peak).category


@dataclass
class ClipsResult(StageResult):
    """What `lad clips` came to.

    Attributes:
        clips: what is there now, worst first: plain data.
    """

    clips: list[dict[str, Any]] = field(default_factory=list)


def plan_clips(videos: Sequence[ScoredVideo], wanted: Wanted, out: Path) -> list[Clip]:
    """The clips that are wanted, worst first.

    Raises:
        StageError: a pattern or a category that was asked for is nowhere.
    """
    for pattern in wanted.videos:
        if not any(fnmatchcase(video.id, pattern) for video in videos):
            raise StageError(f"--video {pattern}: no scored video has such an id")
    found = {event.category for video in videos for event in video.events}
    for category in wanted.categories:
        if category not in found:
            raise StageError(f"--category {category}: no event has it; there are {', '.join(sorted(found)) or 'none'}")
    clips = []
    for video in videos:
        if wanted.videos and not any(fnmatchcase(video.id, pattern) for pattern in wanted.videos):
            continue
        for events in _together([event for event in video.events if wanted.takes(event)], wanted.merge):
            clips.append(Clip(video, events, out / _name(video, events)))
    clips.sort(key=lambda clip: (-clip.peak, clip.video.id, clip.events[0].start))
    return clips[: wanted.limit]


def _together(events: Sequence[FoundEvent], merge: float) -> Iterator[tuple[FoundEvent, ...]]:
    near: list[FoundEvent] = []
    for event in events:
        if near and event.start_time - near[-1].end_time >= merge:
            yield tuple(near)
            near = []
        near.append(event)
    if near:
        yield tuple(near)


def _name(video: ScoredVideo, events: tuple[FoundEvent, ...]) -> str:
    """`<video id>_<when the first event starts>_<category>.mp4`, which is below the folder whatever the id is."""
    worst = max(events, key=lambda event: event.peak).category
    category = re.sub(r"[^\w-]+", "_", worst)[:MAX_CATEGORY].encode()[: 2 * MAX_CATEGORY].decode(errors="ignore")
    ending = f"_{timecode(events[0].start_time).replace(':', '-')}_{category}.mp4"
    folder, slash, name = video.id.rpartition("/")
    if len(f"{name}{ending}".encode()) > MAX_NAME_BYTES:
        mark = f"-{hashlib.sha256(video.id.encode()).hexdigest()[:8]}"
        name = name.encode()[: MAX_NAME_BYTES - len(f"{mark}{ending}".encode())].decode(errors="ignore") + mark
    return f"{folder}{slash}{name}{ending}"


def cut_clips(work: Work, wanted: Wanted, out: Path, asked: Asked, reporter: Reporter) -> ClipsResult:
    """Write the clips of a work directory's events below `out`; those that are there already stay.

    Returns:
        Clips written, left alone, and videos that failed: they are gone, are others now, or have no pictures.

    Raises:
        StageError: nothing was scored here, or a file that `lad` did not write is in the way.
        OSError: `out` cannot be written to.
    """
    result = ClipsResult(STAGE)
    clips = plan_clips(scored_videos(work), wanted, out)
    made = {clip.path: _fingerprint(work, clip, wanted) for clip in clips}
    todo: dict[str, list[Clip]] = {}
    for clip in clips:
        row = work.manifest.get(STAGE, _item(clip))
        if not asked.force and work.manifest.is_done(row, made[clip.path], verify=asked.verify):
            result.skipped += 1
            continue
        if not asked.force and _is_foreign(work, clip):
            raise StageError(
                f"{clip.path}: is there already, and is not as lad wrote it: name another --out, "
                "or give --force to replace it"
            )
        todo.setdefault(clip.video.id, []).append(clip)
    for folder in {clip.path.parent for some in todo.values() for clip in some if clip.path.parent.is_dir()}:
        sweep_leftovers(folder, time.time() - LEFTOVER_SECONDS)
    with Cutter() as cutter, reporter.progress(STAGE, sum(map(len, todo.values())), "clips") as bar:
        for video_id, some in todo.items():
            bar.show(note=video_id)
            some.sort(key=lambda clip: clip.events[0].start)
            try:
                if some[0].video.path.suffix == FEATURES_SUFFIX:
                    raise VideoError("it was given as features: there are no pictures to cut")
                with at_hand(work, some[0].video) as file:
                    for first in range(0, len(some), CLIPS_A_JOB):
                        part = some[first : first + CLIPS_A_JOB]
                        for line in _cut(work, part, file, made, wanted, cutter, bar.advance):
                            reporter.say(line)
                        result.done += len(part)
            except (VideoError, StageError) as error:
                result.failed[video_id] = f"{some[0].video.path}: {error}"
                reporter.say(f"failed: {result.failed[video_id]}")
    result.clips = [clip_data(work, clip) for clip in clips if clip.video.id not in result.failed]
    return result


def _item(clip: Clip) -> str:
    return str(clip.path.absolute())


def _is_foreign(work: Work, clip: Clip) -> bool:
    """Whether a file is in the way that is not as it was cut from here."""
    row = work.manifest.get(STAGE, _item(clip))
    if not clip.path.exists() and not clip.path.is_symlink():
        return False
    if row is None or clip.path.is_symlink() or not clip.path.is_file():
        return True
    return row.status == "done" and not all(work.manifest.is_intact(output) for output in row.outputs)


def _fingerprint(work: Work, clip: Clip, wanted: Wanted) -> str:
    row = work.manifest.get(SCORE, work.item(clip.video.id))
    return fingerprint(
        {
            "stage": STAGE,
            "code": CODE_VERSION,
            "scores": row.fingerprint if row else "",
            "events": [[event.start, event.end] for event in clip.events],
            "around": [wanted.before, wanted.after],
            "overlay": wanted.overlay,
        }
    )


def _cut(
    work: Work,
    clips: Sequence[Clip],
    file: Path,
    made: dict[Path, str],
    wanted: Wanted,
    cutter: Cutter,
    advance: Callable[[str], None],
) -> list[str]:
    """Write clips of one video, whose file is given, all or none; returns what is to be said of them.

    Raises:
        VideoError: it cannot be cut.
        StageError: its scores are not as `lad` made them.
    """
    video = clips[0].video
    times, scores = read_curve(video)
    ends = np.append(times[1:], video.seconds)
    said: dict[int, dict[str, Any]] = {}
    pieces = [_piece(clip, wanted, times, ends, video.fps) for clip in clips]
    with ExitStack() as files:
        cuts = []
        for clip, piece in zip(clips, pieces, strict=True):
            work.manifest.start(STAGE, _item(clip), made[clip.path])
            cuts.append(Cut(piece, files.enter_context(replacing(clip.path)), _overlay(video, piece, scores, wanted)))

        def written(number: int, how: dict[str, Any]) -> None:
            said[number] = how
            advance(clips[number].path.name)

        try:
            cutter.cut(CutJob(file, video.frames, video.fps, cuts, _limits(work)), written)
        except VideoError as error:
            for clip in clips:
                work.manifest.fail(STAGE, _item(clip), error.kind, f"{video.path}: {error}")
            raise
    for number, (clip, piece) in enumerate(zip(clips, pieces, strict=True)):
        info = {"start": piece.start, "end": piece.end, "copied": said[number]["copied"]}
        work.manifest.finish(STAGE, _item(clip), [clip.path.absolute()], info)
    return [f"{clips[number].path}: {how['note']}" for number, how in said.items() if how["note"]]


def _limits(work: Work) -> Limits:
    """Those that the videos were read with."""
    path = work.home / CONFIG
    if not path.is_file():
        return DEFAULT_LIMITS
    extract = load_config(path, []).extract
    return Limits(extract.max_pixels, extract.max_frames)


def _piece(clip: Clip, wanted: Wanted, times: np.ndarray, ends: np.ndarray, fps: float) -> Piece:
    begin = max(clip.events[0].start_time - wanted.before, 0.0)
    end = min(clip.events[-1].end_time + wanted.after, float(ends[-1]))
    around = in_frames([TimedEvent(begin, end, "")], times, fps)[0]
    start = min(around.start, clip.events[0].start)
    stop = min(max(around.end or 0, clip.events[-1].end), len(times))
    return Piece(start, stop, np.append(times[start:stop], ends[stop - 1]))


def _overlay(video: ScoredVideo, piece: Piece, scores: np.ndarray, wanted: Wanted) -> Overlay | None:
    if not wanted.overlay:
        return None
    near = [event for event in video.events if event.start < piece.end and event.end > piece.start]
    events = tuple((event.start, event.end, event.category) for event in near)
    return Overlay(piece.start, piece.times[:-1], scores[piece.start : piece.end], video.threshold, events)


def read_curve(video: ScoredVideo) -> tuple[np.ndarray, np.ndarray]:
    """A scored video's times and scores, `(frames,)` float64 each.

    Raises:
        StageError: its CSV is not as `lad` made it.
    """
    try:
        with video.scores.open(encoding="utf-8", newline="") as file:
            next(csv.reader(file))  # the names of categories, which may be of several lines
            rows = np.loadtxt(file, delimiter=",", usecols=(1, 2), ndmin=2)
    except (OSError, ValueError, StopIteration, csv.Error) as error:
        raise StageError(f"{video.scores}: not as lad made it: run `lad score --verify` first") from error
    if len(rows) != video.frames or not np.isfinite(rows).all():
        raise StageError(f"{video.scores}: not as lad made it: run `lad score --verify` first")
    return rows[:, 0], rows[:, 1]


def clip_data(work: Work, clip: Clip) -> dict[str, Any]:
    """A clip as plain data: where it is, which frames of the video it shows, and its events."""
    row = work.manifest.get(STAGE, _item(clip))
    info = row.info if row else {}
    return {
        "path": str(clip.path),
        "video": clip.video.id,
        "start_frame": info.get("start"),
        "end_frame": info.get("end"),
        "copied": info.get("copied"),
        "peak": clip.peak,
        "category": clip.category,
        "events": [event_data(event) for event in clip.events],
    }
