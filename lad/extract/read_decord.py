"""Frames out of a video file by decord, the first reader.

decord believes what a container says of itself, and can hang, repeat frames or crash on a damaged one. So it reads only
files in which packets, container and decord agree, and of the kinds where it gives the same pixels as PyAV.

A thread of its own decodes ahead, and nothing holds it back: on a busy machine 11,000 frames were waiting, 6.5 GB. So
it reads only files that it may hold as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lad.extract.probe import Probe
from lad.extract.process_setup import cap_decord, decord_complaints
from lad.extract.times import Schedule
from lad.extract.video import MIN_BLOCK, VideoInfo

MOST_AHEAD_BYTES = 256 << 20  # of frames that wait
DECORD_PIXEL_BYTES = 4  # in one piece: red, green, blue, and what pads a row


class ReaderGaveUp(Exception):
    """A reader failed on a file that it had begun, or met damage: what it gave is void, PyAV must read it anew."""


def open_decord(path: Path, probe: Probe) -> Any | None:
    """decord's reader where it sees the frames that demuxing showed, else None."""
    import decord

    try:
        decord_complaints()
        # It cannot be told how large a frame may become in midstream, but its FFmpeg how much it may take.
        cap_decord(max(DECORD_PIXEL_BYTES * probe.pixels, MIN_BLOCK))
        frames = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        return frames if len(frames) == probe.packets else None
    except (decord.DECORDError, RuntimeError, OSError, UnicodeError):  # a name that is not UTF-8
        return None


def read_decord(frames: Any, schedule: Schedule, info: VideoInfo) -> Iterator[np.ndarray]:
    """The frames of an opened reader, `(height, width, 3)` uint8 RGB, as `schedule` has them; fills `info`.

    Raises:
        ReaderGaveUp: it failed or met damage.
    """
    import decord

    complaints, times = decord_complaints(), (schedule.slots - schedule.slots[0]).tolist()
    complaints.clear()
    try:
        for time in times:
            frame = frames.next().asnumpy()
            if frame.ndim != 3 or frame.shape[2] != 3:  # as of 72 columns, whose rows it pads to four channels
                raise ReaderGaveUp(f"decord gives frames of shape {frame.shape}")
            if complaints:
                raise ReaderGaveUp(f"decord met damage or another size by frame {info.frames} of {len(times)}")
            info.size = info.size if info.times else (frame.shape[0], frame.shape[1])
            info.times.append(time)
            yield frame
    except (decord.DECORDError, StopIteration, RuntimeError) as error:
        raise ReaderGaveUp(f"decord gave up after {info.frames} of {len(times)} frames: {error}") from error
