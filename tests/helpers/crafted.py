"""Files written byte by byte, or by an encoder of images: what no usual program would write."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def mp4(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    samples: int = 1,
    tracks: int = 1,
    reference: bytes = b"",
    **more: bytes,
) -> Path:
    """An mp4 of a hundred bytes that claims what it is told to; `reference`: another file that holds its data."""
    start = box(b"ftyp", b"isom\0\0\0\0isom") + box(b"mdat", b"x" * 100)
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), struct.pack(">HH", *size), bytes(50))
    data = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), reference or box(b"url ", b"\0\0\0\1")))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, samples)),  # each of one byte: no line for each is needed
        box(b"stco", struct.pack(">III", 0, 1, len(start) - 100)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">IIHH", 25, samples, 0, 0)),
        box(b"hdlr", bytes(8), b"vide", bytes(13)),
        box(b"minf", box(b"vmhd", bytes(12)), data, table),
    )
    trak = [
        box(b"trak", box(b"tkhd", b"\0\0\0\3", bytes(8), struct.pack(">I", i + 1), bytes(68)), media)
        for i in range(tracks)
    ]
    path.write_bytes(
        start + box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 25, 1), bytes(80)), *trak, *more.values())
    )
    return path


def encoded(suffix: str, size: tuple[int, int] = (64, 48)) -> bytes:
    return cv2.imencode(suffix, np.zeros((size[1], size[0], 3), np.uint8))[1].tobytes()
