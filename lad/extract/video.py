"""What is said of a video while it is read: what it turned out to be, why it cannot be read, how large it may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from lad.errors import LadError

T = TypeVar("T")
Failure = Literal["content", "io", "limit", "worker"]

PIXEL_BYTES = 8  # at most, in one piece: 16 bits of red, green, blue and alpha
# Bytes that FFmpeg may always take in one piece: a plane of an 8K frame at 16 bits, an index of 3 million frames.
MIN_BLOCK = 80 << 20


class VideoError(LadError):
    """Why a video gives no frames.

    Attributes:
        kind: `content` (its own fault), `io` (the disk's, worth another try), `limit` (beyond a configured limit, which
            may be another one at the next try) or `worker` (the process that read it died or stalled).
    """

    def __init__(self, reason: str, kind: Failure = "content") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What a small file could claim to take all memory or time; `config.ExtractConfig` has the same keys.

    Attributes:
        max_pixels: of a frame or an image.
        max_frames: of a video, and of what it becomes at another frame rate.
    """

    max_pixels: int = 1 << 26  # 8192 x 8192
    max_frames: int = 10_000_000  # 4 days at 25 a second

    @property
    def max_block(self) -> int:
        """Bytes that a decoder may take in one piece."""
        return max(PIXEL_BYTES * self.max_pixels, MIN_BLOCK)

    def check_size(self, width: int, height: int) -> None:
        """Raise VideoError where a frame is too large."""
        if width * height > self.max_pixels:
            raise VideoError(f"frames of {width}x{height}: {self.pixels_exceeded()}", kind="limit")

    def pixels_exceeded(self) -> str:
        """What is to be said of a frame that is too large."""
        return f"beyond the limit of {self.max_pixels} pixels (extract.max_pixels)"

    def check_count(self, frames: int) -> None:
        """Raise VideoError where there are too many frames."""
        if frames > self.max_frames:
            raise VideoError(f"more than {self.max_frames} frames, the limit (extract.max_frames)", kind="limit")

    def counted(self, frames: Iterable[T]) -> Iterator[T]:
        """`frames` as they come, until there are too many."""
        for number, frame in enumerate(frames, 1):
            self.check_count(number)
            yield frame


DEFAULT_LIMITS = Limits()


@dataclass
class VideoInfo:
    """What reading a video showed; complete once the last frame was taken.

    Attributes:
        reader: `decord`, `torchcodec`, `pyav` or `images`: whose frames they are, or would be if all of them were
            looked at.
        times: seconds since the first frame, one for each frame.
        fps: average frames a second.
        size: (height, width) of the first frame.
        pixel_aspect: how much wider than high a pixel is shown; 1 but for video that was made for television.
        warnings: what was wrong with it, one line each.
    """

    reader: str = ""
    times: list[float] = field(default_factory=list)
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    pixel_aspect: float = 1.0
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.times)
