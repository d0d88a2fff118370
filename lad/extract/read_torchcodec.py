"""Frames out of a video file by torchcodec, which can take decord's place: a GPU's video decoder (NVDEC), or FFmpeg.

It reads the files that decord would, and no others. On a CPU it gives the same pixels as decord and PyAV. On a GPU it
converts colours in its own way, and of a picture that is damaged, but whole by its packets, NVDEC says nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lad.device import kind_of
from lad.errors import LadError
from lad.extract.failures import is_out_of_memory
from lad.extract.probe import Probe
from lad.extract.process_setup import cap_torchcodec, torchcodec_complaints
from lad.extract.read_decord import DECORD_PIXEL_BYTES, ReaderGaveUp
from lad.extract.times import Schedule
from lad.extract.video import MIN_BLOCK, VideoError, VideoInfo

FRAMES_AT_ONCE = 8  # that are taken from the device together: 50 MB of 1080p
NO_MEMORY = "no memory for one more decoder of torchcodec: free some, or have fewer (--workers)"

# What torchcodec 0.17 says, by its source, where the driver's video library is not there or CUDA's error 2 (no memory)
# came of it. Not seen on a card.
NO_LIBRARY = "NVcuvid unavailable"
NO_ROOM = "NVDEC decoder: 2"
CAPABILITY = "in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"


class ReaderMissing(LadError):
    """torchcodec is not here, or cannot be used."""


def check_torchcodec() -> None:
    """See that torchcodec is installed, and finds an FFmpeg. Imports torch.

    Raises:
        ReaderMissing: it is not, or does not.
    """
    try:
        torchcodec = importlib.import_module("torchcodec")
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torchcodec":
            raise _missing("is not installed: pip install 'lad-video[torchcodec]'") from error
        raise _missing(f"cannot be loaded: {_line(error)}: install the release for this torch") from error
    if torchcodec.ffmpeg_major_version is None:
        raise _missing(
            "finds no FFmpeg that it can use: install FFmpeg's shared libraries (Debian: apt install ffmpeg)"
        )


def _missing(why: str) -> ReaderMissing:
    return ReaderMissing(f"extract.reader: torchcodec {why}, or let decord read: extract.reader=decord")


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def open_torchcodec(path: Path, probe: Probe, device: str) -> Any | None:
    """torchcodec's decoder where it sees the frames that demuxing showed, and the device decodes them, else None.

    Raises:
        VideoError: of `worker`: torchcodec is not here, or the device has no memory for it.
    """
    try:
        check_torchcodec()
    except ReaderMissing as error:
        raise VideoError(str(error), "worker") from error
    from torchcodec.decoders import VideoDecoder

    try:
        torchcodec_complaints()
        # As with decord: how large a frame may become in midstream.
        cap_torchcodec(max(DECORD_PIXEL_BYTES * probe.pixels, MIN_BLOCK))
        decoder = VideoDecoder(
            str(path.absolute()), stream_index=probe.track, dimension_order="NHWC", num_ffmpeg_threads=1, device=device
        )
    except (RuntimeError, ValueError, OSError) as error:  # a name that is not UTF-8 is a ValueError
        if _is_out_of_memory(error):  # another reader would give other colours: at the next run there may be room
            raise VideoError(NO_MEMORY, "worker") from error
        if kind_of(device) != "cpu":
            raise VideoError(f"torchcodec cannot use the GPU: {_line(error)}", "worker") from error
        return None
    if kind_of(device) != "cpu" and NO_LIBRARY in str(decoder.cpu_fallback):
        raise VideoError(f"torchcodec finds no {NO_LIBRARY.split()[0]}: {CAPABILITY}", "worker")
    said = decoder.metadata
    as_probed = len(decoder) == probe.packets and (said.width or 0) * (said.height or 0) == probe.pixels
    on_device = kind_of(device) == "cpu" or not decoder.cpu_fallback
    return decoder if as_probed and on_device else None


def _is_out_of_memory(error: Exception) -> bool:
    return is_out_of_memory(error) or NO_ROOM in str(error)


def read_torchcodec(decoder: Any, schedule: Schedule, info: VideoInfo) -> Iterator[np.ndarray]:
    """The frames of an opened decoder, `(height, width, 3)` uint8 RGB, as `schedule` has them; fills `info`.

    Raises:
        ReaderGaveUp: it failed, met damage, or gives frames of other times.
        VideoError: of `worker`: the device has no memory for it.
    """
    complaints, times = torchcodec_complaints(), schedule.slots - schedule.slots[0]
    complaints.clear()
    first = 0.0
    for start in range(0, len(times), FRAMES_AT_ONCE):
        due = times[start : start + FRAMES_AT_ONCE]
        try:
            batch = decoder.get_frames_in_range(start, start + len(due))
            frames, shown = batch.data.cpu().numpy(), batch.pts_seconds.cpu().numpy()
        except (RuntimeError, IndexError) as error:  # of a frame of another size, too
            if _is_out_of_memory(error):
                raise VideoError(NO_MEMORY, "worker") from error
            raise ReaderGaveUp(f"torchcodec gave up after {start} of {len(times)} frames: {_line(error)}") from error
        if complaints:
            raise ReaderGaveUp(f"torchcodec met damage by frame {start} of {len(times)}")
        first = first if start else shown[0]
        if np.abs(shown - first - due).max() > schedule.step / 2:  # where one cannot be decoded, it gives the next
            raise ReaderGaveUp(f"torchcodec gives other frames than there are by frame {start} of {len(times)}")
        for time, frame in zip(due.tolist(), frames, strict=True):
            info.size = info.size if info.times else (frame.shape[0], frame.shape[1])
            info.times.append(time)
            yield frame
