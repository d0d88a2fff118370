"""What people said in `lad review`: `labels.csv` of a work directory becomes labels of a project's videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lad.dataset import Video
from lad.events import Reviewed
from lad.ours import VERDICTS
from lad.pipeline.project import Project
from lad.remote.url import is_missing, location_of
from lad.work.layout import Work
from lad.work.verdicts import counted, reviews_in

SCORE = "score"  # the stage whose rows say where a video lies that was only named


def with_verdicts(project: Project, work: Work, say: Callable[[str], None] = lambda _: None) -> Project:
    """A project with the labels that people gave in `lad review`; the same one where they said nothing.

    Videos that were scored here and reviewed, but are none of the project's, are added to the split `train`: what was
    not reviewed of them is unlabelled. `say` gets one line for the verdicts, and one for those that are not used.

    Raises:
        VerdictsError: labels.csv is not as `lad review` writes it.
    """
    if project.named:  # those videos are only scored
        return project
    reviews = reviews_in(work.home)
    if not reviews:
        return project
    known = {video.id for video in project.videos}
    strange = {video_id: said for video_id, said in reviews.items() if video_id not in known}
    added = _scored_here(work, strange)
    unused = {video_id: said for video_id, said in strange.items() if video_id not in {video.id for video in added}}
    used = {video_id: said for video_id, said in reviews.items() if video_id not in unused}
    if used:
        say(f"{VERDICTS}: {counted(used.values())}{_of_splits(project, used)}")
    if unused:
        why = "neither in the dataset nor scored here, or gone"
        say(f"warning: {VERDICTS}: not used: {counted(unused.values())} ({next(iter(unused))}, ...), {why}")
    return project.reviewed(used, added) if used else project


def _of_splits(project: Project, used: Mapping[str, Reviewed]) -> str:
    tested = [used[video.id] for video in project.videos if video.split == "test" and video.id in used]
    return f"; {counted(tested)} of the split test: they teach nothing, and correct what is measured" if tested else ""


def _scored_here(work: Work, reviews: Mapping[str, Reviewed]) -> list[Video]:
    """Those of the reviewed videos that were scored here and are still where they were."""
    found = {}
    for (_, item), row in work.manifest.items(SCORE).items():
        _, video_id = work.place_of(item)
        path = location_of(row.info.get("path", ""), Path())
        if video_id in reviews and row.status == "done" and path == path.absolute() and not is_missing(path):
            found[video_id] = Video(id=video_id, path=path)
    return [found[video_id] for video_id in sorted(found)]


def verdicts_on(project: Project, split: str) -> dict[str, int]:
    """How many verdicts a split has, on how many of its videos; nothing where it has none."""
    said = [video.reviewed for video in project.videos if video.split == split and video.reviewed]
    return {"verdicts": sum(one.verdicts for one in said), "videos": len(said)} if said else {}
