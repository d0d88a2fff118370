"""One image of a folder of frames."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lad.extract.container import Limits, image_size

STDERR = 2  # the file descriptor, which C code writes to
MAX_HEARD = 1 << 16  # bytes of it
# What libjpeg prints of data that it fills up or passes over; OpenCV gives the picture as if nothing were wrong.
JPEG_DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG")
_STDERR_TAKEN = threading.Lock()  # two threads that put it back in the wrong order would lose it


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
        with _overhearing(heard):
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None, False
    if image is None:
        return None, False
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), not any(damage in heard for damage in JPEG_DAMAGE)


@contextmanager
def _overhearing(heard: bytearray) -> Iterator[None]:
    """What is written to stderr meanwhile, in the whole process, is not shown: it comes to `heard`, at the end.

    OpenCV's own level of logging does not reach libpng and libjpeg, which print what they find wrong with an image.
    """
    with _STDERR_TAKEN:
        try:
            kept = os.dup(STDERR)
        except OSError:  # it is closed
            yield
            return
        listening, speaking = os.pipe()
        os.set_blocking(speaking, False)  # what is too much for the pipe is lost, and nobody waits
        os.dup2(speaking, STDERR)
        os.close(speaking)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            heard += os.read(listening, MAX_HEARD)
            os.close(listening)
