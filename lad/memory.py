"""How much memory there is, and what the process does with what is freed."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# Bytes that a container may use, as the container sees them: cgroup version 2, and 1.
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def keep_freed() -> None:
    """Have the C library keep what is freed for what is needed next, where it is glibc; before any thread is started.

    By itself it gives every large tensor's memory back at once, and the pages of the next one have to be zeroed anew:
    up to a sixth of the time of a feature network. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_ARENA_MAX, 1)  # those of threads give memory back all the same


def give_back_freed() -> None:
    """Give back what `keep_freed` has had kept so far, which costs as many new pages: see malloc_trim(3)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def machine_memory() -> int:
    """Bytes of memory that this process may use at most: the machine's, or its container's where that has fewer."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for place in CGROUP_LIMITS:
        try:
            most = min(most, int(Path(place).read_text(encoding="ascii")))
        except (OSError, ValueError):  # there is no such file, or no limit: `max`
            continue
    return most
