"""A stand-in for a decoding process: it sends that a video is finished, in pieces with half a second between them."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time

from lad.children import join_parent
from lad.extract.jobs import Finished
from lad.extract.pipes import LENGTH, Inbox
from lad.extract.video import VideoInfo

PIECES = 10

if __name__ == "__main__":
    parent = join_parent(sys.argv[1:])
    pipe = socket.socket(fileno=os.dup(parent.fileno()))
    inbox = Inbox(pipe)
    while True:
        head = pickle.dumps((pickle.dumps(Finished(inbox.take().item, VideoInfo()), protocol=5), []))
        data = LENGTH.pack(len(head)) + head
        size = -(-len(data) // PIECES)
        for start in range(0, len(data), size):
            time.sleep(0.5)
            pipe.sendall(data[start : start + size])
