"""What a decoding process sets for the whole of itself: what libraries print, how much memory they take, threads.

Nothing else in this room reaches beyond the video that it reads. `lad.extract.worker` calls `prepare` once, so none of
this happens in the process of whoever uses the library.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

STDERR = 2  # the file descriptor, which C code writes to
MAX_HEARD = 1 << 16  # bytes of it
AV_LOG_ERROR = 16  # libavutil/log.h; less is worse
RESIZING = b"properties on the fly"  # logged where a frame has another size: decord squashes it to the first one's
_KEPT: list[object] = []  # what C code calls must outlive the call
_STDERR_TAKEN = threading.Lock()  # two threads that put it back in the wrong order would lose it


@cache
def prepare() -> None:
    """Keep libraries quiet, whose complaints reach us as errors and flags, and give this process one core."""
    import av
    import cv2

    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)  # the same arithmetic, whatever the machine


@cache
def prepare_torch() -> None:
    """The same for what runs in torch: flow methods, whose results must repeat, and torchcodec."""
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def cap_pyav(size: int) -> None:
    """Let PyAV's FFmpeg take at most `size` bytes in one piece."""
    import av

    _cap(ctypes.CDLL(av._core.__file__), size)


def cap_decord(size: int) -> None:
    """Let decord's FFmpeg take at most `size` bytes in one piece.

    Raises:
        OSError: see `decord_complaints`.
    """
    _cap(_decord_ffmpeg(), size)


def cap_torchcodec(size: int) -> None:
    """Let the FFmpeg that torchcodec uses take at most `size` bytes in one piece."""
    _cap(_torchcodec_ffmpeg(), size)


def _cap(library: ctypes.CDLL, size: int) -> None:
    library.av_max_alloc(ctypes.c_size_t(size))


@cache
def _decord_ffmpeg() -> ctypes.CDLL:
    """The FFmpeg within decord.

    Raises:
        OSError: this build of decord does not carry one of its own, so its errors cannot be seen.
    """
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    places = Path(decord.__file__).parent.parent.glob("decord.libs/libavutil*")
    return ctypes.CDLL(str(next(places, "libavutil of decord")))


@cache
def decord_complaints() -> list[int]:
    """One entry for each error that the FFmpeg within decord logs, and for each frame of another size than the first.

    decord itself conceals damage without a word.

    Raises:
        OSError: this build of decord does not carry an FFmpeg of its own.
    """
    return _complaints(_decord_ffmpeg())


@cache
def _torchcodec_ffmpeg() -> ctypes.CDLL:
    """The FFmpeg that torchcodec found: what its library is linked with."""
    import torchcodec

    return ctypes.CDLL(torchcodec.core_library_path)


@cache
def torchcodec_complaints() -> list[int]:
    """The same of the FFmpeg that torchcodec uses, which conceals damage too."""
    return _complaints(_torchcodec_ffmpeg())


def _complaints(library: ctypes.CDLL) -> list[int]:
    complaints: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    def note(_context: int, level: int, text: bytes, _arguments: int) -> None:
        if 0 <= level <= AV_LOG_ERROR or RESIZING in (text or b""):
            complaints.append(level)

    _KEPT.extend((library, note))
    library.av_log_set_callback(note)
    return complaints


def logged_errors() -> tuple[int, str]:
    """How many errors PyAV's FFmpeg has logged in this process, and the name of what logged the last of them.

    Of some damage it gives no other sign: a demuxer that loses its place continues behind the hole. PyAV counts errors
    whatever its level of logging is, and unlike its captures takes no memory for them and leaves none out that repeats
    the one before.
    """
    import av

    count, error = av.logging.get_last_error()
    return count, error[1] if error else ""


@contextmanager
def overhearing(heard: bytearray) -> Iterator[None]:
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
