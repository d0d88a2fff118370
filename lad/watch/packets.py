"""A camera's packets: what a connection sends, the last of them in memory, and how they are decoded."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lad.extract.container import demux, open_container, sniff_container, video_stream
from lad.extract.probe import probe_file
from lad.extract.video import Limits
from lad.watch.address import BY_ARRIVAL, Address

REORDERED = 64  # packets that a decoder may hold back, at most


@dataclass(frozen=True)
class Stream:
    """What the packets of one connection are of.

    Attributes:
        head: a file of nothing but the stream's header and one packet: what a copy of the stream is made after. The
            connection itself may be gone by then.
        codec: FFmpeg's name of it.
        rate: frames a second as the camera says, 0 if it does not.
        pixel_aspect: how much wider than high a pixel is shown.
        by_arrival: its stamps are not to be believed.
    """

    head: bytes
    codec: str
    width: int
    height: int
    pix_fmt: str | None
    extradata: bytes | None
    rate: float
    pixel_aspect: float
    by_arrival: bool

    def __str__(self) -> str:
        return f"{self.codec} {self.width}x{self.height}"

    def decoder(self, limits: Limits) -> Any:
        """A decoder of its own, with one thread, that keeps to `limits`."""
        import av

        context: Any = av.CodecContext.create(self.codec, "r")
        context.extradata = self.extradata
        context.width, context.height = self.width, self.height
        if self.pix_fmt:
            context.pix_fmt = self.pix_fmt
        context.thread_count = 1
        context.options = {"max_pixels": str(limits.max_pixels * 5 // 4)}
        return context


@dataclass(frozen=True)
class Entry:
    """A packet.

    Attributes:
        number: rises by one from packet to packet of a camera, whatever the connection.
        stream: what it is of.
        packet: PyAV's.
        time: when its picture was taken, on the clock of events.
        shown, decoded: seconds, as the camera stamped it; None: it did not.
        key: whether its picture needs no other.
    """

    number: int
    stream: Stream
    packet: Any
    time: float
    shown: float | None
    decoded: float | None
    key: bool

    def copy(self) -> Any:
        """The packet with its number for a stamp: frames say by it which packet they were in."""
        import av

        packet = av.Packet(bytes(self.packet))
        packet.pts = self.number
        packet.is_keyframe = self.key
        return packet


def describe(container: Any, track: Any, first: Any) -> Stream:
    """The facts of an open connection, whose first packet is there."""
    import av

    context, head = track.codec_context, io.BytesIO()
    with av.open(head, "w", format="nut") as copy:
        stream = copy.add_stream_from_template(track)
        packet = av.Packet(bytes(first))
        packet.stream, packet.time_base = stream, track.time_base
        packet.pts = packet.dts = 0
        packet.is_keyframe = True
        copy.mux(packet)
    rate = track.average_rate or track.guessed_rate
    return Stream(
        head.getvalue(),
        context.name,
        context.width,
        context.height,
        context.pix_fmt,
        context.extradata,
        float(rate) if rate and 0 < rate <= 240 else 0.0,
        float(track.sample_aspect_ratio or 1),
        not BY_ARRIVAL.isdisjoint(container.format.name.split(",")),
    )


def decoded(entries: Iterable[Entry], limits: Limits) -> Iterator[tuple[float, Any]]:
    """Frames with the times at which they were taken, as they are shown; damage is passed over.

    Args:
        entries: of one stream: the first of another one is the end.
        limits: of its frames.
    """
    import av

    decoder, stream = None, None
    times: dict[int, float] = {}
    for entry in chain(entries, [None]):
        if decoder is None:
            if entry is None or not entry.key:
                continue
            decoder, stream = entry.stream.decoder(limits), entry.stream
        if entry is not None and entry.stream is not stream:
            entry = None
        if entry is not None:
            times[entry.number] = entry.time
            times.pop(entry.number - REORDERED, None)
        try:
            frames = decoder.decode(entry.copy() if entry else None)
        except (av.error.FFmpegError, MemoryError):
            frames = []
        yield from ((times.get(frame.pts, max(times.values())), frame) for frame in frames)
        if entry is None:
            return


def seconds(stamp: int | None, packet: Any) -> float | None:
    return None if stamp is None else float(stamp * packet.time_base)


class Ring:
    """The last packets of a camera, bounded in seconds and bytes. A thread adds, another one reads.

    Args:
        keep_seconds, keep_bytes: of packets.
    """

    finite = False  # more may come

    def __init__(self, keep_seconds: float, keep_bytes: int) -> None:
        self._keep_seconds, self._keep_bytes = keep_seconds, keep_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            self._bytes += entry.packet.size
            while self._entries and (
                self._bytes > self._keep_bytes or self._entries[0].time < entry.time - self._keep_seconds
            ):
                self._bytes -= self._entries.popleft().packet.size

    def since(self, time: float) -> Iterator[Entry]:
        """From the packet on with which decoding has to begin to show what was filmed at `time`, or later."""
        with self._lock:
            entries = list(self._entries)
        keys = [place for place, entry in enumerate(entries) if entry.key]
        before = [place for place in keys if entries[place].time <= time]
        yield from entries[(before[-1:] or keys[:1] or [len(entries)])[0] :]

    def after(self, number: int) -> Iterator[Entry]:
        """What came after a packet and is still there."""
        with self._lock:
            entries = list(self._entries)
        yield from (entry for entry in entries if entry.number > number)


class FilePackets:
    """The packets of a file that is there as a whole; times are seconds since its first frame."""

    finite = True

    def __init__(self, address: Address, limits: Limits) -> None:
        self._path, self._limits = address.path, limits
        self._container_format = ""

    def since(self, time: float) -> Iterator[Entry]:
        """As `Ring.since`.

        Raises:
            VideoError, OSError: it cannot be read so.
        """
        import av

        self._container_format = self._container_format or sniff_container(self._path)
        probe = probe_file(self._path, self._container_format, self._limits, lambda: None)
        with open_container(self._path, self._container_format, self._limits) as container:
            track = video_stream(container, probe.track, self._limits)
            origin = float((track.start_time or 0) * track.time_base)
            with suppress(av.error.FFmpegError):  # one that cannot be sought in is read from its start
                container.seek(max(round((time + origin) / track.time_base), 0), stream=track)
            stream, number = None, -1
            for packet in demux(container, track):
                if not packet.size:
                    continue
                stream = stream or describe(container, track, packet)
                number += 1
                shown = seconds(packet.pts if packet.pts is not None else packet.dts, packet)
                at = time if shown is None else shown - origin
                yield Entry(number, stream, packet, at, shown, seconds(packet.dts, packet), packet.is_keyframe)

    def after(self, number: int) -> Iterator[Entry]:
        """Nothing more comes."""
        yield from ()


Packets = Ring | FilePackets
