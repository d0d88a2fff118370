"""Short pieces of real videos in every container, and ways to damage them. A seed decides everything random."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES = 40
# container -> suffix, muxer, and the codec to transcode to. None: the packets are copied as they are.
CONTAINERS: dict[str, tuple[str, str, str | None]] = {
    "mp4": (".mp4", "mp4", None),
    "mkv": (".mkv", "matroska", None),
    "ts": (".ts", "mpegts", None),
    "avi": (".avi", "avi", "mpeg4"),
    "webm": (".webm", "webm", "libvpx"),
    "mpeg": (".mpg", "mpeg", "mpeg2video"),
}
WEBM_CODECS = ("libvpx", "libvpx-vp9")  # taken in turns
POINTS = 20  # of truncation
FLIPS = (1, 10, 100, 1000)  # bits flipped in each megabyte, at least one in a file
HOLES = (0.005, 0.02, 0.1, 0.4)  # share of the file that becomes zeros
VARIANTS = {"truncated": POINTS, "flipped": 2 * len(FLIPS), "spliced": 3, "index": 3, "hole": len(HOLES), "suffix": 2}
INDEX_BYTES = 64  # of a table that are damaged, after its name and size
# What the tables of an index begin with.
INDEXES: dict[str, tuple[bytes, ...]] = {
    "mp4": (b"stco", b"stsz", b"stts", b"stsc", b"stss", b"ctts"),
    "avi": (b"idx1",),
    "mkv": (b"\x1c\x53\xbb\x6b", b"\x11\x4d\x9b\x74"),  # Cues, SeekHead
    "webm": (b"\x1c\x53\xbb\x6b", b"\x11\x4d\x9b\x74"),
}


@dataclass(frozen=True)
class Mutant:
    """A damaged file.

    Attributes:
        name: of the file, without its folder.
        pieces: the stems of the intact files that it is made of.
        container: of the first of them.
        kind: of damage, one of `VARIANTS`.
        detail: what was done, in words.
    """

    name: str
    pieces: tuple[str, ...]
    container: str
    kind: str
    detail: str


@dataclass(frozen=True)
class _Variant:
    container: str
    kind: str
    number: int
    source: int


def make_pieces(sources: list[Path], folder: Path) -> dict[tuple[int, str], Path]:
    """Write the first frames of each source in every container.

    Returns:
        (number of the source, container) -> file.
    """
    pieces = {}
    folder.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(sources):
        for container in CONTAINERS:
            path = folder / f"piece-{number}-{container}{CONTAINERS[container][0]}"
            if not path.exists():
                _make_piece(source, path, container, number)
            pieces[number, container] = path
    return pieces


def _make_piece(source: Path, path: Path, container: str, number: int) -> None:
    _, muxer, codec = CONTAINERS[container]
    temporary = path.with_suffix(".part")
    options = {"fflags": "+bitexact"}  # no random identifiers: the same mutants everywhere
    if container == "mp4" and number % 2:
        options["movflags"] = "faststart"  # its index first, not last
    with av.open(str(source)) as given, av.open(str(temporary), "w", format=muxer, container_options=options) as made:
        stream = given.streams.video[0]
        if codec is None:
            _copy(given, stream, made)
        else:
            codec = WEBM_CODECS[number % 2] if container == "webm" else codec
            _transcode(given, stream, made, codec)
    temporary.rename(path)


def _copy(given: Any, stream: Any, made: Any) -> None:
    out = made.add_stream_from_template(stream)
    for packet in itertools.islice(given.demux(stream), FRAMES):
        if packet.size:
            packet.stream = out
            made.mux(packet)


def _transcode(given: Any, stream: Any, made: Any, codec: str) -> None:
    options = {"deadline": "good", "cpu-used": "5", "threads": "1"} if codec.startswith("libvpx") else {}
    out = made.add_stream(codec, rate=25, options=options)  # mpeg2video knows only the rates of television
    out.width, out.height, out.pix_fmt = stream.codec_context.width, stream.codec_context.height, "yuv420p"
    out.bit_rate = 800_000
    for count, frame in enumerate(itertools.islice(given.decode(stream), FRAMES)):
        image = frame.reformat(format="yuv420p")
        image.pts, image.time_base, image.pict_type = count, Fraction(1, 25), 0
        made.mux(out.encode(image))
    made.mux(out.encode(None))


def make_mutants(pieces: dict[tuple[int, str], Path], folder: Path, count: int, seed: int) -> list[Mutant]:
    """Write `count` damaged files.

    There are about as many of each kind of damage and container, but twice as many truncated ones.
    """
    sources = 1 + max(number for number, _ in pieces)
    cells = []
    for container, (kind, variants) in itertools.product(CONTAINERS, VARIANTS.items()):
        if kind == "index" and container not in INDEXES:
            continue
        # Every variant once, each of another source, before any of them again.
        cell = [
            _Variant(container, kind, variant, (variant + turn) % sources)
            for turn, variant in itertools.product(range(sources), range(variants))
        ]
        cells += [cell[::2], cell[1::2]] if kind == "truncated" else [cell]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*cells))
    chosen = list(itertools.islice((one for one in turns if one), count))
    return [_make_mutant(pieces, folder / f"{number:04d}", one, seed) for number, one in enumerate(chosen)]


def _make_mutant(pieces: dict[tuple[int, str], Path], path: Path, chosen: _Variant, seed: int) -> Mutant:
    """Write one damaged file. Its name begins with `path`."""
    container, kind, variant, source = chosen.container, chosen.kind, chosen.number, chosen.source
    rng = np.random.default_rng([seed, source, list(CONTAINERS).index(container), list(VARIANTS).index(kind), variant])
    piece = pieces[source, container]
    data = np.frombuffer(piece.read_bytes(), dtype=np.uint8).copy()
    suffix, parts = piece.suffix, [piece.stem]
    if kind == "truncated":
        share = (variant + 0.5) / POINTS
        data, detail = data[: int(share * data.size)], f"{share:.1%} left"
    elif kind == "flipped":
        rate = FLIPS[variant % len(FLIPS)]
        flips = max(1, round(rate * data.size / 1e6))
        np.bitwise_xor.at(data, rng.integers(data.size, size=flips), 1 << rng.integers(8, size=flips, dtype=np.uint8))
        detail = f"{flips} bits of {data.size} bytes"
    elif kind == "spliced":
        sources = 1 + max(number for number, _ in pieces)
        containers = list(CONTAINERS)
        other = pieces[(source + 1) % sources, container]
        if variant == 2:
            other = pieces[source, containers[(containers.index(container) + 1 + source) % len(containers)]]
        size = (data.size // 10, data.size // 2, 4096)[variant]
        head = np.frombuffer(other.read_bytes(), dtype=np.uint8)[:size]
        data, detail = np.concatenate([head, data[len(head) :]]), f"first {len(head)} bytes of {other.name}"
        parts.append(other.stem)
    elif kind == "index":
        data, detail = _spoil_index(data, container, variant, rng)
    elif kind == "hole":
        size = max(1, int(HOLES[variant] * data.size))
        begin = int(rng.integers(data.size - size))
        data[begin : begin + size] = 0
        detail = f"zeros in {begin}..{begin + size} of {data.size}"
    else:
        others = [other for other, _, _ in CONTAINERS.values() if other != suffix]
        suffix = str(others[(variant + source) % len(others)])
        detail = f"named {suffix}"
    path = path.with_name(f"{path.name}-{container}-{kind}-{variant}{suffix}")
    path.write_bytes(data.tobytes())
    return Mutant(path.name, tuple(parts), container, kind, detail)


def _spoil_index(data: np.ndarray, container: str, variant: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Garble one table of an index (variant 0) or all of them (1), or make all of them zero (2).

    Returns:
        The content of the file, and what was done in words.
    """
    whole = data.tobytes()
    places = [place for marker in INDEXES[container] if (place := whole.rfind(marker)) >= 0]
    places = [int(rng.choice(places))] if variant == 0 else places
    for place in places:
        table = data[place + 8 : place + 8 + INDEX_BYTES]
        table[:] = 0 if variant == 2 else rng.integers(256, size=table.size, dtype=np.uint8)
    names = ", ".join(repr(whole[place : place + 4])[1:] for place in places)
    return data, f"{names} {'zeroed' if variant == 2 else 'garbled'}"
