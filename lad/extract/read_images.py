"""Frames out of a folder of numbered images, by OpenCV."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lad.extract.process_setup import overhearing
from lad.extract.video import Limits, VideoError, VideoInfo
from lad.files import frame_files

MAX_LISTED = 3  # of many frames with the same fault, named in one warning
# What libjpeg prints of data that it fills up or passes over; OpenCV gives the picture as if nothing were wrong.
JPEG_DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG")
# Markers of a JPEG's frame header: all of C0 to CF but the tables among them.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Of a TIFF: the tags that say its size and that of the tiles that it is decoded by, which may be larger; and the types
# of number that stand in the tag itself, as struct has them.
TIFF_WIDTH, TIFF_HEIGHT, TILE_WIDTH, TILE_HEIGHT = 256, 257, 322, 323
TIFF_NUMBERS = {3: "H", 4: "I"}


def read_images(
    folder: Path, info: VideoInfo, fps: float, limits: Limits, on_progress: Callable[[], None]
) -> Iterator[np.ndarray]:
    """Every image as a frame, in numeric order; one that cannot be read is replaced by its neighbour.

    Args:
        folder: of the images.
        info: filled on the way.
        fps: frames a second, since images have no times.
        limits: of their size.
        on_progress: called at every image.

    Yields:
        `(height, width, 3)` uint8 RGB.

    Raises:
        VideoError: none of them can be read.
    """
    info.reader, info.fps = "images", fps
    bad: list[str] = []
    damaged: list[str] = []
    oversized: list[VideoError] = []
    good: np.ndarray | None = None
    waiting = 0
    files = frame_files(folder)
    for file in files:
        on_progress()
        try:
            image, whole = read_image(file, limits)
        except VideoError as error:
            oversized.append(error)
            image, whole = None, False
        if image is None:
            # Its neighbour stands in, so that every later frame keeps its number and its label.
            bad.append(file.name)
            if good is None:
                waiting += 1
                continue
        else:
            good = image
            if not whole:
                damaged.append(file.name)
            info.size = info.size if info.times else (good.shape[0], good.shape[1])
        for _ in range(1 + waiting):
            info.times.append(len(info.times) / fps)
            yield good
        waiting = 0
    if bad:
        names = _listed(bad)
        if oversized:
            names += f"; {oversized[0]}"
        if good is None:
            kind = oversized[0].kind if oversized else "content"
            raise VideoError(f"none of its {len(bad)} images can be read ({names})", kind)
        info.warnings.append(f"{len(bad)} images cannot be read and are replaced by their neighbours: {names}")
    if damaged:
        info.warnings.append(f"{len(damaged)} images are damaged: {_listed(damaged)}")
    if gap := _first_gap([file.stem for file in files]):
        info.warnings.append(f"images seem to be missing: {gap[0]} is followed by {gap[1]}; they are not made up")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")


def _first_gap(names: list[str]) -> tuple[str, str] | None:
    """Two names in a row whose last numbers are further apart than those of most."""
    found = [re.findall(r"[0-9]+", name)[-1:] for name in names]
    if len(names) < 3 or not all(found):
        return None
    steps = np.diff([int(numbers[0][-15:]) for numbers in found])
    wide = np.flatnonzero(steps > 1.5 * max(float(np.median(steps)), 1))
    return (names[wide[0]], names[wide[0] + 1]) if len(wide) else None


def read_image(file: Path, limits: Limits) -> tuple[np.ndarray | None, bool]:
    """An image as `(height, width, 3)` uint8 RGB, or None where nothing can be made of it; and whether it is whole.

    Raises:
        VideoError: it is beyond a limit.
        OSError: the disk's fault.
    """
    import cv2

    if not file.is_file() or file.stat().st_size > limits.max_block:  # a device has no end
        return None, False
    data = file.read_bytes()
    size = image_size(data)
    if size is None:
        return None, False
    limits.check_size(*size)
    heard = bytearray()
    try:
        with overhearing(heard):
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None, False
    if image is None:
        return None, False
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), not any(damage in heard for damage in JPEG_DAMAGE)


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the header of a PNG, JPEG or TIFF says, or None: OpenCV can only be asked by decoding.

    Of a TIFF in tiles that are larger than it is: of a tile, since it takes memory for one.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return struct.unpack(">II", data[16:24])
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data, "<" if data[:1] == b"I" else ">")
    except (struct.error, IndexError):  # it ends too early
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while True:
        if data[place] != 0xFF:  # between segments decoders skip what is none
            place += 1
            continue
        marker = data[place + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        place += 1 if marker == 0xFF else 2 if alone else 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]


def _tiff_size(data: bytes, order: str) -> tuple[int, int] | None:
    (directory,) = struct.unpack(f"{order}I", data[4:8])
    (entries,) = struct.unpack(f"{order}H", data[directory : directory + 2])
    found: dict[int, int] = {}
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack(f"{order}HHI", data[place : place + 8])
        if tag not in (TIFF_WIDTH, TIFF_HEIGHT, TILE_WIDTH, TILE_HEIGHT):
            continue
        if kind not in TIFF_NUMBERS or count != 1:  # libtiff would look for the number elsewhere, as for one of 64 bits
            return None
        (value,) = struct.unpack_from(f"{order}{TIFF_NUMBERS[kind]}", data, place + 8)
        found[tag] = max(value, found.get(tag, 0))  # which of two OpenCV believes is not known
    if TIFF_WIDTH not in found or TIFF_HEIGHT not in found:
        return None
    picture = found[TIFF_WIDTH], found[TIFF_HEIGHT]
    tile = found.get(TILE_WIDTH, 0), found.get(TILE_HEIGHT, 0)
    return max(picture, tile, key=math.prod)
