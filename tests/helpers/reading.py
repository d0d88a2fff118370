"""How the tests of decoding read a video: as a decoding process does, in this one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from helpers.videos import read_number
from lad.extract.process_setup import prepare
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.readers import open_reader, read_frames
from lad.extract.video import VideoError, VideoInfo

prepare()


def read(path: Path, **options: object) -> tuple[list[np.ndarray], VideoInfo]:
    reader = open_reader(path, **options)  # type: ignore[arg-type]
    return list(read_frames(reader)), reader.info


def read_to_the_end(path: Path, **options: object) -> tuple[list[np.ndarray], VideoInfo]:
    """As the decoding process does it: what decord gives up, PyAV reads anew."""
    try:
        return read(path, **options)
    except ReaderGaveUp:
        return read(path, **{**options, "choice": "pyav"})


def numbers(frames: Iterable[np.ndarray]) -> list[int]:
    return [read_number(frame) for frame in frames]


def refusal(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        read_to_the_end(path)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    return caught.value
