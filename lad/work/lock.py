"""The lock of a work directory: one lad works in it at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lad.work.journal import ManifestError


@contextmanager
def hold(work: Path) -> Iterator[None]:
    """Keep every other lad from working in a directory, which is made if need be.

    Raises:
        ManifestError: another process works there, or it cannot be written to.
    """
    path = work / ".lock"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise ManifestError(f"{work}: cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ManifestError(f"{work}: another lad works here ({lock.read().strip() or 'unknown'})") from None
        except OSError as error:
            raise ManifestError(f"{work}: cannot be locked: {error.strerror}") from error
        lock.truncate(0)
        who = f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with suppress(OSError):  # on a full disk: it is only there to be read
            os.write(lock.fileno(), who.encode())
        yield


def is_held(work: Path) -> bool:
    """Whether some process works in this directory now."""
    path = work / ".lock"
    if not path.exists():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
