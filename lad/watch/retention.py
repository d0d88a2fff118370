"""Old events go: their clip, their picture and what was told of them, together."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lad.files import sweep_leftovers

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FILE = re.compile(r"(.+-[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{6})\.(json|mp4|mkv|jpg)")  # as `payload.new_id` names it
DAY_SECONDS = 86_400.0
GIGABYTE = 1e9
UNTOLD_SECONDS = 3600.0  # a clip without its .json belongs to an event that lasts, if it is newer than this
OPEN_SECONDS = DAY_SECONDS  # an event that did not end belongs to a run that was killed, if it is older than this
MAX_JSON_BYTES = 1 << 20
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Swept:
    """What went.

    Attributes:
        events, bytes: how many, and of how many bytes.
        kept_bytes: of the events that are still there.
        problem: why something stayed that should have gone; empty: nothing did.
    """

    events: int
    bytes: int
    kept_bytes: int
    problem: str = ""


@dataclass
class _Kept:
    """The files of one event in its day's folder, below its camera's."""

    camera: str
    day: str
    names: list[str] = field(default_factory=list)
    bytes: int = 0
    changed: float = 0.0  # when the newest of its files was written


def sweep(folder: Path, *, days: float | None, gigabytes: float | None, now: float) -> Swept:
    """Remove whole events from the folder of events, the oldest first.

    An event's age is that of its newest file. One that has not ended stays. Only files go that have the names of
    `lad` in `<camera>/<day>/`; no link is followed.

    Args:
        folder: of events; it may be missing.
        days: older ones go; None: age does not matter.
        gigabytes: of 10^9 bytes; while there is more, the oldest go; None: there is no limit.
        now: Unix seconds.
    """
    kept = sorted(_events(folder, now), key=lambda event: (event.changed, event.camera, event.names))
    total = sum(event.bytes for event in kept)
    removed, removed_bytes, problem = 0, 0, ""
    for event in kept:
        too_old = days is not None and event.changed < now - days * DAY_SECONDS
        too_much = gigabytes is not None and total - removed_bytes > gigabytes * GIGABYTE
        if not too_old and not too_much:
            break
        try:
            if _remove(folder, event, now):
                removed, removed_bytes = removed + 1, removed_bytes + event.bytes
        except OSError as error:
            problem = problem or f"{folder / event.camera / event.day}: {error.strerror or error}"
    return Swept(removed, removed_bytes, total - removed_bytes, problem)


def _events(folder: Path, now: float) -> Iterator[_Kept]:
    """The events of all days; what killed writers left there for a day is removed on the way."""
    for camera in _folders(folder):
        for day in filter(DAY.fullmatch, _folders(folder / camera)):
            with suppress(OSError):
                sweep_leftovers(folder / camera / day, now - DAY_SECONDS)
            yield from _events_of_day(folder, camera, day).values()


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:  # not there, or not ours
        return []


def _events_of_day(folder: Path, camera: str, day: str) -> dict[str, _Kept]:
    found: dict[str, _Kept] = {}
    with suppress(OSError), _opened(folder, camera, day) as place, os.scandir(place) as entries:
        for name in [entry.name for entry in entries]:
            match = FILE.fullmatch(name)
            if not match or not name.startswith(f"{camera}-"):
                continue
            with suppress(OSError):  # it went meanwhile
                said = os.stat(name, dir_fd=place, follow_symlinks=False)
                if stat.S_ISREG(said.st_mode):
                    event = found.setdefault(match[1], _Kept(camera, day))
                    event.names.append(name)
                    event.bytes += said.st_size
                    event.changed = max(event.changed, said.st_mtime)
    return found


def _remove(folder: Path, event: _Kept, now: float) -> bool:
    """Remove an event's files, and its day where that is over and empty; False: it has not ended."""
    with _opened(folder, event.camera, event.day) as place:
        if _is_open(place, event, now):
            return False
        for name in sorted(event.names, key=lambda name: name.endswith(".json")):  # last what says that the others are
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
    if event.day != f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}":
        with suppress(OSError), _opened(folder, event.camera) as camera:
            os.rmdir(event.day, dir_fd=camera)
    return True


def _is_open(place: int, event: _Kept, now: float) -> bool:
    told = [name for name in event.names if name.endswith(".json")]
    if not told:
        return event.changed > now - UNTOLD_SECONDS
    file = os.open(told[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    with os.fdopen(file, "rb") as opened:
        try:
            ended = json.loads(opened.read(MAX_JSON_BYTES))["after"]["end_time"] is not None
        except (ValueError, KeyError, TypeError):
            ended = False
    return not ended and event.changed > now - OPEN_SECONDS


@contextmanager
def _opened(folder: Path, *below: str) -> Iterator[int]:
    """A folder below another one, no part of the way to it being a link."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in below:
            inner = os.open(name, FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        yield place
    finally:
        os.close(place)
