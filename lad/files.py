"""Files that are either complete or absent, and hashes of what they hold."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
HASH_BLOCK = 1 << 20
READERS = 4  # files read at a time: a disk is rarely busy with one
PROBE_BYTES = 1 << 20
MAX_PART_BYTES, MAX_PATH_BYTES = 255, 4095  # of a name and of a whole path: Linux takes no more
# Numpy reads a header by `ast`, which fails in some releases of Python 3.11 when two threads are in it at once.
_HEADERS = threading.Lock()
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`; on success flush it to disk and rename it into place.

    The temporary name is fixed, so what a killed process left is overwritten by the rerun, and never piles up.

    Raises:
        OSError: it cannot be written; names `path` and the reason, whatever the library that wrote says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names can be as long as the filesystem allows, so the temporary one must not be longer.
    temporary = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:24]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        # Of numpy, which only counts what it could not write, there is no reason.
        reason = why_not_written(temporary) if error.errno is None else error
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, str(path)) from error
    except RuntimeError as error:  # of torch, which says something about its archive
        reason = why_not_written(temporary)
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # on a disk that is read-only by now
            temporary.unlink(missing_ok=True)


def path_problem(path: str | Path) -> str | None:
    """Why no file can ever be called so, and what to do; None where one can."""
    text = os.fsencode(path)
    longest = max(map(len, text.split(b"/")))
    if b"\0" in text:
        return "it holds a NUL character: leave that out"
    if longest > MAX_PART_BYTES:
        return f"a name in it has {longest} bytes, and no file system takes more than {MAX_PART_BYTES}: shorten it"
    if len(text) > MAX_PATH_BYTES:
        return f"it has {len(text)} bytes, and the system takes no more than {MAX_PATH_BYTES}: shorten it"
    return None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of a full or failing disk that names no file name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in DISK_ERRORS:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def why_not_written(path: Path) -> OSError | None:
    """What the system says when more is written to the end of `path`; None where that works."""
    try:
        with path.open("ab", buffering=0) as file:
            left = PROBE_BYTES
            while left > 0:
                left -= file.write(bytes(left)) or left
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: object) -> None:
    """Write `data` to `path` as indented JSON, atomically. NaN is refused: an undefined number is null."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_npy(path: Path) -> np.memmap:
    """The array in a `.npy` file, which takes no memory but what is looked at: a header may claim any shape.

    Raises:
        ValueError: it is none, holds objects, or is shorter than its header says; names it.
        OSError: it cannot be read.
    """
    import numpy as np

    try:
        with path.open("rb") as file, _HEADERS, np.errstate(over="ignore"):  # of a shape without end: refused next
            version = np.lib.format.read_magic(file)
            readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            if version[0] not in readers:
                raise ValueError(f"version {version} of the format, for arrays with names that are not Latin")
            shape, in_columns, dtype = readers[version[0]](file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects")
            if not dtype.itemsize or min(shape, default=0) < 0:  # numpy would divide by zero, and the process die
                raise ValueError(f"{dtype} {shape}")
            return np.memmap(path, dtype, "r", file.tell(), shape, "F" if in_columns else "C")
    except OSError:
        raise
    except Exception as error:  # of a damaged file numpy raises whatever it stumbles over
        raise ValueError(f"{path}: not a plain .npy array: {' '.join(str(error).split())[:200]}") from error


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
    return [
        (0, int(part)) if part.isascii() and part.isdigit() else (1, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def frame_files(folder: Path) -> list[Path]:
    """The images of a frame folder in numeric order."""
    images = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(images, key=lambda p: (numeric_order(p.name), p.name))  # 1.jpg and 01.jpg are the same number
