"""Who is told what stages do, and what they come to. The commands say it on a terminal; the stages do not know that."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from lad.errors import LadError

SETTLED_SECONDS = 5.0  # of work before its speed says anything


class StageError(LadError):
    """A stage cannot begin."""


class Bar(Protocol):
    """A progress bar."""

    def advance(self, note: str = "") -> None:
        """One more is done."""

    def show(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        note: str | None = None,
        share: float | None = None,
        speed: str | None = None,
    ) -> None:
        """What is known now; None: as before. The first call that says what is done says what was done before.

        Args:
            done: so many parts are done.
            total: of so many.
            note: what is being worked on.
            share: so much of all work is done, from 0 to 1, where the number of parts says less.
            speed: how fast it is, in words, where it is not parts a second.
        """


class Reporter(Protocol):
    """Gets a line for whatever a user may want to know, and says how far long work is."""

    @property
    def verbose(self) -> bool:
        """Whether it wants each step of the way."""

    def say(self, text: str) -> None:
        """Log a line."""

    def progress(self, what: str, total: int | None, unit: str = "videos") -> AbstractContextManager[Bar]:
        """A bar for work of so many parts, which are called `unit`; None: nobody knows of how many."""

    def within(self, name: str) -> Reporter:
        """One that says of every line what it belongs to; empty: this one."""


@dataclass
class StageResult:
    """What a stage came to.

    Attributes:
        done: items worked on now.
        skipped: items whose result was there already.
        failed: item -> reason, old failures that were not tried again included.
        warnings: item -> what was odd about it.
        judged_clips, still_clips: where still clips are left out: all clips of the items worked on now, and those that
            were.
    """

    stage: str
    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    judged_clips: int = 0
    still_clips: int = 0

    def add(self, other: StageResult) -> None:
        """Count in what the same stage came to in another split."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed |= other.failed
        self.warnings |= other.warnings
        self.judged_clips += other.judged_clips
        self.still_clips += other.still_clips

    def summary(self) -> str:
        if not self.done and not self.failed:
            return f"{self.stage}: nothing to do, {self.skipped} done before"
        parts = [f"{self.done} done"]
        parts += [f"{self.skipped} done before"] if self.skipped else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        if self.judged_clips:
            share = self.still_clips / self.judged_clips
            parts.append(f"{self.still_clips} of {self.judged_clips} clips still ({share:.0%}) and not seen")
        return f"{self.stage}: {', '.join(parts)}"
