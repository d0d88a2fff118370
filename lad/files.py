"""Files that are either complete or absent, and hashes of what they hold."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
HASH_BLOCK = 1 << 20
READERS = 4  # files read at a time: a disk is rarely busy with one
PROBE_BYTES = 1 << 20
SPARSE_BYTES = 1 << 30  # smaller files are read, holes or not
MAX_PIECES = 1000  # of a file with holes that are looked at
NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
LEFTOVER = re.compile(r"\.lad-[0-9a-f]{24}\.tmp")  # names of files that are not complete
MAX_PART_BYTES, MAX_PATH_BYTES = 255, 4095  # of a name and of a whole path: Linux takes no more
# Numpy reads a header by `ast`, which fails in some releases of Python 3.11 when two threads are in it at once.
_HEADERS = threading.Lock()
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a new, empty file beside `path`; on success flush it to disk and rename it into place.

    Every file that `lad` writes is written so. The new file has a name that nobody can foretell, and is no link:
    whatever was planted beside `path`, or as `path` itself, is replaced and never written through. The folder is
    followed as it was given, once, and held until the end. Who can write to that folder can still put another file in
    place of the new one while it is written: nothing is done against that. TensorBoard writes its logs by itself. What
    a killed process leaves, `sweep_leftovers` removes.

    Raises:
        OSError: it cannot be written; names `path` and the reason, whatever the library that wrote says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(leftover_name())
    folder = os.open(path.parent, os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.close(os.open(temporary.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | NO_LINK, 0o666, dir_fd=folder))
        yield temporary
        written = os.open(temporary.name, os.O_RDONLY | NO_LINK, dir_fd=folder)
        try:
            os.fsync(written)
        finally:
            os.close(written)
        os.replace(temporary.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.filename not in (None, str(temporary), temporary.name):
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
        with suppress(OSError):  # it is not there any more, or the disk is read-only by now
            os.unlink(temporary.name, dir_fd=folder)
        os.close(folder)


def link(existing: Path, path: Path) -> None:
    """Let `path` be the same file as `existing`, atomically and without writing it again.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(existing)  # refused where the name is there again: no link is followed
        except OSError:  # a filesystem without hard links
            with open_new(temporary) as copy, existing.open("rb") as original:
                shutil.copyfileobj(original, copy, HASH_BLOCK)


def leftover_name() -> str:
    """A new name for a file that is not complete; it is short, since names can be as long as the filesystem allows."""
    return f".lad-{secrets.token_hex(12)}.tmp"


LEFTOVER_SECONDS = 3600.0  # what has not been written to for so long, nobody writes to


def sweep_leftovers(folder: Path, before: float) -> None:
    """Remove the files of killed writers right in `folder`: only those, and none as new as `before` (since 1970)."""
    for path in folder.iterdir():
        if LEFTOVER.fullmatch(path.name):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < before:
                with suppress(OSError):  # on a read-only disk they stay
                    path.unlink()


def open_new(path: Path) -> BinaryIO:
    """Open a file that is not there yet to be written to; no link is followed."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | NO_LINK, 0o666), "wb")


def open_kept(path: Path) -> io.FileIO:
    """Open a file that is read and appended to for longer than a moment; it is made where it is not there.

    Raises:
        OSError: it cannot be written to, or is a link, a pipe or a device: those are never written through.
    """
    # Not blocking: to open a pipe is to wait for whoever reads it.
    flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | NO_LINK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "is a link: nothing is written through it, remove it", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file: remove it", str(path))
    return io.FileIO(descriptor, "r+")


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write all of `data` to a file that takes as much at a time as it likes."""
    while data:
        data = data[file.write(data) :]


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
        with open_kept(path) as file:
            left = PROBE_BYTES
            while left > 0:
                left -= file.write(bytes(left)) or left
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    write_bytes(path, text.encode())


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


def why_no_file(path: Path, found: os.stat_result) -> str | None:
    """Why a path cannot be read from beginning to end as a file can, said before it is opened; None where it can.

    Args:
        path: of whatever it is.
        found: what the system says of it.
    """
    if not stat.S_ISREG(found.st_mode):  # a device has no end, a pipe no beginning
        return "not a regular file"
    if found.st_dev in _kernel_devices():
        return "not a file of a disk: the system makes it up"
    if found.st_size >= SPARSE_BYTES and _data_bytes(path, found.st_size) < found.st_size // 100:
        return f"{found.st_size >> 30} GiB that are nearly all holes"
    return None


def check_readable(path: Path, most_bytes: int) -> None:
    """See that a file can be read whole: a pipe keeps its reader waiting, a device has no end.

    Raises:
        OSError: it cannot be, or is longer than any such file is.
    """
    found = path.stat()
    reason = why_no_file(path, found)
    if reason is None and found.st_size > most_bytes:
        reason = f"{found.st_size >> 20} MiB: longer than any such file is"
    if reason:
        raise OSError(errno.EINVAL, reason, str(path))


@cache
def _kernel_devices() -> frozenset[int]:
    """Where the files lie that the kernel makes up: some have no end, some wait for a reader for ever."""
    return frozenset(Path(place).stat().st_dev for place in ("/proc", "/sys") if os.path.ismount(place))


def _data_bytes(path: Path, size: int) -> int:
    """How much of a file is really there, as far as the first pieces tell; all of it where the system cannot say."""
    total = position = 0
    with path.open("rb", buffering=0) as file:
        try:
            for _ in range(MAX_PIECES):
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
                end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
                total, position = total + end - position, end
        except OSError as error:  # nothing but a hole follows
            return total if error.errno == errno.ENXIO else size
    return size


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
