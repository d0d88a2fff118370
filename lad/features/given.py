"""Features that somebody else made: used where they lie, and checked before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.features.recipe import EXTRACT
from lad.features.video import open_features
from lad.models.registry import BACKBONES

GIVEN = "given"  # stands for the stream in the manifest's items of such features


@dataclass(frozen=True)
class Checked:
    """What a look at given features showed.

    Attributes:
        frames: how many they tell of.
        warnings: what is odd about them.
        refusal: why they cannot be used; empty: they can.
    """

    frames: int = 0
    warnings: tuple[str, ...] = ()
    refusal: str = ""


def given_paths(video: Video, streams: Sequence[str]) -> list[Path]:
    """The feature files of a video that comes as features: one for each stream where its path says `{stream}`."""
    paths = [Path(str(video.path).replace("{stream}", stream)) for stream in streams]
    return list(dict.fromkeys(paths))


def given_facts(video: Video, backbone: str, streams: Sequence[str], fps: float) -> dict[str, object]:
    """What the use of a video's given features depends on, but for their content.

    Args:
        video: of the features.
        backbone, streams: what they are checked against.
        fps: frames a second, since they say nothing of times.
    """
    return {"stage": EXTRACT, "of": [backbone, *streams], "frames": video.n_frames, "fps": fps}


def check_given(video: Video, backbone: str, streams: Sequence[str]) -> Checked:
    """Look at a video's given features: are they features, of these streams, of as many frames as are labelled?"""
    paths = given_paths(video, streams)
    shapes = []
    for path in paths:
        try:
            features = open_features(path)
            numbers = features[:]
        except OSError as error:
            return Checked(refusal=f"{path}: cannot be read: {error.strerror or error}")
        except ValueError as error:
            return Checked(refusal=str(error))
        if not np.isfinite(numbers.min() + numbers.max()):  # as they are not where any number is not
            return Checked(refusal=f"{path}: holds numbers that are not finite")
        shapes.append(features.shape)
    dim, wanted = sum(shape[2] for shape in shapes), BACKBONES[backbone].feature_dim * len(streams)
    if dim != wanted:
        return Checked(
            refusal=f"{paths[0]}: {dim} numbers a clip, {backbone} {' + '.join(streams)} has {wanted}: set "
            "extract.streams to what it holds, or say {stream} in the dataset.csv's path where each stream has a file"
        )
    if len({shape[:2] for shape in shapes}) > 1:
        return Checked(refusal=f"{paths[0]}: {shapes[0]} does not go with {paths[-1]}: {shapes[-1]}")
    clips = shapes[0][1]
    frames = video.n_frames or clips * CLIP_FRAMES
    if abs(clips * CLIP_FRAMES - frames) > CLIP_FRAMES:
        return Checked(
            refusal=f"{paths[0]}: {clips} clips are {clips * CLIP_FRAMES} frames, its labels are for {frames}: "
            "more than a clip apart"
        )
    expected = {frames // CLIP_FRAMES, -(-frames // CLIP_FRAMES)}
    return Checked(frames, () if clips in expected else (f"{clips} clips for {frames} labelled frames",))
