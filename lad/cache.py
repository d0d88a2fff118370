"""Where things lie that every work directory can use: the cache of weights, and of libraries that keep one."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """`$LAD_CACHE`, else `$XDG_CACHE_HOME/lad`, else `~/.cache/lad`.

    Raises:
        RuntimeError: there is no such home directory.
    """
    if chosen := os.environ.get("LAD_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lad"
