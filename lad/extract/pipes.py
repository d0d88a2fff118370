"""Messages with large arrays between two processes of ours, without the copies that `Connection.send` makes of them.

A message is its length (8 bytes), a pickle of it with the sizes of its arrays, and then the arrays' own bytes.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from typing import Any

import numpy as np

LENGTH = struct.Struct("!Q")


def send(pipe: int, message: object) -> None:
    """Send what `receive` or an `Inbox` takes at the other end; arrays in one piece go from their own memory.

    Args:
        pipe: file descriptor of a socket.
        message: of classes that both sides know.

    Raises:
        BrokenPipeError, ConnectionResetError: nobody is there any more.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    head = pickle.dumps((pickled, [view.nbytes for view in views]))
    for view in (memoryview(LENGTH.pack(len(head)) + head), *views):
        while view.nbytes:
            view = view[os.write(pipe, view) :]


class Inbox:
    """The receiving end of a pipe, which keeps what has come of a message until the rest of it is there.

    So a sender that stops in the middle of a message, or is slow, holds nobody up for longer than `patience`.

    Args:
        pipe: a socket.
        patience: seconds to wait for more of a message; None: until it is there.
    """

    def __init__(self, pipe: socket.socket, patience: float | None = None) -> None:
        self._pipe = pipe
        if patience is not None:  # by the system, in one call for a whole array: this process has other things to do
            timeout = struct.pack("@ll", int(patience), int(patience % 1 * 1e6))
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._begin()

    def _begin(self) -> None:
        self._head: bytes | None = None
        self._parts: list[np.ndarray] = [np.empty(LENGTH.size, np.uint8)]
        self._part, self._filled = 0, 0  # which of the parts is coming, and how many bytes of it are there

    def take(self) -> Any:
        """The next message, or None while it is not there as a whole; its arrays can be written to.

        Raises:
            EOFError, OSError: the sender is dead, maybe in the middle of it.
        """
        while True:
            while self._part < len(self._parts):
                view = self._parts[self._part].data[self._filled :]
                if view.nbytes:
                    try:
                        count = self._pipe.recv_into(view, flags=socket.MSG_WAITALL)
                    except BlockingIOError:
                        return None
                    if not count:
                        raise EOFError
                    self._filled += count
                if self._filled == self._parts[self._part].nbytes:
                    self._part, self._filled = self._part + 1, 0
            if self._head is None and len(self._parts) == 1:  # the length: the head is next
                (size,) = LENGTH.unpack(self._parts[0].tobytes())
                self._parts.append(np.empty(size, np.uint8))
            elif self._head is None:  # the head: the arrays are next
                self._head, sizes = pickle.loads(self._parts[1].tobytes())  # noqa: S301 - a process of ours wrote it
                self._parts += [np.empty(size, np.uint8) for size in sizes]
            else:
                message = pickle.loads(self._head, buffers=self._parts[2:])  # noqa: S301 - the same
                self._begin()
                return message
