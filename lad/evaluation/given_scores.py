"""Scores that somebody else made: found by their names and read, whatever wrote them."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lad.dataset import Video
from lad.files import read_npy


def find_given(folder: Path, video: Video, test: Sequence[Video]) -> Path:
    """A video's file of scores: by its id, or by the last part of it where no other video shares that.

    Raises:
        ValueError: there is none.
    """
    last = video.id.rpartition("/")[2]
    names = [video.id]
    if sum(other.id.rpartition("/")[2] == last for other in test) == 1:
        names.append(last)
    for name in names:
        for suffix in (".csv", ".npy"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    raise ValueError(f"no {folder / video.id}.csv or .npy")


def read_given(path: Path) -> np.ndarray:
    """`(frames,)` float64 out of a `.npy`, or of a CSV's column `score`, or of a CSV of one column without a header.

    Raises:
        OSError, ValueError: the file cannot be read so, or a score is not finite.
    """
    if path.suffix == ".npy":
        scores = np.atleast_1d(read_npy(path).squeeze())
    else:
        try:
            scores = _read_csv(path)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}: {error}") from error
    real = np.issubdtype(scores.dtype, np.integer) or np.issubdtype(scores.dtype, np.floating)
    if scores.ndim != 1 or not len(scores) or not real:
        raise ValueError(f"{path}: holds {scores.dtype} {scores.shape}; scores are one number a frame")
    with np.errstate(over="ignore"):
        rounded = scores.astype(np.float32)  # so that 0.1 is the same number in a CSV and a float32 npy
    if not np.isfinite(rounded).all():
        raise ValueError(f"{path}: a score is not finite as a float32")
    return rounded.astype(np.float64)


def _read_csv(path: Path) -> np.ndarray:
    """The column `score`, or the only one of a file without a header.

    Raises:
        OSError, ValueError, csv.Error: the file cannot be read so.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    named = "score" in header
    column = header.index("score") if named else 0
    if not named and (len(header) != 1 or not _is_number(header[0])):
        raise ValueError(f"no column `score` in its first line, {', '.join(header)!r}")
    with warnings.catch_warnings():  # of no numbers at all: who asked says that
        warnings.simplefilter("ignore")
        return np.loadtxt(path, delimiter=",", skiprows=int(named), usecols=column, ndmin=1, encoding="utf-8-sig")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
