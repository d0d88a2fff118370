"""Which features of a project's videos are today's: what the manifest says, held against the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lad.dataset import Video
from lad.features.given import (
    GIVEN,
    Checked,
    check_given,
    dim_misfit,
    given_facts,
    given_layout,
    given_parts,
    given_paths,
    is_finite,
    read_headers,
)
from lad.features.labels import labelled_frames, labels_misfit, with_events_in_frames
from lad.features.layout import OWN
from lad.features.recipe import EXTRACT, FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import READERS, fingerprint
from lad.pipeline.facts import FACTS, kept
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.remote.url import Location, Url
from lad.work.layout import Work
from lad.work.manifest import Item

LABELS = "labels"  # stands for a stage in the manifest's rows of videos whose labels do not fit


@dataclass(frozen=True)
class Plan:
    """What the features of a project's videos depend on today.

    Attributes:
        fingerprints: video id -> item of the stage `extract` -> fingerprint.
        unreadable: video id -> why it cannot be read.
        finite: given feature file that was hashed now -> whether it holds finite numbers alone.
    """

    fingerprints: dict[str, dict[str, str]]
    unreadable: dict[str, str]
    finite: dict[Path, bool]


def plan(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter, videos: Sequence[Video]
) -> Plan:
    """Hash what is not known yet of the videos' contents, and tell today's fingerprints."""
    fingerprints: dict[str, dict[str, str]] = {}
    unreadable: dict[str, str] = {}
    finite: dict[Path, bool] = {}
    manifest = work.manifest

    def look(path: Path) -> None:
        with suppress(OSError, ValueError):  # said when its video's turn comes
            finite[path] = is_finite(path)

    _ask_servers(project, work, reporter, videos)
    if not asked.verify:  # else every file is hashed below, known or not
        given = [given_paths(video, recipe.streams) for video in videos if video.is_features]
        manifest.contents.learn([path for paths in given for path in paths], look)
    with reporter.progress("check", len(videos)) as bar, manifest.unhurried():
        for video in videos:
            bar.advance(video.id)
            try:
                paths = input_paths(video, recipe)
                contents = [manifest.contents.of_input(path, verify=asked.verify) for path in paths]
                facts = features_facts(project, recipe, video)
                fingerprints[video.id] = {item: of_content(video, one, contents) for item, one in facts.items()}
            except OSError as error:
                unreadable[video.id] = f"{error.filename or video.path}: cannot be read: {error.strerror or error}"
    return Plan(fingerprints, unreadable, finite)


def _ask_servers(project: Project, work: Work, reporter: Reporter, videos: Sequence[Video]) -> None:
    """Ask the servers of videos at URLs what lies there, and say of which they tell too little."""
    urls = [video.path for video in videos if isinstance(video.path, Url)]
    if not urls:
        return
    with reporter.progress("ask", len(urls)) as bar:
        work.manifest.contents.ask(urls, project.room.most_bytes, bar.advance)
    unnamed = [url for url in urls if work.manifest.contents.had_to_be_hashed(url)]
    if unnamed:
        reporter.say(
            f"warning: {len(unnamed)} videos, such as {unnamed[0]}: the server tells neither an ETag nor a time and "
            "size: every command downloads them to see whether they are the same"
        )


def input_paths(video: Video, recipe: FeatureRecipe) -> list[Location]:
    """What a video's features are made from: its file or folder, or the features that were given."""
    return [*given_paths(video, recipe.streams)] if video.is_features else [video.path]


def features_facts(project: Project, recipe: FeatureRecipe, video: Video) -> dict[str, dict[str, object]]:
    """What the features of a video depend on, but for its content: item of the stage `extract` -> facts."""
    fps = project.folder_fps(video)
    if video.is_features:
        layout = given_layout(video, recipe.streams, project.config.data.npy_layout)
        return {f"{GIVEN}/{video.id}": given_facts(video, recipe.backbone, recipe.streams, fps, layout)}
    is_folder = isinstance(video.path, Path) and video.path.is_dir()
    rate = fps if is_folder else None  # of a folder of images; a file has its own
    return {f"{stream}/{video.id}": {**recipe.facts(stream), "folder_fps": rate} for stream in recipe.streams}


def of_content(video: Video, facts: Mapping[str, object], contents: Sequence[str]) -> str:
    """The fingerprint of features with these facts; `contents`: hashes of the video's `input_paths`."""
    content = {"given": list(contents)} if video.is_features else {"content": contents[0]}
    return fingerprint({**facts, **content})


def check_splits(project: Project, recipe: FeatureRecipe, work: Work, asked: Asked) -> list[tuple[Video, Video]]:
    """See that nothing is learned from what is measured: no content is in two splits, whatever its name.

    The splits of published benchmarks are taken as they are: their numbers are those of others too.

    Returns:
        Videos that hold the same as another one of their split, and that one.

    Raises:
        StageError: a content is in two splits.
    """
    if project.named or project.config.data.benchmark not in (None, "folder"):
        return []
    first: dict[tuple[str, ...], Video] = {}
    copies: list[tuple[Video, Video]] = []
    for video in project.videos:
        if not video.split:
            continue
        try:
            paths = input_paths(video, recipe)
            content = tuple(work.manifest.contents.of_input(path, verify=asked.verify) for path in paths)
        except OSError:  # said where it is needed
            continue
        other = first.setdefault(content, video)
        if video.split != other.split:
            raise StageError(
                f"{video.path} ({video.split}) holds the same as {other.path} ({other.split}): leave one of them out, "
                "or put both in one split"
            )
        if other is not video:
            copies.append((video, other))
    return copies


def take_given(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    reporter: Reporter,
    videos: Sequence[Video],
    today: Plan,
) -> dict[str, str]:
    """Record the features that were given, where they lie; returns why some cannot be used (video id -> reason)."""
    todo: list[tuple[Video, str, str]] = []
    for video in videos:
        if video.is_features and video.id in today.fingerprints:
            ((item, now),) = today.fingerprints[video.id].items()
            if not work.manifest.is_done(work.manifest.get(EXTRACT, item), now):
                todo.append((video, item, now))
    asked = project.config.data.npy_layout
    with ThreadPoolExecutor(READERS) as readers:
        look = partial(check_given, backbone=recipe.backbone, streams=recipe.streams, asked=asked, finite=today.finite)
        looked_at = list(readers.map(look, [video for video, _, _ in todo]))
    _say_layouts([video for video, _, _ in todo], looked_at, reporter)
    if todo and len(recipe.streams) > 1 and len(given_parts(todo[0][0], recipe.streams)) == 1:
        parts = zip(recipe.dims, recipe.streams, strict=True)
        both = " beside ".join(f"{dim} of {stream}" for dim, stream in parts)
        reporter.say(
            f"extract: the numbers of a clip are taken for {both} ({recipe.backbone}): if they are others, set "
            "extract.backbone and extract.streams"
        )
    refused: dict[str, str] = {}
    with work.manifest.transaction():
        for (video, item, now), found in zip(todo, looked_at, strict=True):
            work.manifest.start(EXTRACT, item, now)
            if found.refusal:
                refused[video.id] = found.refusal
                work.manifest.fail(EXTRACT, item, "content", found.refusal)
                reporter.say(f"failed: {found.refusal}")
                continue
            if found.warnings:
                reporter.say(f"warning: {video.id}: {'; '.join(found.warnings)}")
            info = {
                "frames": found.frames,
                "fps": project.folder_fps(video),
                "reader": GIVEN,
                "warnings": list(found.warnings),
                "layout": found.layout,
                FACTS: kept(features_facts(project, recipe, video)[item]),
            }
            work.manifest.finish(EXTRACT, item, given_paths(video, recipe.streams), info)
    return refused


def _say_layouts(videos: Sequence[Video], looked_at: Sequence[Checked], reporter: Reporter) -> None:
    """Say once which features are read in another order of axes than lad's own, and why."""
    turned = [(video, found) for video, found in zip(videos, looked_at, strict=True) if found.why]
    if turned:
        video, found = turned[0]
        many = f"{len(turned)} videos, such as" if len(turned) > 1 else "of"
        reporter.say(
            f"warning: features are read as {found.layout} ({many} {video.path}): {found.why}; "
            "set data.npy_layout if their axes are others"
        )


def check_headers(project: Project, recipe: FeatureRecipe) -> None:
    """See, before anything is read whole, that the given features are of the configured length.

    Where those of a few videos are not, these fail by name, as any other that cannot be used.

    Raises:
        StageError: none is.
    """
    misfit = ""
    for video in project.videos:
        if not video.is_features:
            continue
        try:
            files = read_headers(video, recipe.streams, project.config.data.npy_layout).files
        except (OSError, ValueError):  # said of the video when its turn comes
            continue
        found = dim_misfit(files, recipe.backbone, recipe.streams)
        if not found:
            return
        misfit = misfit or found
    if misfit:
        raise StageError(misfit)


def find_features(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter, videos: Sequence[Video]
) -> tuple[dict[str, VideoFeatures], dict[str, str]]:
    """Today's features of `videos`: (video id -> features, video id -> why it has none).

    Raises:
        StageError: features are missing or stale, which `lad extract` would mend.
    """
    today = plan(project, recipe, work, asked, reporter, videos)
    failed = {**today.unreadable, **take_given(project, recipe, work, reporter, videos, today)}
    rows = work.manifest.items(EXTRACT)
    if not asked.verify:
        wanted = [item for fingerprints in today.fingerprints.values() for item in fingerprints]
        work.manifest.learn_outputs(rows.get((EXTRACT, item)) for item in wanted)
    found: dict[str, VideoFeatures] = {}
    missing: list[str] = []
    altered: list[str] = []
    for video in videos:
        if video.id in failed:
            continue
        fingerprints = today.fingerprints[video.id]
        items = {item: rows.get((EXTRACT, item)) for item in fingerprints}
        of_today = [row for item, row in items.items() if row and row.fingerprint == fingerprints[item]]
        bad = next((row for row in of_today if row.status == "failed"), None)
        if all(work.manifest.is_done(row, fingerprints[item], verify=asked.verify) for item, row in items.items()):
            done = [row for row in items.values() if row]
            found[video.id] = video_features(recipe, work, video, done)
        elif bad:
            failed[video.id] = bad.error or ""
        elif all(row and (row.status, row.fingerprint) == ("done", fingerprints[item]) for item, row in items.items()):
            altered.append(video.id)
        else:
            missing.append(video.id)
    if altered:
        some = ", ".join(altered[:3]) + (", ..." if len(altered) > 3 else "")
        raise StageError(
            f"the features of {len(altered)} videos are not as lad made them, or gone ({some}): run `lad extract` first"
        )
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise StageError(
            f"{len(missing)} videos have no features of this configuration ({some}): run `lad extract` first"
        )
    return found, failed


def _made_from(rows: Sequence[Item]) -> str:
    """What results of these rows' features depend on: how they were made, and whether they had to be mended."""
    repairs = [row.repairs for row in rows]
    return fingerprint([*(row.fingerprint for row in rows), *(["repairs", *repairs] if any(repairs) else [])])


def video_features(recipe: FeatureRecipe, work: Work, video: Video, rows: Sequence[Item]) -> VideoFeatures:
    """A video's features, by the rows of its items, all of them done."""
    row, today = rows[0], _made_from(rows)
    frames, fps, warnings = row.info["frames"], row.info["fps"], tuple(row.info["warnings"])
    if video.is_features:
        parts = given_parts(video, recipe.streams)
        return VideoFeatures(
            paths=[path for part in parts for path in part],
            times_path=None,
            frames=frames,
            fps=fps,
            fingerprint=today,
            warnings=warnings,
            layout=row.info.get("layout", OWN),  # rows of an older lad knew no other
            crop_files=len(parts[0]),
        )
    return VideoFeatures(
        paths=[work.features(stream, video.id) for stream in recipe.streams],
        times_path=work.times(video.id),
        frames=frames,
        fps=fps,
        rate=recipe.clips.fps,
        stride=recipe.clips.stride,
        together=recipe.clips.together,
        fingerprint=today,
        warnings=warnings,
    )


def check_labels(
    work: Work, videos: Sequence[Video], features: Mapping[str, VideoFeatures], result: StageResult
) -> list[Video]:
    """Those of `videos` that have features which their labels fit, with all events in frames.

    The others are counted as failed, and recorded; of those a few frames off there is a warning.

    Raises:
        OSError, FeaturesError: the frames' times are needed and cannot be read.
    """
    fitting: list[Video] = []
    for one in videos:
        if one.id not in features:
            continue
        frames = features[one.id].frames
        video = with_events_in_frames(one, features[one.id].timeline)
        before = work.manifest.get(LABELS, video.id)
        if reason := labels_misfit(video, frames):
            result.failed[video.id] = reason
            work.manifest.start(LABELS, video.id, fingerprint([video.n_frames, frames]))
            work.manifest.fail(LABELS, video.id, "content", reason)
            continue
        fitting.append(video)
        if before and before.status == "failed":
            work.manifest.start(LABELS, video.id, fingerprint([video.n_frames, frames]))
            work.manifest.finish(LABELS, video.id, [], {})
        elif (labelled := labelled_frames(video, frames)) != frames:
            result.warnings[video.id] = [f"its labels are for {labelled} frames, it has {frames}"]
    return fitting
