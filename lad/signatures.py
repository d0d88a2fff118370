"""What kind of video a file is, by how it begins; neither its name nor the rest of it is looked at."""

from __future__ import annotations

import re

HEAD_BYTES = 1024  # of a file that are looked at

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
    ("mpeg", 0, b"\x00\x00\x01\xba"),
    ("mpeg", 0, b"IMKH"),  # Hikvision's recorders: their header, then a program stream
    ("mpegvideo", 0, b"\x00\x00\x01\xb3"),
    ("flv", 0, b"FLV\x01"),
    ("ogg", 0, b"OggS"),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("dhav", 0, b"DHAV"),  # Dahua's recorders
    ("dhav", 0, b"DAHUA"),
    ("yuv4mpegpipe", 0, b"YUV4MPEG2 "),
    ("ivf", 0, b"DKIF\0\0"),
    ("obu", 0, b"\x12\x00\x0a"),  # AV1 alone: a temporal delimiter, then a sequence header
    ("mxf", 0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),
    ("gxf", 0, b"\x00\x00\x00\x00\x01\xbc"),
    ("dv", 0, b"\x1f\x07\x00"),
    ("rm", 0, b".RMF\x00"),
    ("wtv", 0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11"),
    ("nut", 0, b"nut/multimedia container\0"),
    ("mjpeg", 0, b"\xff\xd8\xff"),
)
# A transport stream has a sync byte at the start of each packet. A recording may begin within a packet.
SYNC = b"\x47"
TS_PACKETS = (188, 192, 204)  # bytes; with a time stamp before each; with a checksum behind it
MIN_SYNCS = 4  # where it begins within a packet: chance is 2^-32 for each place

# Of pictures and sound in an mp4's or a JPEG's clothes, which are no videos unless somebody names them as such.
STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"M4A ", b"M4B ", b"M4P ", b"crx ")

# Streams without a container are units behind a start code of two or more zeros and a one.
START = re.compile(rb"\x00\x00\x01")
STREAM = re.compile(rb"\x00{2,}\x01")
# MPEG-4 part 2: a visual sequence or object, or a video object, which has no content of its own; then its layer.
MPEG4 = re.compile(rb"\x00{2,}\x01([\xb0\xb5].{1,64}|[\x00-\x1f])\x00\x00\x01[\x20-\x2f]", re.DOTALL)
H264_REFERENCES = frozenset({5, 7, 8})  # unit types whose `nal_ref_idc` is not zero: key pictures, parameter sets
H264_OTHERS = frozenset({6, 9, 10, 11, 12})  # and those where it is: remarks, delimiters, ends, filler
H264_ANY = frozenset({1, 13, 14, 15, 19, 20})
HEVC_TYPES = frozenset({*range(10), *range(16, 22), *range(32, 41), 62, 63})


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container of a file that begins so (`HEAD_BYTES` of it), or None: it is none of them."""
    for name, offset, magic in SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return name
    if transport_packets(head) is not None:
        return "mpegts"
    return _stream(head)


def is_surely_video(head: bytes) -> bool:
    """Whether a file that begins so is a video, whatever its name: no photograph, no sound in a video's container."""
    still = head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS
    return not still and container_of(head) not in (None, "mjpeg")


def transport_packets(head: bytes) -> tuple[int, int] | None:
    """(offset of the first whole packet, bytes from one to the next) of a transport stream, else None."""
    for size, first in ((188, 0), (192, 4)):
        if head[first : first + 1] == SYNC == head[first + size : first + size + 1]:
            return first - size % 188, size
    for size in TS_PACKETS:
        for first in range(size):
            syncs = head[first::size]
            if len(syncs) >= MIN_SYNCS and syncs == SYNC * len(syncs):
                return first - (4 if size == 192 else 0), size
    return None


def _stream(head: bytes) -> str | None:
    """Of which kind a stream without a container is."""
    if not STREAM.match(head):
        return None
    if MPEG4.match(head):
        return "m4v"
    units = [head[found.end() : found.end() + 2] for found in START.finditer(head)]
    units = [unit for unit in units if len(unit) == 2]
    if not units:
        return None
    if all(map(_is_h264, units)):
        return "h264"
    return "hevc" if all(map(_is_hevc, units)) else None


def _is_h264(unit: bytes) -> bool:
    kind, reference, forbidden = unit[0] & 0x1F, unit[0] >> 5 & 3, unit[0] >> 7
    fits = kind in (H264_ANY | H264_REFERENCES if reference else H264_ANY | H264_OTHERS)
    return fits and not forbidden


def _is_hevc(unit: bytes) -> bool:
    """Of the base layer, which is 0; a unit's temporal layer is counted from 1."""
    layer = (unit[0] & 1) << 5 | unit[1] >> 3
    return not unit[0] & 0x80 and unit[0] >> 1 in HEVC_TYPES and layer == 0 and unit[1] & 7 > 0
