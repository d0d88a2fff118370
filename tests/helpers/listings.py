"""Trees of empty files that look like a benchmark, and what was listed of them."""

from __future__ import annotations

from pathlib import Path

from lad.dataset import Video
from lad.datasets.common import Listing


def touch(*paths: Path) -> None:
    """Empty files, with the folders that they need."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def link(path: Path, target: Path) -> None:
    """A link, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def by_id(listing: Listing) -> dict[str, Video]:
    """The videos by their names, which all differ."""
    found = {video.id: video for video in listing.videos}
    assert len(found) == len(listing.videos)
    return found
