"""How the tests of decoding read a video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from helpers.videos import read_number
from lad.extract.container import VideoError
from lad.extract.decode import ReaderGaveUp, VideoInfo, read_frames


def read(path: Path, **options: object) -> tuple[list[np.ndarray], VideoInfo]:
    info = VideoInfo()
    return list(read_frames(path, info, **options)), info  # type: ignore[arg-type]


def read_to_the_end(path: Path, **options: object) -> tuple[list[np.ndarray], VideoInfo]:
    """As the decoding process does it: what decord gives up, PyAV reads anew."""
    try:
        return read(path, **options)
    except ReaderGaveUp:
        return read(path, **{**options, "reader": "pyav"})


def numbers(frames: Iterable[np.ndarray]) -> list[int]:
    return [read_number(frame) for frame in frames]


def refusal(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        read_to_the_end(path)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    return caught.value
