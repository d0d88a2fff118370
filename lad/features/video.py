"""The features of a video: as files that are looked at where they lie, never loaded whole.

What was read stays in the system's page cache for as long as there is room, so that training finds it there.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.errors import LadError
from lad.extract.sampling import Timeline, evenly_spaced
from lad.files import read_npy


class FeaturesError(LadError):
    """Feature files that are missing, or not as they were made."""


@dataclass(frozen=True)
class FeatureFile:
    """A `.npy` file of features, which is opened for each look at it: neither memory nor open files grow with them.

    Attributes:
        shape: `(crops, clips, dim)`.
        offset: bytes before the first number.
        order: `C` or `F`, of the numbers.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    order: Literal["C", "F"]

    def __getitem__(self, place: Any) -> np.ndarray:
        """What an array of its shape has at `place`.

        Raises:
            OSError: it cannot be read, or is shorter than when its header was read.
        """
        with self.path.open("rb", buffering=0) as file:
            try:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return np.ndarray(self.shape, self.dtype, content, self.offset, order=self.order)[place]
            except (ValueError, TypeError) as error:  # of an empty file, of too short a one
                raise OSError(errno.EIO, "became shorter while it was in use", str(self.path)) from error


def open_features(path: Path) -> FeatureFile:
    """Read the header of a feature file, `(clips, dim)` or `(crops, clips, dim)`.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    array = read_npy(path)
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating) or 0 in array.shape:
        raise ValueError(
            f"{path}: holds {array.dtype} {array.shape}; features are float (clips, dim) or (crops, clips, dim)"
        )
    crops, clips, dim = array.shape if array.ndim == 3 else (1, *array.shape)
    return FeatureFile(path, (crops, clips, dim), array.dtype, array.offset, "C" if array.flags.c_contiguous else "F")


@dataclass(frozen=True)
class ClipFeatures:
    """The features of a video's clips.

    Attributes:
        parts: `(crops, clips, dim)` float each, which stand side by side.
    """

    parts: Sequence[FeatureFile | np.ndarray]

    @property
    def crops(self) -> int:
        return self.parts[0].shape[0]

    @property
    def clips(self) -> int:
        return min(part.shape[1] for part in self.parts)

    @property
    def dim(self) -> int:
        return sum(part.shape[2] for part in self.parts)

    def rows(self, crop: int, clips: np.ndarray | slice) -> np.ndarray:
        """`(clips, dim)` float32 of one crop."""
        rows = [part[crop, clips] for part in self.parts]
        return (rows[0] if len(rows) == 1 else np.hstack(rows)).astype(np.float32, copy=False)


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video, as files, and the frames that they tell of.

    Attributes:
        paths: `.npy` files, `(clips, dim)` or `(crops, clips, dim)`, one for each configured stream or one of all.
        times_path: `.npy`, `(frames,)` float64, seconds since the first frame; None: the frames are evenly spaced.
        frames: how many the video has.
        fps: average frames a second.
        rate: frames a second at which clips were cut from it; None: its own.
        stride: frames from one clip's start to the next.
        fingerprint: of all files together.
        warnings: what was odd about the video.
    """

    paths: list[Path]
    times_path: Path | None
    frames: int
    fps: float
    rate: float | None = None
    stride: int = CLIP_FRAMES
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()

    def open(self) -> ClipFeatures:
        """The features, which stay on the disk.

        Raises:
            OSError: a file is not there any more.
            FeaturesError: a file is not as it was made.
        """
        try:
            return ClipFeatures([open_features(path) for path in self.paths])
        except ValueError as error:
            raise _damaged(error) from error

    def timeline(self) -> Timeline:
        """The video's frames and clips; read anew at each call, so that nothing of it is kept.

        Raises:
            OSError, FeaturesError: as `open`.
        """
        if self.times_path is None:
            return evenly_spaced(self.frames, self.fps, self.rate, self.stride)
        try:
            return Timeline(np.array(read_npy(self.times_path)), self.fps, self.rate, self.stride)
        except ValueError as error:
            raise _damaged(error) from error


def _damaged(error: ValueError) -> FeaturesError:
    return FeaturesError(f"{error}: `lad extract --verify` makes damaged features anew")
