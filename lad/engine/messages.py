"""What a process is told that does a part of the work, wherever it runs, what it answers, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lad.detector.known_camera import Camera
from lad.errors import LadError
from lad.extract.jobs import Failed, Reached, Started
from lad.extract.video import VideoInfo
from lad.features.recipe import FeatureRecipe


class EngineError(LadError):
    """Nothing can be done where it was to be."""


class NotReceived(LadError):
    """What was made is not there as it was made."""


def one_line(error: BaseException) -> str:
    """What is to be said of an error that nobody foresaw: its first line and its last, which say most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(dict.fromkeys([lines[0], lines[-1]]))[:300]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a process needs to know before its first video.

    Attributes:
        versions: the driver's, by the name of the package: of all that moves what is made.
        weights: name -> SHA-256 of all that are needed, as the driver's cache has them.
    """

    versions: Mapping[str, str]
    weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExtractSetup(Setup):
    """For extraction.

    Attributes:
        recipe: of the features, with the device as this process is to call it.
        workers: its decoding processes.
        stall_seconds: without progress a decoder is ended.
        home: the driver's work directory.
        token: a file in it, by which a process finds out whether it sees the same directory.
        word: what stands in that file.
    """

    recipe: FeatureRecipe
    workers: int
    stall_seconds: float
    home: Path
    token: Path
    word: str


class Job(Protocol):
    """What is to be done of one video."""

    @property
    def item(self) -> str:
        """The video's id."""

    @property
    def is_remote(self) -> bool:
        """Whether the video has to be fetched from a URL first, which has time limits of its own."""


@dataclass(frozen=True)
class Task:
    """One try at a job. `name`: of the try: what comes of an earlier one, which was given up, has another."""

    name: str
    job: Any  # a `Job`, of the kind that the process does


@dataclass(frozen=True)
class Doing:
    """How far a try is: clips that are done, frames that are decoded."""

    name: str
    clips: int = 0
    reached: Reached = field(default_factory=Reached)


@dataclass(frozen=True)
class File:
    """A complete file that was made of a video.

    Attributes:
        path: where it lies, for a driver that sees it.
        sha256: of its bytes.
        blocks: the bytes themselves, as references for Ray, for a driver that does not.
    """

    path: Path
    sha256: str
    blocks: Sequence[Any] = ()


@dataclass(frozen=True)
class Done:
    """A try is over, and all is there that was to be made of the video: `files` by what is in them."""

    name: str
    files: Mapping[str, File]


@dataclass(frozen=True)
class Extracted(Done):
    """Features: a file for each stream; none of no clips. `still`: which clips were not seen, as `Partial` has it."""

    clips: int
    still: list[list[int]]
    info: VideoInfo


@dataclass(frozen=True)
class Scored(Done):
    """The CSV of scores, alone among the files; `info`: what `VideoScorer` tells of them."""

    info: Mapping[str, Any]


@dataclass(frozen=True)
class Known(Done):
    """What the detector knows of a camera by a video of it; no files."""

    camera: Camera


Result = Done | Failed  # the item of `Failed` is the try's name


@dataclass(frozen=True)
class Unseen:
    """The files of a job are not where this process is, or are others there: their bytes have to be sent."""

    name: str


@dataclass(frozen=True)
class Ready:
    """A process takes videos, from now on or again. `node`: where it is, a node of Ray or a device of this machine."""

    node: str


@dataclass(frozen=True)
class Alive:
    """It answers; its tries are so far."""

    doing: Sequence[Doing]


@dataclass(frozen=True)
class Lost:
    """One try came to nothing, and it was not the video's fault as far as anybody knows."""

    name: str
    why: str


@dataclass(frozen=True)
class Gone:
    """A process is dead or cannot be reached: what it was doing is lost, and it takes nothing until it is `Ready`.

    `drained`: somebody takes its node away, which is no fault of what it was doing.
    """

    why: str
    drained: bool = False


@dataclass(frozen=True)
class Refused:
    """A process cannot do what the driver would, and never will."""

    node: str
    why: str


Word = Ready | Alive | Done | Failed | Lost | Gone | Refused


@dataclass(frozen=True)
class Progressed:
    """So many more clips of a video are done, `all_clips` by now, by a process that keeps them until the end."""

    item: str
    clips: int
    all_clips: int
    reached: Reached


@dataclass(frozen=True)
class Made:
    """All is there that was to be made of a video: what its process tells, and complete files of the driver."""

    item: str
    done: Done
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Fleet:
    """Who is at work.

    Attributes:
        nodes: node -> how many of its processes take videos.
        away: processes that do not, or not yet.
        in_flight: videos that are being worked on: video id -> node.
    """

    nodes: Mapping[str, int]
    away: int
    in_flight: Mapping[str, str]


PoolEvent = Started | Progressed | Made | Failed | Fleet
