"""What the benchmarks' readers share: what they are told, what they find, the random split."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lad.dataset import Video


@dataclass(frozen=True)
class Options:
    """What a reader may be told.

    Attributes:
        seed: of a random split.
        normal: `folder` only: which names mean a normal video, as a pattern (`fnmatch`), upper and lower case alike.
    """

    seed: int = 0
    normal: str = "*normal*"


@dataclass
class Listing:
    """What a reader found.

    Attributes:
        videos: those that are there.
        missing: what belongs to the official download and is not there, by name, a line each.
    """

    videos: list[Video]
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that `lad` knows.

    Attributes:
        read: (folder of the download, options) -> what is there. Raises `DatasetError` where the folder is not the
            benchmark at all, or an annotation cannot be understood.
        classes: its categories in the order of their index; empty: those that are found, in alphabetical order.
        random_split: whether the split is drawn by a seed, so that it can be repeated with others.
    """

    read: Callable[[Path, Options], Listing]
    classes: tuple[str, ...]
    random_split: bool = False


def random_split(videos: Sequence[Video], seed: int, train: int) -> list[Video]:
    """`train` of the videos, drawn by the seed, go to the split `train`, the others to `test`."""
    chosen = {video.id for video in random.Random(seed).sample(list(videos), min(train, len(videos)))}
    return [replace(video, split="train" if video.id in chosen else "test") for video in videos]
