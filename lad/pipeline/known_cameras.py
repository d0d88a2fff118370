"""Cameras that a detector got to know by their normal footage. What is kept of each is a row of the manifest.

Normal footage is what `--normal` names, and, where `train.adapt` is `source`, the normal `train` and `val` videos of
a source. A video that is scored itself does not count for its own scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lad.dataset import Video
from lad.detector.checkpoint import CheckpointError
from lad.detector.known_camera import Camera, joined
from lad.detector.scoring import ScoreError, Scorer
from lad.device import detector_threads, numerics, repeatable
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import fingerprint
from lad.pipeline.project import Project
from lad.pipeline.reporter import Reporter
from lad.work.layout import Work

STAGE = "camera"
HELP = "the camera is not known: a few minutes of its normal footage may help: `lad score --normal FOOTAGE`"


def normal_footage(project: Project) -> dict[str, list[Video]]:
    """Camera -> its normal footage, where there is any. Videos without a source have the camera ''."""
    cameras = {project.camera(video) for video in project.videos}
    footage: dict[str, list[Video]] = {camera: [] for camera in cameras} if project.normal else {}
    for video in project.normal:
        footage[next(iter(cameras))].append(video)  # the project saw to it that there is one
    for video in project.videos if project.config.train.adapt == "source" else []:
        if project.camera(video) and video.split in ("train", "val") and not video.is_abnormal and not video.unlabelled:
            footage.setdefault(project.camera(video), []).append(video)
    return footage


def get_to_know(
    project: Project,
    recipe: FeatureRecipe,
    work: Work,
    features: Mapping[str, VideoFeatures],
    detector: str,
    load: Callable[[], Scorer],
    reporter: Reporter,
) -> dict[str, Camera]:
    """Video id -> what its camera is known by, from today or kept; without footage that is nothing.

    Args:
        project: what is scored, and by what footage cameras are known.
        recipe: of the features.
        work: keeps it.
        features: of that footage.
        detector: hash of its checkpoint.
        load: gives the detector, which is asked for only where something is new.
        reporter: is told.

    Raises:
        CheckpointError: footage was named, and the detector was not trained to get to know cameras.
    """
    known: dict[str, dict[str, Camera]] = {}
    for camera, footage in normal_footage(project).items():
        there = [video for video in footage if video.id in features]
        today = fingerprint(
            {
                "stage": STAGE,
                "detector": detector,
                "merge": project.config.score.merge,
                "numerics": numerics(recipe.device, detector_threads(project.config.threads)),
                "footage": [[video.id, features[video.id].fingerprint] for video in there],
            }
        )
        row = work.manifest.get(STAGE, work.item(camera)) if camera else None
        if not there or (row and row.status == "done" and row.fingerprint == today):
            continue
        with repeatable(recipe.device, detector_threads(project.config.threads)):
            scorer = load()
            if scorer.known_cameras is not None:
                known[camera] = {video.id: _piece(scorer, features[video.id], video, reporter) for video in there}
            elif project.normal:
                raise CheckpointError(
                    "--normal: the detector was not trained to get to know cameras: leave it out, or train with "
                    "-o train.adapt=source"
                )
        if camera and camera in known:
            work.manifest.start(STAGE, work.item(camera), today)
            pieces = {name: [piece.clips, piece.level] for name, piece in known[camera].items()}
            work.manifest.finish(STAGE, work.item(camera), [], {"detector": detector, "footage": pieces})
    return {
        video.id: kept_camera(project, work, video, detector, known.get(project.camera(video)))
        for video in project.videos
    }


def kept_camera(
    project: Project, work: Work, video: Video, detector: str, pieces: Mapping[str, Camera] | None = None
) -> Camera:
    """What a video's camera is known by, without the video itself.

    Args:
        project: of the video.
        work: what is kept of cameras is there.
        video: of the camera.
        detector: hash of its checkpoint.
        pieces: id of a video of the camera -> what it says of it; None: as it is kept.
    """
    camera = project.camera(video)
    row = work.manifest.get(STAGE, work.item(camera)) if camera else None
    adapts = project.config.train.adapt == "source" or project.config.score.source or project.normal
    if pieces is None and adapts and row and row.status == "done" and row.info["detector"] == detector:
        pieces = {name: Camera(*numbers) for name, numbers in row.info["footage"].items()}
    return joined(piece for name, piece in (pieces or {}).items() if name != video.id)


def camera_facts(camera: Camera) -> dict[str, Any]:
    """What scores depend on of a camera."""
    return {"normal_footage": [camera.clips, camera.level]} if camera.clips else {}


def _piece(scorer: Scorer, features: VideoFeatures, video: Video, reporter: Reporter) -> Camera:
    try:
        return scorer.get_to_know(features.open(), features.timeline())
    except ScoreError as error:
        reporter.say(f"warning: {video.path}: left out of its camera's normal footage: {error}")
        return Camera(0.0, 0.0)


def told_of(project: Project, cameras: Mapping[str, Camera], videos: Sequence[Video], scorer: Scorer) -> list[str]:
    """What to say of the cameras before videos are scored.

    Args:
        project: of the videos.
        cameras: video id -> how its camera is known.
        videos: to score.
        scorer: of them.
    """
    if scorer.known_cameras is None:
        return []
    lines, unknown = {}, False
    for video in videos:
        camera = cameras[video.id]
        if camera.clips:
            name = project.camera(video)
            named = f"camera {name}" if name else "the camera"
            lines[name] = f"{named}: known by {camera.clips:.0f} clips of its normal footage"
        unknown |= not camera.clips
    return [*lines.values(), *([HELP] if unknown else [])]
