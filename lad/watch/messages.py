"""What a camera's process is told, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lad.extract.clips import ClipBatch, ClipSpec
from lad.extract.readers import Choice
from lad.extract.video import DEFAULT_LIMITS, Failure, Limits
from lad.watch.address import Address


@dataclass(frozen=True)
class Open:
    """The first message: what to watch.

    Attributes:
        address: of the source.
        spec: how it is cut into clips.
        limits: of its frames.
        choice: of the reader of a file.
        folder_fps: frames a second where it is a folder of images.
        offline_seconds: without a frame after which the camera is offline.
        waiting_batches: of clips that may wait; of a camera that has more the oldest go.
        latest: the newest time that an earlier process of the camera gave; 0: there was none.
        ring_seconds, ring_bytes: of packets that are kept for clips of events; 0: none.
    """

    address: Address
    spec: ClipSpec
    limits: Limits = DEFAULT_LIMITS
    choice: Choice = "auto"
    folder_fps: float = 25.0
    offline_seconds: float = 20.0
    waiting_batches: int = 3
    latest: float = 0.0
    ring_seconds: float = 0.0
    ring_bytes: int = 64 << 20


@dataclass(frozen=True)
class Take:
    """One more batch can be sent."""


@dataclass(frozen=True)
class Record:
    """Write what was filmed from `start` on, until `Stop`, to `path` and the suffix of a container that takes it."""

    event: str
    path: Path
    start: float


@dataclass(frozen=True)
class Stop:
    """The recording of an event ends with the frame at `end`; at once: with what is there."""

    event: str
    end: float
    at_once: bool = False


@dataclass(frozen=True)
class Snap:
    """Write the picture that was shown at `time` to a JPEG at `path`."""

    event: str
    path: Path
    time: float


Request = Open | Take | Record | Stop | Snap


@dataclass(frozen=True)
class Alive:
    """Nothing is wrong. `frames`: how many were decoded so far; `damaged`: lacked parts, since this was said last."""

    frames: int
    damaged: int = 0


@dataclass(frozen=True)
class Online:
    """Frames come, for the first time or again. `what`: codec and size."""

    what: str
    again: bool


@dataclass(frozen=True)
class Offline:
    """No frame has come for `offline_seconds`."""


@dataclass(frozen=True)
class Trouble:
    """Something that a person should know: why there is no connection, what is odd about a video."""

    text: str


@dataclass(frozen=True)
class Batch:
    """The next clips of a stretch, and the frames that they cover.

    Attributes:
        stretch: its number; another one than that of the batch before: the two do not follow one another.
        first: which clip of its stretch is the first here.
        clips: the pixels.
        times: `(frames,)` float64, when the frames were taken: Unix seconds, of a file since its first frame.
        places: `(frames,)` int64, the sampled frame of the stretch nearest to each.
        offset: from the monotonic clock to that of the times; None: a file, whose time goes on with its frames.
        dropped: clips that were given up before this batch.
    """

    stretch: int
    first: int
    clips: ClipBatch
    times: np.ndarray
    places: np.ndarray
    offset: float | None = None
    dropped: int = 0

    @property
    def count(self) -> int:
        return len(next(iter(self.clips.values())))


@dataclass(frozen=True)
class StretchEnd:
    """A stretch is over: `sampled` frames were cut into clips, and these are the frames after the last batch."""

    stretch: int
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    places: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sampled: int = 0


@dataclass(frozen=True)
class Recorded:
    """A recording is over. `path`: the file; None: there is none, and `why`."""

    event: str
    path: Path | None
    why: str = ""


@dataclass(frozen=True)
class Snapped:
    """A picture is written. `path`: the file; None: there is none, and `why`."""

    event: str
    path: Path | None
    why: str = ""


@dataclass(frozen=True)
class Ended:
    """There is no more: a file is read to its end."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A file cannot be read. `failure`: as `VideoError.kind`."""

    failure: Failure
    error: str


@dataclass(frozen=True)
class Again:
    """decord gave a file up: it has to be read by PyAV from its start."""


Answer = Alive | Online | Offline | Trouble | Batch | StretchEnd | Recorded | Snapped | Ended | Failed | Again
