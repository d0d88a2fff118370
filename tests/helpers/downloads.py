"""The state of the fixture `server`, and what is in the cache of downloads."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass
class Server:
    """Serves `content` at `url`; `claimed_bytes` is the length that it announces where that is not the true one."""

    url: str
    content: bytes = b""
    claimed_bytes: int | None = None
    hits: int = 0


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")
