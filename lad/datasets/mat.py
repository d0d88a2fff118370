"""MATLAB's `.mat` files, read in a process beside this one: SciPy's reader dies of some damaged ones.

One process reads one file after the other, as starting one takes half a second. It ends by itself when nothing was
asked of it for a while, and with this process; where a file takes it down, the next file gets another.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TypeVar

import numpy as np

READ_SECONDS = 120.0  # for one file; half a GB of masks takes one or two
IDLE_SECONDS = 10.0
MEMORY = 4 << 30  # bytes beyond what the reader takes before it reads; the largest file of a benchmark needs an eighth
LARGEST_ANSWER = 64 << 20  # bytes; a frame takes one
DAMAGED = "it is damaged or no .mat file: get it again"

Answer = TypeVar("Answer")


def read_mat(path: Path, key: str, reduce: Callable[[np.ndarray], Answer]) -> Answer:
    """What `reduce` makes of one array of a `.mat` file: a function of a module, which runs where the file is read.

    Raises:
        ValueError: the file is damaged, takes too much time or memory, or has no such array; or `reduce` refuses it.
    """
    global _reader
    reply: tuple[object, str | None] | None = None
    while reply is None:
        # Kept only once it has answered: after a Ctrl-C in between, its answer would be taken for the next one.
        reader, _reader = _reader or _Reader(), None
        reply = reader.ask((path, key, reduce))
        _reader = reader if reader.alive else None
    answer, refusal = reply
    if refusal is not None:
        raise ValueError(refusal)
    return answer  # type: ignore[return-value]


class _Reader:
    """The process that reads, seen from this one."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.alive = True
        # Ctrl-C reaches the whole process group: one that is still starting must not die of it with a traceback.
        resource_tracker.ensure_running()  # else process.start() starts it, and that lets Ctrl-C through again
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()

    def ask(self, question: object) -> tuple[object, str | None] | None:
        """What came of a question and why nothing did; None where the process had ended, having nothing to do."""
        try:
            self.pipe.send(question)
            if self.pipe.poll(READ_SECONDS):
                return self.pipe.recv()
            reason = f"reading it takes more than {READ_SECONDS:g} s"
        except (EOFError, OSError):
            self.process.join(1.0)
            reason = f"its reader died of it ({_ending(self.process.exitcode)})"
        ended_by_itself = self.process.exitcode == 0
        self.alive = False
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return None if ended_by_itself else (None, f"{reason}: {DAMAGED}")


_reader: _Reader | None = None


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who asks decides
    from scipy.io import loadmat  # noqa: F401  (before memory is counted)

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the C library says of a damaged heap helps nobody
    warnings.simplefilter("ignore")
    _limit_memory(MEMORY)
    with suppress(EOFError, OSError):  # who asks is gone
        while pipe.poll(IDLE_SECONDS):
            answer = ForkingPickler.dumps(_answer(*pipe.recv()))
            if len(answer) > LARGEST_ANSWER:
                answer = ForkingPickler.dumps((None, f"it holds more than any benchmark does: {DAMAGED}"))
            pipe.send_bytes(answer)


def _answer(path: Path, key: str, reduce: Callable[[np.ndarray], object]) -> tuple[object, str | None]:
    try:
        return reduce(_load(path, key)), None
    except MemoryError:
        return None, f"reading it takes more than {MEMORY >> 30} GB of memory: {DAMAGED}"
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        return None, str(error)


def _load(path: Path, key: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        arrays = loadmat(path, variable_names=[key])
    except NotImplementedError as error:
        raise ValueError("it is a .mat file of version 7.3, which is not read here: save it with -v7") from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file scipy raises whatever it stumbles over
        raise ValueError(DAMAGED) from error
    if key not in arrays:
        raise ValueError(f"there is no `{key}` in it")
    return np.asarray(arrays[key])


def _limit_memory(more: int) -> None:
    """Let this process take no more than `more` bytes beyond what it has."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
