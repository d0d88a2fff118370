"""Where notices go: a broker (mosquitto) with a subscriber, and a receiver of webhooks."""

from __future__ import annotations

import http.server
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

MOSQUITTO = "/usr/sbin/mosquitto"
REFUSES = 0.1  # of the requests that the receiver answers with 503


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """mosquitto, with a subscriber that is never forgotten. `lines` are what came on `lad/events`."""

    def __init__(self, folder: Path) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.lines = free_port(), list[str]()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder.absolute()}/\nmax_queued_messages 0\nuser root\n",
            encoding="utf-8",
        )
        self._start()
        self._subscriber = Client(CallbackAPIVersion.VERSION2, "benchmark", clean_session=False)
        self._subscriber.on_connect = lambda client, *_: client.subscribe("lad/events", qos=1)
        self._subscriber.on_message = lambda client, data, message: self.lines.append(message.payload.decode())
        self._subscriber.reconnect_delay_set(1, 2)
        self._subscriber.connect("127.0.0.1", self.port)
        self._subscriber.loop_start()

    def _start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def rest(self, seconds: float) -> None:
        """It is down for so long."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        time.sleep(seconds)
        self._start()

    def end(self) -> None:
        self._subscriber.loop_stop()
        self._process.kill()
        self._process.wait()


class Receiver:
    """Takes webhooks, but for a tenth that it refuses for now. `lines` are the bodies that it took."""

    def __init__(self) -> None:
        taken = self.lines = list[str]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                refused = random.random() < REFUSES
                if not refused:
                    taken.append(body)
                self.send_response(503 if refused else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def end(self) -> None:
        self._server.shutdown()
