"""How many frames videos say they have, before hours of decoding: `python -m lad.extract.count`, a process of its own.

What a container says may be wrong: it is good for a warning, and decoding decides.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lad.children import join_parent, start
from lad.extract import process_setup
from lad.extract.container import open_container, sniff_container
from lad.extract.video import Limits, VideoError
from lad.files import frame_files

KNOW_THEIR_LENGTH = frozenset({"mov", "matroska", "avi", "flv", "asf"})  # of others FFmpeg guesses
PATIENCE_SECONDS = 10.0  # for one video: a file may keep a demuxer busy


def promised_frames(paths: Sequence[Path]) -> dict[Path, tuple[int, float]]:
    """Frames and frames a second that videos say they have; those that do not say are left out.

    Args:
        paths: video files, or folders of frames, whose rate is 0.
    """
    found: dict[Path, tuple[int, float]] = {}
    if not paths:
        return found
    process, pipe = start("lad.extract.count")
    try:
        with suppress(EOFError, OSError):  # of a file that ends the process: the decoders name it
            for path in paths:
                pipe.send(path)
                if not pipe.poll(PATIENCE_SECONDS):
                    break
                frames, fps = pipe.recv_bytes().split()
                if int(frames):
                    found[path] = (int(frames), float(fps))
    finally:
        process.kill()
        process.wait()
        pipe.close()
    return found


def _promise(path: Path) -> tuple[int, float]:
    """Frames and frames a second, 0 where a video does not say; of several tracks those of the longest."""
    if path.is_dir():
        return len(frame_files(path)), 0.0
    kind = sniff_container(path)
    with open_container(path, kind, Limits()) as container:
        tracks = [(0, 0.0)]
        for stream in container.streams.video:
            fps = float(stream.average_rate or 0)
            seconds = (
                float(stream.duration * stream.time_base)
                if stream.duration is not None
                else (container.duration or 0) / 1e6  # in microseconds
            )
            tracks.append((stream.frames or (round(seconds * fps) if kind in KNOW_THEIR_LENGTH else 0), fps))
        return max(tracks)


def main() -> None:
    pipe = join_parent(sys.argv[1:])
    process_setup.prepare()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # whoever started it is gone
        while True:
            path = pipe.recv()
            try:
                frames, fps = _promise(path)
            except (OSError, ValueError, MemoryError, VideoError):  # the decoders say why
                frames, fps = 0, 0.0
            pipe.send_bytes(f"{frames} {fps}".encode())


if __name__ == "__main__":
    main()
