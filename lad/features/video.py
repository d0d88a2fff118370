"""The features of a video: as files that are looked at where they lie, never loaded whole.

What was read stays in the system's page cache for as long as there is room, so that training finds it there.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.errors import LadError
from lad.extract.sampling import Timeline, evenly_spaced
from lad.features.layout import OWN, axes_of
from lad.files import read_npy


class FeaturesError(LadError):
    """Feature files that are missing, or not as they were made."""


@dataclass(frozen=True)
class FeatureFile:
    """A `.npy` file of features, which is opened for each look at it: neither memory nor open files grow with them.

    Attributes:
        shape: `(crops, clips, dim)`, whatever the order in which they are stored.
        offset: bytes before the first number.
        strides: bytes from one number to the next along each axis of `shape`.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]

    def __getitem__(self, place: Any) -> np.ndarray:
        """What an array of its shape has at `place`.

        Raises:
            OSError: it cannot be read, or is shorter than when its header was read.
        """
        with self.path.open("rb", buffering=0) as file:
            try:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return np.ndarray(self.shape, self.dtype, content, self.offset, self.strides)[place]
            except (ValueError, TypeError) as error:  # of an empty file, of too short a one
                raise OSError(errno.EIO, "became shorter while it was in use", str(self.path)) from error

    def announce(self, crop: int, clips: np.ndarray) -> None:
        """Have the system fetch these clips of a crop where others lie between them: else it would read all of them."""
        numbers = self.shape[2] * self.strides[2]
        if self.strides[1] <= numbers or not hasattr(os, "posix_fadvise"):
            return
        with suppress(OSError), self.path.open("rb", buffering=0) as file:  # a hint, which not all file systems take
            for start in (self.offset + crop * self.strides[0] + clips * self.strides[1]).tolist():
                os.posix_fadvise(file.fileno(), start, numbers, os.POSIX_FADV_WILLNEED)


def open_array(path: Path) -> np.memmap:
    """The array of a feature file, its axes as they are stored.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else; names it.
    """
    array = read_npy(path)
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating) or 0 in array.shape:
        raise ValueError(
            f"{path}: holds {array.dtype} {array.shape}; features are float (clips, dim) or (crops, clips, dim)"
        )
    return array


def beside(files: Sequence[FeatureFile], crop_files: int) -> list[FeatureFile | CropFiles]:
    """What stands side by side: the files, or so many of them each time as the crops of one."""
    if crop_files == 1:
        return list(files)
    return [CropFiles(files[start : start + crop_files]) for start in range(0, len(files), crop_files)]


def files_of(part: FeatureFile | CropFiles) -> Sequence[FeatureFile]:
    """The files that it lies in."""
    return part.files if isinstance(part, CropFiles) else [part]


def open_features(path: Path, layout: str = OWN) -> FeatureFile:
    """Read the header of a feature file, two axes or three.

    Args:
        path: the file.
        layout: the order of its axes; those of a file of two are the same without crops.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    return feature_file(path, open_array(path), layout)


def feature_file(path: Path, array: np.memmap, layout: str) -> FeatureFile:
    """The features in a file whose array is open, its axes in the order that `layout` says.

    Raises:
        ValueError: it has another number of axes.
    """
    try:
        names = axes_of(layout, array.ndim)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    turned = array.transpose([names.index(axis) for axis in axes_of(OWN, array.ndim)])
    view = turned if turned.ndim == 3 else turned[None]
    crops, clips, dim = view.shape
    return FeatureFile(path, (crops, clips, dim), array.dtype, array.offset, view.strides)


@dataclass(frozen=True)
class CropFiles:
    """Features whose crops are files of their own, `(1, clips, dim)` each and all alike."""

    files: Sequence[FeatureFile]

    @property
    def path(self) -> Path:
        """The first file."""
        return self.files[0].path

    @property
    def shape(self) -> tuple[int, int, int]:
        _, clips, dim = self.files[0].shape
        return len(self.files), clips, dim

    def __getitem__(self, place: tuple[int, Any]) -> np.ndarray:
        """`(clips, dim)`: clips of a crop.

        Raises:
            OSError: as of a `FeatureFile`.
        """
        crop, clips = place
        return self.files[crop][0, clips]


@dataclass(frozen=True)
class ClipFeatures:
    """The features of a video's clips.

    Attributes:
        parts: `(crops, clips, dim)` float each, which stand side by side.
        reference: `(crops, dim)` float32, what `rows` subtracts from each clip; None: nothing.
    """

    parts: Sequence[FeatureFile | CropFiles | np.ndarray]
    reference: np.ndarray | None = None

    @property
    def crops(self) -> int:
        return self.parts[0].shape[0]

    @property
    def clips(self) -> int:
        return min(part.shape[1] for part in self.parts)

    @property
    def dim(self) -> int:
        return sum(part.shape[2] for part in self.parts)

    def rows(self, crop: int, clips: np.ndarray | slice, *, alone: bool = False) -> np.ndarray:
        """`(clips, dim)` float32 of one crop; `alone`: of the other crops nothing is needed soon."""
        for part in self.parts if alone else ():
            if isinstance(part, FeatureFile) and isinstance(clips, np.ndarray):
                part.announce(crop, clips)
        parts = [part[crop, clips] for part in self.parts]
        rows = (parts[0] if len(parts) == 1 else np.hstack(parts)).astype(np.float32, copy=False)
        if self.reference is None:
            return rows
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is named by who asks
            return np.asarray(rows - self.reference[crop])

    def relative_to_start(self, clips: int) -> ClipFeatures:
        """The same features, less the mean of so many clips at the start of the video; 0: these features."""
        if not clips:
            return self
        plain = ClipFeatures(self.parts)
        start = slice(min(clips, self.clips))
        with np.errstate(invalid="ignore", over="ignore"):
            means = [plain.rows(crop, start).mean(axis=0) for crop in range(self.crops)]
        return ClipFeatures(self.parts, np.stack(means))


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video, as files, and the frames that they tell of.

    Attributes:
        paths: `.npy` files of two or three axes, one for each configured stream or one of all; or as many of these as
            there are crops.
        times_path: `.npy`, `(frames,)` float64, seconds since the first frame; None: the frames are evenly spaced.
        frames: how many the video has.
        fps: average frames a second.
        rate: frames a second at which clips were cut from it; None: its own.
        stride: frames from one clip's start to the next.
        together: clips without gaps between them, as in `sampling.clip_starts`.
        fingerprint: of all files together.
        warnings: what was odd about the video.
        layout: the order of the files' axes.
        crop_files: so many of the paths, one after the other, are the crops of a stream.
    """

    paths: list[Path]
    times_path: Path | None
    frames: int
    fps: float
    rate: float | None = None
    stride: int = CLIP_FRAMES
    together: int = 1
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()
    layout: str = OWN
    crop_files: int = 1

    @property
    def files(self) -> list[Path]:
        """All that they lie in: `paths`, and `times_path` last."""
        return [*self.paths, *([self.times_path] if self.times_path else [])]

    def moved(self, files: Sequence[Path]) -> VideoFeatures:
        """The same, but for where `files` lie."""
        count = len(self.paths)
        return replace(self, paths=list(files[:count]), times_path=files[count] if self.times_path else None)

    def open(self) -> ClipFeatures:
        """The features, which stay on the disk.

        Raises:
            OSError: a file is not there any more.
            FeaturesError: a file is not as it was made.
        """
        try:
            files = [open_features(path, self.layout) for path in self.paths]
        except ValueError as error:
            raise _damaged(error) from error
        return ClipFeatures(beside(files, self.crop_files))

    def timeline(self) -> Timeline:
        """The video's frames and clips; read anew at each call, so that nothing of it is kept.

        Raises:
            OSError, FeaturesError: as `open`.
        """
        if self.times_path is None:
            return evenly_spaced(self.frames, self.fps, self.rate, self.stride, self.together)
        try:
            times = np.array(read_npy(self.times_path))
            return Timeline(times, self.fps, self.rate, self.stride, self.together)
        except ValueError as error:
            raise _damaged(error) from error


def _damaged(error: ValueError) -> FeaturesError:
    return FeaturesError(f"{error}: `lad extract --verify` makes damaged features anew")
