"""Temporal detections of FiftyOne, the layout `FiftyOneTemporalDetectionDataset`, in and out.

`labels.json` holds `{"classes": [...], "labels": {uuid: [{"label", "support" or "timestamps", "confidence"}]}}`, where
`support` is the first and the last frame, counted from 1, and `timestamps` are seconds. `data/` holds the videos, or
`data.json` says where they lie (docs.voxel51.com, "Loading datasets from disk"). lad writes what was found to
`labels.json` and what dataset.csv says to `truth.json`; it reads `truth.json`, or `labels.json` where that is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lad.dataset import DatasetError
from lad.datasets.common import Listing, Options
from lad.datasets.exchange import Mark, video_of
from lad.files import check_readable
from lad.finding import video_ids
from lad.footage import Passed, videos_below
from lad.remote.url import Location

LABELS, TRUTH, DATA = "labels.json", "truth.json", "data.json"
RECORDS = "lad"  # a key of labels.json that FiftyOne passes over
MAX_BYTES = 1 << 30


def detection(start: int, end: int, name: str, confidence: float | None = None) -> dict[str, Any]:
    """An event of frames `[start, end)`."""
    return {"label": name, "support": [start + 1, end], **({} if confidence is None else {"confidence": confidence})}


def mark_of(one: Mapping[str, Any], classes: Sequence[str] | None) -> tuple[Mark, bool]:
    """An event, and whether it is in seconds and not in frames.

    Raises:
        KeyError, TypeError, ValueError, IndexError: it is none.
    """
    label = one["label"]
    name = classes[label] if classes and isinstance(label, int) else str(label)
    in_seconds = "support" not in one
    start, end = one["timestamps"] if in_seconds else one["support"]
    if in_seconds:
        return Mark(float(start), float(end), name), True
    if int(start) != start or int(end) != end or start < 1:
        raise ValueError(f"support {one['support']} is no pair of frames, counted from 1")
    return Mark(int(start), int(end), name), False


def labels_data(labels: Mapping[str, list[dict[str, Any]]], records: Mapping[str, object]) -> dict[str, Any]:
    """What `labels.json` holds; `records` come back as they are."""
    classes = sorted({one["label"] for some in labels.values() for one in some})
    numbered = {name: number for number, name in enumerate(classes)}
    return {
        "classes": classes,
        "labels": {uuid: [{**one, "label": numbered[one["label"]]} for one in some] for uuid, some in labels.items()},
        **({RECORDS: dict(records)} if records else {}),
    }


def data_key(uuid: str, path: Location) -> str:
    """What `data.json` calls a video. FiftyOne leaves out what follows the last dot."""
    return f"{uuid}{path.suffix or '.video'}" if "." in uuid.rpartition("/")[2] else uuid


def read_fiftyone(root: Path, options: Options) -> Listing:
    """The videos of a FiftyOne dataset on disk.

    Raises:
        DatasetError: it is none, or cannot be understood.
    """
    file = next((root / name for name in (TRUTH, LABELS) if (root / name).is_file()), None)
    if file is None:
        raise DatasetError(f"{root}: holds no {LABELS}")
    content = _read(file)
    labels, classes, records = content.get("labels"), content.get("classes"), content.get(RECORDS) or {}
    if not isinstance(labels, dict) or not isinstance(classes, list | None) or not isinstance(records, dict):
        raise DatasetError(f"{file}: no labels of FiftyOne: it needs the keys 'classes' and 'labels'")
    places = _places(root)
    listing = Listing([])
    paths: dict[str, Path] = {}
    for uuid in labels:
        path = places.get(uuid) or places.get(os.path.splitext(uuid)[0]) or root / uuid  # noqa: PTH122
        if "\0" not in str(path) and path.exists():
            paths[uuid] = Path(os.path.normpath(path.absolute()))
        else:
            listing.missing.append(f"the video of {uuid!r} in {file}")
    names = dict(zip(paths, video_ids(list(paths.values()), root), strict=True))
    for uuid, path in paths.items():
        try:
            found = [mark_of(one, classes) for one in labels[uuid] or []]
            if len({in_seconds for _, in_seconds in found}) > 1:
                raise ValueError("some of its events are in frames and some in seconds")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DatasetError(f"{file}: {uuid!r}: {error}") from error
        marks = sorted((mark for mark, _ in found), key=lambda mark: mark.start)
        written = _in_seconds if any(in_seconds for _, in_seconds in found) else _in_frames
        listing.videos.append(video_of(file, records.get(uuid), marks, path, names[uuid], written))
    return listing


def _in_frames(mark: Mark) -> str:
    return f"{mark.start - 1}-{mark.end}"


def _in_seconds(mark: Mark) -> str:
    return f"{mark.start:.6f}s-{mark.end:.6f}s"


def _read(file: Path) -> dict[str, Any]:
    try:
        check_readable(file, MAX_BYTES)
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: no labels of FiftyOne")
    return content


def _places(root: Path) -> dict[str, Path]:
    """Where the videos lie, by their uuid."""
    if (root / DATA).is_file():
        told = [(key, root / str(place)) for key, place in _read(root / DATA).items()]
        return {**_without_suffix(told), **dict(told)}
    below = videos_below(root / "data", Passed()) if (root / "data").is_dir() else []
    return _without_suffix((path.relative_to(root / "data").as_posix(), path) for path in below)


def _without_suffix(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    return {os.path.splitext(name)[0]: path for name, path in named}  # noqa: PTH122
