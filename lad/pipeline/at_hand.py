"""The file of a video that was scored, for whoever looks into it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lad.config import load_config
from lad.extract.video import VideoError
from lad.ours import CONFIG
from lad.pipeline.scored import ScoredVideo
from lad.remote.fetch import Remote, fetch
from lad.remote.room import Bounds, Room
from lad.remote.store import in_a_line
from lad.remote.url import Url
from lad.work.layout import Work


@contextmanager
def at_hand(work: Work, video: ScoredVideo) -> Iterator[Path]:
    """The path of its file or folder; of one at a URL that of a file which is there for as long as this lasts.

    Raises:
        VideoError: it is not there any more, or cannot be fetched, or is another one now.
    """
    if isinstance(video.path, Path):
        if not video.path.exists():
            raise VideoError("it is not there any more", kind="io")
        yield video.path
        return
    data = load_config(work.home / CONFIG, []).data
    room = Room(Bounds.in_gb(data.download_dir, data.download_gb))
    try:
        yield _fetched(work, video.path, room)
    finally:
        room.close()


def _fetched(work: Work, url: Url, room: Room) -> Path:
    try:
        remote = Remote.at(url, room.bounds)
        if remote.facts.identity(url.key) != work.manifest.contents.known(url):
            raise VideoError("it is another file than the one that was scored: run `lad score` again", kind="io")
        room.check(remote.facts.size)
        path = room.take(url, remote.facts.size)
        fetch(remote, path, threading.Event())
    except OSError as error:
        raise VideoError(in_a_line(error), kind="io") from error
    return path
