"""Where results lie in a work directory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lad.work.manifest import Manifest

OF_SPLIT = re.compile(r"split_([0-9]+)/(.+)", re.DOTALL)


@dataclass(frozen=True)
class Work:
    """A work directory that is held, or its part of one random split.

    Random splits share the features and the manifest; each has a folder of its own below `splits/` for the rest.

    Attributes:
        manifest: what every item came to.
        split: number of the random split, from 0; None: there is one split, in the work directory itself.
    """

    manifest: Manifest
    split: int | None = None

    def of_split(self, number: int) -> Work:
        """The part of one random split."""
        return replace(self, split=number)

    @property
    def home(self) -> Path:
        """The work directory, which holds the features whatever the split."""
        return self.manifest.work

    @property
    def folder(self) -> Path:
        """Where checkpoints, scores and metrics of this split lie."""
        return self.home if self.split is None else self.home / "splits" / str(self.split)

    @property
    def name(self) -> str:
        """What messages and the manifest call the split; empty where there is one."""
        return "" if self.split is None else f"split_{self.split}"

    def item(self, name: str) -> str:
        """How the manifest calls an item of this split."""
        return f"{self.name}/{name}" if self.name else name

    def place_of(self, item: str) -> tuple[Work, str]:
        """The part of the work directory whose `item` made this name of the manifest, and what it was made of.

        A video may lie in a folder that is called like a split: it is one where there are splits here.
        """
        match = OF_SPLIT.fullmatch(item)
        if match and (self.home / "splits").is_dir():
            return self.of_split(int(match[1])), match[2]
        return replace(self, split=None), item

    def features(self, stream: str, video_id: str) -> Path:
        """A video's features of one stream."""
        return self.home / "features" / stream / f"{video_id}.npy"  # not with_suffix: an id may hold dots of its own

    def times(self, video_id: str) -> Path:
        """The seconds of a video's frames."""
        return self.features("times", video_id)

    def scores(self, video_id: str) -> Path:
        """A score for each frame of a video."""
        return self.folder / "scores" / f"{video_id}.csv"

    @property
    def summary(self) -> Path:
        """One line for each scored video."""
        return self.folder / "scores" / "summary.csv"

    @property
    def events(self) -> Path:
        """One line for each event that was found."""
        return self.folder / "scores" / "events.csv"

    @property
    def events_json(self) -> Path:
        """The same for programs."""
        return self.folder / "scores" / "events.json"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The detector that training chose."""
        return self.checkpoints / "best.pt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"
