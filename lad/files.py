"""Files that are either complete or absent, and hashes of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
HASH_BLOCK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`; on success flush it to disk and rename it into place.

    The temporary name is fixed, so what a killed process left is overwritten by the rerun, and never piles up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names can be as long as the filesystem allows, so the temporary one must not be longer.
    temporary = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:24]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: object) -> None:
    """Write `data` to `path` as indented JSON, atomically. NaN is refused: an undefined number is null."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(facts: object) -> str:
    """Hash of everything an item's result depends on; `facts` is plain JSON data."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def numeric_order(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts `frame2` before `frame10`."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name) if part]


def frame_files(folder: Path) -> list[Path]:
    """The images of a frame folder in numeric order."""
    images = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(images, key=lambda p: numeric_order(p.name))
