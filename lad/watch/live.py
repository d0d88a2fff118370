"""A camera: a thread that takes its packets as they come, and one that makes clips of them.

The first never waits for anything but the camera, and connects again for ever. What the second has no time for is given
up: whole clips, or, where it cannot even decode so fast, packets up to the next picture that needs no other.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from lad.clip import CLIP_FRAMES
from lad.extract.container import demux
from lad.extract.read_pyav import Picture
from lad.extract.times import DEFAULT_FPS
from lad.extract.video import VideoError, VideoInfo
from lad.masking import hide_of
from lad.memory import give_back_freed
from lad.watch.address import ANSWER_SECONDS, Address, SourceError, open_source
from lad.watch.clock import PacketClock, Rising, WallClock
from lad.watch.messages import Alive, Ended, Failed, Offline, Online, Open, Trouble
from lad.watch.outgoing import Outgoing
from lad.watch.packets import Entry, Ring, Stream, decoded, describe, seconds
from lad.watch.stretch import cut

LONGEST_PAUSE = 30.0  # seconds from one try to connect to the next
WAITING_SECONDS, WAITING_BYTES = 5.0, 32 << 20  # of packets that are not decoded yet
GAP_SECONDS = 2.0  # between two frames: more is footage that is missing
BURST_SECONDS = 0.5  # in which a new connection sends what was filmed before
LASTING_SECONDS = 10.0  # a connection that broke sooner was none
STUCK_SECONDS = 30.0  # beyond what a call may take: it will never come back
Shot = tuple[Any, float, Stream]  # a decoded frame, when it was taken, and what of


class PacketQueue:
    """Packets on their way from one thread to the other. None: what follows does not follow what went before.

    Args:
        drops: whether, where there are too many, all of them go; else whoever has one more waits.
    """

    def __init__(self, *, drops: bool) -> None:
        self._drops = drops
        self._changed = threading.Condition()
        self._packets: deque[Entry | None] = deque()
        self._bytes = 0
        self._over = False

    def put(self, entry: Entry | None) -> int:
        """Returns how many packets were given up."""
        given_up = 0
        with self._changed:
            if entry is not None:
                while self._is_full(entry):
                    if self._drops:
                        given_up = len(self._packets)
                        self._packets.clear()
                        self._packets.append(None)
                        self._bytes = 0
                        break
                    self._changed.wait()
                self._bytes += entry.packet.size
            self._packets.append(entry)
            self._changed.notify_all()
        return given_up

    def _is_full(self, entry: Entry) -> bool:
        first = next((one for one in self._packets if one), None)
        return first is not None and (entry.time - first.time > WAITING_SECONDS or self._bytes > WAITING_BYTES)

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def until_cut(self) -> Iterator[Entry]:
        """Packets that follow each other, as they come."""
        while (entry := self._take()) is not None:
            yield entry

    @property
    def over(self) -> bool:
        with self._changed:
            return self._over and not self._packets

    def _take(self) -> Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._packets or self._over)
            entry = self._packets.popleft() if self._packets else None
            if entry is not None:
                self._bytes -= entry.packet.size
            self._changed.notify_all()
            return entry


class LiveSource:
    """Watches one camera, or a file as if it were one.

    Args:
        job: what to watch.
        ring: gets all packets.
        outgoing: gets clips and what happens.
    """

    def __init__(self, job: Open, ring: Ring, outgoing: Outgoing) -> None:
        self._job, self._ring, self._outgoing = job, ring, outgoing
        self._waiting = PacketQueue(drops=job.address.drops)
        self._wall, self._rising = WallClock(latest=job.latest), Rising()
        self._number = self._stretch = self.frames = self._damaged = self._damaged_said = 0
        self._offset: float | None = None  # from the monotonic clock to that of the frames
        self._known: Stream | None = None  # what frames came of last
        self._online = True  # whether the last frame is not long ago; it has time to come
        self._seen = self._sign = time.monotonic()  # the last frame, the last sign of life of who reads
        self._origin: float | None = None  # of a file: its first stamp
        self._failure = ""  # why a file could not be read to its end

    def start(self) -> None:
        threading.Thread(target=self._connect_for_ever, name="packets", daemon=True).start()
        threading.Thread(target=self._cut_for_ever, name="clips", daemon=True).start()

    def look(self) -> Alive:
        """Called every second: says what does not happen; returns what does."""
        now = time.monotonic()
        if self._online and now - self._seen > self._job.offline_seconds:
            self._online = False
            self._outgoing.say(Offline())
        if self._job.address.drops and now - self._sign > ANSWER_SECONDS + self._job.offline_seconds + STUCK_SECONDS:
            os._exit(1)  # in a call that will never come back: whoever started this process starts another one
        said, self._damaged_said = self._damaged_said, self._damaged
        return Alive(self.frames, self._damaged_said - said)

    # The thread of packets

    def _connect_for_ever(self) -> None:
        address, pause, said = self._job.address, 1.0, ""
        while True:
            self._sign, ended = time.monotonic(), False
            begun = time.monotonic()
            try:
                self._take_packets(address)
                reason, ended = "the stream has ended", True
            except Exception as error:  # of FFmpeg, the network, a camera that sends nonsense: it may do better later
                reason = _reason(error, address)
            self._waiting.put(None)
            if address.kind == "paced" or (address.kind == "growing" and self._number):  # there is no other beginning
                self._failure = "" if ended else reason
                self._waiting.end()
                return
            if self._sign - begun > LASTING_SECONDS + ANSWER_SECONDS:
                pause, said = 1.0, ""
            if reason != said:
                self._outgoing.say(Trouble(f"{address}: {reason}: trying again until it comes back"))
                said = reason
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _take_packets(self, address: Address) -> None:
        """Connect, and pass packets on until there are no more.

        Raises:
            FFmpegError, OSError, LadError: there is no connection, or it broke.
        """
        with open_source(address, self._job.offline_seconds) as container:
            if not container.streams.video:
                raise SourceError("it sends no video")
            track = container.streams.video[0]
            if track.codec_context is None:
                raise SourceError("its video codec is not known")
            self._job.limits.check_size(track.codec_context.width, track.codec_context.height)
            self._wall.begin()
            arrived = self._arrived(demux(container, track))
            first = list(_burst(arrived, 0.0 if address.kind != "live" else BURST_SECONDS))
            if not first:
                return
            stream = describe(container, track, first[0][0])
            clock = PacketClock(believes=not stream.by_arrival)
            stamps = _filled([_stamp(packet) for packet, _ in first], 1 / (stream.rate or DEFAULT_FPS))
            for stamp, (_, arrival) in zip(stamps, first, strict=True):
                clock.learn(stamp, arrival)
            for stamp, (packet, arrival) in zip(stamps, first, strict=True):
                self._pass_on(stream, clock, packet, stamp, arrival)
            for packet, arrival in arrived:
                self._pass_on(stream, clock, packet, _stamp(packet), arrival)

    def _arrived(self, packets: Iterable[Any]) -> Iterator[tuple[Any, float]]:
        """Packets from the first on whose picture needs no other, each with its arrival."""
        begun = False
        for packet in packets:
            self._sign = time.monotonic()
            begun = begun or (packet.size > 0 and packet.is_keyframe)
            if begun and packet.size:
                yield packet, self._wall.now()

    def _pass_on(self, stream: Stream, clock: PacketClock, packet: Any, shown: float | None, arrival: float) -> None:
        if self._job.address.kind == "live":
            at = clock.read(shown, arrival)
            self._offset = self._wall.now() - time.monotonic()
        else:
            at = self._since_start(shown)
        entry = Entry(self._number, stream, packet, at, shown, seconds(packet.dts, packet), packet.is_keyframe)
        self._number += 1
        self._ring.add(entry)
        if given_up := self._waiting.put(entry):
            self._outgoing.lose(max(given_up // CLIP_FRAMES, 1))

    def _since_start(self, shown: float | None) -> float:
        """Of a file: seconds since its first frame. At its own pace, now is when that time is there."""
        if shown is None:
            raise VideoError("its frames have no times")
        if self._origin is None:
            self._origin, self._offset = shown, -time.monotonic() if self._job.address.drops else None
        at = shown - self._origin
        if self._offset is not None:
            time.sleep(max(at - self._offset - time.monotonic(), 0))
        return at

    # The thread of clips

    def _cut_for_ever(self) -> None:
        try:
            shots, held = self._shots(), list[Shot]()
            while held or (first := next((shot for shot in shots if shot), None)):
                if not held:
                    assert first
                    held.append(first)
                self._cut_stretch(shots, held)
            if self._failure or not self.frames:
                self._outgoing.put(Failed("content", self._failure or "no frame could be decoded"))
            else:
                self._outgoing.put(Ended())
        except VideoError as error:
            self._outgoing.put(Failed(error.kind, str(error)))
        except Exception as error:  # a surprise in this camera must not pass for silence
            self._outgoing.put(Failed("worker", f"unexpected {type(error).__name__}: {error}"))

    def _cut_stretch(self, shots: Iterator[Shot | None], held: list[Shot]) -> None:
        """Cut the stretch that begins with the frame in `held`, where the first frame of the next one is left."""
        stream, info = held[0][2], VideoInfo(fps=held[0][2].rate or DEFAULT_FPS)
        frames = _following(shots, held, info)
        for message in cut(self._stretch, frames, info, self._job.spec, stream.pixel_aspect, lambda: self._offset):
            self._outgoing.put(message)
        self._stretch += 1
        give_back_freed()  # a camera that was away may have sent much at once

    def _shots(self) -> Iterator[Shot | None]:
        """Frames as they are shown; None: the next one does not follow."""
        while not self._waiting.over:
            stream: list[Stream] = []

            def noted(stream: list[Stream] = stream) -> Iterator[Entry]:
                for entry in self._waiting.until_cut():
                    stream[:] = [entry.stream]
                    yield entry

            for at, frame in decoded(noted(), self._job.limits):
                self._note_frame(stream[0], frame)
                yield frame, self._rising(at), stream[0]
            yield None

    def _note_frame(self, stream: Stream, frame: Any) -> None:
        self.frames += 1
        self._damaged += frame.is_corrupt
        self._seen = time.monotonic()
        if stream is not self._known or not self._online:
            self._outgoing.say(Online(str(stream), again=self._known is not None))
            self._known, self._online = stream, True


def _following(shots: Iterator[Shot | None], held: list[Shot], info: VideoInfo) -> Iterator[tuple[Picture, float]]:
    """The frame in `held` and those that follow it; `info` is kept up. The first that does not follow is held."""
    shot = held.pop()
    first = last = shot[1]
    while True:
        frame, at, _ = shot
        last, size = at, (frame.width, frame.height)
        info.times[:] = [at - first]  # of days of frames nobody needs more than the last
        yield Picture(frame), at
        following = next(shots, None)
        if following is None:
            return
        if (following[0].width, following[0].height) != size or following[1] - last > GAP_SECONDS:
            held.append(following)
            return
        shot = following


def _burst(arrived: Iterator[tuple[Any, float]], seconds: float) -> Iterator[tuple[Any, float]]:
    """The packets that come within so many seconds; at least one."""
    first = None
    for packet, arrival in arrived:
        yield packet, arrival
        first = arrival if first is None else first
        if arrival - first >= seconds:
            return


def _stamp(packet: Any) -> float | None:
    """When a camera says that it took a packet's picture."""
    return seconds(packet.pts if packet.pts is not None else packet.dts, packet)


def _filled(stamps: list[float | None], step: float) -> list[float | None]:
    """Stamps with those before the first one, which RTSP leaves out until it has its clock, made up."""
    known = next((place for place, stamp in enumerate(stamps) if stamp is not None), None)
    if known is None:
        return stamps
    first = stamps[known]
    assert first is not None
    return [*(first - (known - place) * step for place in range(known)), *stamps[known:]]


def _reason(error: Exception, address: Address) -> str:
    """What FFmpeg says of a connection, without a password."""
    said = str(getattr(error, "strerror", None) or error)
    if "Immediate exit requested" in said:
        return "it does not answer"
    return hide_of(address.url, " ".join(said.split()))
