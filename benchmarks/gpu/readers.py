"""What decodes: decord, PyAV, and torchcodec, which has the card's own decoder do it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.extraction import decoding_rate, write_street
from benchmarks.gpu.size import Size, per_second
from benchmarks.speed.rows import Row
from lad.device import cores
from lad.extract.process_setup import prepare, prepare_torch
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.read_torchcodec import ReaderMissing, check_torchcodec
from lad.extract.readers import open_reader, read_frames

DAMAGE = 4000  # bytes in the middle of a file
DECODERS = (1, 4, 8)  # that decode by torchcodec: each has its own memory on the card


def measure(device: str, size: Size) -> Iterator[Row]:
    """Read one video with each, whole."""
    prepare()
    prepare_torch()
    with tempfile.TemporaryDirectory() as folder:
        video = write_street(Path(folder) / "street.mp4", size.frames, size.large)
        shape = f"{size.large[0]}x{size.large[1]}"
        yield _speed(f"reading {shape}, decord", video)
        yield _speed(f"reading {shape}, PyAV", video, choice="pyav")
        try:
            check_torchcodec()
        except ReaderMissing as error:
            yield Row("torchcodec", "", "", f"not measured: {error}", "", None)
        else:
            yield from _torchcodec(f"reading {shape}, torchcodec, {device}", video, device, size)


def _torchcodec(what: str, video: Path, device: str, size: Size) -> Iterator[Row]:
    """How fast it is, how far its pixels are from PyAV's, and whether it notices damage."""
    how: dict[str, Any] = {"first": "torchcodec", "device": device}
    reader = open_reader(video, **how)
    next(iter(reader))
    if reader.info.reader != "torchcodec":
        yield Row(what, "", "", "the device does not decode this video", "", False)
        return
    yield _speed(what, video, **how)
    found, expected = _frames(video, **how), _frames(video, choice="pyav")
    apart = np.abs(found.astype(np.int16) - expected)
    yield Row("... its pixels, from PyAV's", "", "", f"{apart.mean():.2f} grey levels, at most {apart.max()}", "", None)
    noticed = "noticed" if _notices_damage(video, **how) else "not noticed"
    yield Row("... damage within a picture", "", "", noticed, "", None)
    for decoders in (count for count in DECODERS if count <= min(cores(), max(size.decoders))):
        taken = decoding_rate(video, decoders, size, "torchcodec", device)
        yield Row(f"... clips of 224x224 from it, decoders: {decoders}", "", per_second(taken, "clips"), "", "", None)


def _frames(video: Path, **how: Any) -> np.ndarray:
    return np.stack(list(read_frames(open_reader(video, **how))))


def _speed(what: str, video: Path, **how: Any) -> Row:
    """Frames a second of one process, the second time that it reads the video."""
    _frames(video, **how)
    began = time.perf_counter()
    rate = len(_frames(video, **how)) / (time.perf_counter() - began)
    return Row(what, "", per_second(rate, "frames"), "", "", None)


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
