"""Cameras that a detector got to know by their normal footage. What is kept of each is a row of the manifest.

Normal footage is what `--normal` names, and, where `train.adapt` is `source`, the normal `train` and `val` videos of
a source. A video that is scored itself does not count for its own scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lad.dataset import Video
from lad.detector.checkpoint import Checkpoint, CheckpointError
from lad.detector.known_camera import NOBODY, Camera, joined
from lad.detector.online import Merge
from lad.detector.score_video import ToKnow
from lad.device import detector_threads, numerics
from lad.engine.messages import Known, Made
from lad.extract.jobs import Failed
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint
from lad.pipeline.project import Project
from lad.pipeline.reporter import Reporter, StageError
from lad.pipeline.score_engine import ScoreEngine
from lad.work.layout import Work
from lad.work.manifest import read_manifest

STAGE = "camera"
CODE_VERSION = 1  # a row says what it was made with
FEW_CLIPS = 24  # 15 seconds at 25 frames a second: docs/results.md has what less does
HELP = "{} is not known: a few minutes of its normal footage may help: `lad score --normal FOOTAGE`"


def normal_footage(project: Project) -> dict[str, list[Video]]:
    """Camera -> its normal footage, where there is any. Videos without a source have the camera ''."""
    cameras = {project.camera(video) for video in project.videos}
    footage: dict[str, list[Video]] = {camera: [] for camera in cameras} if project.normal else {}
    for video in project.normal:
        footage[next(iter(cameras))].append(video)  # the project saw to it that there is one
    # Videos that a command names are not all that there is of a camera: what is kept of it is better.
    adapts = project.config.train.adapt == "source" and not project.named
    for video in project.videos if adapts else []:
        if project.camera(video) and video.split in ("train", "val") and not video.is_abnormal and not video.unlabelled:
            footage.setdefault(project.camera(video), []).append(video)
    return footage


def get_to_know(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    features: Mapping[str, VideoFeatures],
    detector: str,
    read: Callable[[], Checkpoint],
    engine: ScoreEngine,
    reporter: Reporter,
) -> dict[str, Camera]:
    """Video id -> what its camera is known by, from today or kept; without footage that is nothing.

    Args:
        project: what is scored, and by what footage cameras are known.
        recipe: of the features.
        work: keeps it.
        features: of that footage.
        detector: hash of its checkpoint.
        read: gives its checkpoint, which is asked for only where something is new.
        engine: scores footage.
        reporter: is told.

    Raises:
        CheckpointError: footage was named, and the detector was not trained to get to know cameras.
        StageError: footage was not scored, which was not its own fault.
    """
    made_with = {"detector": detector, "scores": _scores_facts(recipe, project.config.score.merge)}
    new: dict[str, tuple[str, list[Video]]] = {}  # cameras -> what they will depend on, and their footage
    for camera, footage in normal_footage(project).items():
        there = [video for video in footage if video.id in features]
        today = fingerprint(
            {
                "stage": STAGE,
                "code": CODE_VERSION,
                "detector": detector,
                "merge": project.config.score.merge,
                "numerics": numerics(recipe.device, detector_threads(project.config.threads)),
                "footage": [[video.id, features[video.id].fingerprint] for video in there],
            }
        )
        row = work.manifest.get(STAGE, work.item(camera)) if camera else None
        if there and not (row and row.status == "done" and row.fingerprint == today):
            new[camera] = today, there
    nameless: Mapping[str, Camera] = {}  # what the videos of a camera without a name say of it
    if new and not read().known_cameras:
        if project.normal:
            raise CheckpointError(
                "--normal: the detector was not trained to get to know cameras: leave it out, or train with "
                "-o train.adapt=source"
            )
        for camera, (today, _) in new.items():
            _keep(work, camera, today, made_with, {})
    elif new:
        camera_of = {video.id: camera for camera, (_, footage) in new.items() for video in footage}
        footage = [video for _, footage in new.values() for video in footage]
        pieces: dict[str, dict[str, Camera]] = {camera: {} for camera in new}
        for video_id, piece in _pieces(footage, features, engine, reporter):
            camera = camera_of[video_id]
            today, own = new[camera]
            pieces[camera][video_id] = piece
            if len(pieces[camera]) == len(own):  # at once: what is done is kept
                _keep(work, camera, today, made_with, {video.id: pieces[camera][video.id] for video in own})
        nameless = pieces.get("", {})
    kept = KeptCameras(project, work)
    return {
        video.id: kept(video, detector) if project.camera(video) else _known(nameless, video)
        for video in project.videos
    }


class KeptCameras:
    """What is kept of the cameras of a project: called with a video and the hash of a detector, what that knows of the
    video's camera without the video itself."""

    def __init__(self, project: Project, work: Work) -> None:
        train, score = project.config.train, project.config.score
        adapts = train.adapt == "source" or score.source or project.normal
        self._project, self._work = project, work
        self._rows = work.manifest.items(STAGE) if adapts else {}
        self._pieces: dict[str, dict[str, Camera]] = {}  # of the cameras that were asked for

    def __call__(self, video: Video, detector: str) -> Camera:
        camera = self._project.camera(video)
        row = self._rows.get((STAGE, self._work.item(camera))) if camera else None
        if not row or row.status != "done" or row.info["detector"] != detector:
            return NOBODY
        if camera not in self._pieces:
            self._pieces[camera] = {name: Camera(*numbers) for name, numbers in row.info["footage"].items()}
        return _known(self._pieces[camera], video)


def kept_camera(home: Path, name: str, detector: str, recipe: FeatureRecipe, merge: Merge) -> Camera:
    """What the work directory `home` keeps of a camera for the detector with this hash; nothing: `NOBODY`.

    Args:
        home: of `lad score`.
        name: of the camera.
        detector: hash of its checkpoint.
        recipe: of the features that it scores. By others a camera was not got to know.
        merge: of the scores of overlapping windows, likewise.

    Raises:
        ManifestError: it is no work directory, or is damaged.
    """
    with read_manifest(home) as manifest:
        row = manifest.get(STAGE, name)
    made_with = {"detector": detector, "scores": _scores_facts(recipe, merge)}
    if not row or row.status != "done" or any(row.info.get(key) != one for key, one in made_with.items()):
        return NOBODY
    return joined(Camera(*numbers) for numbers in row.info["footage"].values())


def _known(pieces: Mapping[str, Camera], video: Video) -> Camera:
    whole = joined(pieces.values())
    return whole.without(pieces[video.id]) if video.id in pieces else whole


def camera_facts(camera: Camera) -> dict[str, Any]:
    """What scores depend on of a camera."""
    return {"normal_footage": [camera.clips, camera.level]} if camera.clips else {}


def _scores_facts(recipe: FeatureRecipe, merge: Merge) -> str:
    return fingerprint({"features": {stream: recipe.facts(stream) for stream in recipe.streams}, "merge": merge})


def _keep(work: Work, camera: str, today: str, made_with: dict[str, str], pieces: Mapping[str, Camera]) -> None:
    """Write the row of a camera; one without a name is known for one command."""
    if camera:
        work.manifest.start(STAGE, work.item(camera), today)
        numbers = {video_id: [piece.clips, piece.level] for video_id, piece in pieces.items()}
        work.manifest.finish(STAGE, work.item(camera), [], {**made_with, "footage": numbers})


def _pieces(
    videos: Sequence[Video], features: Mapping[str, VideoFeatures], engine: ScoreEngine, reporter: Reporter
) -> Iterator[tuple[str, Camera]]:
    """What each of these videos says of its camera, by its id: nothing, where it cannot be scored.

    Raises:
        StageError: one was not scored, which was not its own fault.
    """
    by_id = {video.id: video for video in videos}
    with closing(engine.run([ToKnow(video_id, features[video_id]) for video_id in by_id])) as events:
        for event in events:
            match event:
                case Made(item, Known() as known):
                    yield item, known.camera
                case Failed(item, "content", error):
                    footage = f"{by_id[item].path}: left out of its camera's normal footage"
                    reporter.say(f"warning: {footage}: {error}")
                    yield item, NOBODY
                case Failed(item, _, error):
                    raise StageError(f"{by_id[item].path}: {error}")


def told_of(project: Project, cameras: Mapping[str, Camera], videos: Sequence[Video]) -> list[str]:
    """What to say of the cameras before videos are scored by a detector that can get to know them.

    Args:
        project: of the videos.
        cameras: video id -> how its camera is known.
        videos: to score.
    """
    lines: dict[str, str] = {}
    unknown: list[str] = []
    for video in videos:
        camera, name = cameras[video.id], project.camera(video)
        named = f"camera {name}" if name else "the camera"
        if camera.clips:
            little = "; so little can do harm: show it 15 seconds or more" if camera.clips < FEW_CLIPS else ""
            lines[name] = f"{named}: known by {camera.clips:.0f} clips of its normal footage{little}"
        else:
            unknown.append(named)
    return [*lines.values(), *([HELP.format(unknown[0])] if unknown else [])]
