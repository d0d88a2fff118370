"""Frames out of a video file or a folder of images: native size, RGB, in display order, one at a time.

decord is the first reader and PyAV the second. decord believes what a container says of itself and can hang, repeat
frames or crash on a damaged one, so every file is first demuxed (not decoded) by PyAV, and decord only reads those
where packets, container and decord agree. Both give the same pixels where both can read a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.files import frame_files

Reader = Literal["auto", "pyav"]

MAX_FRAME_PIXELS = 1 << 26  # 8192 x 8192: beyond that a file is hostile or damaged, and would take the memory
MAX_LISTED = 3  # of many frames with the same fault, named in one warning

# FFmpeg's names of the containers that are opened, by how a file of that kind begins: (offset, bytes). Everything else,
# playlists above all, is refused before any decoder sees it: FFmpeg would open the files and addresses named in it.
SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("mov", 4, b"ftyp"),
    ("mov", 4, b"moov"),
    ("mov", 4, b"mdat"),
    ("mov", 4, b"free"),
    ("mov", 4, b"skip"),
    ("mov", 4, b"wide"),
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),
    ("avi", 8, b"AVI "),
    ("mpegts", 0, b"\x47"),
    ("mpegts", 4, b"\x47"),
    ("mpeg", 0, b"\x00\x00\x01\xba"),
    ("mpegvideo", 0, b"\x00\x00\x01\xb3"),
    ("flv", 0, b"FLV\x01"),
    ("ogg", 0, b"OggS"),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("h264", 0, b"\x00\x00\x00\x01"),
    ("mjpeg", 0, b"\xff\xd8\xff"),
)
TS_PACKETS = {0: 188, 4: 192}  # offset of the first sync byte -> distance to the next


class VideoError(Exception):
    """Why a video gives no frames. `kind` is `content` (its own fault) or `io` (the disk's, worth another try)."""

    def __init__(self, reason: str, kind: Literal["content", "io"] = "content") -> None:
        super().__init__(reason)
        self.kind = kind


class ReaderGaveUp(Exception):
    """decord failed on a file that it had begun: what it gave is void, PyAV must read the file from the start."""


@dataclass
class VideoInfo:
    """What reading a video showed; complete once the last frame was taken.

    Attributes:
        reader: `decord`, `pyav` or `images`.
        times: seconds since the first frame, one a frame.
        fps: average frames a second.
        size: (height, width) of the first frame.
        warnings: what was wrong with it, a line each.
    """

    reader: str = ""
    times: list[float] = field(default_factory=list)
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.times)


def read_frames(
    path: Path, info: VideoInfo, *, reader: Reader = "auto", folder_fps: float = 25.0
) -> Iterator[np.ndarray]:
    """Yield every frame as `(height, width, 3)` uint8 RGB, upright, and fill `info` on the way.

    Args:
        path: a video file, or a folder of numbered images.
        info: filled while frames are taken.
        reader: `pyav` passes decord over.
        folder_fps: frames a second of a folder of images.

    Raises:
        VideoError: nothing can be read from it.
        ReaderGaveUp: decord failed halfway; call again with `reader="pyav"`.
    """
    try:
        if path.is_dir():
            yield from _image_frames(path, info, folder_fps)
        else:
            yield from _file_frames(path, info, reader)
    except OSError as error:  # PyAV's own errors for the disk's faults (no permission, not there) are OSErrors too
        raise VideoError(f"cannot be read: {error.strerror or error}", kind="io") from error
    if not info.frames:
        raise VideoError("no frame could be decoded")
    info.fps = info.fps or _average_fps(info.times)


def _average_fps(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 25.0


# Image folders ---------------------------------------------------------------------------------------------------


def _image_frames(folder: Path, info: VideoInfo, fps: float) -> Iterator[np.ndarray]:
    import cv2

    info.reader, info.fps = "images", fps
    bad: list[str] = []
    good: np.ndarray | None = None
    waiting = 0
    for file in frame_files(folder):
        data = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except cv2.error:  # OpenCV's own limit on an image's size
            image = None
        if image is None:
            # Its neighbour stands in, so that every later frame keeps its number and its label.
            bad.append(file.name)
            if good is None:
                waiting += 1
                continue
        else:
            good = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            info.size = info.size if info.times else (good.shape[0], good.shape[1])
        for _ in range(1 + waiting):
            info.times.append(len(info.times) / fps)
            yield good
        waiting = 0
    if bad:
        names = ", ".join(bad[:MAX_LISTED]) + (", ..." if len(bad) > MAX_LISTED else "")
        if good is None:
            raise VideoError(f"none of its {len(bad)} images can be read ({names})")
        info.warnings.append(f"{len(bad)} images cannot be read and are replaced by their neighbours: {names}")


# Video files -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """What demuxing showed: `times` in seconds from the first frame, or None where packets carry none."""

    packets: int
    times: list[float] | None
    fps: float
    rotated: bool
    intact: bool


def _file_frames(path: Path, info: VideoInfo, reader: Reader) -> Iterator[np.ndarray]:
    container_format = sniff_container(path)
    probe = _probe(path, container_format, info)
    info.fps = probe.fps
    if reader == "auto" and probe.intact and probe.times is not None and not probe.rotated:
        frames = _open_decord(path, probe)
        if frames is not None:
            info.reader = "decord"
            yield from _decord_frames(frames, probe.times, info)
            return
    info.reader = "pyav"
    yield from _pyav_frames(path, container_format, info)


def sniff_container(path: Path) -> str:
    """FFmpeg's name of a file's container, by how the file begins.

    Raises:
        VideoError: the file is empty or no known container.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise VideoError("the file is empty")
    for name, offset, magic in SIGNATURES:
        if head[offset : offset + len(magic)] != magic:
            continue
        if name == "mpegts" and head[offset + TS_PACKETS[offset] :][:1] != magic:
            continue
        return name
    raise VideoError("not a video: it begins like no container that lad reads (mp4, mkv, webm, avi, ts, mpeg, ...)")


def _open_container(path: Path, container_format: str) -> Any:
    import av

    av.logging.set_level(av.logging.PANIC)  # its complaints reach us as errors and flags, not on the terminal
    options = {"protocol_whitelist": "file", "format_whitelist": _demuxers(container_format)}
    try:
        return av.open(f"file:{path}", format=None, options=options, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.ValueError, av.error.EOFError) as error:
        raise VideoError(f"not a readable video: {error.strerror}") from error


def _demuxers(container_format: str) -> str:
    return {
        "mov": "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska": "matroska,webm,matroska,webm",
        "mpeg": "mpeg,mpegvideo",
    }.get(container_format, container_format)


def _video_stream(container: Any) -> Any:
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        sound = "only sound" if container.streams.audio else "none"
        raise VideoError(f"no video stream ({sound})")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise VideoError("its video codec is not known")
    if context.width * context.height > MAX_FRAME_PIXELS:
        raise VideoError(
            f"frames of {context.width}x{context.height} are beyond the limit of {MAX_FRAME_PIXELS} pixels"
        )
    context.thread_count = 1
    return stream


def _probe(path: Path, container_format: str, info: VideoInfo) -> Probe:
    """Demux the whole file without decoding it, and decode one frame for what only a frame tells (rotation)."""
    import av

    packets, intact, rotated, decoded = 0, True, False, False
    stamps: list[float] = []
    with _open_container(path, container_format) as container:
        stream = _video_stream(container)
        said = stream.frames
        fps = float(stream.average_rate or 0)
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                packets += 1
                intact = intact and not packet.is_corrupt and not packet.is_discard
                if packet.pts is not None:
                    stamps.append(float(packet.pts * packet.time_base))
                if not decoded:
                    for frame in packet.decode():
                        rotated, decoded = bool(frame.rotation), True
                        break
        except (av.error.InvalidDataError, av.error.EOFError):
            intact = False
        except av.error.FFmpegError as error:
            raise VideoError(f"not a readable video: {error.strerror}") from error
    if not packets:
        raise VideoError("its video stream holds no data")
    if said and said != packets:
        intact = False
        info.warnings.append(f"the container promises {said} frames, {packets} are there")
    stamps.sort()
    times = [stamp - stamps[0] for stamp in stamps] if len(stamps) == packets and _increasing(stamps) else None
    return Probe(packets=packets, times=times, fps=fps, rotated=rotated, intact=intact)


def _increasing(stamps: list[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(stamps))


def _open_decord(path: Path, probe: Probe) -> Any | None:
    """decord's reader where it sees the frames that demuxing showed, else None."""
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        frames = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        return frames if len(frames) == probe.packets else None
    except (decord.DECORDError, RuntimeError, OSError):
        return None


def _decord_frames(frames: Any, times: list[float], info: VideoInfo) -> Iterator[np.ndarray]:
    import decord

    try:
        for time in times:
            frame = frames.next().asnumpy()
            info.size = info.size if info.times else (frame.shape[0], frame.shape[1])
            info.times.append(time)
            yield frame
    except (decord.DECORDError, StopIteration, RuntimeError) as error:
        raise ReaderGaveUp(f"decord gave up after {info.frames} of {len(times)} frames: {error}") from error


def _pyav_frames(path: Path, container_format: str, info: VideoInfo) -> Iterator[np.ndarray]:
    import av

    damaged = 0
    start: float | None = None
    with _open_container(path, container_format) as container:
        stream = _video_stream(container)
        fps = float(stream.average_rate or 25)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.InvalidDataError, av.error.EOFError):
                info.warnings.append(f"the file breaks off after {info.frames} frames")
                packet = None
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                damaged += frame.is_corrupt
                if start is None and frame.time is not None:
                    start = frame.time
                last = info.times[-1] if info.times else -1 / fps
                time = last + 1 / fps if frame.time is None or start is None else frame.time - start
                # A damaged file may claim that time runs backwards.
                info.times.append(max(time, last))
                image = frame.to_ndarray(format="rgb24")
                image = np.rot90(image, k=round(frame.rotation / 90) % 4) if frame.rotation else image
                info.size = info.size if info.frames > 1 else (image.shape[0], image.shape[1])
                yield image
    if damaged:
        info.warnings.append(f"{damaged} damaged packets or frames")
