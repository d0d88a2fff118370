"""The pickled labels of the LAD2000 authors' code: found, read without running what is in them, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lad.dataset import DatasetError
from lad.pickles import PickleRefused, load_plain_pickle


def label_file(base: Path, kind: str) -> Path:
    """`<base>/GT/<kind>_IET.pickle`, or the only file there whose name has more around `kind`.

    Raises:
        DatasetError: there is no such file, or there are several.
    """
    found = sorted((base / "GT").glob(f"*{kind}*_IET.pickle"))
    exact = base / "GT" / f"{kind}_IET.pickle"
    if exact in found or len(found) == 1:
        return exact if exact in found else found[0]
    problem = f"several files could be it: {', '.join(f.name for f in found)}" if found else "it is not here"
    raise DatasetError(f"{exact}: {problem}")


def read_labels(path: Path) -> Mapping[str, object]:
    """Video -> what the file says about it.

    Raises:
        DatasetError: the file cannot be read, asks for more than plain data, or is not a dict of videos.
    """
    try:
        labels = load_plain_pickle(path)
    except PickleRefused as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        raise DatasetError(f"{path}: it cannot be read: {error.strerror or error}") from error
    if not isinstance(labels, dict) or not all(isinstance(video, str) for video in labels):
        raise DatasetError(f"{path}: it is not a dict of videos")
    return labels


def _array(value: object) -> np.ndarray:
    inner = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    # A short pickle can hold lists within lists that share their items: an array of them would be endless.
    if isinstance(inner, list | tuple) and any(isinstance(item, list | tuple | np.ndarray) for item in inner):
        return np.array(None)
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths in a list
        return np.array(None)


def frame_labels(value: object, place: str) -> np.ndarray:
    """What a file says about a video -> `(frames,)`. `place` names both in messages."""
    labels = _array(value)
    sound = labels.dtype.kind in "biuf" and labels.ndim in (1, 2) and 0 < labels.size == labels.shape[-1]
    if not sound:
        raise DatasetError(f"{place}: its frame labels are {labels.dtype} {labels.shape}, not numbers [1, frames]")
    if not np.isfinite(labels).all():
        raise DatasetError(f"{place}: some of its frame labels are not numbers")
    return labels.reshape(-1)


def category(value: object, classes: Sequence[str], place: str) -> str:
    """The category with this index. `place` names the file and the video in messages."""
    label = _array(value)
    if label.dtype.kind not in "iu" or label.size != 1:
        raise DatasetError(f"{place}: its label is {label.dtype} {label.shape}, not an index")
    index = int(label.item())
    if not 0 <= index < len(classes):
        raise DatasetError(f"{place}: its label is {index}, but there are {len(classes)} categories, counted from 0")
    return classes[index]
