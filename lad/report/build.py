"""A report from beginning to end: scores are read, moments chosen, pictures made, the page's data written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import FEATURES_SUFFIX
from lad.extract.video import VideoError
from lad.files import fingerprint, read_npy
from lad.pipeline.reporter import Reporter
from lad.pipeline.review_next import NextMoment
from lad.pipeline.scored import ScoredVideo, scored_videos
from lad.report import pictures
from lad.report.curves import Curve, block_categories, block_peaks, curve_data, packed, read_curve
from lad.report.facts import PLOTS, event_rule, run_facts
from lad.report.folder import ReportFolder
from lad.report.frames import is_played, recorded_at
from lad.report.moments import Interval, Moment, choose_parts, choose_stills
from lad.report.truth import UNKNOWN, has_labels, missed, true_events, verdict
from lad.work.layout import Work

Videos = Literal["clips", "link", "served", "none"]
SCRIPTS = ("store.js", "rule.js", "list.js", "curve.js", "player.js", "run.js", "review.js", "main.js")
VENDORED = ("vendor/uPlot.iife.min.js", "vendor/uPlot.min.css", "vendor/uPlot.LICENSE.txt")
PAGE = ("index.html", "icon.svg", "page.css", *SCRIPTS, *VENDORED)
MAX_BLOCKS = 2_000_000  # of all videos together: what the list at other thresholds is made of, three bytes each


@dataclass(frozen=True)
class Choices:
    """What goes into a report.

    Attributes:
        videos: `clips`: small clips of the moments, so that the folder is complete. `link`: the videos themselves where
            browsers play them, clips of the others. `served`: as `link`, but a server has them, at `videos/NUMBER`.
            `none`: no moving pictures.
        thumbnails: so many of the worst events get one.
        before, after: seconds around an event in a clip.
        minutes: of clips, at most.
        force: replace files that lad did not write.
    """

    videos: Videos = "clips"
    thumbnails: int = 500
    before: float = 5.0
    after: float = 5.0
    minutes: float = 30.0
    force: bool = False


@dataclass
class Report:
    """What came of it.

    Attributes:
        page: its `index.html`.
        videos, events: how many it shows.
        made, kept: pictures that were made now, and that were there.
        files: address -> file, of all that the page asks for.
        failed: video id -> why it is shown without pictures.
    """

    page: Path
    videos: int = 0
    events: int = 0
    made: int = 0
    kept: int = 0
    files: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        parts = [f"{self.videos} videos", f"{self.events} events", f"{self.made} pictures made"]
        parts += [f"{self.kept} made before"] if self.kept else []
        parts += [f"{len(self.failed)} videos without pictures"] if self.failed else []
        return f"report: {', '.join(parts)}"


@dataclass
class _Shown:
    """A video on its way to the page.

    Attributes:
        times_path: where the seconds of its frames lie.
        truth: its true events; None: nothing is known of it.
        misses: those that were not found, and the seconds at which they begin and end.
        frames: the frame with the highest score of each found event.
        peak_frame: that of the whole video.
        peaks, kinds: of each block of frames, the highest score and the likeliest category.
        stills, clips: pictures by their place in it -> file.
        link: the address of the video itself, where browsers play it.
        recorded: when it was, as it says.
        problem: why it has no pictures.
    """

    video: ScoredVideo
    times_path: Path
    truth: list[Interval] | None
    frames: list[int]
    misses: list[tuple[Moment, float, float]]
    peak_frame: int
    peaks: np.ndarray
    kinds: np.ndarray
    stills: dict[int, str] = field(default_factory=dict)
    clips: dict[Interval, str] = field(default_factory=dict)
    link: str = ""
    recorded: str | None = None
    problem: str = ""

    def times(self) -> np.ndarray:
        """Seconds of its frames. They are looked at where they lie: those of all videos would fill the memory."""
        if self.times_path.is_file():
            return read_npy(self.times_path)
        return np.arange(self.video.frames) / self.video.fps


def build_report(
    work: Work, out: Path, choices: Choices, reporter: Reporter, next_moments: Sequence[NextMoment] = ()
) -> Report:
    """Write a page that shows what was scored in a work directory; pictures that are there are not made again.

    Args:
        work: what was scored.
        out: the page's folder.
        choices: what goes into it.
        reporter: gets warnings and progress.
        next_moments: what to look at next, the first one first.

    Raises:
        StageError: nothing was scored, or scores are not as they were written.
        ReportError: a file in the way is not lad's.
        OSError: it cannot be written.
    """
    videos = scored_videos(work)
    folder = ReportFolder(out, force=choices.force)
    plots = [name for name in PLOTS if work.metrics.is_file() and (work.folder / "plots" / name).is_file()]
    names = [*PAGE, "data/run.js", "data/blocks.js", *(f"data/video-{n}.js" for n in range(len(videos)))]
    names += [f"plots/{name}" for name in plots]
    folder.plan(names)
    result = Report(out / "index.html", len(videos), sum(len(video.events) for video in videos))

    labelled = has_labels(videos)
    block = CLIP_FRAMES * max(1, -(-sum(video.frames for video in videos) // (CLIP_FRAMES * MAX_BLOCKS)))
    categories: list[str] = []
    shown: list[_Shown] = []
    with reporter.progress("scores", len(videos)) as bar:
        for number, video in enumerate(videos):
            curve = read_curve(video.scores, work.times(video.id))
            one = _shown(work, number, video, curve, categories, block, labelled=labelled)
            data = {"classes": [categories.index(name) for name in curve.classes]}
            folder.write(f"data/video-{number}.js", script(f"video-{number}", curve_data(curve) | data))
            shown.append(one)
            bar.advance(video.id)
    places = {video.id: number for number, video in enumerate(videos)}
    next_moments = [one for one in next_moments if one.video in places]
    _choose_pictures(
        shown,
        choices,
        out,
        [Moment(places[m.video], m.start, m.end, (m.start + m.end) // 2, m.score) for m in next_moments],
    )
    pictures_planned = [file for one in shown for file in (*one.stills.values(), *one.clips.values())]
    folder.plan(pictures_planned)
    _make_pictures(shown, folder, reporter, result)

    run = _run_data(shown, categories) | {
        "format": 1,
        "next": _next_data(next_moments, places),
        "name": work.home.resolve().name + (f", {work.name}" if work.name else ""),
        "rule": dict(zip(("merge", "least"), event_rule(work), strict=True)),
        "block": block,
        "labelled": labelled,
        "facts": run_facts(work, videos),
        "plots": [f"plots/{name}" for name in plots],
    }
    folder.write("data/run.js", script("run", run))
    blocks = {"peaks": [packed(one.peaks) for one in shown], "kinds": [packed(one.kinds) for one in shown]}
    folder.write("data/blocks.js", script("blocks", blocks))
    for name in plots:
        folder.write(f"plots/{name}", (work.folder / "plots" / name).read_bytes())
    for name in PAGE:
        folder.write(name, (files("lad.report") / "page" / name).read_bytes())
    folder.finish([*names, *pictures_planned])
    result.files = {name: out / name for name in (*names, *pictures_planned)}
    result.files |= {one.link: one.video.path for one in shown if one.link and choices.videos == "served"}
    return result


def script(name: str, data: object) -> bytes:
    """A file that gives the page `data` under a name: pages that are opened from the disk can read no JSON.

    Everything but ASCII is escaped, and so is `<`: nothing in a name can end a script, or a line of it.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"LAD.give({json.dumps(name)},{text});\n".encode()


def _shown(
    work: Work, number: int, video: ScoredVideo, curve: Curve, categories: list[str], block: int, *, labelled: bool
) -> _Shown:
    """What the page needs of a video once its curve is written; adds to `categories`."""
    for name in (*curve.classes, video.category, *(event.category for event in video.events)):
        if name not in categories:
            categories.append(name)
    scores, times = curve.scores, curve.times
    truth = true_events(video, curve) if labelled and video.known else None
    kinds = np.array([categories.index(name) for name in curve.classes] or [0], "<u2")
    return _Shown(
        video=video,
        times_path=work.times(video.id),
        truth=truth,
        frames=[event.start + int(scores[event.start : event.end].argmax()) for event in video.events],
        misses=[
            (
                Moment(number, one.start, one.end, one.frame, one.peak),
                float(times[one.start]),
                float(times[one.end - 1]),
            )
            for one in missed(video, truth or [], scores)
        ],
        peak_frame=int(scores.argmax()),
        peaks=block_peaks(scores, block),
        kinds=kinds[block_categories(curve, block)],
    )


def _choose_pictures(shown: Sequence[_Shown], choices: Choices, out: Path, next_moments: Sequence[Moment]) -> None:
    """Decide which frames are shown, and name the files by all that they depend on."""
    for number, one in enumerate(shown):
        path = one.video.path
        if path.suffix == FEATURES_SUFFIX:
            one.problem = "it came as features, without pictures"
        elif not path.exists():
            one.problem = f"{path}: is not there any more"
        else:
            one.recorded = recorded_at(path)
            if choices.videos == "link" and is_played(path):
                one.link = _address(path, out)
            elif choices.videos == "served" and is_played(path):
                one.link = f"videos/{number}"
    found = [
        Moment(number, event.start, event.end, frame, event.peak)
        for number, one in enumerate(shown)
        for event, frame in zip(one.video.events, one.frames, strict=True)
    ]
    misses = [moment for one in shown for moment, _, _ in one.misses]
    quiet = [
        Moment(number, one.peak_frame, one.peak_frame + 1, one.peak_frame, one.video.peak)
        for number, one in enumerate(shown)
        if not one.video.events
    ]
    worst = sorted(found, key=lambda moment: -moment.peak)
    moments = [*next_moments, *worst, *misses, *sorted(quiet, key=lambda moment: -moment.peak)]
    moments = [moment for moment in moments if not shown[moment.video].problem]
    for number, frames in choose_stills(moments, choices.thumbnails).items():
        one = shown[number]
        one.stills = {frame: f"thumbnails/{_name(one, ['still', frame])}.jpg" for frame in sorted(frames)}
    if choices.videos == "none":
        return
    moving = [moment for moment in moments if not shown[moment.video].link]
    parts = choose_parts(
        moving,
        lambda number: shown[number].times(),
        before=choices.before,
        after=choices.after,
        budget=60 * choices.minutes,
    )
    for number, chosen in parts.items():
        one = shown[number]
        one.clips = {part: f"clips/{_name(one, ['clip', *part])}.mp4" for part in chosen}


def _name(one: _Shown, what: list[object]) -> str:
    """The name of a picture: another one where the video, the frames or the way of making it are others."""
    found = one.video.path.stat()
    facts = [pictures.VERSION, one.video.id, found.st_size, found.st_mtime_ns, one.video.frames, one.video.fps, *what]
    return fingerprint(facts)[:20]


def _address(path: Path, out: Path) -> str:
    """How the page calls a file: from its folder, so that both can be moved together."""
    return quote(os.fsencode(os.path.relpath(path.resolve(), out.resolve())))


def _make_pictures(shown: Sequence[_Shown], folder: ReportFolder, reporter: Reporter, result: Report) -> None:
    """Make what is not there yet, one pass over each video; a video that cannot be read goes without."""
    todo: list[tuple[_Shown, pictures.Wanted]] = []
    for one in shown:
        stills = {frame: folder.folder / name for frame, name in one.stills.items() if not folder.has(name)}
        clips = {part: folder.folder / name for part, name in one.clips.items() if not folder.has(name)}
        result.kept += len(one.stills) - len(stills) + len(one.clips) - len(clips)
        if stills or clips:
            todo.append((one, pictures.Wanted(stills, clips)))
    with reporter.progress("pictures", len(todo)) as bar:
        for one, wanted in todo:
            try:
                pictures.make_pictures(one.video.path, wanted, one.times(), one.video.fps)
            except VideoError as error:
                one.problem = f"{one.video.path}: {error}"
            made = [path for path in (*wanted.stills.values(), *wanted.clips.values()) if path.is_file()]
            result.made += len(made)
            one.stills = {frame: name for frame, name in one.stills.items() if (folder.folder / name).is_file()}
            one.clips = {part: name for part, name in one.clips.items() if (folder.folder / name).is_file()}
            if len(made) < len(wanted.stills) + len(wanted.clips) and not one.problem:
                one.problem = f"{one.video.path}: ends before frames that were scored: it is another file now"
            bar.advance(one.video.id)
    for one in shown:
        if one.problem and one.video.path.suffix != FEATURES_SUFFIX:
            result.failed[one.video.id] = one.problem


def _run_data(shown: Sequence[_Shown], categories: Sequence[str]) -> dict[str, Any]:
    """All videos and events, a list for each of their columns: of 50,000 events that is small and quick to read."""
    kinds = {name: index for index, name in enumerate(categories)}
    videos = [
        {
            "id": one.video.id,
            "frames": one.video.frames,
            "fps": one.video.fps,
            "seconds": round(one.video.seconds, 3),
            "peak": one.video.peak,
            "category": kinds[one.video.category],
            "threshold": one.video.threshold,
            "split": one.video.known.split if one.video.known else "",
            "label": one.video.known.label if one.video.known and one.truth is not None else None,
            "recorded": one.recorded,
            "link": one.link,
            "problem": one.problem,
            "warnings": one.video.warnings,
        }
        for one in shown
    ]
    events = [
        {
            "video": number,
            "start": event.start,
            "end": event.end,
            "from": event.start_time,
            "to": event.end_time,
            "category": kinds[event.category],
            "peak": event.peak,
            "frame": frame,
            "verdict": UNKNOWN if one.truth is None else verdict(event, one.truth),
        }
        for number, one in enumerate(shown)
        for event, frame in zip(one.video.events, one.frames, strict=True)
    ]
    misses = [
        {
            "video": moment.video,
            "start": moment.start,
            "end": moment.end,
            "from": round(begin, 3),
            "to": round(end, 3),
            "frame": moment.frame,
            "peak": round(moment.peak, 6),
        }
        for one in shown
        for moment, begin, end in one.misses
    ]
    stills = [{"video": n, "frame": f, "file": name} for n, one in enumerate(shown) for f, name in one.stills.items()]
    clips = [
        {"video": number, "start": start, "end": end, "file": name}
        for number, one in enumerate(shown)
        for (start, end), name in one.clips.items()
    ]
    events.sort(key=lambda event: -event["peak"])
    misses.sort(key=lambda event: event["peak"])
    return {
        "categories": list(categories),
        "truth": [one.truth for one in shown],
        "videos": _columns(videos),
        "events": _columns(events),
        "misses": _columns(misses),
        "stills": _columns(stills),
        "clips": _columns(clips),
    }


def _next_data(moments: Sequence[NextMoment], places: Mapping[str, int]) -> dict[str, list[Any]]:
    rows = [
        {
            "video": places[one.video],
            "start": one.start,
            "end": one.end,
            "from": one.start_time,
            "to": one.end_time,
            "peak": one.score,
        }
        for one in moments
    ]
    return _columns(rows)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows with the same keys as a list for each key."""
    return {key: [row[key] for row in rows] for key in rows[0]} if rows else {}
