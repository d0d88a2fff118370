"""A process that extracts on this machine: `python -m lad.engine.worker`, started by `lad.engine.processes`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from lad.children import as_socket, join_parent
from lad.engine.extracting import Extracting
from lad.engine.messages import Alive, ExtractSetup, Ready, Refused, Word, one_line
from lad.extract.pipes import Inbox, send
from lad.memory import keep_freed

ALIVE_SECONDS = 1.0


def main() -> None:
    pipe = as_socket(join_parent(sys.argv[1:]))
    keep_freed()
    inbox, talking = Inbox(pipe), threading.Lock()

    def tell(word: Word) -> None:
        with talking, suppress(OSError):  # nobody listens any more: `main` finds that, too
            send(pipe.fileno(), word)

    setup: ExtractSetup = inbox.take()
    node = f"{os.uname().nodename}/{setup.recipe.device}"
    try:
        extracting = Extracting(setup, tell)
    except Exception as error:  # of weights, torch, CUDA: another device may do better
        tell(Refused(node, one_line(error)))
        return
    tell(Ready(node))
    threading.Thread(target=extracting.run_to_the_end, daemon=True).start()
    threading.Thread(target=_be_alive, args=[extracting, tell], daemon=True).start()
    try:
        while True:
            extracting.add(inbox.take())
    except (EOFError, OSError):  # whoever started it is gone, or needs it no more
        extracting.close()
        os._exit(0)


def _be_alive(extracting: Extracting, tell: Callable[[Word], None]) -> None:
    while True:
        time.sleep(ALIVE_SECONDS)
        tell(Alive(extracting.doing()))


if __name__ == "__main__":
    main()
