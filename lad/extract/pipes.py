"""Messages with large arrays between two processes of ours, without the copies that `Connection.send` makes of them."""

from __future__ import annotations

import os
import pickle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np


def send(pipe: Connection, message: object) -> None:
    """Send what `receive` takes at the other end; arrays in one piece go from their own memory.

    Raises:
        BrokenPipeError, ConnectionResetError: nobody is there any more.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    pipe.send((pickled, [view.nbytes for view in views]))
    for view in views:
        while view.nbytes:
            view = view[os.write(pipe.fileno(), view) :]


def receive(pipe: Connection) -> Any:
    """The next message that was sent with `send`; its arrays can be written to.

    Raises:
        EOFError, OSError: the sender is dead, maybe in the middle of it.
    """
    pickled, sizes = pipe.recv()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        view = buffer.data
        while view.nbytes:
            count = os.readv(pipe.fileno(), [view])
            if not count:
                raise EOFError
            view = view[count:]
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301 - a process of ours wrote it
