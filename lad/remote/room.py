"""Room on this machine's disk for files that were fetched: bounded, and empty again afterwards."""

from __future__ import annotations

import re
import secrets
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lad.held import held_folder
from lad.remote.store import RemoteError
from lad.remote.url import Url

PREFIX = "lad-videos-"  # of the folder of each process
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


@dataclass(frozen=True)
class Bounds:
    """How much room there is.

    Attributes:
        folder: where; None: where temporary files go.
        most_bytes: of all files together that one process keeps there.
    """

    folder: Path | None
    most_bytes: int

    @classmethod
    def in_gb(cls, folder: Path | None, most: float) -> Bounds:
        """So many GB of a folder: the keys `data.download_dir` and `data.download_gb`."""
        return cls(folder and folder.absolute(), round(most * 1e9))


class Room:
    """A folder of one process, for one thread. What a killed process left in such a folder, the next one removes."""

    def __init__(self, bounds: Bounds) -> None:
        """Make the folder.

        Raises:
            OSError: it cannot be made.
        """
        self.bounds = bounds
        self._taken: dict[Path, int] = {}
        self._closing = ExitStack()
        self.folder = self._closing.enter_context(held_folder(bounds.folder or Path(tempfile.gettempdir()), PREFIX))

    def has(self, size: int | None) -> bool:
        """Whether a file of so many bytes may be fetched now; one of which nobody knows the size has all the room."""
        return not self._taken if size is None else sum(self._taken.values()) + size <= self.bounds.most_bytes

    def check(self, size: int | None) -> None:
        """See that the room can hold a file of so many bytes at all.

        Raises:
            RemoteError: it is too small.
        """
        if size is not None and size > self.bounds.most_bytes:
            raise RemoteError(
                f"it has {size / 1e9:.1f} GB, and data.download_gb allows {self.bounds.most_bytes / 1e9:g}: raise that"
            )

    def take(self, url: Url, size: int | None) -> Path:
        """A place for a file that there is room for; nothing is there yet."""
        suffix = url.suffix if SUFFIX.fullmatch(url.suffix) else ""
        path = self.folder / f"{secrets.token_hex(8)}{suffix}"
        self._taken[path] = self.bounds.most_bytes if size is None else size
        return path

    def free(self, path: Path) -> None:
        """Remove a file."""
        self._taken.pop(path, None)
        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all of it."""
        self._closing.close()
