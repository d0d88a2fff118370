"""The `lad` command: sets up how it is interrupted before anything slow is imported, then hands over to `lad.cli`."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

from lad.device import let_threads_go
from lad.memory import keep_freed

EXIT_INTERRUPTED = 130
GRACE_SECONDS = 4.0  # for a stage to stop by itself; all that is done is on disk at every moment
LOG_SECONDS = 1.0
SAID = "\ninterrupted: what is done is kept; the same command resumes from here\n"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C or SIGTERM: stop in an orderly way."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: None)  # the next one is for `_end_in_time`
    raise KeyboardInterrupt


def _end_in_time(signals: int) -> None:
    """End the process at the second signal, or when stopping takes too long.

    In a thread, because Python calls handlers only between two steps of the main thread, which may be in a long call;
    and a library that is being imported may swallow the exception.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # where the main thread holds them back
    os.read(signals, 1)
    select.select([signals], [], [], GRACE_SECONDS)
    if "lad.log" in sys.modules:
        teller = threading.Thread(target=_log_the_end, daemon=True)
        teller.start()
        teller.join(LOG_SECONDS)  # a disk may hang
    with suppress(OSError):
        os.write(2, SAID.encode())
    os._exit(EXIT_INTERRUPTED)


def _log_the_end() -> None:
    for log in sys.modules["lad.log"].OPEN:
        log.interrupted()


def _read_names_as_utf8() -> None:
    """Begin again in Python's UTF-8 mode where the locale says otherwise.

    Names of files are UTF-8 on any system of today, whatever a locale that nobody set says of them. Else the same name
    would be another one in files that we write, in libraries that take UTF-8, and under another locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"  # for the processes that we start
    if sys.stdout is not None:  # a terminal still gets what it can show
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _print_any_name() -> None:
    """Have characters that stdout and stderr cannot show printed as escapes, where they would be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    _read_names_as_utf8()
    _print_any_name()
    signals, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    let_threads_go()
    keep_freed()
    threading.Thread(target=_end_in_time, args=[signals], daemon=True).start()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from lad.cli import run

        sys.exit(run())
    except KeyboardInterrupt:
        print(SAID, end="", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
