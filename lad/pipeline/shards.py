"""A part of the videos on each of several machines: `lad extract --shard 3/16`.

Each part works in a folder of its own below the work directory, with its own manifest: no two machines write to one.
`lad merge` joins them (`merge.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lad.dataset import Video
from lad.features.recipe import EXTRACT
from lad.files import frame_files
from lad.ours import SHARDS
from lad.remote.url import Location, Url
from lad.work.journal import Item, finished_items


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of the videos of a work directory; `number` counts from 1."""

    number: int
    of: int

    def folder(self, work: Path) -> Path:
        """Where this part of a work directory's videos is extracted."""
        return work / SHARDS / f"{self.number}-of-{self.of}"

    def videos(self, videos: Sequence[Video]) -> list[Video]:
        """The videos of this part. The largest are dealt first, to and fro, so that parts have about as many bytes."""
        ranked = sorted(videos, key=lambda video: (-bytes_of(video.path), video.id))
        mine = {video.id for rank, video in enumerate(ranked) if self._is_mine(rank)}
        return [video for video in videos if video.id in mine]

    def _is_mine(self, rank: int) -> bool:
        turn, place = divmod(rank, self.of)
        return self.number == (self.of - place if turn % 2 else 1 + place)


@dataclass(frozen=True)
class Merged:
    """What a work directory has already and its parts need not do again.

    Attributes:
        home: the work directory.
        rows: its finished items, by (stage, item).
    """

    home: Path = Path()
    rows: Mapping[tuple[str, str], Item] = field(default_factory=dict)

    def has(self, item: str, fingerprint: str) -> bool:
        """Whether the features of an item are there, by their row and the size of their files."""
        row = self.rows.get((EXTRACT, item))
        if row is None or (row.status, row.fingerprint) != ("done", fingerprint):
            return False
        places = [(self.home / output.path, output.bytes) for output in row.outputs]
        return all(path.is_file() and path.stat().st_size == size for path, size in places)


def read_merged(folder: Path) -> Merged:
    """What the work directory has of which `folder` is a part. Its journal is read, for others may write to it."""
    home = folder.parent.parent
    return Merged(home, finished_items(home))


def bytes_of(path: Location) -> int:
    """Bytes of a video; of a folder of images about that; 0 of one that is not there, or at a URL without a listing."""
    if isinstance(path, Url):
        return (path.told.size if path.told else None) or 0
    try:
        if path.is_dir():
            images = frame_files(path)
            return len(images) * images[0].stat().st_size if images else 0
        return path.stat().st_size
    except OSError:
        return 0
