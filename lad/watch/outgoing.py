"""What a camera's process has to send: batches of clips while they are wanted, in their order, all else at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from lad.extract.pipes import send
from lad.watch.messages import Again, Alive, Answer, Batch, Ended, Failed, StretchEnd

ALIVE_SECONDS = 1.0
Ordered = Batch | StretchEnd | Ended | Failed | Again


class Outgoing:
    """One thread sends, several fill.

    Args:
        pipe: file descriptor of the socket.
        most: batches that may wait.
        drops: whether, with one more, the oldest goes; else whoever has one waits.
    """

    def __init__(self, pipe: int, most: int, *, drops: bool) -> None:
        self._pipe, self._most, self._drops = pipe, most, drops
        self._changed = threading.Condition()
        self._ordered: deque[Ordered] = deque()
        self._at_once: deque[Answer] = deque()
        self._wanted = self._dropped = self._batches = 0

    def say(self, message: Answer) -> None:
        """Send this as soon as can be."""
        with self._changed:
            self._at_once.append(message)
            self._changed.notify_all()

    def put(self, message: Ordered) -> None:
        """Send this in its turn. Waits while there are too many batches, unless the oldest of them may go."""
        with self._changed:
            if isinstance(message, Batch):
                while self._batches >= self._most:
                    if self._drops:
                        self._drop()
                    else:
                        self._changed.wait()
                self._batches += 1
            self._ordered.append(message)
            self._changed.notify_all()

    def want(self) -> None:
        """One more batch is wanted."""
        with self._changed:
            self._wanted += 1
            self._changed.notify_all()

    def lose(self, clips: int) -> None:
        """So many clips were given up before they were cut."""
        with self._changed:
            self._dropped += clips

    def run(self, look: Callable[[], Alive]) -> None:
        """Send for ever.

        Args:
            look: called every second; what it gives is sent.

        Raises:
            BrokenPipeError, ConnectionResetError: nobody is there any more.
        """
        due = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._can_send, max(due - time.monotonic(), 0))
                message = self._next()
            if message:
                send(self._pipe, message)
            if time.monotonic() >= due:
                send(self._pipe, look())
                due = time.monotonic() + ALIVE_SECONDS

    def _can_send(self) -> bool:
        return bool(self._at_once) or bool(self._ordered and (self._wanted or not isinstance(self._ordered[0], Batch)))

    def _next(self) -> Answer | None:
        if self._at_once:
            return self._at_once.popleft()
        if not self._can_send():
            return None
        message = self._ordered.popleft()
        if isinstance(message, Batch):
            self._wanted -= 1
            self._batches -= 1
            message, self._dropped = replace(message, dropped=self._dropped), 0
            self._changed.notify_all()
        return message

    def _drop(self) -> None:
        """The oldest batch goes, and with it the frames that it covers: what comes next begins a stretch."""
        for place, message in enumerate(self._ordered):
            if isinstance(message, Batch):
                del self._ordered[place]
                self._batches -= 1
                self._dropped += message.count
                return
