"""The lock of a work directory: one lad works in it at a time."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lad.files import open_kept
from lad.ours import LOCK
from lad.work.journal import ManifestError

LOOKS, LOOK_SECONDS = 50, 0.01  # to find a lock free between those who look at it


@contextmanager
def hold(work: Path) -> Iterator[None]:
    """Keep every other lad from working in a directory, which is made if need be.

    Raises:
        ManifestError: another process works there, or it cannot be written to.
    """
    path = work / LOCK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = open_kept(path)
    except OSError as error:
        where = error.filename if error.errno in (errno.ELOOP, errno.EINVAL) else f"{work}: cannot be written to"
        raise ManifestError(f"{where}: {error.strerror}") from error
    with lock:
        try:
            _take(lock)
        except BlockingIOError:
            raise ManifestError(f"{work}: another lad works here ({_who(lock)})") from None
        except OSError as error:
            raise ManifestError(f"{work}: cannot be locked: {error.strerror}") from error
        lock.truncate(0)
        who = f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with suppress(OSError):  # on a full disk: it is only there to be read
            os.write(lock.fileno(), who.encode())
        yield


def _take(lock: io.FileIO) -> None:
    """Take the lock; who only looks at it (`holder`) has it for microseconds, and is waited for."""
    for _ in range(LOOKS - 1):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(random.uniform(0, 2 * LOOK_SECONDS))  # in step with nobody
    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(work: Path) -> str | None:
    """Which process works in this directory now, and since when; None: none does."""
    path = work / LOCK
    if not path.exists():
        return None
    with path.open("rb", buffering=0) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _who(lock)
    return None


def _who(lock: io.FileIO) -> str:
    lock.seek(0)
    return lock.read().decode(errors="replace").strip() or "unknown"
