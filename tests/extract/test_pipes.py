"""Messages between the driver and its decoders."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe

import numpy as np
import pytest

from lad.extract.pipes import receive, send
from lad.extract.workers import Clips


def test_arrays_arrive_as_they_were_sent_and_may_be_changed() -> None:
    """More than a pipe holds at once, in one piece, in several, and nothing at all."""
    large = np.random.default_rng(0).normal(size=(4, 16, 64, 64, 2)).astype(np.float32)
    batch = {"whole": large, "mirrored": large[:, :, :, ::-1], "none": large[:0], "rgb": np.arange(7, dtype=np.uint8)}
    ours, theirs = Pipe()
    with ThreadPoolExecutor(1) as sender:
        for message in (Clips("video", batch), "alive", Clips("next", {"rgb": large[0]})):
            sent = sender.submit(send, theirs, message)
            received = receive(ours)
            sent.result()
            if isinstance(message, str):
                assert received == message
                continue
            assert received.item == message.item
            for name, array in message.batch.items():
                assert received.batch[name].dtype == array.dtype
                assert np.array_equal(received.batch[name], array)
                received.batch[name][...] = 0


def test_a_sender_that_dies_in_the_middle_of_an_array_is_told() -> None:
    ours, theirs = Pipe()
    array = np.zeros(1000, np.uint8)
    send(theirs, array)
    # The same message once more, without its last byte.
    message = os.read(ours.fileno(), 1 << 16)
    os.write(theirs.fileno(), message[:-1])
    theirs.close()
    with pytest.raises(EOFError):
        receive(ours)


def test_a_receiver_that_is_gone_is_told() -> None:
    ours, theirs = Pipe()
    ours.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send(theirs, np.zeros(1 << 20, np.uint8))
