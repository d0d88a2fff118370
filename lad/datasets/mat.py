"""MATLAB's `.mat` files, read in a process beside this one, because SciPy's reader dies of some damaged ones.

That process (`mat_process`) reads one file after the other, as starting it takes half a second. It ends when this one
does, or when nothing has been asked of it for a while. If a file kills it, the next file gets another.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np

from lad.children import ending, start

READ_SECONDS = 120.0  # for one file; half a GB of masks takes one or two
DAMAGED = "it is damaged or not a .mat file: get it again"

Answer = TypeVar("Answer")

_reader: tuple[subprocess.Popen[bytes], Connection] | None = None  # one that has answered and waits


def read_mat(path: Path, key: str, reduce: Callable[[np.ndarray], Answer]) -> Answer:
    """What `reduce` makes of one array of a `.mat` file.

    `reduce` runs where the file is read, so it must be a function of a module that can be imported there.

    Raises:
        ValueError: the file is damaged, takes too much time or memory, or has no such array; or `reduce` refuses it.
    """
    global _reader
    kept, _reader = _reader, None
    process, pipe = kept or start("lad.datasets.mat_process")
    try:
        pipe.send((path, key, reduce))
        if not pipe.poll(READ_SECONDS):
            raise ValueError(f"reading it takes more than {READ_SECONDS:g} s: {DAMAGED}")
        answer, refusal = pipe.recv()
    except (EOFError, OSError):
        code = _end(process, pipe, seconds=1.0)
        if kept is not None:  # it may have died of something else, or had nothing to do: a new one decides
            return read_mat(path, key, reduce)
        raise ValueError(f"its reader died of it ({ending(code)}): {DAMAGED}") from None
    except BaseException:  # such as Ctrl-C: what it answers now would be taken for its next answer
        _end(process, pipe)
        raise
    _reader = process, pipe
    if refusal is not None:
        raise ValueError(refusal)
    return answer


def _end(process: subprocess.Popen[bytes], pipe: Connection, seconds: float = 0.0) -> int:
    """Kill the process unless it ends by itself within `seconds`. Returns its exit code."""
    pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    return process.wait()
