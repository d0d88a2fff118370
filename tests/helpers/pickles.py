"""Pickles that run something where they are read carelessly."""

from __future__ import annotations

from collections.abc import Callable


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object, state: object = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced
