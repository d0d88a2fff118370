"""What a decoding process is told, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lad.extract.clips import ClipBatch, ClipSpec
from lad.extract.readers import Choice
from lad.extract.video import DEFAULT_LIMITS, Failure, Limits, VideoInfo
from lad.remote.fetch import Remote


@dataclass(frozen=True)
class Job:
    """A video to cut into clips.

    Attributes:
        item: what the answers are marked with.
        path: the video; of one at a URL, where it was fetched to, and nothing before.
        spec: how it is cut.
        folder_fps: frames a second where it is a folder of images.
        limits: of its frames.
        choice: of the reader.
        skip_clips: clips that are known from an earlier run, whose decoder was told the same `choice`.
        remote: the file to fetch first, of a video at a URL.
        before: the features of the last of those, which still clips may have too: see `stillness.with_repeated`.
        size: bytes of its file, where another process is told, which may see another file; None: nobody says.
    """

    item: str
    path: Path
    spec: ClipSpec
    folder_fps: float = 25.0
    limits: Limits = DEFAULT_LIMITS
    choice: Choice = "auto"
    skip_clips: int = 0
    remote: Remote | None = None
    before: Mapping[str, np.ndarray] = field(default_factory=dict)
    size: int | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched first."""
        return self.remote is not None

    def __reduce__(self) -> tuple[object, ...]:
        # The name goes as the bytes that it has on the disk: a process may read names in another encoding than ours.
        return _job, ({**vars(self), "path": os.fsencode(self.path)},)


def _job(facts: dict[str, Any]) -> Job:
    return Job(**{**facts, "path": Path(os.fsdecode(facts["path"]))})


@dataclass(frozen=True)
class Started:
    """Its decoding begins. Where `skip_clips` is 0, what it gave before is void, in earlier runs too."""

    item: str
    choice: Choice
    skip_clips: int


@dataclass(frozen=True)
class Reached:
    """How far a video is decoded: so many frames of about so many (0: nobody knows), which come at `fps` a second."""

    frames: int = 0
    promised: int = 0
    fps: float = 0.0


NOWHERE = Reached()


@dataclass(frozen=True)
class Clips:
    """The next batch of clips of a video.

    Attributes:
        batch: the clips that are to be seen.
        back: where some are not, of each clip how many clips before it the one lies whose features it has; 0: it is
            to be seen. Empty: all are.
    """

    item: str
    batch: ClipBatch
    reached: Reached = NOWHERE
    back: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return len(self.back or next(iter(self.batch.values())))


@dataclass(frozen=True)
class Finished:
    """Its last batch has been given."""

    item: str
    info: VideoInfo


@dataclass(frozen=True)
class Failed:
    """It gives no clips. `failure`: as `VideoError.kind`."""

    item: str
    failure: Failure
    error: str


@dataclass(frozen=True)
class Again:
    """decord gave it up: what it gave is void."""

    item: str


@dataclass(frozen=True)
class Alive:
    """A batch takes long, as slow flow methods do, and is still being worked on."""

    item: str


Message = Started | Clips | Finished | Failed  # what whoever decodes videos is told
Answer = Clips | Finished | Failed | Again | Alive  # what a decoding process sends
