"""The sound of a piece of a video: its packets as they are, from the piece's first frame to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lad.cutting.film import NEVER, Film, Piece
from lad.extract.container import demux, open_container

IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})


class Sound:
    """The sound of a piece, which is copied into a video beside its pictures."""

    def __init__(self, source: Any, stream: Any, begin: float, end: float) -> None:
        self._source, self._stream = source, stream
        self._begin, self._end = begin, end
        self._waiting: Any = None
        self._packets = self._read()
        self._out: Any = None
        self._container: Any = None

    def begin(self, container: Any) -> None:
        """Make a track for it in the video that is written."""
        self._container = container
        self._out = container.add_stream_from_template(self._stream)

    def copy_until(self, time: float | None) -> None:
        """Write what sounds until a time, in seconds since the piece's first frame; None: all the rest."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if time is not None and packet.pts * packet.time_base > time:
                self._waiting = packet
                return
            packet.stream = self._out
            self._container.mux(packet)

    def _read(self) -> Iterator[Any]:
        import av

        tick = self._stream.time_base
        first = round(self._begin / tick)
        with suppress(OSError, av.error.FFmpegError):  # it is read from its beginning then
            self._source.seek(first, stream=self._stream)
        for packet in demux(self._source, self._stream):
            if not packet.size or packet.pts is None or packet.pts < first:
                continue
            if packet.pts * tick >= self._end:
                return
            packet.pts -= first
            packet.dts = packet.pts
            yield packet


@contextmanager
def sound_of(film: Film, piece: Piece) -> Iterator[tuple[Sound | None, str]]:
    """A piece's sound, and why it is left out if it is; neither where the video has none."""
    with open_container(film.path, film.container_format, film.limits) as container:
        tracks = list(container.streams.audio)
        if not tracks:
            yield None, ""
            return
        stream = tracks[0]
        codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
        packet = int((film.slots == piece.start).argmax())
        stamp = int(film.index.shown[packet])
        if codec not in IN_MP4:
            yield None, f"its sound ({codec}) cannot be in an MP4 as it is: left out"
        elif not film.probe.schedule.exact or stamp == NEVER:
            yield None, "its times are made up, so nobody knows which sound belongs to them: left out"
        else:
            begin = stamp * container.streams[film.probe.track].time_base
            yield Sound(container, stream, float(begin), float(begin) + piece.seconds), ""
