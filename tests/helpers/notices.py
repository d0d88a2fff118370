"""Notices of `lad watch`, and whoever takes them: an HTTP receiver, an MQTT broker."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lad.watch.payload import Notice, Payload

MOSQUITTO = "/usr/sbin/mosquitto"
START = 1_764_411_000.123  # 2025-11-29T10:10:00.123Z


def event(number: int = 0, **changes: Any) -> Payload:
    """The state of an event of the camera `yard`; `number` is in its id."""
    facts: dict[str, Any] = {
        "id": f"yard-20251129T101000.123Z-{number:06x}",
        "camera": "yard",
        "label": "Fighting",
        "severity": "alert",
        "score": 0.91,
        "top_score": 0.97,
        "threshold": 0.58,
        "start_time": START,
        "end_time": None,
        "frame_time": START + 2,
        "delay_seconds": 1.5,
        "has_clip": False,
        "clip": "",
        "thumb": "",
        "model_sha256": "0" * 64,
        "looks_like": ("wrestling",),
    }
    return Payload(**facts | changes)


def notice(number: int = 0, **changes: Any) -> Notice:
    """That an event began."""
    return Notice("new", None, event(number, **changes))


def eventually(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def make_certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("NO OPENSSL: install openssl to run this")
    both, certificate = folder / "both.pem", folder / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    where = ["-keyout", str(both), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *where], check=True, capture_output=True)
    both.write_bytes(both.read_bytes() + certificate.read_bytes())
    return both


class Receiver:
    """A small HTTP server. It answers with `answers`, one after the other, and then with 200.

    An answer is a status, `hang` (nothing is said), or `break` (the connection is closed).
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: list[int | str] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # path, headers, body
        self.taken: list[str] = []  # bodies of those that were answered with 200
        self.go_on = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if len(body) < int(self.headers["Content-Length"]):
                    return  # the sender was killed
                answer = outer.answers.pop(0) if outer.answers else 200
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if answer == "hang":
                    outer.go_on.wait(60)
                if answer == 200:  # before it is answered: the next one comes on another thread
                    outer.taken.append(body.decode())
                if isinstance(answer, int):
                    self.send_response(answer)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_GET = do_POST

            def log_message(self, *words: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}/hook?token=hidden"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def bodies(self) -> list[str]:
        return [body.decode() for _, _, body in self.requests]

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


class Broker:
    """A mosquitto of our own. It remembers nothing over a restart, or all that is kept for those who are away."""

    def __init__(self, folder: Path, *settings: str, remembers: bool = False) -> None:
        if not Path(MOSQUITTO).exists():
            pytest.skip(f"NO BROKER at {MOSQUITTO}: install mosquitto to run this")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",
            f"persistence {str(remembers).lower()}",
        ]
        lines += [f"persistence_location {folder}/", *(settings or ("allow_anonymous true",))]
        self._config.write_text("".join(f"{line}\n" for line in lines))
        Path(folder).chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def freeze(self) -> None:
        """Let it answer nothing any more."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        self._frozen = True

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            if self._frozen:
                self._process.kill()
            self._process.wait()
            self._frozen = False
            self._process = None


class Listener:
    """Hears all that is published at a broker; while it is away, one that remembers keeps it."""

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, str, bool]] = []  # topic, content, whether the broker had kept it
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"listener-{id(self)}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.username_pw_set(user, password)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def events(self, topic: str = "lad/events") -> list[str]:
        return [content for where, content, _ in list(self.heard) if where == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
