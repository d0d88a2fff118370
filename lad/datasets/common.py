"""What the benchmarks' readers share: what they are told, what they find, and how a random split is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lad.dataset import Video
from lad.footage import Passed
from lad.remote.url import Location

Protocol = Literal["official", "paper"]


@dataclass(frozen=True)
class Options:
    """What a reader may be told.

    Attributes:
        normal: used by `folder` only: the pattern (`fnmatch`, case ignored) of the names that mean a normal video.
        protocol: what is said of abnormal training videos. `official`: what the benchmark says, which of a weakly
            supervised one is their label. `paper`: what the LAD2000 paper trains on.
    """

    normal: str = "*normal*"
    protocol: Protocol = "official"


@dataclass(frozen=True)
class Stratum:
    """Videos of one kind, of which a fixed number is drawn to train. The others test.

    Attributes:
        videos: their paths, in an order that is always the same. None stands for a video that is missing or has no
            labels: it is drawn like the others, so that their split does not depend on it.
        train: how many train.
        official: the split of all of them as the benchmark was published, `train` or `test`; empty: nobody says.
    """

    videos: tuple[Location | None, ...]
    train: int
    official: str = ""


@dataclass
class Listing:
    """What a reader found.

    Attributes:
        videos: those that are there. Those of a stratum have no split yet.
        missing: what belongs to the official download and is not there, by name, one line each.
        strata: of a random split. There are none where the split is fixed.
        passed: the files that were looked at and are no videos, where there is no official list.
    """

    videos: list[Video]
    missing: list[str] = field(default_factory=list)
    strata: list[Stratum] = field(default_factory=list)
    passed: Passed = field(default_factory=Passed)

    def split(self, seed: int) -> list[Video]:
        """The videos with their splits. The seed draws a random one and changes nothing about a fixed one."""
        splits: dict[Location | None, str] = {}
        for stratum in self.strata:
            train = set(random.Random(seed).sample(range(len(stratum.videos)), stratum.train))
            splits |= {path: "train" if n in train else "test" for n, path in enumerate(stratum.videos)}
        return [replace(video, split=splits.get(video.path, video.split)) for video in self.videos]

    def official(self) -> list[Video]:
        """The videos with the splits that the benchmark was published with."""
        splits = {path: stratum.official for stratum in self.strata for path in stratum.videos}
        return [replace(video, split=splits.get(video.path, video.split)) for video in self.videos]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that `lad` knows.

    Attributes:
        read: (folder of the download, options) -> what is there. It raises `DatasetError` if the folder is not the
            benchmark at all, or if an annotation cannot be understood.
        classes: its categories in the order of their index. If empty, they are those that are found, in alphabetical
            order.
        random_split: whether the split is drawn by a seed, so that it can be repeated with other seeds.
        one_class: whether it was published with another split, in whose training half nothing happens.
    """

    read: Callable[[Path, Options], Listing]
    classes: tuple[str, ...]
    random_split: bool = False
    one_class: bool = False
