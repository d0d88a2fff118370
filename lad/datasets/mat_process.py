"""The process that `mat` starts: it reads `.mat` files for as long as it is asked to."""

from __future__ import annotations

import os
import pickle
import resource
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from lad.children import join_parent
from lad.datasets.mat import DAMAGED

IDLE_SECONDS = 10.0
MEMORY = 4 << 30  # bytes beyond what the process takes before it reads; the largest file of a benchmark needs an eighth
LARGEST_ANSWER = 64 << 20  # bytes; a frame takes one


def serve(pipe: Connection) -> None:
    """Answer questions with (answer, None) or (None, why there is no answer), until none comes for a while."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the C library says about a damaged heap helps nobody
    warnings.simplefilter("ignore")
    _limit_memory(MEMORY)
    with suppress(EOFError, OSError):  # who asks is gone
        while pipe.poll(IDLE_SECONDS):
            reply = pickle.dumps(_answer(*pipe.recv()))
            if len(reply) > LARGEST_ANSWER:
                reply = pickle.dumps((None, f"it holds more than any benchmark does: {DAMAGED}"))
            pipe.send_bytes(reply)


def _answer(path: Path, key: str, reduce: Callable[[np.ndarray], object]) -> tuple[object, str | None]:
    try:
        return reduce(_load(path, key)), None
    except MemoryError:
        return None, f"reading it takes more than {MEMORY >> 30} GB of memory: {DAMAGED}"
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        return None, str(error)


def _load(path: Path, key: str) -> np.ndarray:
    try:
        arrays = loadmat(path, variable_names=[key])
    except NotImplementedError as error:
        raise ValueError("it is a .mat file of version 7.3, which cannot be read here: save it with -v7") from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file SciPy raises whatever it stumbles over
        raise ValueError(DAMAGED) from error
    if key not in arrays:
        raise ValueError(f"there is no `{key}` in it")
    return np.asarray(arrays[key])


def _limit_memory(more: int) -> None:
    """Let this process take no more than `more` bytes beyond what it has."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    serve(join_parent(sys.argv[1:]))
