"""Clips and pictures of events: what cameras' processes are asked for, and notices that wait for what comes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lad.watch.messages import Record, Snap, Stop
from lad.watch.payload import Notice, place
from lad.watch.watched import Watched

SLACK_SECONDS = 10.0  # that writing a clip may take beyond its end


@dataclass
class _Files:
    """The files of one event.

    Attributes:
        watched: its camera.
        clip, thumb: below the folder of events; empty: not there.
        peak: the time of the picture that was asked for last.
        pictures: how many are asked for and not there yet.
        recording: whether a clip is being written.
        end: the last notice, which waits for them until `deadline`.
    """

    watched: Watched
    clip: str = ""
    thumb: str = ""
    peak: float | None = None
    pictures: int = 0
    recording: bool = False
    end: Notice | None = None
    deadline: float = 0.0

    @property
    def is_complete(self) -> bool:
        return not self.recording and not self.pictures


class Clips:
    """Keeps clips and pictures in the folder of events.

    Args:
        folder: of events; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._events: dict[str, _Files] = {}
        self._problems: list[tuple[str, str]] = []

    @property
    def waiting(self) -> bool:
        """Whether the end of an event is not told yet."""
        return any(files.end for files in self._events.values())

    def need(self, watched: Watched) -> bool:
        """Whether a camera's process still has something to do."""
        return any(files.watched is watched for files in self._events.values())

    def add(self, watched: Watched, notice: Notice) -> list[Notice]:
        """Ask for what a notice needs; returns it, unless it has to wait."""
        event, camera, process = notice.after, watched.camera, watched.process
        if notice.type == "new" and self._folder and camera.clips and process:
            self._events[event.id] = _Files(watched, recording=True)
            process.ask(Record(event.id, self._folder / place(event), event.start_time - camera.pre_seconds))
        files = self._events.get(event.id)
        if files is None:
            return [notice]
        assert self._folder
        path = self._folder / place(event)
        if notice.type != "update" and notice.peak != files.peak and process:
            files.peak = notice.peak
            files.pictures += 1
            process.ask(Snap(event.id, path.with_name(f"{path.name}.jpg"), files.peak))
        if notice.type != "end":
            return [notice]
        if process and event.end_time is not None:
            process.ask(Stop(event.id, event.end_time + camera.post_seconds))
        files.end = notice
        files.deadline = time.monotonic() + camera.post_seconds + SLACK_SECONDS
        return []

    def recorded(self, event: str, path: Path | None, why: str) -> None:
        """A clip is there, or will not be."""
        if files := self._events.get(event):
            files.recording = False
            if path and self._folder:
                files.clip = path.relative_to(self._folder).as_posix()
                files.watched.events.attach(event, clip=files.clip, has_clip=True)
            else:
                self._problems.append((event, f"no clip: {why}"))

    def snapped(self, event: str, path: Path | None, why: str) -> None:
        """A picture is there, or will not be."""
        if files := self._events.get(event):
            files.pictures -= 1
            if path and self._folder:
                files.thumb = path.relative_to(self._folder).as_posix()
                files.watched.events.attach(event, thumb=files.thumb)
            else:
                self._problems.append((event, f"no picture: {why}"))

    def problems(self) -> Iterator[tuple[str, str]]:
        """What a person should know: event and text. It is told once."""
        problems, self._problems = self._problems, []
        yield from problems

    def released(self, now: float) -> Iterator[Notice]:
        """Notices that need wait no longer, at a time of the monotonic clock."""
        for event, files in list(self._events.items()):
            if files.end and (files.is_complete or files.watched.process is None or now >= files.deadline):
                del self._events[event]
                after = replace(
                    files.end.after,
                    clip=files.clip,
                    has_clip=bool(files.clip),
                    thumb=files.thumb,
                    delay_seconds=max(files.watched.now - files.end.after.frame_time, 0.0),
                )
                yield replace(files.end, after=after)

    def stop_all(self) -> None:
        """Have every clip end with what is there."""
        for event, files in self._events.items():
            if files.recording and files.watched.process:
                files.watched.process.ask(Stop(event, float("inf"), at_once=True))
