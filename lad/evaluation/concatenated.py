"""One array for many videos, one after the other, as RTFM and its followers keep scores and labels.

Their `list/ucf-i3d-test.list` has the path of a feature file on each line, on the disk of whoever wrote it. Their
`gt-ucf.npy` has the labels of these videos' frames in that order: 0 or 1, 16 of them for each row of the features. In
their test the score of each row is repeated 16 times (github.com/tianyu0207/RTFM: `test_10crop.py`,
`list/make_gt_ucf.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.evaluation.given_scores import GivenScores, by_frame, read_given
from lad.files import check_readable
from lad.names import Names

MAX_LIST_BYTES = 256 << 20


def read_list(path: Path) -> list[str]:
    """The lines of a list of feature files that are not empty.

    Raises:
        ValueError: it is no such list, or empty; names it.
        OSError: it cannot be read.
    """
    check_readable(path, MAX_LIST_BYTES)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file") from error
    if not any(lines):
        raise ValueError(f"{path}: lists no file")
    return [line for line in lines if line]


def read_truth(path: Path) -> np.ndarray:
    """`(frames,)` bool out of a file of 0 and 1.

    Raises:
        OSError, ValueError: it cannot be read so.
    """
    labels = read_given(path)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{path}: labels are 0 and 1, and it holds {labels[~np.isin(labels, (0, 1))][0]:g}")
    return labels.astype(bool)


def scores_in_array(
    path: Path, listed: Path, test: Sequence[Video], frames: Mapping[str, int]
) -> tuple[dict[str, GivenScores], dict[str, str]]:
    """The scores of videos in one file, in the order of a list.

    Args:
        path: of the scores, one a frame or one a clip.
        listed: the list.
        test, frames: as `scores_in_folder` has them.

    Returns:
        video id -> its scores, and video id -> why it has none.

    Raises:
        ValueError: the list does not go with the videos, or the scores not with the list.
        OSError: a file cannot be read.
    """
    ids = ids_of(listed, test)
    if unknown := [video_id for video_id in ids if video_id not in frames]:
        raise ValueError(
            f"{path}: how many frames {unknown[0]} has is not known, so nobody can say where its scores end: write it "
            "in the column n_frames of the dataset.csv"
        )
    counts = [frames[video_id] for video_id in ids]
    parts, a_clip = cut(read_given(path), counts, str(path))
    found = {
        video_id: GivenScores(path, by_frame(part, count, a_clip=a_clip), a_clip)
        for video_id, part, count in zip(ids, parts, counts, strict=True)
    }
    return found, {video.id: f"not in {listed}" for video in test if video.id not in found}


def ids_of(listed: Path, test: Sequence[Video]) -> list[str]:
    """The ids of the videos in a list.

    Raises:
        ValueError: a line is no test video, or a video stands there twice.
        OSError: the list cannot be read.
    """
    names, ids = Names(video.id for video in test), []
    for line in read_list(listed):
        video_id = names.find(line.removesuffix(".npy"))
        if video_id is None or video_id in ids:
            why = f"is {video_id} again" if video_id else names.why_not(line.removesuffix(".npy"))
            raise ValueError(f"{listed}: {line} {why}: list each test video once, in the order of the array")
        ids.append(video_id)
    return ids


def cut(
    numbers: np.ndarray, frames: Sequence[int], what: str, *, a_frame: bool = False
) -> tuple[list[np.ndarray], bool]:
    """The part of each video in an array, and whether it has one number a clip; clips begun may count or not.

    Args:
        numbers: `(n,)` of all videos, one after the other.
        frames: of each video.
        what: whose array it is, for the message.
        a_frame: it must have one number a frame.

    Raises:
        ValueError: it has another length than the videos together.
    """
    whole, begun = ([each // CLIP_FRAMES for each in frames], [-(-each // CLIP_FRAMES) for each in frames])
    padded, dropped = ([clips * CLIP_FRAMES for clips in counts] for counts in (begun, whole))
    for lengths, a_clip in ((frames, False), (padded, False), (dropped, False), (begun, True), (whole, True)):
        if sum(lengths) == len(numbers) and min(lengths) > 0 and not (a_clip and a_frame):
            return np.split(numbers, np.cumsum(lengths)[:-1]), a_clip
    over = len(numbers) - sum(frames)
    if a_frame and 0 < over < CLIP_FRAMES * len(frames):
        raise ValueError(
            f"{what}: holds {over} numbers more than the whole clips of the {len(frames)} videos: it counts frames "
            "that have no clip; name a dataset.csv with n_frames (-o data.dataset=FILE)"
        )
    clips = "" if a_frame else f", or {sum(begun)} clips of {CLIP_FRAMES}"
    raise ValueError(
        f"{what}: holds {len(numbers)} numbers; the {len(frames)} videos of the list have {sum(frames)} frames{clips}: "
        "give the list in whose order it was made"
    )
