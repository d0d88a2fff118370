"""The videos in a bucket, or below a folder of it."""

from __future__ import annotations

from pathlib import Path

from lad.footage import VIDEO_SUFFIXES, Passed
from lad.remote.store import RemoteError, explained, facts_of, file_system
from lad.remote.url import BUCKETS, Url


def listed_below(folder: Url, passed: Passed) -> list[Url]:
    """The videos whose names begin with a folder's, in order: by their suffix alone, for nothing is opened.

    Args:
        folder: a bucket, a folder of it, or a video.
        passed: gets the files that are no videos.

    Raises:
        RemoteError: it cannot be listed.
    """
    if folder.scheme not in BUCKETS:
        raise RemoteError("a web server has no listing: write a dataset.csv with a line for each video")
    with explained(folder):
        found = file_system(folder).find(folder.address, detail=True)
    videos: list[Url] = []
    for name, one in sorted(found.items()):
        path = Path(name)
        if one.get("type") != "file" or any(part.startswith(".") for part in path.parts):
            continue
        if path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(Url(f"{folder.scheme}://{name}", facts_of(one)))
        else:
            passed.add(path)
    return videos
