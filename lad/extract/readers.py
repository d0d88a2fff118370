"""Frames out of a video file or a folder of images: native size, RGB, upright, in display order, one at a time.

A reader is a function that yields frames and fills a `VideoInfo` on the way: `read_decord`, `read_torchcodec`,
`read_pyav`, `read_images`. `open_reader` decides which of them reads a file.

decord, or torchcodec in its place, is the first reader and PyAV the second. Every file is first demuxed (not decoded)
by PyAV. The first reader gets only those where packets, container and it agree, of the kinds where decord gives the
same pixels as PyAV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lad.device import kind_of
from lad.extract.container import sniff_container
from lad.extract.probe import probe_file
from lad.extract.read_decord import DECORD_PIXEL_BYTES, MOST_AHEAD_BYTES, ReaderGaveUp, open_decord, read_decord
from lad.extract.read_images import read_images
from lad.extract.read_pyav import Damaged, read_pyav
from lad.extract.read_torchcodec import open_torchcodec, read_torchcodec
from lad.extract.times import average_fps
from lad.extract.video import DEFAULT_LIMITS, Limits, VideoError, VideoInfo
from lad.files import frame_files

Choice = Literal["auto", "pyav"]
First = Literal["decord", "torchcodec"]


@dataclass
class Reader:
    """An open video. Iterate over it once for its frames; after the last one `info` is complete.

    Frames are `(height, width, 3)` uint8 RGB, or what numpy makes that of when it is asked to.

    Raises:
        VideoError: nothing can be read from it, or it is beyond a limit.
        ReaderGaveUp: the first reader failed halfway; open it again with `choice="pyav"`.
    """

    info: VideoInfo
    limits: Limits
    frames: Iterator[ArrayLike]
    promised: int = 0  # frames, by what was seen before any was decoded: about so many come

    def __iter__(self) -> Iterator[ArrayLike]:
        with _explained():
            yield from self.limits.counted(self.frames)
        if not self.info.frames:
            raise VideoError("no frame could be decoded")
        self.info.fps = average_fps(self.info.times, self.info.fps)


MOST_LAZY = 0.5  # of a file's frames: where fewer are looked at, it pays to convert only those


def open_reader(
    path: Path,
    *,
    choice: Choice = "auto",
    first: First = "decord",
    device: str = "cpu",
    lazy: bool = False,
    rate: float | None = None,
    share: float = 1.0,
    folder_fps: float = 25.0,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Callable[[], None] = lambda: None,
) -> Reader:
    """Open a video with the reader that suits it.

    Args:
        path: a video file, or a folder of numbered images.
        choice: `pyav` passes the first reader over.
        first: the first reader.
        device: `cpu`, `cuda` or `cuda:<index>`, of torchcodec. What a GPU cannot decode is decord's.
        lazy: most frames will not be looked at. decord converts whatever it decodes, and is not exact where it skips;
            of whole files of the kinds that it reads PyAV gives the same pixels. So PyAV reads them in its place,
            converts only what is looked at, which saves half of the time, and gives up where they are damaged. The
            same holds of torchcodec on a CPU. On a GPU its pixels are its own, so there it reads them itself. So does
            PyAV read files in decord's place that decord could fill the memory with: see `read_decord`.
        rate: frames a second that are picked; None: all.
        share: of the picked ones that will be looked at. Where that leaves half of a file's frames or less, it is
            `lazy`, too.
        folder_fps: frames a second of a folder of images.
        limits: of frames and their size.
        on_progress: called at every packet or image that is read, also where no frame comes of it.

    Raises:
        VideoError: nothing can be read from it, it is beyond a limit, or torchcodec is not here.
    """
    info = VideoInfo()
    with _explained():
        if path.is_dir():
            images = read_images(path, info, folder_fps, limits, on_progress)
            return Reader(info, limits, images, len(frame_files(path)))
        container_format = sniff_container(path)
        probe = probe_file(path, container_format, limits, on_progress)
        info.fps, info.warnings = probe.fps, list(probe.warnings)
        info.pixel_aspect = probe.pixel_aspect
        picked = min(1.0, rate / info.fps) if rate and info.fps else 1.0
        lazy = lazy or share * picked <= MOST_LAZY
        if choice == "auto" and probe.intact and probe.schedule.exact and probe.plain:
            if first == "torchcodec" and not (lazy and kind_of(device) == "cpu"):
                decoder = open_torchcodec(path, probe, device)
                if decoder is not None:
                    info.reader = "torchcodec"
                    return Reader(info, limits, read_torchcodec(decoder, probe.schedule, info), probe.packets)
            decord = open_decord(path, probe)
            if decord is not None:
                info.reader = "decord"
                if not lazy and probe.packets * probe.pixels * DECORD_PIXEL_BYTES <= MOST_AHEAD_BYTES:
                    return Reader(info, limits, read_decord(decord, probe.schedule, info), probe.packets)
                del decord  # it would decode ahead
                whole = read_pyav(path, container_format, probe, info, limits, on_progress, whole=True)
                return Reader(info, limits, _in_decords_place(whole, info, probe.packets), probe.packets)
        info.reader = "pyav"
        frames = read_pyav(path, container_format, probe, info, limits, on_progress, whole=False)
        return Reader(info, limits, frames, probe.packets)


def _in_decords_place(frames: Iterator[ArrayLike], info: VideoInfo, packets: int) -> Iterator[ArrayLike]:
    try:
        yield from frames
    except Damaged as error:
        raise ReaderGaveUp(f"in decord's place {error}") from error
    if info.frames != packets:
        raise ReaderGaveUp(f"PyAV in decord's place gave {info.frames} of {packets} frames")


@contextmanager
def _explained() -> Iterator[None]:
    """What the system and FFmpeg say of a file, as a VideoError."""
    import av

    try:
        yield
    except OSError as error:  # PyAV's own errors for the disk's faults (no permission, not there) are OSErrors too
        raise VideoError(f"cannot be read: {error.strerror or error}", kind="io") from error
    except av.error.FFmpegError as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error


def read_frames(reader: Reader) -> Iterator[np.ndarray]:
    """Every frame as an array, `(height, width, 3)` uint8 RGB."""
    for frame in reader:
        yield np.asarray(frame)
