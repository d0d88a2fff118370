"""`/metrics`, read by Prometheus' own parser, and `/healthz`."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from helpers.notices import free_port
from prometheus_client.parser import text_string_to_metric_families

from lad.watch.metrics import Metrics, MetricsError, Server, serve_metrics


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock) -> Metrics:
    return Metrics(["yard", "gate"], clock=clock)


@pytest.fixture
def server(metrics) -> Iterator[Server]:
    one = serve_metrics(metrics, ":0")
    yield one
    one.close()


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, kind, content."""
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], content


def test_every_number_of_the_docs_is_there_by_its_name(metrics, server):
    metrics.camera_fps("yard", 25)
    metrics.processed_fps("yard", 12.5)
    metrics.dropped_clips("yard", 3)
    metrics.dropped_clips("yard", 4)
    metrics.reconnected("yard")
    metrics.latency("yard", 0.3)
    metrics.latency("yard", 40)
    metrics.damaged_frames("yard", 3)
    metrics.event("yard", "alert")
    metrics.queued("mqtt", 7)
    metrics.dropped("mqtt", 2)
    metrics.refused("mqtt")
    metrics.online("yard", True)
    status, kind, content = ask(server, "/metrics")
    assert status == 200 and kind.startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    }
    wanted = {
        ("lad_camera_fps", "yard"): 25,
        ("lad_processed_fps", "yard"): 12.5,
        ("lad_dropped_clips_total", "yard"): 7,
        ("lad_dropped_clips_total", "gate"): 0,
        ("lad_damaged_frames_total", "yard"): 3,
        ("lad_damaged_frames_total", "gate"): 0,
        ("lad_reconnects_total", "yard"): 1,
        ("lad_latency_seconds_count", "yard"): 2,
        ("lad_latency_seconds_bucket", "yard", "0.5"): 1,
        ("lad_events_total", "yard", "alert"): 1,
        ("lad_queued_notices", "mqtt"): 7,
        ("lad_dropped_notices_total", "mqtt"): 2,
        ("lad_refused_notices_total", "mqtt"): 1,
        ("lad_camera_online", "yard"): 1,
        ("lad_camera_online", "gate"): 0,
    }
    assert {name: samples.get(name) for name in wanted} == wanted


def test_two_lad_in_one_process_count_for_themselves(metrics):
    Metrics().event("yard", "alert")
    assert metrics.registry.get_sample_value("lad_events_total", {"camera": "yard", "severity": "alert"}) is None


def test_health_is_good_where_every_camera_sends_or_is_a_file_that_ended(metrics, server, clock):
    def health() -> tuple[int, list[str]]:
        status, _, content = ask(server, "/healthz")
        return status, json.loads(content)["silent"]

    assert health() == (503, ["gate", "yard"])
    metrics.online("yard", True)
    assert health() == (503, ["gate"])
    metrics.online("gate", True)
    assert health() == (200, [])
    clock.now += 20
    assert health() == (200, [])
    clock.now += 1
    assert health() == (503, ["gate", "yard"])
    metrics.online("yard", True)
    metrics.finished("gate")
    assert health() == (200, [])
    metrics.online("yard", False)
    assert health() == (503, ["yard"])


def test_other_addresses_and_methods(server):
    assert ask(server, "/")[0] == 404
    assert ask(server, "/metrics", "HEAD")[2] == ""
    assert ask(server, "/metrics", "POST")[0] == 501


def test_only_this_machine_may_ask_unless_told_so(metrics):
    server = serve_metrics(metrics, ":0")
    assert server.address.startswith("http://127.0.0.1:")
    assert server._server.socket.getsockname()[0] == "127.0.0.1"
    server.close()
    server = serve_metrics(metrics, "0.0.0.0:0")
    assert server._server.socket.getsockname()[0] == "0.0.0.0"
    server.close()


@pytest.mark.parametrize("address", ["", "9090", "localhost", ":", ":x", ":70000", ":-1", ":٣"])
def test_an_address_that_is_none_is_said(metrics, address):
    with pytest.raises(MetricsError, match="give an address and a port, as :9090"):
        serve_metrics(metrics, address)


def test_a_port_that_is_taken_is_said(metrics):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(MetricsError, match="Address already in use"):
        serve_metrics(metrics, f":{port}")


def test_who_asks_and_says_nothing_keeps_nobody_waiting(server):
    place = urlsplit(server.address)
    held = [socket.create_connection((place.hostname, place.port)) for _ in range(20)]
    assert ask(server, "/healthz")[0] == 503
    for one in held:
        one.close()
