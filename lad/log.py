"""`lad.log` of a work directory: what a command said, with times, also where nobody looked at its terminal."""

from __future__ import annotations

import io
import logging
import os
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from logging.handlers import MemoryHandler
from pathlib import Path

from lad.errors import LadError
from lad.files import open_kept, write_all
from lad.ours import LOGS
from lad.remote.url import masked
from lad.text import printable
from lad.version import code_version

MAX_BYTES = 5_000_000  # of a file; then it becomes `lad.log.1`, and that `lad.log.2`, which is the last
HELD_LINES = 1000  # said before it is known where the log lies


class Log:
    """What a command says, line by line, for the `lad.log` of the work directory that it holds.

    Until `kept_in` says where that is, lines wait. Of a command that holds none there is no log. A disk that takes no
    line costs the log that line, and the command nothing.
    """

    def __init__(self) -> None:
        self._waiting = MemoryHandler(1, flushLevel=logging.NOTSET)
        self._lines = logging.Logger("lad.log")  # of nobody else: not in the tree that programs set up
        self._lines.addHandler(self._waiting)
        words = ["lad", *map(masked, sys.argv[1:])]
        self.write(f"begins: {shlex.join(words)} (lad {code_version()}, process {os.getpid()})")

    def write(self, text: str) -> None:
        """Add what was said; each of its lines gets the time."""
        if self._waiting.target or len(self._waiting.buffer) < HELD_LINES:
            for line in text.splitlines():
                self._lines.info("%s", printable(line))

    def end(self, status: int) -> None:
        """Say that the command ends, and with which exit status."""
        self.write(f"ends: exit status {status}")

    def interrupted(self) -> None:
        """Say that somebody ended the command."""
        self.write("interrupted")
        self.end(130)

    @contextmanager
    def kept_in(self, work: Path, warn: Callable[[str], None]) -> Iterator[None]:
        """Write to the `lad.log` of a work directory, to be called by whoever holds it; errors end up there too.

        Args:
            work: its folder.
            warn: gets a line where no log can be written.
        """
        file = _LogFile(work, warn)
        self._waiting.setTarget(file)
        self._waiting.flush()
        OPEN.append(self)
        try:
            yield
        except (LadError, OSError, sqlite3.Error) as error:  # the last is said in other words by who holds the manifest
            self.write("\n".join(f"error: {line}" for line in str(error).splitlines()))
            self.end(2)
            raise
        except KeyboardInterrupt:
            self.interrupted()
            raise
        except BaseException as error:
            self.write(f"error: unexpected {type(error).__name__}: {error}")
            self.end(1)
            raise
        finally:
            OPEN.remove(self)
            self._waiting.setTarget(None)
            file.close()


OPEN: list[Log] = []  # logs that are written, for whoever has to end the process at once


class _LogFile(logging.Handler):
    """Appends to `lad.log`, through no link, and puts it aside where it is long enough."""

    def __init__(self, work: Path, warn: Callable[[str], None]) -> None:
        super().__init__()
        self._places = [work / name for name in LOGS]
        self._warn = warn
        self._file: io.FileIO | None = None
        self._has_warned = False

    def emit(self, record: logging.LogRecord) -> None:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        line = f"{when} {record.getMessage()}\n".encode(errors="backslashreplace")
        try:
            if self._file is None:
                self._file = open_kept(self._places[0])
            if os.fstat(self._file.fileno()).st_size + len(line) > MAX_BYTES:
                self._rotate()
            write_all(self._file, line)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"warning: {self._places[0]}: {error.strerror}: the log lacks what cannot be written")

    def _rotate(self) -> None:
        for older, newer in zip(self._places[:0:-1], self._places[-2::-1], strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)
        self._file, full = open_kept(self._places[0]), self._file
        if full:
            full.close()

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()
