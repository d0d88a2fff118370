"""What ends `lad watch`, and what wakes it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Stop:
    """Wakes the loop; as a handler of signals, it also asks it to end."""

    asked: bool = False
    _pipe: tuple[int, int] = field(default_factory=os.pipe)

    def __post_init__(self) -> None:
        for end in self._pipe:
            os.set_blocking(end, False)

    def __call__(self, *_: object) -> None:
        self.asked = True
        self.wake()

    def wake(self, *_: object) -> None:
        with suppress(OSError):  # it is full: that wakes too
            os.write(self._pipe[1], b".")

    def fileno(self) -> int:
        return self._pipe[0]

    def clear(self) -> None:
        with suppress(OSError):
            os.read(self._pipe[0], 4096)
