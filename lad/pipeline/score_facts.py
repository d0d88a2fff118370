"""What the scores of a video depend on, and whose detector made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lad.dataset import Video
from lad.detector.checkpoint import Checkpoint
from lad.detector.known_camera import Camera
from lad.device import detector_threads, numerics
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.pipeline.known_cameras import camera_facts
from lad.pipeline.project import Project
from lad.pipeline.scored import STAGE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.work.layout import Work

CODE_VERSION = 6  # a row says what each event looks like


def is_own(work: Work, checkpoint_sha256: str) -> bool:
    """Whether a detector is one that this run trained."""
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    return trained is not None and checkpoint_sha256 in [output.sha256 for output in trained.outputs]


def detector_repairs(work: Work, checkpoint_sha256: str) -> int:
    """How often a detector of this run was found altered and trained anew; 0 for another one."""
    trained = work.manifest.get(TRAIN, work.item(DETECTOR))
    return trained.repairs if trained and is_own(work, checkpoint_sha256) else 0


def score_facts(
    project: Project,
    recipe: FeatureRecipe,
    video: Video,
    features: VideoFeatures,
    checkpoint_sha256: str,
    repairs: int,
    known: Camera,
) -> list[dict[str, Any]]:
    """What the scores of a video depend on, with a given detector that had so many repairs and knows its camera so.

    Returns:
        with each kind of detector that it may be: one that names its categories, and one that does not, so that the
            data do; one for all cameras, and, where it is known which camera filmed the video, one for each.
    """
    score = project.config.score
    facts = {
        "stage": STAGE,
        "code": CODE_VERSION,
        "checkpoint": checkpoint_sha256,
        "merge": score.merge,
        "threshold": score.threshold,
        "events": [score.merge_seconds, score.min_seconds],
        "numerics": numerics(recipe.device, detector_threads(project.config.threads)),
        "features": features.fingerprint,
        **({"repairs": repairs} if repairs else {}),
        **({"alarms_per_day": score.alarms_per_day} if score.alarms_per_day else {}),
        **camera_facts(known),
    }
    camera = project.camera(video)
    by_camera = [{}, {"camera": camera}] if camera else [{}]
    return [facts | one | {"classes": classes} for one in by_camera for classes in (None, project.classes)]


def facts_with(checkpoint: Checkpoint, camera: str, today: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of `score_facts` that are true of a detector; `camera`: whose it is, where there is one for each."""
    return next(
        one
        for one in today
        if ("camera" in one) == bool(camera) and (one["classes"] is None) == bool(checkpoint.classes)
    )
