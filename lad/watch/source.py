"""A camera's process: `python -m lad.watch.source`, started by `lad.watch.watch`.

It takes requests and sends clips until whoever started it is gone. It lives by itself because FFmpeg can crash, hang
or leak, and no other camera shall notice. The URL comes through the pipe, since everybody on the machine can read a
command line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

from numpy.typing import ArrayLike

from lad.children import as_socket, join_parent
from lad.extract import process_setup
from lad.extract.flow import FLOW_METHODS
from lad.extract.pipes import Inbox
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.readers import open_reader
from lad.extract.video import VideoError
from lad.memory import keep_freed
from lad.watch.live import LiveSource
from lad.watch.messages import Again, Alive, Ended, Failed, Open, Record, Snap, Stop, Take
from lad.watch.outgoing import Outgoing
from lad.watch.packets import FilePackets, Ring
from lad.watch.recorder import Recorder
from lad.watch.stretch import cut


def main() -> None:
    pipe = as_socket(join_parent(sys.argv[1:]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a service manager sends it to all: whoever started us decides
    keep_freed()
    process_setup.prepare()
    threading.excepthook = lambda _: os._exit(1)  # a traceback could show a password
    inbox = Inbox(pipe)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        watch(pipe.fileno(), inbox)
    os._exit(0)  # whoever started us is gone; threads may be in FFmpeg or wait for a disk


def watch(pipe: int, inbox: Inbox) -> None:
    """Open what the first message says, and do what the further ones ask."""
    job: Open = inbox.take()
    if "flow" in job.spec.pixels and FLOW_METHODS[job.spec.flow].in_torch:
        process_setup.prepare_torch()
    outgoing = Outgoing(pipe, job.waiting_batches, drops=job.address.drops)
    source: LiveSource | FileSource
    packets: Ring | FilePackets
    if job.address.kind == "file":
        packets = FilePackets(job.address, job.limits)
        source = FileSource(job, outgoing)
    else:
        packets = Ring(job.ring_seconds, job.ring_bytes)
        source = LiveSource(job, packets, outgoing)
    recorder = Recorder(packets, outgoing.say, job.limits)
    recorder.start()
    threading.Thread(target=_send, args=[outgoing, source], name="sender", daemon=True).start()
    source.start()
    while True:
        match inbox.take():
            case Take():
                outgoing.want()
            case Record() | Stop() | Snap() as request:
                recorder.ask(request)


def _send(outgoing: Outgoing, source: LiveSource | FileSource) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        outgoing.run(source.look)
    os._exit(0)


class FileSource:
    """A file, read as `lad score` reads it, as fast as its clips are taken."""

    def __init__(self, job: Open, outgoing: Outgoing) -> None:
        self._job, self._outgoing = job, outgoing
        self._frames = 0

    def start(self) -> None:
        threading.Thread(target=self._run, name="clips", daemon=True).start()

    def look(self) -> Alive:
        return Alive(self._frames)

    def _run(self) -> None:
        try:
            warnings = self._read()
        except ReaderGaveUp:
            self._outgoing.put(Again())
        except VideoError as error:
            self._outgoing.put(Failed(error.kind, str(error)))
        except MemoryError:
            self._outgoing.put(Failed("worker", "not enough memory to decode it"))
        except Exception as error:  # a reader's surprise
            failed = Failed("worker", f"unexpected {type(error).__name__}: {error}")
            self._outgoing.put(Again() if self._job.choice == "auto" else failed)
        else:
            self._outgoing.put(Ended(warnings))

    def _read(self) -> tuple[str, ...]:
        job = self._job
        reader = open_reader(job.address.path, choice=job.choice, folder_fps=job.folder_fps, limits=job.limits)

        def frames() -> Iterator[tuple[ArrayLike, float]]:
            for frame in reader:
                self._frames += 1
                yield frame, reader.info.times[-1]

        for message in cut(0, frames(), reader.info, job.spec, reader.info.pixel_aspect, lambda: None):
            self._outgoing.put(message)
        return tuple(reader.info.warnings)


if __name__ == "__main__":
    main()
