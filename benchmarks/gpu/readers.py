"""What decodes: decord, PyAV, and torchcodec, which has the card's own decoder do it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.extraction import decoding_rate, write_street
from benchmarks.gpu.size import Size
from benchmarks.speed.rows import Row
from lad.device import cores
from lad.extract.process_setup import prepare, prepare_torch
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.read_torchcodec import ReaderMissing, check_torchcodec
from lad.extract.readers import open_reader, read_frames

DAMAGE = 4000  # bytes in the middle of a file
DECODERS = (1, 4, 8)  # that decode by torchcodec: each has its own memory on the card


def measure(device: str, size: Size) -> Iterator[Row]:
    """Read one video with each, whole; compare torchcodec's pixels with PyAV's; see whether it notices damage."""
    prepare()
    prepare_torch()
    shape = f"{size.large[0]}x{size.large[1]}"
    with tempfile.TemporaryDirectory() as folder:
        video = write_street(Path(folder) / "street.mp4", size.frames, size.large)
        expected = _frames(video, choice="pyav")
        yield Row(f"reading {shape}, decord", "", f"{_speed(video):,.0f} frames/s", "", "", None)
        yield Row(f"reading {shape}, PyAV", "", f"{_speed(video, choice='pyav'):,.0f} frames/s", "", "", None)
        try:
            check_torchcodec()
        except ReaderMissing as error:
            yield Row("torchcodec", "", "", f"not measured: {error}", "", None)
            return
        how: dict[str, Any] = {"first": "torchcodec", "device": device}
        reader = open_reader(video, **how)
        next(iter(reader))
        if reader.info.reader != "torchcodec":
            yield Row(f"torchcodec, {device}", "", "", "the device does not decode this video", "", False)
            return
        yield Row(f"reading {shape}, torchcodec, {device}", "", f"{_speed(video, **how):,.0f} frames/s", "", "", None)
        found = _frames(video, **how)
        apart = np.abs(found.astype(np.int16) - expected) if found.shape == expected.shape else np.array([255])
        grey = f"{apart.mean():.2f} grey levels, at most {apart.max()}"
        yield Row(f"... its pixels, from PyAV's, {device}", "", "", grey, "", None)
        noticed = _notices_damage(video, **how)
        yield Row(f"... damage within a picture, {device}", "", "", "noticed" if noticed else "not noticed", "", None)
        for decoders in (count for count in DECODERS if count <= min(cores(), max(size.decoders))):
            taken = decoding_rate(video, decoders, size, "torchcodec", device)
            yield Row(f"... {decoders} decoders alone, {device}", "", f"{taken:,.0f} clips/s", "", "", None)


def _frames(video: Path, **how: Any) -> np.ndarray:
    return np.stack(list(read_frames(open_reader(video, **how))))


def _speed(video: Path, **how: Any) -> float:
    """Frames a second of one process, the second time that it reads the video."""
    _frames(video, **how)
    began = time.perf_counter()
    return len(_frames(video, **how)) / (time.perf_counter() - began)


def _notices_damage(video: Path, **how: Any) -> bool:
    content = bytearray(video.read_bytes())
    middle = content.index(b"mdat") + len(content) // 2
    content[middle : middle + DAMAGE] = bytes(DAMAGE)
    damaged = video.with_name("damaged.mp4")
    damaged.write_bytes(content)
    try:
        _frames(damaged, **how)
    except ReaderGaveUp:
        return True
    return False
