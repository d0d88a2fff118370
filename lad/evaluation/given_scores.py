"""Scores that somebody else made: found by their names and read, whatever wrote them, and one for each frame."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.files import check_readable, read_npy
from lad.names import FIELD_SUFFIXES, last_part, plain_names

MAX_BYTES = 16 << 30  # of a file of scores: a year of frames, written out


@dataclass(frozen=True)
class GivenScores:
    """Somebody's scores of one video.

    Attributes:
        path: the file.
        frames: `(frames,)` float64.
        a_clip: whether the file has one score a clip, which is repeated here for the frames of the clip.
    """

    path: Path
    frames: np.ndarray
    a_clip: bool = False


def scores_in_folder(
    folder: Path, test: Sequence[Video], videos: Sequence[Video], frames: Mapping[str, int]
) -> tuple[dict[str, GivenScores], dict[str, str]]:
    """The scores of videos in a folder: a `<video id>.csv` or `.npy` for each, with a score a frame or a clip.

    Args:
        folder: of the files.
        test: the videos.
        videos: all of the dataset. What several of them are called is no name of one.
        frames: video id -> how many frames it has, for those of which that is known.

    Returns:
        video id -> its scores, and video id -> why it has none.
    """
    exact = Counter(last_part(video.id) for video in videos)
    plain = Counter(name for video in videos for name in plain_names(video.id))
    found: dict[str, GivenScores] = {}
    failed: dict[str, str] = {}
    for video in test:
        try:
            path = _find(folder, video, exact, plain)
            scores, count = read_given(path), frames.get(video.id, 0)
        except (OSError, ValueError) as error:
            failed[video.id] = str(error)
            continue
        a_clip = len(scores) != count and _is_a_clip(len(scores), count)
        found[video.id] = GivenScores(path, by_frame(scores, count, a_clip=True) if a_clip else scores, a_clip)
    if any(given.a_clip for given in found.values()):  # then nobody can say what those of the others are
        for video_id in [video_id for video_id in found if video_id not in frames]:
            given = found.pop(video_id)
            failed[video_id] = (
                f"{given.path}: {len(given.frames)} scores, one a clip or one a frame? "
                "Write how many frames the video has in the column n_frames of the dataset.csv"
            )
        for video_id, given in list(found.items()):
            if not given.a_clip and abs(len(given.frames) - frames[video_id]) > CLIP_FRAMES:
                del found[video_id]
                failed[video_id] = (
                    f"{given.path}: {len(given.frames)} scores for {frames[video_id]} frames: neither one a frame nor "
                    "one a clip"
                )
    return found, failed


def _is_a_clip(scores: int, frames: int) -> bool:
    """Whether so many scores are one a clip: the last one may be dropped, and containers miscount by a frame or two."""
    return abs(scores - frames / CLIP_FRAMES) < 2 and 4 * scores < frames


def by_frame(scores: np.ndarray, frames: int, *, a_clip: bool) -> np.ndarray:
    """`(frames,)` scores out of one a frame, or one a clip of 16; what is left at the end has the last one."""
    place = np.arange(frames) // (CLIP_FRAMES if a_clip else 1)
    return scores[np.minimum(place, len(scores) - 1)]


def _find(folder: Path, video: Video, exact: Counter[str], plain: Counter[str]) -> Path:
    """A video's file of scores: by its id, or by what the field calls it where no other video is called so.

    Args:
        folder: of the files.
        video: whose scores are wanted.
        exact, plain: how many videos have a name as the last part of their id, and among their plain names.

    Raises:
        ValueError: there is none.
    """
    names, last = [video.id], last_part(video.id)
    if exact[last] == 1:
        names += [last, *(name for name in plain_names(last)[1:] if plain[name] == 1)]
        names += [name for suffix in (*FIELD_SUFFIXES, ".mp4", ".avi") if not plain[name := f"{last}{suffix}"]]
    for name in names:
        for suffix in (".csv", ".npy"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    several = ""
    if exact[last] > 1 and any((folder / f"{last}{suffix}").is_file() for suffix in (".csv", ".npy")):
        several = f"; {exact[last]} videos are called {last}, so a file of that name may be another's"
    raise ValueError(f"no {folder / video.id}.csv or .npy{several}")


def read_given(path: Path) -> np.ndarray:
    """`(frames,)` float64 out of a `.npy`, or of a CSV's column `score`, or of a CSV of one column without a header.

    Raises:
        OSError, ValueError: the file cannot be read so, or a score is not finite.
    """
    check_readable(path, MAX_BYTES)
    if path.suffix == ".npy":
        scores = np.atleast_1d(read_npy(path).squeeze())
    else:
        try:
            scores = _read_csv(path)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: neither a .npy nor UTF-8 text: save it by numpy.save") from error
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}: {error}") from error
    if scores.dtype == bool:  # of labels
        scores = scores.astype(np.uint8)
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
