"""Files as recorders write them, made of what PyAV can write."""

from __future__ import annotations

import struct
from pathlib import Path

import av


def dahua(source: Path, out: Path, ms: int = 40) -> Path:
    """A Dahua recorder's file: a header and a trailer around each picture of a stream without a container."""
    parts = []
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        for i, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            extra = bytes([0x80, 0, width // 8, height // 8, 0x81, 0, 0x2, 25])
            size, time = 24 + len(extra) + packet.size + 8, i * ms
            date = (21 << 26) | (1 << 22) | (1 << 17) | (10 << 12) | (20 << 6) | (time // 1000)
            kind = bytes([0xFD if packet.is_keyframe else 0xFC, 0, 0, 0])
            head = b"DHAV" + kind + struct.pack("<IIIH", i, size, date, time & 0xFFFF)
            parts += [head, bytes([len(extra), 0]), extra, bytes(packet), b"dhav", struct.pack("<I", size)]
    out.write_bytes(b"".join(parts))
    return out


def without_stamps(path: Path) -> Path:
    """Make every time stamp of an FLV 0, as a recorder without a clock does."""
    data = bytearray(path.read_bytes())
    place = 13
    while place < len(data):
        length = int.from_bytes(data[place + 1 : place + 4], "big")
        data[place + 4 : place + 8] = bytes(4)
        place += 11 + length + 4
    path.write_bytes(data)
    return path
