"""Clips and pictures of events, out of a camera's packets: the stream as it came, copied beside the watching.

It lives in a camera's process, in a thread of its own, so that a slow disk holds up neither the camera nor the scores.
"""

from __future__ import annotations

import io
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from lad.errors import LadError
from lad.extract.read_pyav import Picture
from lad.extract.video import Limits
from lad.files import replacing, write_bytes
from lad.watch.messages import Record, Recorded, Snap, Snapped, Stop
from lad.watch.packets import Entry, Packets, Stream, decoded

MP4_CODECS = frozenset({"h264", "hevc", "mpeg4", "av1"})  # every other one goes into a Matroska file
LOOK_SECONDS = 0.5  # from one look at new packets to the next
LONGEST_SECONDS = 120.0  # of a clip: an event may last for days
DRY_SECONDS = 5.0  # without a packet after which a clip whose end is known ends: the camera is gone, the file is over
REORDERED_SECONDS = 1.0  # by which a picture's packet may come after those of later ones
TICKS = 90_000  # a second of a clip's stamps
SNAPSHOT_WIDTH, JPEG_QUALITY = 960, 85


class _NoClip(LadError):
    """Why there is no clip."""


@dataclass
class _Recording:
    """A clip while it is written.

    Attributes:
        request: what was asked.
        end: when it is over; None: nobody knows yet.
        stream: of its packets; None: none has come.
    """

    request: Record
    end: float | None = None
    stream: Stream | None = None
    number: int = -1  # of the last packet
    reached: float = -float("inf")  # its time
    path: Path | None = None
    out: Any = None
    track: Any = None
    origin: float = 0.0
    decoded: int = -1  # the last stamp
    fed: float = field(default_factory=time.monotonic)  # when that packet was written
    stack: ExitStack = field(default_factory=ExitStack)


class Recorder:
    """Takes requests, and says what came of each.

    Args:
        packets: of the camera.
        say: told of each file when it is there, or why it is not.
        limits: of its frames.
    """

    def __init__(self, packets: Packets, say: Callable[[Recorded | Snapped], None], limits: Limits) -> None:
        self._packets, self._say, self._limits = packets, say, limits
        self._requests: queue.SimpleQueue[Record | Stop | Snap] = queue.SimpleQueue()
        self._recordings: dict[str, _Recording] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, name="recorder", daemon=True).start()

    def ask(self, request: Record | Stop | Snap) -> None:
        self._requests.put(request)

    def _run(self) -> None:
        while True:
            try:
                request = self._requests.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                pass
            else:
                self._begin(request)
            for recording in list(self._recordings.values()):
                self._go_on(recording)

    def _begin(self, request: Record | Stop | Snap) -> None:
        match request:
            case Record():
                self._recordings[request.event] = _Recording(request)
            case Stop():
                if recording := self._recordings.get(request.event):
                    recording.end = request.end
                    self._go_on(recording, at_once=request.at_once)
            case Snap():
                try:
                    write_bytes(request.path, _jpeg(self._picture(request.time)))
                    self._say(Snapped(request.event, request.path))
                except Exception as error:  # of FFmpeg, the disk: the event goes on without
                    self._say(Snapped(request.event, None, _why(error)))

    def _go_on(self, recording: _Recording, *, at_once: bool = False) -> None:
        """Write what is there; where that is all of it, close the file."""
        if self._packets.finite and recording.end is None:
            return
        try:
            over = self._write(recording) or at_once or self._packets.finite
            if over:
                self._close(recording)
                self._say(Recorded(recording.request.event, recording.path))
        except Exception as error:  # of FFmpeg, the disk: the event goes on without
            over = True
            with suppress(Exception):  # to close what could not be written fails as well
                recording.stack.__exit__(type(error), error, error.__traceback__)
            self._say(Recorded(recording.request.event, None, _why(error)))
        if over:
            del self._recordings[recording.request.event]

    def _write(self, recording: _Recording) -> bool:
        """Write the packets that are new; whether the clip is over with them."""
        packets, request = self._packets, recording.request
        end = min(float("inf") if recording.end is None else recording.end, request.start + LONGEST_SECONDS)
        fresh: Iterator[Entry] = packets.after(recording.number) if recording.stream else packets.since(request.start)
        for entry in fresh:
            if recording.stream is None:
                _open(recording, entry)
            elif entry.stream is not recording.stream or entry.time > end:
                return True
            elif not packets.finite and entry.number != recording.number + 1:
                raise _NoClip("the disk was too slow: packets were given up before they were written")
            _mux(recording, entry)
            recording.number, recording.reached, recording.fed = entry.number, entry.time, time.monotonic()
        is_dry = recording.end is not None and time.monotonic() - recording.fed > DRY_SECONDS
        return is_dry or recording.reached > end  # the end may be known later than it was written

    def _close(self, recording: _Recording) -> None:
        if recording.stream is None:
            raise _NoClip("nothing of it was kept")
        recording.out.close()
        recording.stack.close()

    def _picture(self, at: float) -> Any:
        """The frame that was shown at a time, `(height, width, 3)` RGB."""
        entries = takewhile(lambda entry: entry.time <= at + REORDERED_SECONDS, self._packets.since(at))
        near = min(decoded(entries, self._limits), key=lambda shown: abs(shown[0] - at), default=None)
        if near is None:
            raise _NoClip("nothing of it was kept")
        return np.asarray(Picture(near[1]))


def _open(recording: _Recording, first: Entry) -> None:
    import av

    suffix, container = (".mp4", "mp4") if first.stream.codec in MP4_CODECS else (".mkv", "matroska")
    path = recording.request.path.with_name(f"{recording.request.path.name}{suffix}")
    temporary = recording.stack.enter_context(replacing(path))
    out = recording.stack.enter_context(av.open(str(temporary), "w", format=container))
    with av.open(io.BytesIO(first.stream.head)) as head:
        recording.track = out.add_stream_from_template(head.streams.video[0])
    recording.path, recording.out, recording.stream = path, out, first.stream
    recording.origin = first.time - _early(first)


def _mux(recording: _Recording, entry: Entry) -> None:

    import av

    shown = round((entry.time - recording.origin) * TICKS)
    decoded = round((entry.time - _early(entry) - recording.origin) * TICKS)
    recording.decoded = max(min(decoded, shown), recording.decoded + 1, 0)
    packet = av.Packet(bytes(entry.packet))
    packet.stream, packet.time_base = recording.track, Fraction(1, TICKS)
    packet.pts, packet.dts, packet.is_keyframe = max(shown, recording.decoded), recording.decoded, entry.key
    recording.out.mux(packet)


def _early(entry: Entry) -> float:
    """Seconds by which a picture is decoded before it is shown."""
    return 0.0 if entry.shown is None or entry.decoded is None else max(entry.shown - entry.decoded, 0.0)


def _jpeg(image: Any) -> bytes:
    import cv2

    height, width = image.shape[:2]
    if width > SNAPSHOT_WIDTH:
        size = (SNAPSHOT_WIDTH, round(height * SNAPSHOT_WIDTH / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    made, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not made:
        raise _NoClip("it cannot be written as JPEG")
    return bytes(data)


def _why(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
