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


def own_folders(root: Path) -> None:
    """Make every link to a folder a folder of its own, of links to the same files: what one clip is, no other is."""
    for clip in [path for path in root.rglob("*") if path.is_symlink() and path.is_dir()]:
        files = sorted(clip.resolve().iterdir())
        clip.unlink()
        clip.mkdir()
        for file in files:
            (clip / file.name).hardlink_to(file)


def by_id(listing: Listing) -> dict[str, Video]:
    """The videos by their names, which all differ."""
    found = {video.id: video for video in listing.videos}
    assert len(found) == len(listing.videos)
    return found
