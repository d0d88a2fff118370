"""Processes of our own beside this one: each runs a module of `lad` and talks through a pipe.

A module is started by its name (`python -m lad.extract.worker`), not by `multiprocessing`'s spawn, which would run the
user's script once more in every child. So the library works in a script without `if __name__ == "__main__"`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(module: str) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start `python -m module` with one end of a pipe; returns the process and the other end.

    The child finds modules where this process does, and holds Ctrl-C back until it has called `join_parent`. It is
    started by a thread that stays: the kernel ends a child with the thread that started it, and that of a caller may
    be short-lived.
    """
    return _starter().submit(_start, module).result()


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="starter")


def _start(module: str) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = socket.socketpair()
    # An empty entry means the current folder, which -P leaves out.
    places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    # Ctrl-C reaches the whole process group: a child that is still starting must not die of it with a traceback.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())],
            # Libraries take names of files in UTF-8, whatever the locale says.
            env={**os.environ, "PYTHONPATH": places, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # results are printed by nobody but the command
            pass_fds=[theirs.fileno()],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    return process, Connection(ours.detach())


def join_parent(arguments: list[str]) -> Connection:
    """In a child that `start` started: its end of the pipe, out of its command line. It ends when its parent does.

    Ctrl-C is the parent's to decide about, so the child ignores it.
    """
    descriptor, parent = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that, and nobody will ever ask
        sys.exit()
    return Connection(descriptor)


def as_socket(connection: Connection) -> socket.socket:
    """An end of a pipe as a socket, for messages as `lad.extract.pipes` has them; the connection itself is closed."""
    pipe = socket.socket(fileno=os.dup(connection.fileno()))
    connection.close()
    return pipe


def ending(code: int) -> str:
    """How a process ended, in words: the signal's name, or its exit status."""
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
