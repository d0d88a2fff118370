"""What an MQTT broker is told: a real mosquitto, which is stopped, started and refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.notices import Broker, Listener, event, eventually, free_port, make_certificate, notice
from helpers.places import REPOSITORY
from pydantic import ValidationError

from lad.watch.outbox import Outbox
from lad.watch.payload import Notice, plain_name
from lad.watch.sink import SinkError
from lad.watch.sinks.mqtt import MqttOptions, MqttSink

MOSQUITTO_PASSWD = "/usr/bin/mosquitto_passwd"


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    one = Broker(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def listener(broker) -> Iterator[Listener]:
    one = Listener(broker.port)
    yield one
    one.close()


def sink_to(broker: Broker, **options: object) -> MqttSink:
    return MqttSink(MqttOptions.model_validate({"host": "127.0.0.1", "port": broker.port, **options}))


def kept(broker: Broker) -> dict[str, str]:
    """What the broker tells who comes later."""
    late = Listener(broker.port)
    try:
        late_heard = late.heard
        eventually(lambda: late_heard)
        return {topic: content for topic, content, retained in late_heard if retained}
    finally:
        late.close()


def test_events_and_status_have_the_topics_of_the_docs(broker, listener):
    sink = sink_to(broker)
    sink.status("yard", "online")
    sink.deliver(notice().to_json(), "new")
    assert eventually(listener.events) == [notice().to_json()]
    sink.status("gate/2+", "offline")
    gate = f"lad/{plain_name('gate/2+')}/status"
    eventually(lambda: (gate, "offline", False) in listener.heard)
    assert kept(broker) == {"lad/available": "online", "lad/yard/status": "online", gate: "offline"}
    sink.close()
    assert kept(broker)["lad/available"] == "offline"


def test_the_broker_says_that_lad_is_gone_when_it_was_killed(broker, listener):
    options = f'{{"host": "127.0.0.1", "port": {broker.port}, "prefix": "site/lad"}}'
    code = (
        "import sys, time; from lad.watch.sinks.mqtt import *\n"
        f"sink = MqttSink(MqttOptions.model_validate_json({options!r})); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    eventually(lambda: ("site/lad/available", "online", False) in listener.heard)
    process.kill()
    process.wait()
    eventually(lambda: ("site/lad/available", "offline", False) in listener.heard)


@pytest.fixture
def remembering(tmp_path) -> Iterator[tuple[Broker, Listener]]:
    """A broker, and one who listens, that lose nothing of what was acknowledged."""
    broker = Broker(tmp_path, remembers=True)
    listener = Listener(broker.port)
    yield broker, listener
    listener.close()
    broker.stop()


@pytest.mark.slow
def test_a_broker_that_is_away_for_some_seconds_loses_nothing(remembering, tmp_path, monkeypatch):
    monkeypatch.setattr("lad.watch.sinks.mqtt.ANSWER_SECONDS", 2.0)
    broker, listener = remembering
    said: list[str] = []
    outbox = Outbox({"mqtt": sink_to(broker)}, tmp_path / "out", max_bytes=10_000_000, say=said.append)
    sent = []

    def send(numbers: range) -> None:
        for number in numbers:
            sent.append(notice(number).to_json())
            outbox.send(notice(number))

    send(range(20))
    eventually(lambda: len(listener.events()) == 20)
    broker.stop()
    send(range(20, 40))
    eventually(lambda: any("20 notices in its queue" in line for line in said))
    broker.start()
    send(range(40, 60))
    eventually(lambda: set(listener.events()) >= set(sent), 60)
    assert list(dict.fromkeys(listener.events())) == sent  # in order, some perhaps twice
    assert outbox.close(5) == {"mqtt": 0}


@pytest.mark.slow
def test_a_broker_that_restarts_again_and_again_loses_nothing(remembering, tmp_path):
    broker, listener = remembering
    outbox = Outbox({"mqtt": sink_to(broker)}, tmp_path / "out", max_bytes=10_000_000)
    for number in range(60):
        outbox.send(notice(number))
        if number % 20 == 10:
            broker.stop()
            broker.start()
    wanted = [notice(number).to_json() for number in range(60)]
    eventually(lambda: set(listener.events()) >= set(wanted), 60)
    assert list(dict.fromkeys(listener.events())) == wanted
    assert outbox.close(5) == {"mqtt": 0}


@pytest.mark.slow
def test_a_broker_that_forgot_everything_is_told_the_status_of_today(broker):
    sink = sink_to(broker)
    sink.status("yard", "online")
    sink.status("gate", "online")
    sink.deliver(notice().to_json(), "new")
    broker.stop()
    sink.status("yard", "offline")
    broker.start()
    sink.deliver(notice().to_json(), "new")
    assert kept(broker) == {"lad/available": "online", "lad/yard/status": "offline", "lad/gate/status": "online"}
    sink.close()


@pytest.mark.slow
def test_a_status_that_never_arrived_does_not_arrive_after_a_newer_one(broker):
    sink = sink_to(broker)
    sink.deliver(notice().to_json(), "new")
    broker.freeze()
    sink.status("yard", "offline")
    broker.stop()
    eventually(lambda: not sink._ready)
    sink.status("yard", "online")
    broker.start()
    sink.deliver(notice().to_json(), "new")
    assert kept(broker)["lad/yard/status"] == "online"
    sink.close()


def test_a_broker_that_is_not_there_is_said_and_closing_takes_no_time():
    sink = MqttSink(MqttOptions(host="127.0.0.1", port=free_port()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lad.watch.sinks.mqtt.ANSWER_SECONDS", 0.5)
        with pytest.raises(SinkError, match=r"^127\.0\.0\.1:\d+: cannot be reached \(Connection refused\)$"):
            sink.deliver(notice().to_json(), "new")
    sink.close()


@pytest.fixture
def guarded(tmp_path) -> Iterator[Broker]:
    """A broker that wants a password."""
    if not Path(MOSQUITTO_PASSWD).exists():
        pytest.skip(f"NO {MOSQUITTO_PASSWD}: install mosquitto to run this")
    words = tmp_path / "passwords"
    subprocess.run([MOSQUITTO_PASSWD, "-b", "-c", str(words), "lad", "s3cret"], check=True, capture_output=True)
    words.chmod(0o644)
    one = Broker(tmp_path, "allow_anonymous false", f"password_file {words}")
    yield one
    one.stop()


def test_the_password_comes_from_the_environment_and_a_wrong_one_is_said(guarded, monkeypatch):
    monkeypatch.setenv("MQTT_PASSWORD", "s3cret")
    listener = Listener(guarded.port, "lad", "s3cret")
    right = sink_to(guarded, user="lad", password="${MQTT_PASSWORD}")
    right.deliver(notice().to_json(), "new")
    assert eventually(listener.events) == [notice().to_json()]
    wrong = sink_to(guarded, user="lad", password="wr0ng")
    monkeypatch.setattr("lad.watch.sinks.mqtt.ANSWER_SECONDS", 1.0)
    with pytest.raises(SinkError, match=r"refused the connection \(Not authorized\)") as error:
        wrong.deliver(notice().to_json(), "new")
    assert "wr0ng" not in str(error.value)
    for one in (right, wrong, listener):
        one.close()


@pytest.mark.slow
def test_a_broker_is_believed_by_its_certificate_only(tmp_path, monkeypatch):
    monkeypatch.setattr("lad.watch.sinks.mqtt.ANSWER_SECONDS", 2.0)
    both = make_certificate(tmp_path)
    broker = Broker(tmp_path, "allow_anonymous true", f"certfile {both}", f"keyfile {both}")
    right, wrong = sink_to(broker, tls=True, ca_file=both), sink_to(broker, tls=True)
    right.deliver(notice().to_json(), "new")
    with pytest.raises(SinkError, match=r"cannot be reached \(self-signed certificate\)"):
        wrong.deliver(notice().to_json(), "new")
    for one in (right, wrong):
        one.close()
    broker.stop()


def test_an_event_is_told_once_where_nothing_fails(broker, listener, tmp_path):
    outbox = Outbox({"mqtt": sink_to(broker)}, tmp_path / "out", max_bytes=10_000_000)
    told = [notice(1), Notice("update", event(1), event(1, score=0.3)), Notice("end", event(1), event(1, end_time=9.0))]
    for one in told:
        outbox.send(one)
    assert outbox.close(10) == {"mqtt": 0}
    eventually(lambda: len(listener.events()) >= 3)
    assert listener.events() == [one.to_json() for one in told]


@pytest.mark.parametrize("prefix", ["", "lad/", "/lad", "a//b", "lad/#", "+", "$SYS", "a\nb"])
def test_a_prefix_that_is_no_topic_is_refused(prefix):
    with pytest.raises(ValidationError, match="give words with / between them"):
        MqttOptions(host="broker", prefix=prefix)
