"""What of a camera's clips is sent, and what goes when nobody takes them."""

from __future__ import annotations

import socket
import threading

import numpy as np

from lad.extract.pipes import Inbox
from lad.watch.messages import Alive, Batch, Ended, Offline, StretchEnd
from lad.watch.outgoing import Outgoing


def batch(first: int, clips: int = 2) -> Batch:
    pixels = np.zeros((clips, 16, 2, 2, 3), np.uint8)
    return Batch(0, first, {"rgb": pixels}, np.zeros(0), np.zeros(0, np.int64))


class Sent:
    """An `Outgoing` with its thread, and what comes out at the other end."""

    def __init__(self, *, drops: bool, most: int = 2) -> None:
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        self.outgoing = Outgoing(theirs.fileno(), most, drops=drops)
        self._inbox = Inbox(self._ours)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outgoing.run(lambda: Alive(7))
        except OSError:
            self._theirs.close()

    def next(self) -> object:
        while isinstance(message := self._inbox.take(), Alive):
            assert message.frames == 7
        return message

    def __enter__(self) -> Sent:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        if self._thread.is_alive():
            self.outgoing.say(Offline())
            self._thread.join(5)


def test_a_camera_that_nobody_listens_to_loses_its_oldest_clips_and_says_how_many() -> None:
    with Sent(drops=True) as sent:
        for first in range(0, 12, 2):
            sent.outgoing.put(batch(first))
        sent.outgoing.put(StretchEnd(0))
        sent.start()
        for _ in range(2):
            sent.outgoing.want()
        one, two, end = sent.next(), sent.next(), sent.next()
        assert isinstance(one, Batch)
        assert (one.first, one.dropped) == (8, 8)
        assert isinstance(two, Batch)
        assert (two.first, two.dropped) == (10, 0)
        assert isinstance(end, StretchEnd)


def test_a_file_waits_until_its_clips_are_wanted() -> None:
    with Sent(drops=False) as sent:
        sent.start()
        done = threading.Event()

        def fill() -> None:
            for first in range(0, 12, 2):
                sent.outgoing.put(batch(first))
            sent.outgoing.put(Ended())
            done.set()

        threading.Thread(target=fill, daemon=True).start()
        assert not done.wait(0.3)
        for _ in range(6):
            sent.outgoing.want()
        firsts = [message.first for message in (sent.next() for _ in range(6)) if isinstance(message, Batch)]
        assert firsts == [0, 2, 4, 6, 8, 10]
        assert isinstance(sent.next(), Ended)


def test_what_a_person_should_know_does_not_wait_for_clips() -> None:
    with Sent(drops=True) as sent:
        sent.start()
        sent.outgoing.put(batch(0))
        sent.outgoing.say(Offline())
        assert isinstance(sent.next(), Offline)
