"""A cutting process, `python -m lad.cutting.worker`: gets jobs, writes clips, says in JSON what came of each.

A file that ends the process, or keeps it busy for ever, takes no more down than its own clips.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lad.children import join_parent
from lad.cutting.copy import copy_piece
from lad.cutting.encode import ClipWriter, Look, writing
from lad.cutting.film import Film, Unsure, check_times, images_between, open_film, pictures_in_turn
from lad.cutting.job import Cut, CutJob
from lad.cutting.sound import Sound, sound_of
from lad.extract.container import open_container, sniff_container, video_stream
from lad.extract.probe import probe_file
from lad.extract.process_setup import prepare
from lad.extract.video import VideoError

ALIVE_SECONDS = 1.0


def main() -> None:
    pipe = join_parent(sys.argv[1:])
    prepare()
    try:
        while True:
            _serve(pipe, pipe.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):  # whoever asked is gone
        return


def _serve(pipe: Connection, job: CutJob) -> None:
    import av

    alive = _Alive(pipe)
    try:
        for number, how in _cut(job, alive):
            _send(pipe, cut=number, **how)
        _send(pipe, done=True)
    except VideoError as error:
        _send(pipe, failed=str(error))
    except MemoryError:
        _send(pipe, failed="not enough memory to cut it")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except OSError as error:
        _send(pipe, failed=error.strerror or str(error), errno=error.errno, name=str(error.filename or ""))
    except av.error.FFmpegError as error:
        _send(pipe, failed=f"it cannot be cut: {error.strerror}")
    except Exception as error:  # a surprise is named, and the other videos are cut
        _send(pipe, failed=f"unexpected {type(error).__name__}: {error}")


def _cut(job: CutJob, alive: _Alive) -> Iterator[tuple[int, dict[str, Any]]]:
    """Write the clips of a job; yields the number of each and what is to be said of it."""
    if job.path.is_dir():
        for number, cut in enumerate(job.cuts):
            images = images_between(job.path, cut.piece, job.frames, job.limits)
            _encode(cut, images, job.fps, Look(), alive)
            yield number, {"copied": False, "note": ""}
        return
    film = open_film(job.path, job.frames, alive, job.limits)
    if film is None:
        yield from _cut_in_turn(job, range(len(job.cuts)), alive)
        return
    look = look_of(film)
    unsure: list[int] = []
    for number, cut in enumerate(job.cuts):
        check_times(cut.piece, film.seconds)
        try:
            how = _cut_from_the_middle(film, cut, job.fps, look, alive)
        except Unsure:
            unsure.append(number)
        else:
            yield number, how
    if unsure:
        yield from _cut_in_turn(job, unsure, alive)


def _cut_from_the_middle(film: Film, cut: Cut, fps: float, look: Look, alive: _Alive) -> dict[str, Any]:
    """Write a clip: as it is where that can be, else encoded anew.

    Raises:
        Unsure: its frames cannot be had without decoding all before them.
    """
    import av

    if cut.overlay is None:
        with sound_of(film, cut.piece) as (sound, note):
            if copy_piece(film, cut.piece, cut.path, sound):
                return {"copied": True, "note": note}

    def encode(sound: Sound | None) -> None:
        pictures = map(np.asarray, film.pictures(cut.piece.start, cut.piece.end))
        _encode(cut, pictures, fps, look, alive, sound)

    with sound_of(film, cut.piece) as (sound, note):
        try:
            encode(sound)
        except av.error.FFmpegError:
            if sound is None:
                raise
            note = "its sound cannot be copied: left out"
            encode(None)
    return {"copied": False, "note": note}


def look_of(film: Film) -> Look:
    """How the pixels of a file are meant."""
    with open_container(film.path, film.container_format, film.limits) as container:
        context = video_stream(container, film.probe.track, film.limits).codec_context
        colours = int(context.colorspace), int(context.color_primaries), int(context.color_trc)
    return Look(film.probe.pixel_aspect, colours)


def _encode(
    cut: Cut, images: Iterator[np.ndarray], fps: float, look: Look, alive: _Alive, sound: Sound | None = None
) -> None:
    with writing(cut.path, fps, look, sound) as writer:
        number = cut.piece.start
        for image in images:
            _add(writer, cut, number, image)
            number += 1
            alive()


def _add(writer: ClipWriter, cut: Cut, number: int, image: np.ndarray) -> None:
    place, piece = number - cut.piece.start, cut.piece
    drawn = cut.overlay.draw(image, number) if cut.overlay else image
    writer.add(drawn, float(piece.shown[place]), float(piece.times[place + 1] - piece.times[place]))


def _cut_in_turn(job: CutJob, which: Sequence[int], alive: _Alive) -> Iterator[tuple[int, dict[str, Any]]]:
    """The clips of a video that has to be decoded from its beginning, all at once."""
    kind = sniff_container(job.path)
    probe = probe_file(job.path, kind, job.limits, alive)
    look = Look(probe.pixel_aspect)
    with open_container(job.path, kind, job.limits) as container:
        note = "its frames had to be counted from its beginning, and its sound is left out"
        note = note if container.streams.audio else ""
    waiting = sorted(which, key=lambda number: job.cuts[number].piece.start)
    pieces = [job.cuts[number].piece for number in waiting]
    open_ones: dict[int, tuple[ExitStack, ClipWriter]] = {}
    with ExitStack() as everything:
        for frame, image in pictures_in_turn(job.path, pieces, alive, job.limits):
            while waiting and job.cuts[waiting[0]].piece.start == frame:
                number = waiting.pop(0)
                stack = everything.enter_context(ExitStack())
                open_ones[number] = stack, stack.enter_context(writing(job.cuts[number].path, job.fps, look))
            for number, (stack, writer) in list(open_ones.items()):
                _add(writer, job.cuts[number], frame, image)
                if frame + 1 == job.cuts[number].piece.end:
                    stack.close()
                    del open_ones[number]
                    yield number, {"copied": False, "note": note}
            alive()


class _Alive:
    """A word to whoever waits, at times, for whoever calls it at every step forward."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > ALIVE_SECONDS:
            _send(self._pipe, alive=True)
            self._last = time.monotonic()


def _send(pipe: Connection, **said: Any) -> None:
    pipe.send_bytes(json.dumps(said).encode())


if __name__ == "__main__":
    main()
