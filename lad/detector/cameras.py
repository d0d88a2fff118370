"""Detectors of several cameras in one checkpoint: one for each, which learned from its footage alone.

Their tensors lie side by side under the camera's number. What else is a camera's own, such as its threshold, lies in
`Checkpoint.network`. `checkpoint.by_camera` takes them apart again, unchanged.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lad.detector.checkpoint import CAMERAS_OWN, DEFAULT_THRESHOLD, Checkpoint, CheckpointError, by_camera
from lad.text import shortened


class UnknownCamera(CheckpointError):
    """A checkpoint has a detector for each of several cameras, and none for this one."""


def join_cameras(detectors: Mapping[str, Checkpoint], fingerprint: str, config: dict[str, Any] | None) -> Checkpoint:
    """Detectors of several cameras in one checkpoint.

    Args:
        detectors: of each camera, of features that are made alike.
        fingerprint: of the training run.
        config: of the last of them.
    """
    names = sorted(detectors)
    first = detectors[names[0]]
    own = {
        camera: {"sizes": one.network["sizes"], **{part: getattr(one, part) for part in CAMERAS_OWN}}
        for camera, one in ((camera, detectors[camera]) for camera in names)
    }
    tensors = {
        f"{number}.{name}": tensor
        for number, camera in enumerate(names)
        for name, tensor in detectors[camera].model.items()
    }
    return replace(
        first,
        model=tensors,
        config=config,
        metrics={},
        threshold=DEFAULT_THRESHOLD,
        network={"name": first.network["name"], "cameras": own},
        selection=f"normal: a detector for each of {len(names)} cameras",
        fingerprint=fingerprint,
    )


def of_camera(checkpoint: Checkpoint, source: str) -> Checkpoint:
    """The detector for the footage of one camera; a detector of all footage is for every camera.

    Raises:
        UnknownCamera: it does not know the camera.
    """
    if not checkpoint.cameras:
        return checkpoint
    known = shortened(", ".join(checkpoint.cameras))
    if not source:
        raise UnknownCamera(
            f"has a detector for each camera ({known}): say with --source which one filmed it, or write it in the "
            "column source of the dataset.csv"
        )
    if source not in checkpoint.cameras:
        raise UnknownCamera(
            f"does not know the camera {source}, but {known}: name one of these with --source; or teach it the new one "
            f"with normal footage of it in the dataset.csv: lad train --add {shlex.quote(source)}"
        )
    return by_camera(checkpoint)[source]


def check_source(checkpoint: Checkpoint, path: Path, source: str | None) -> None:
    """See that a camera is named only to a detector that knows cameras.

    Raises:
        CheckpointError: it is one for all.
    """
    if source and not checkpoint.cameras and not checkpoint.known_cameras:
        raise CheckpointError(f"{path}: has one detector, whatever the camera: leave the source out")


def of_source(checkpoint: Checkpoint, path: Path, source: str | None) -> Checkpoint:
    """The detector of a camera.

    Raises:
        CheckpointError: there is none, or one for all cameras.
    """
    check_source(checkpoint, path, source)
    try:
        return of_camera(checkpoint, source or "")
    except UnknownCamera as error:
        raise UnknownCamera(f"{path}: {error}") from error
