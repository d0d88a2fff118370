"""The server of `lad review` while it runs: a socket of this machine, until Ctrl-C."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable

import uvicorn

from lad.errors import LadError
from lad.review.app import Served, make_app


class ServeError(LadError):
    """The page cannot be served."""


def serve(served: Served, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C.

    Args:
        served: what it shows.
        host: address to listen on.
        port: to listen on; 0: a free one.
        ready: gets the page's address once it can be opened.

    Raises:
        ServeError: nothing can listen there.
    """
    if not host:
        raise ServeError(
            "--host: no address to listen on: 127.0.0.1 is this machine alone, 0.0.0.0 all of its addresses"
        )
    # What goes wrong with one request is told to who asked. Addresses hold the token: they are in no log.
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    logging.getLogger("uvicorn").propagate = False
    token = secrets.token_urlsafe(24)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(64)
        except OSError as error:
            raise ServeError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
        number = listening.getsockname()[1]
        config = uvicorn.Config(
            make_app(served, token, host),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        address = f"http://{_name(host)}:{number}/{token}/"
        server = uvicorn.Server(config)
        ended = threading.Event()  # a `join` that Ctrl-C interrupts takes the thread for one that has ended

        def run() -> None:
            try:
                server.run(sockets=[listening])
            finally:
                ended.set()

        # In a thread: there it leaves signals to lad, and a browser of the terminal may take this one.
        threading.Thread(target=run).start()
        try:
            while not server.started and not ended.wait(0.01):
                pass
            ready(address)
            ended.wait()
        except KeyboardInterrupt:
            return
        finally:
            server.should_exit = True
            ended.wait()


def _name(host: str) -> str:
    """How a browser of this machine calls the server."""
    if host in ("0.0.0.0", "localhost"):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
