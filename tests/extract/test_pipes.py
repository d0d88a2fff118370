"""Messages between a process and its decoders."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lad.extract.jobs import Clips
from lad.extract.pipes import Inbox, send


@pytest.fixture
def pipe() -> Iterator[tuple[Inbox, socket.socket]]:
    """The receiving end, and the sending one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Inbox(ours, patience=0.001), theirs


def as_sent(*messages: object) -> bytes:
    """The bytes of small messages."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in messages:
            send(theirs.fileno(), message)
        return ours.recv(1 << 16)


def test_arrays_arrive_as_they_were_sent_and_may_be_changed(pipe: tuple[Inbox, socket.socket]) -> None:
    """More than a pipe holds at once, in one piece, in several, and nothing at all."""
    inbox, theirs = pipe
    large = np.random.default_rng(0).normal(size=(4, 16, 64, 64, 2)).astype(np.float32)
    batch = {"whole": large, "mirrored": large[:, :, :, ::-1], "none": large[:0], "rgb": np.arange(7, dtype=np.uint8)}
    with ThreadPoolExecutor(1) as sender:
        for message in (Clips("video", batch), "alive", Clips("next", {"rgb": large[0]})):
            sent = sender.submit(send, theirs.fileno(), message)
            while (received := inbox.take()) is None:  # the sender is slower than the inbox is patient
                pass
            sent.result()
            if isinstance(message, str):
                assert received == message
                continue
            assert received.item == message.item
            for name, array in message.batch.items():
                assert received.batch[name].dtype == array.dtype
                assert np.array_equal(received.batch[name], array)
                received.batch[name][...] = 0
    assert inbox.take() is None


def test_a_message_that_comes_byte_by_byte_is_there_with_its_last_byte(pipe: tuple[Inbox, socket.socket]) -> None:
    """Until then nobody waits for the rest of it."""
    inbox, theirs = pipe
    batch = {"rgb": np.arange(40, dtype=np.uint8), "none": np.zeros((0, 3)), "flow": np.ones(3, np.float32)}
    *data, last = as_sent(Clips("video", batch))
    assert inbox.take() is None
    for byte in data:
        theirs.send(bytes([byte]))
        assert inbox.take() is None
    theirs.send(bytes([last]))
    received = inbox.take()
    assert received.item == "video"
    for name, array in batch.items():
        assert np.array_equal(received.batch[name], array)
        received.batch[name] += 1
    assert inbox.take() is None


def test_messages_that_came_together_are_taken_one_by_one(pipe: tuple[Inbox, socket.socket]) -> None:
    inbox, theirs = pipe
    data = as_sent("one", np.arange(3), np.zeros(0), "four", np.arange(5))
    theirs.sendall(data[:-1])
    assert inbox.take() == "one"
    assert inbox.take().tolist() == [0, 1, 2]
    assert inbox.take().tolist() == []
    assert inbox.take() == "four"
    assert inbox.take() is None
    theirs.sendall(data[-1:])
    assert inbox.take().tolist() == [0, 1, 2, 3, 4]
    assert inbox.take() is None


def test_nothing_but_empty_arrays_is_a_message(pipe: tuple[Inbox, socket.socket]) -> None:
    inbox, theirs = pipe
    send(theirs.fileno(), {"a": np.zeros((0, 16, 224, 224, 3), np.uint8), "b": np.zeros(0, np.float32)})
    received = inbox.take()
    assert received["a"].shape == (0, 16, 224, 224, 3)
    assert received["b"].dtype == np.float32


def test_a_sender_that_dies_anywhere_in_a_message_is_told() -> None:
    data = as_sent(Clips("video", {"rgb": np.zeros(100, np.uint8), "none": np.zeros(0)}))
    for end in range(len(data)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data[:end])
            theirs.close()
            inbox = Inbox(ours)
            for _ in range(2):  # and is not forgotten
                with pytest.raises(EOFError):
                    inbox.take()


def test_what_a_sender_said_before_it_died_is_taken(pipe: tuple[Inbox, socket.socket]) -> None:
    inbox, theirs = pipe
    theirs.sendall(as_sent("its last words", "half")[:-1])
    theirs.close()
    assert inbox.take() == "its last words"
    with pytest.raises(EOFError):
        inbox.take()


def test_a_receiver_that_is_gone_is_told() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send(theirs.fileno(), np.zeros(1 << 20, np.uint8))


def test_the_sender_of_large_arrays_makes_no_copies_of_them(
    pipe: tuple[Inbox, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros(1 << 20, np.uint8)
    written: list[memoryview] = []
    monkeypatch.setattr(os, "write", lambda _pipe, view: written.append(view) or len(view))  # type: ignore[func-returns-value]
    send(pipe[1].fileno(), array)
    assert np.shares_memory(np.frombuffer(written[-1], np.uint8), array)
    assert sum(len(view) for view in written[:-1]) < 1000


def test_without_patience_a_message_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as receiver:
        taken = receiver.submit(Inbox(ours).take)
        data = as_sent("late")
        theirs.sendall(data[:5])
        time.sleep(0.1)
        assert not taken.done()
        theirs.sendall(data[5:])
        assert taken.result(10) == "late"
