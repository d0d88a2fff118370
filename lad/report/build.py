"""A report from beginning to end: scores are read, moments chosen, pictures made, the page's data written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import FEATURES_SUFFIX
from lad.extract.recorded import recorded_at
from lad.extract.video import VideoError
from lad.features.labels import with_review
from lad.files import fingerprint
from lad.pipeline.reporter import Reporter
from lad.pipeline.review_next import NextMoment
from lad.pipeline.scored import ScoredVideo, scored_videos
from lad.remote.url import Url
from lad.report import pictures
from lad.report.curves import Curve, block_categories, block_peaks, curve_data, packed, read_curve
from lad.report.data import ShownVideo, file_name, next_data, run_data, script
from lad.report.facts import PLOTS, event_rule, run_facts
from lad.report.folder import ReportFolder
from lad.report.frames import is_played
from lad.report.moments import Moment, choose_parts, choose_stills
from lad.report.truth import has_labels, missed, true_events
from lad.work.layout import Work
from lad.work.verdicts import reviews_in

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
            browsers play them, clips of the others. `served`: as `link`, but a server has them, below `videos/`.
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
    names = [*PAGE, "data/run.js", "data/blocks.js", *(f"data/video-{file_name(video.id)}.js" for video in videos)]
    names += [f"plots/{name}" for name in plots]
    folder.plan(names)
    result = Report(out / "index.html", len(videos), sum(len(video.events) for video in videos))

    labelled = has_labels(videos)
    reviews = reviews_in(work.home)
    videos = [replace(v, known=v.known and replace(v.known, reviewed=reviews.get(v.id))) for v in videos]
    block = CLIP_FRAMES * max(1, -(-sum(video.frames for video in videos) // (CLIP_FRAMES * MAX_BLOCKS)))
    categories: list[str] = []
    shown: list[ShownVideo] = []
    with reporter.progress("scores", len(videos)) as bar:
        for number, video in enumerate(videos):
            curve = read_curve(video.scores, work.times(video.id))
            one = _shown(work, number, video, curve, categories, block, labelled=labelled)
            data = {"classes": [categories.index(name) for name in curve.classes]}
            name = f"video-{file_name(video.id)}"
            folder.write(f"data/{name}.js", script(name, curve_data(curve) | data))
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

    made = fingerprint([video.id for video in videos])
    run = run_data(shown, categories) | {
        "format": 1,
        "made": made,
        "served": choices.videos == "served",
        "next": next_data(next_moments, places),
        "name": work.home.resolve().name + (f", {work.name}" if work.name else ""),
        "rule": dict(zip(("merge", "least"), event_rule(work), strict=True)),
        "block": block,
        "labelled": labelled,
        "facts": run_facts(work, videos),
        "plots": [f"plots/{name}" for name in plots],
    }
    folder.write("data/run.js", script("run", run))
    blocks = {"of": made, "peaks": [packed(one.peaks) for one in shown], "kinds": [packed(one.kinds) for one in shown]}
    folder.write("data/blocks.js", script("blocks", blocks))
    for name in plots:
        folder.write(f"plots/{name}", (work.folder / "plots" / name).read_bytes())
    for name in PAGE:
        folder.write(name, (files("lad.report") / "page" / name).read_bytes())
    folder.finish([*names, *pictures_planned])
    result.files = {name: out / name for name in (*names, *pictures_planned)}
    result.files |= {one.link: one.video.file for one in shown if one.link and choices.videos == "served"}
    return result


def _shown(
    work: Work, number: int, video: ScoredVideo, curve: Curve, categories: list[str], block: int, *, labelled: bool
) -> ShownVideo:
    """What the page needs of a video once its curve is written; adds to `categories`."""
    for name in (*curve.classes, video.category, *(event.category for event in video.events)):
        if name not in categories:
            categories.append(name)
    scores, times = curve.scores, curve.times
    truth = true_events(video, curve) if labelled and _is_known(video) else None
    kinds = np.array([categories.index(name) for name in curve.classes] or [0], "<u2")
    return ShownVideo(
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


def _is_known(video: ScoredVideo) -> bool:
    """Whether it is known of all its frames what they show."""
    return video.known is not None and not with_review(video.known).unlabelled


def _choose_pictures(shown: Sequence[ShownVideo], choices: Choices, out: Path, next_moments: Sequence[Moment]) -> None:
    """Decide which frames are shown, and name the files by all that they depend on."""
    for one in shown:
        path = one.video.path
        if isinstance(path, Url):
            one.problem = "it lies at a URL, and is not fetched for its pictures: `lad clips` cuts its events"
        elif path.suffix == FEATURES_SUFFIX:
            one.problem = "it came as features, without pictures"
        elif not path.exists():
            one.problem = f"{path}: is not there any more"
        else:
            one.recorded = recorded_at(path)
            if choices.videos == "link" and is_played(path):
                one.link = _address(path, out)
            elif choices.videos == "served" and is_played(path):
                one.link = f"videos/{file_name(one.video.id)}"
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


def _name(one: ShownVideo, what: list[object]) -> str:
    """The name of a picture: another one where the video, the frames or the way of making it are others."""
    found = one.video.file.stat()
    facts = [pictures.VERSION, one.video.id, found.st_size, found.st_mtime_ns, one.video.frames, one.video.fps, *what]
    return fingerprint(facts)[:20]


def _address(path: Path, out: Path) -> str:
    """How the page calls a file: from its folder, so that both can be moved together."""
    return quote(os.fsencode(os.path.relpath(path.resolve(), out.resolve())))


def _make_pictures(shown: Sequence[ShownVideo], folder: ReportFolder, reporter: Reporter, result: Report) -> None:
    """Make what is not there yet, one pass over each video; a video that cannot be read goes without."""
    todo: list[tuple[ShownVideo, pictures.Wanted]] = []
    for one in shown:
        stills = {frame: folder.folder / name for frame, name in one.stills.items() if not folder.has(name)}
        clips = {part: folder.folder / name for part, name in one.clips.items() if not folder.has(name)}
        result.kept += len(one.stills) - len(stills) + len(one.clips) - len(clips)
        if stills or clips:
            todo.append((one, pictures.Wanted(stills, clips)))
    with reporter.progress("pictures", len(todo)) as bar:
        for one, wanted in todo:
            try:
                pictures.make_pictures(one.video.file, wanted, one.times(), one.video.fps)
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
        if one.problem and isinstance(one.video.path, Path) and one.video.path.suffix != FEATURES_SUFFIX:
            result.failed[one.video.id] = one.problem
