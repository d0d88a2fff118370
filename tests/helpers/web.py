"""A web server on the loopback that serves files as well, or as badly, as a test wants it."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Served:
    """A file, and how it is served.

    Attributes:
        content: its bytes.
        etag, modified: of its headers; empty: it has none.
        ranges: whether a part of it is sent where one is asked for.
        status: of every answer, where it is not one of success.
        head: the status of HEAD, where that is refused.
        cuts: so many answers break off, each in the middle.
        busy: so many requests are answered with 503 first.
        silent: seconds before anything is answered.
        length: whether its length is told.
        password: of the user `bob`, where one is wanted.
    """

    content: bytes
    etag: str = ""
    modified: str = ""
    ranges: bool = True
    status: int = 200
    head: int = 200
    cuts: int = 0
    busy: int = 0
    silent: float = 0.0
    length: bool = True
    password: str = ""


@dataclass
class Web:
    """The server. `asked`: method, path and range of each request."""

    address: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def count(self, method: str, name: str) -> int:
        return sum((one[0], one[1]) == (method, name) for one in self.asked)


@contextmanager
def web_server() -> Iterator[Web]:
    """A server that is there as long as this lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            name = self.path.partition("?")[0].lstrip("/")
            web.asked.append((self.command, name, self.headers.get("Range", "")))
            served = web.files.get(name, Served(b"", status=404))
            time.sleep(served.silent)
            status = served.status if body or served.head == 200 else served.head
            if served.password and "Basic" not in self.headers.get("Authorization", ""):
                status = 401
            if served.busy:
                served.busy -= 1
                status = 503
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(served, body)

        def _send(self, served: Served, body: bool) -> None:
            content, whole = served.content, len(served.content)
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if wanted and served.ranges:
                start, end = int(wanted[1]), min(int(wanted[2] or whole), whole - 1)
                content = content[start : end + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{whole}")
            else:
                self.send_response(200)
            for key, value in (("ETag", served.etag), ("Last-Modified", served.modified)):
                if value:
                    self.send_header(key, value)
            self.send_header("Accept-Ranges", "bytes" if served.ranges else "none")
            if served.length:
                self.send_header("Content-Length", str(len(content)))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if not body:
                return
            if served.cuts:
                served.cuts -= 1
                content = content[: len(content) // 2]
                self.close_connection = True
            try:
                self.wfile.write(content)
            except OSError:  # nobody wants the rest
                self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
