"""A piece of a video without encoding anew: its packets as they are, where they are whole by themselves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from lad.cutting.encode import MP4
from lad.cutting.film import NEVER, Film, Piece, Unsure
from lad.cutting.sound import Sound
from lad.extract.container import open_container, video_stream
from lad.extract.probe import display_matrix, probe_file
from lad.extract.read_pyav import Picture

CODECS = frozenset({"h264", "hevc"})
CONTAINERS = frozenset({"mov", "matroska"})  # their packets are as an MP4 keeps them
SAME_TIME = 1e-3  # seconds


def first_packet(film: Film, piece: Piece) -> int | None:
    """The packet from which on a piece is `piece.frames` packets in a row; None where it is not.

    It is one that needs no other, is shown first, and is followed by the piece's other frames and by no further one.
    """
    first = int((film.slots == piece.start).argmax())
    here = film.slots[first : first + piece.frames]
    stamps = film.index.shown[first : first + piece.frames]
    whole = len(here) == piece.frames and here.min() == piece.start and here.max() == piece.end - 1
    if not (whole and film.index.keys[first] and film.probe.schedule.exact and film.probe.intact):
        return None
    # A picture after the piece may be what one within it was made from: it is then before that one in the file.
    known = (stamps != NEVER).all() and (film.index.decoded[first : first + piece.frames] != NEVER).all()
    return first if known and film.container_format in CONTAINERS else None


def copy_piece(film: Film, piece: Piece, path: Path, sound: Sound | None = None) -> bool:
    """Write a piece to an MP4 as it is; returns whether that is possible, and what was written is right.

    Raises:
        OSError: the disk's fault.
    """
    import av

    first = first_packet(film, piece)
    if first is None:
        return False
    try:
        with (
            open_container(film.path, film.container_format, film.limits) as source,
            av.open(str(path), "w", format="mp4", container_options=MP4) as out,
        ):
            stream = video_stream(source, film.probe.track, film.limits)
            if stream.codec_context.name not in CODECS:
                return False
            copy = out.add_stream_from_template(stream)
            if sound:
                sound.begin(out)
            begin = int(film.index.shown[first])
            for number, packet in film.packets(source, stream, first):
                if number == first + piece.frames:
                    break
                packet.pts -= begin
                packet.dts -= begin
                slot = int(film.slots[number]) - piece.start
                lasts = piece.times[slot + 1] - piece.times[slot]
                packet.duration = max(round(Fraction(lasts) / packet.time_base), 1)
                if sound:
                    sound.copy_until(float(piece.shown[slot]))
                packet.stream = copy
                out.mux(packet)
            if sound:
                sound.copy_until(None)
    except (av.error.FFmpegError, Unsure):
        return False
    return _is_right(film, piece, path)


def _is_right(film: Film, piece: Piece, path: Path) -> bool:
    """Whether a copy has the frames of its piece: as many, at their times, turned as they are, with the same pixels."""
    import av

    times: list[float] = []
    try:
        probe = probe_file(path, "mov", film.limits)
        if probe.packets != piece.frames or abs(probe.pixel_aspect - film.probe.pixel_aspect) > 1e-3:
            return False
        originals = film.pictures(piece.start, piece.end)
        with open_container(path, "mov", film.limits) as container:
            stream = video_stream(container, probe.track, film.limits)
            for frame in container.decode(stream):
                if frame.is_corrupt or frame.pts is None:
                    return False
                times.append(float(frame.pts * stream.time_base))
                if not _same(Picture(frame), next(originals, None)):
                    return False
    except (av.error.FFmpegError, Unsure):
        return False
    if len(times) != piece.frames:
        return False
    return bool(np.abs(np.array(times) - times[0] - piece.shown).max() < SAME_TIME)


def _same(copy: Picture, original: Picture | None) -> bool:
    return original is not None and bool(
        display_matrix(copy.frame) == display_matrix(original.frame)
        and all(bytes(a) == bytes(b) for a, b in zip(copy.frame.planes, original.frame.planes, strict=True))
    )
