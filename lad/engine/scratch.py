"""A folder for what a process is in the middle of, on its own machine; what killed ones left is removed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lad.files import open_kept

PREFIX = "lad-extract-"
LOCK = ".lock"  # held as long as its folder's process lives
NEW_SECONDS = 60.0  # a younger folder may not have its lock yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder where temporary files lie, gone at the end."""
    _sweep(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name,
        open_kept(Path(name, LOCK)) as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(name)


def _sweep(root: Path) -> None:
    """Remove the folders of dead processes: those whose lock nobody holds."""
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or in use
            if time.time() - folder.stat().st_mtime > NEW_SECONDS:
                with open_kept(folder / LOCK) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
