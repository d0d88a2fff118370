"""Scores of videos as they would be if the detector knew their cameras: from scores that were made without that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.accuracy_rows import truth_of
from lad.detector.calibration import Calibration, log_odds
from lad.detector.known_camera import KnownCameras, camera_of, joined


def at_known_cameras(
    scored: Sequence[dict[str, Any]], calibration: Mapping[str, float], known: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each video, by all normal frames of the other videos of its camera.

    An abnormal video does without one normal video, as a normal one does without itself: else the amount of footage
    would tell them apart.

    Args:
        scored: as `accuracy.scored_video` makes them, with the key `camera` where `source` is another one.
        calibration: of the scores: slope and offset.
        known: of known cameras, as the checkpoint has it.
    """
    own, cameras = Calibration(**calibration), KnownCameras(**known)
    raw = [1 / (1 + np.exp((own.offset - log_odds(np.array(one["scores"]))) / own.slope)) for one in scored]
    pieces = [camera_of(odds[~truth_of(one)]) for one, odds in zip(scored, raw, strict=True)]
    found = []
    for number, (one, odds) in enumerate(zip(scored, raw, strict=True)):
        others = [n for n, other in enumerate(scored) if camera_name(other) == camera_name(one) and n != number]
        spared = next((n for n in others if not scored[n]["events"]), None) if one["events"] else None
        camera = joined(pieces[n] for n in others if n != spared)
        found.append({**one, "scores": cameras.calibration(camera)(odds).tolist()})
    return found


def camera_name(one: Mapping[str, Any]) -> str:
    return str(one.get("camera", one["source"]))
