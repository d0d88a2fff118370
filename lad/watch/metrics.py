"""How `lad watch` is doing, for Prometheus (`/metrics`) and for whoever restarts it (`/healthz`)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from lad.errors import LadError

NEEDS = "--metrics needs prometheus-client: pip install prometheus-client"
SILENT_SECONDS = 20.0  # without a word of it
LATENCIES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)  # upper ends of the histogram's buckets, in seconds
REQUEST_SECONDS = 10.0  # for one who asks to say what


class MetricsError(LadError):
    """Nothing can be counted, or nobody can ask."""


class Metrics:
    """The numbers of one `lad watch`. Any thread may call."""

    def __init__(self, cameras: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero.

        Args:
            cameras: names of those that there are, so that one that never sent a frame is told of.
            clock: seconds since whenever.

        Raises:
            MetricsError: prometheus-client is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ModuleNotFoundError as error:
            raise MetricsError(NEEDS) from error

        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, float | None] = dict.fromkeys(cameras)  # when a camera was last online; None: it is not
        self._finished: set[str] = set()
        of_camera: dict[str, Any] = {"labelnames": ["camera"], "registry": CollectorRegistry()}
        of_sink = of_camera | {"labelnames": ["sink"]}
        self.registry: CollectorRegistry = of_camera["registry"]
        self._camera_fps = Gauge("lad_camera_fps", "Frames a second that a camera sends.", **of_camera)
        self._processed_fps = Gauge("lad_processed_fps", "Frames of a camera a second that get a score.", **of_camera)
        self._online = Gauge("lad_camera_online", "Whether a camera sends frames: 1 or 0.", **of_camera)
        self._dropped_clips = Counter(
            "lad_dropped_clips_total", "Clips of 16 frames that were left out, to keep up.", **of_camera
        )
        self._damaged_frames = Counter(
            "lad_damaged_frames_total", "Frames of which parts did not come, and which were scored so.", **of_camera
        )
        self._reconnects = Counter("lad_reconnects_total", "How often a camera was connected to anew.", **of_camera)
        self._latency = Histogram(
            "lad_latency_seconds", "From when a frame was taken until it had its score.", buckets=LATENCIES, **of_camera
        )
        self._events = Counter(
            "lad_events_total", "Events that began.", **of_camera | {"labelnames": ["camera", "severity"]}
        )
        self._queued = Gauge("lad_queued_notices", "Notices that wait for a sink.", **of_sink)
        self._dropped = Counter("lad_dropped_notices_total", "Notices that were lost: too many waited.", **of_sink)
        self._refused = Counter("lad_refused_notices_total", "Notices that a sink refused for good.", **of_sink)
        for camera in cameras:
            self._online.labels(camera).set(0)
            self._dropped_clips.labels(camera)
            self._damaged_frames.labels(camera)
            self._reconnects.labels(camera)

    def camera_fps(self, camera: str, fps: float) -> None:
        """Say how many frames a second a camera sends."""
        self._camera_fps.labels(camera).set(fps)

    def processed_fps(self, camera: str, fps: float) -> None:
        """Say how many of its frames a second get a score."""
        self._processed_fps.labels(camera).set(fps)

    def dropped_clips(self, camera: str, n: int) -> None:
        """Count clips that were left out."""
        self._dropped_clips.labels(camera).inc(n)

    def damaged_frames(self, camera: str, n: int) -> None:
        """Count frames of which parts did not come."""
        self._damaged_frames.labels(camera).inc(n)

    def reconnected(self, camera: str) -> None:
        """Count that a camera was connected to anew."""
        self._reconnects.labels(camera).inc()

    def latency(self, camera: str, seconds: float) -> None:
        """Count how long a frame took from being taken to having its score."""
        self._latency.labels(camera).observe(seconds)

    def event(self, camera: str, severity: str) -> None:
        """Count an event that began."""
        self._events.labels(camera, severity).inc()

    def online(self, camera: str, online: bool) -> None:
        """Say that a camera has just sent a frame, or that it is offline. Say the former every few seconds."""
        self._online.labels(camera).set(int(online))
        with self._lock:
            self._seen[camera] = self._clock() if online else None

    def finished(self, camera: str) -> None:
        """Say that a file has ended: that is no fault."""
        self._online.labels(camera).set(0)
        with self._lock:
            self._finished.add(camera)

    def queued(self, sink: str, n: int) -> None:
        """Say how many notices wait for a sink."""
        self._queued.labels(sink).set(n)

    def dropped(self, sink: str, n: int) -> None:
        """Count notices that were lost."""
        self._dropped.labels(sink).inc(n)

    def refused(self, sink: str) -> None:
        """Count a notice that a sink refused."""
        self._refused.labels(sink).inc()

    def silent(self) -> list[str]:
        """The cameras that are offline, or of which nothing was heard for 20 s, by name."""
        now = self._clock()
        with self._lock:
            return sorted(
                camera
                for camera, seen in self._seen.items()
                if camera not in self._finished and (seen is None or now - seen > SILENT_SECONDS)
            )


class Server:
    """Answers `/metrics` and `/healthz`, in threads of its own."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: nothing can listen there.
        """
        self._server = _server_class(host)((host, port), _handler_class(metrics))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def serve_metrics(metrics: Metrics, address: str) -> Server:
    """Let others ask how `lad watch` is doing.

    `/healthz` is 200 where every camera is online or is a file that has ended, else 503.

    Args:
        metrics: what to answer with.
        address: `host:port`; `:9090` is this machine alone, `0.0.0.0:9090` all its addresses, port 0 a free one.

    Raises:
        MetricsError: that is no address, or nothing can listen there.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise MetricsError(f"--metrics {address}: give an address and a port, as :9090 or 0.0.0.0:9090")
    try:
        return Server(metrics, host.strip("[]") or "127.0.0.1", int(port))
    except OSError as error:
        raise MetricsError(f"--metrics {address}: cannot listen there: {error.strerror or error}") from error


def _server_class(host: str) -> type[ThreadingTCPServer]:
    class MetricsServer(ThreadingTCPServer):  # http.server's would ask the DNS for its own name first
        allow_reuse_address = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who asked went away: nobody else need know."""

    return MetricsServer


def _handler_class(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    from prometheus_client import generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version, sys_version = "lad", ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))
                case "/healthz":
                    silent = metrics.silent()
                    said = {"status": "cameras are silent" if silent else "ok", "silent": silent}
                    self._answer(503 if silent else 200, "application/json", f"{json.dumps(said)}\n".encode())
                case _:
                    self._answer(404, "text/plain", b"/metrics or /healthz\n")

        do_HEAD = do_GET

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *words: Any) -> None:
            """Say nothing: Prometheus asks every few seconds."""

    return Handler
