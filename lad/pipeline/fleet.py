"""`fleet.json`: who is at work, while many are; `lad status` reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lad.engine.messages import Fleet
from lad.files import write_json
from lad.ours import FLEET


def write_fleet(
    home: Path,
    what: str,
    fleet: Fleet,
    share: float,
    seconds_left: float | None,
    clips_per_second: float | None = None,
) -> None:
    """Say who is at work.

    Args:
        home: the work directory.
        what: they do, as `extracting`.
        fleet: they.
        share: of all that is to be done, so much is.
        seconds_left: for the rest; None: nobody can say.
        clips_per_second: all of them together; None: nobody can say.
    """
    state = {
        "what": what,
        "at": time.time(),
        "nodes": dict(fleet.nodes),
        "away": fleet.away,
        "in_flight": dict(fleet.in_flight),
        "clips_per_second": clips_per_second,
        "share": share,
        "seconds_left": seconds_left,
    }
    write_json(home / FLEET, state)


@contextmanager
def fleet_told(home: Path) -> Iterator[None]:
    """As long as others are at work; then nobody is."""
    try:
        yield
    finally:
        (home / FLEET).unlink(missing_ok=True)
