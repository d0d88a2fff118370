"""The folder of a report: which files in it are lad's own. Only those are replaced, and removed when they are stale."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lad.errors import LadError
from lad.files import write_bytes, write_json

LIST = "files.json"  # names of what lad wrote or is about to write, and what it is
FORMAT = "lad report 1"


class ReportError(LadError):
    """A report cannot be written."""


class ReportFolder:
    """A report's folder while it is written.

    Names are noted before files are written, so that a killed report leaves nothing that the next one does not know.
    """

    def __init__(self, folder: Path, *, force: bool) -> None:
        """Open a folder.

        Raises:
            ReportError: it is a file, or its list is not lad's.
        """
        self.folder = folder
        self._force = force
        self._before = self._listed()
        self._today: set[str] = set()

    def _listed(self) -> set[str]:
        path = self.folder / LIST
        if self.folder.exists() and not self.folder.is_dir():
            raise ReportError(f"{self.folder}: is no folder: choose another one with --out")
        if not path.exists():
            return set()
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["format"] == FORMAT and all(isinstance(name, str) for name in said["files"]):
                return set(said["files"])
        except (ValueError, KeyError, TypeError):
            pass
        if self._force:
            return set()
        raise ReportError(f"{path}: not as lad wrote it: move it away, or give --force to replace it")

    def plan(self, names: Iterable[str]) -> None:
        """Say which files there will be.

        Raises:
            ReportError: one is there that lad did not write; nothing is changed.
        """
        names = set(names)
        taken = sorted(name for name in names - self._before if (self.folder / name).exists())
        if taken and not self._force:
            raise ReportError(
                f"{self.folder / taken[0]}: lad did not write it: choose another folder with --out, or give --force"
            )
        self._today |= names
        self._note(self._before | self._today)

    def _note(self, names: set[str]) -> None:
        write_json(self.folder / LIST, {"format": FORMAT, "files": sorted(names)})

    def has(self, name: str) -> bool:
        """Whether a file is there from an earlier time; pictures are named by what they are made of."""
        path = self.folder / name
        return name in self._before and path.is_file() and not path.is_symlink()

    def write(self, name: str, content: bytes) -> None:
        """Write a planned file, unless it is there with this content."""
        path = self.folder / name
        if self.has(name) and path.stat().st_size == len(content) and path.read_bytes() == content:
            return
        write_bytes(path, content)

    def finish(self, made: Iterable[str]) -> None:
        """Remove what is stale: files of earlier reports that are none of `made`."""
        made = set(made)
        for name in sorted((self._before | self._today) - made):
            path = self.folder / name
            if _is_within(self.folder, path):
                path.unlink(missing_ok=True)
                with suppress(OSError):  # something else is in it
                    if path.parent != self.folder:
                        path.parent.rmdir()
        self._note(made)


def _is_within(folder: Path, path: Path) -> bool:
    """Whether a name that was read from a file leads to a place in the folder, through no link."""
    try:
        return path.parent.resolve().is_relative_to(folder.resolve()) and (path.is_file() or path.is_symlink())
    except OSError:
        return False
