"""Frames from the middle of a video, without decoding what lies before: by number, in the order of `lad`'s readers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lad.errors import LadError
from lad.extract.container import demux, open_container, sniff_container, video_stream
from lad.extract.probe import BARE, DECODED_ONLY, Probe, probe_file
from lad.extract.read_images import read_image
from lad.extract.read_pyav import Picture
from lad.extract.readers import open_reader
from lad.extract.video import DEFAULT_LIMITS, Limits, VideoError
from lad.files import frame_files

NEVER = -(1 << 63)  # of a packet that does not say when
SAME_TIME = 2e-3  # seconds: scores say times to the millisecond


class Unsure(LadError):
    """Decoding from the middle did not give the frames that were asked for."""


@dataclass(frozen=True)
class Piece:
    """An interval of a video's frames.

    Attributes:
        start, end: frames, half-open.
        times: `(end - start + 1,)` float64 seconds since the video's first frame; the last one is when the piece ends.
    """

    start: int
    end: int
    times: np.ndarray

    @property
    def frames(self) -> int:
        return self.end - self.start

    @property
    def shown(self) -> np.ndarray:
        """`(frames,)` float64 seconds at which each frame is shown, since the piece's first."""
        return self.times[:-1] - self.times[0]

    @property
    def seconds(self) -> float:
        return float(self.times[-1] - self.times[0])


@dataclass(frozen=True)
class Index:
    """The packets of a track, in the order of the file.

    Attributes:
        keys: `(n,)` bool: which need no other to be decoded.
        shown, decoded: `(n,)` int64 stamps in the track's own unit; `NEVER` where a packet has none.
    """

    keys: np.ndarray
    shown: np.ndarray
    decoded: np.ndarray

    def is_packet(self, packet: Any, number: int) -> bool:
        """Whether a packet is the one of this number."""
        return number < len(self.keys) and _stamps(packet) == (self.shown[number], self.decoded[number])

    def is_unique(self, number: int) -> bool:
        same = (self.shown == self.shown[number]) & (self.decoded == self.decoded[number])
        return int(same.sum()) == 1 and self.decoded[number] != NEVER


@dataclass(frozen=True)
class Film:
    """A video file whose packets are known, so that its frames can be found by their number.

    Attributes:
        path: the file.
        container_format: as `sniff_container` has it.
        probe: what demuxing showed.
        index: its packets.
        slots: `(n,)` int64: the frame that is in each packet.
        on_progress: called at every packet that is read.
        limits: of its frames.
    """

    path: Path
    container_format: str
    probe: Probe
    index: Index
    slots: np.ndarray
    on_progress: Callable[[], None]
    limits: Limits = field(default=DEFAULT_LIMITS)

    @property
    def seconds(self) -> np.ndarray:
        """`(n,)` float64: when each frame is shown, since the first."""
        slots = self.probe.schedule.slots
        return slots - slots[0]

    def entry(self, start: int) -> int:
        """The last packet from which on everything from a frame on can be decoded."""
        before = np.maximum.accumulate(np.concatenate([[-1], self.slots[:-1]]))
        whole = np.flatnonzero(self.index.keys & (self.slots <= start) & (before < start))
        return int(whole[-1]) if len(whole) else 0

    def packets(self, container: Any, stream: Any, first: int) -> Iterator[tuple[int, Any]]:
        """The packets from one on with their numbers, and last an empty one that has the number of packets.

        Raises:
            Unsure: seeking led elsewhere.
        """
        import av

        number = 0
        if first and self.index.is_unique(first):
            here = [stamp[first] for stamp in (self.index.shown, self.index.decoded) if stamp[first] != NEVER]
            try:
                container.seek(int(min(here)), stream=stream)
            except (OSError, av.error.FFmpegError) as error:
                raise Unsure("it cannot be read from the middle") from error
            number = -1
        for packet in demux(container, stream):
            self.on_progress()
            if not packet.size:
                continue
            if number < 0:
                if not self.index.is_packet(packet, first):
                    continue
                number = first
            if not self.index.is_packet(packet, number):
                raise Unsure("its packets are numbered otherwise")
            if number >= first:
                yield number, packet
            number += 1
        if number != len(self.slots):
            raise Unsure("its packets are not found again")
        yield number, None

    def pictures(self, start: int, end: int) -> Iterator[Picture]:
        """The frames `[start, end)`, decoded from the nearest packet that allows it.

        Raises:
            Unsure: they are not all there, or damaged.
        """
        import av

        wanted = start
        with open_container(self.path, self.container_format, self.limits) as container:
            stream = video_stream(container, self.probe.track, self.limits)
            for number, packet in self.packets(container, stream, self.entry(start)):
                if packet is not None:
                    packet.pts = number  # its frame says by it where it belongs
                try:
                    frames = stream.codec_context.decode(packet)
                except av.error.EOFError:
                    break
                except av.error.FFmpegError as error:
                    raise Unsure(f"a packet cannot be decoded: {error.strerror}") from error
                for frame in frames:
                    slot = int(self.slots[frame.pts]) if frame.pts is not None else -1
                    if 0 <= slot < start:
                        continue
                    if slot != wanted or frame.is_corrupt:
                        raise Unsure(f"frame {wanted} is not where it should be")
                    yield Picture(frame)
                    wanted += 1
                    if wanted == end:
                        return
        raise Unsure(f"frame {wanted} is not there")


def open_film(path: Path, frames: int, on_progress: Callable[[], None], limits: Limits = DEFAULT_LIMITS) -> Film | None:
    """A video file by its packets; None where those do not tell which frame is in which.

    Args:
        path: the file.
        frames: how many it has, as somebody found who decoded all of it.
        on_progress: called at every packet.
        limits: of its frames.

    Raises:
        VideoError: it is no readable video.
        OSError: the disk's fault.
    """
    kind = sniff_container(path)
    probe = probe_file(path, kind, limits, on_progress)
    place = probe.schedule.place
    if probe.packets != frames or probe.hidden:
        return None
    if place is None:  # they rise in the order of the file, or nothing but that order is known
        if probe.schedule.delay and not (probe.schedule.exact and kind not in DECODED_ONLY | BARE):
            return None
        place = np.arange(frames)
    shown, decoded, keys = array("q"), array("q"), bytearray()
    with open_container(path, kind, limits) as container:
        for packet in demux(container, video_stream(container, probe.track, limits)):
            on_progress()
            if packet.size:
                stamps = _stamps(packet)
                shown.append(stamps[0])
                decoded.append(stamps[1])
                keys.append(packet.is_keyframe)
    index = Index(np.frombuffer(bytes(keys), np.bool_), np.array(shown, np.int64), np.array(decoded, np.int64))
    return Film(path, kind, probe, index, place, on_progress, limits)


def _stamps(packet: Any) -> tuple[int, int]:
    return (NEVER if packet.pts is None else packet.pts, NEVER if packet.dts is None else packet.dts)


def check_times(piece: Piece, seconds: np.ndarray) -> None:
    """See that a piece's frames are shown when they were when the video was scored.

    Raises:
        VideoError: they are not.
    """
    here = seconds[piece.start : piece.end]
    if len(here) != piece.frames or np.abs(here - piece.times[:-1]).max() > SAME_TIME:
        raise VideoError("it is not the video that was scored: score it again")


def pictures_in_turn(
    path: Path, pieces: list[Piece], on_progress: Callable[[], None], limits: Limits
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of all pieces with their numbers, of a video that has to be decoded from its beginning.

    Raises:
        VideoError: it cannot be read, or is not what was scored.
    """
    reader = open_reader(path, choice="pyav", lazy=True, limits=limits, on_progress=on_progress)
    last = max(piece.end for piece in pieces)
    for number, frame in enumerate(reader):
        here = [piece for piece in pieces if piece.start <= number < piece.end]
        for piece in here:
            if abs(reader.info.times[number] - piece.times[number - piece.start]) > SAME_TIME:
                raise VideoError("it is not the video that was scored: score it again")
        if here:
            yield number, np.asarray(frame)
        if number + 1 == last:
            return
    raise VideoError(f"it ends before frame {last}: it is not the video that was scored: score it again")


def images_between(folder: Path, piece: Piece, frames: int, limits: Limits) -> Iterator[np.ndarray]:
    """The frames of a piece of a frame folder; one that cannot be read is its neighbour, as `read_images` has it.

    Raises:
        VideoError: there is none, or another number of images.
    """
    files = frame_files(folder)
    if len(files) != frames:
        raise VideoError(f"it has {len(files)} images, and had {frames} when it was scored: score it again")
    good: np.ndarray | None = None
    for number in range(piece.start, piece.end):
        image = _image(files[number], limits)
        if image is None and good is None:
            around = [*range(number - 1, -1, -1), *range(number + 1, frames)]
            image = next((found for other in around if (found := _image(files[other], limits)) is not None), None)
        good = good if image is None else image
        if good is None:
            raise VideoError("none of its images can be read")
        yield good


def _image(file: Path, limits: Limits) -> np.ndarray | None:
    try:
        return read_image(file, limits)[0]
    except VideoError:
        return None
