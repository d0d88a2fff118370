"""Benchmarks in two official halves of numbered clips, normal ones to train and others to test: UCSD and Avenue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lad.dataset import DatasetError, Video
from lad.datasets.common import Listing, Stratum
from lad.datasets.downloads import name_below, with_ids
from lad.datasets.mat import read_mat
from lad.events import Event
from lad.files import frame_files
from lad.footage import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Truth:
    """What the labels say about a clip: its events, and its number of frames if they say that too."""

    events: tuple[Event, ...] = ()
    n_frames: int | None = None


@dataclass(frozen=True)
class Half:
    """One half of the official split.

    Attributes:
        folder: where its clips lie, or should lie.
        name: the format that makes a clip's name out of its number.
        clips: those that are there, by number.
        truths: of every official clip, in order. None stands for a clip without labels.
        train: how many are drawn to train.
    """

    folder: Path
    name: str
    clips: Mapping[int, Path]
    truths: Sequence[Truth | None]
    train: int


def numbered_clips(folder: Path, pattern: str, videos: bool = False) -> dict[int, Path]:
    """The frame folders in `folder`, or its video files, whose name without suffix matches: the group is the number."""
    if not folder.is_dir():
        return {}
    clips = {}
    for child in sorted(folder.iterdir()):
        fits = child.suffix.lower() in VIDEO_SUFFIXES and child.is_file() if videos else child.is_dir()
        match = re.fullmatch(pattern, child.stem if videos else child.name) if fits else None
        if match:
            clips[int(match[1])] = child
    return clips


def list_halves(root: Path, halves: Sequence[Half], fps: float) -> Listing:
    """The clips that are there. Each half is a stratum of all its official clips, whatever is missing.

    A clip is listed without split and label if it has no labels, or if it has events and its images are not as many as
    its labels: which image is missing is not known, so the labels of the others are not either. Such a clip can be
    scored, but nothing is learned from it or measured on it. A folder without images counts as missing.
    """
    videos: list[Video] = []
    missing: list[str] = []
    strata: list[Stratum] = []
    for half, split in zip(halves, ("train", "test"), strict=True):
        drawn: list[Path | None] = [None] * len(half.truths)
        for index, truth in enumerate(half.truths):
            path = half.clips.get(index + 1)
            images = len(frame_files(path)) if path is not None and path.is_dir() else None
            if path is None or images == 0:
                empty = ": it has no images" if path else ""
                missing.append(name_below(root, path or half.folder / half.name.format(index + 1)) + empty)
                continue
            video = Video(id="", path=path, n_frames=images, fps=fps)
            if truth is not None and images is not None and (wanted := _wanted(truth, images)) != images:
                missing.append(f"{name_below(root, path)}: it has {images} images, but should have {wanted}")
                truth = None if truth.events else truth
            if truth is not None:
                label = "abnormal" if truth.events else "normal"
                frames = images or truth.n_frames
                video = replace(video, label=label, events=truth.events, n_frames=frames)
                drawn[index] = path
            videos.append(video)
        strata.append(Stratum(tuple(drawn), half.train, split))
    return Listing(with_ids(videos, root), missing, strata)


def _wanted(truth: Truth, images: int) -> int:
    return truth.n_frames or max([images, *(event.end or 0 for event in truth.events)])


def read_pairs(path: Path, clips: int) -> list[tuple[Event, ...]]:
    """The ground truth of the frames layout: key `gt`, one `[start; end]` pair of rows per clip, 1-based, inclusive.

    Raises:
        DatasetError: the file is damaged, or it labels more clips than there are.
    """
    try:
        return checked_events(read_mat(path, "gt", _pairs), clips)
    except ValueError as error:
        raise DatasetError(f"{path}: not the frame labels of {clips} clips: {error}") from error


def _pairs(cells: np.ndarray) -> list[list[tuple[int, int]]]:
    """The ranges of each clip, out of its cell."""
    return [[(int(s), int(e)) for s, e in zip(cell[0], cell[1], strict=True)] for cell in cells.ravel()]


def checked_events(ranges: Sequence[Sequence[tuple[int, int]]], clips: int) -> list[tuple[Event, ...]]:
    """1-based, inclusive ranges of each clip's frames -> its events.

    Raises:
        ValueError: a range is impossible, there are no clips at all, or there are more than `clips`.
    """
    if not 0 < len(ranges) <= clips:
        raise ValueError(f"it labels {len(ranges)} clips")
    for number, clip in enumerate(ranges, start=1):
        for start, end in clip:
            if not 1 <= start <= end:
                raise ValueError(f"clip {number} has an event from frame {start} to {end}")
    return [tuple(Event(start - 1, end) for start, end in sorted(clip)) for clip in ranges]
