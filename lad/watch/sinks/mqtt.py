"""Notices and the cameras' status for an MQTT broker, by paho-mqtt."""

from __future__ import annotations

import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lad.watch.environment import Secret
from lad.watch.payload import plain_name
from lad.watch.sink import SinkError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

NEEDS = "MQTT needs paho-mqtt: pip install paho-mqtt"
PORT, TLS_PORT = 1883, 8883
KEEP_ALIVE_SECONDS = 30
RECONNECT_SECONDS = (1, 30)  # first and longest wait
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0  # for the broker to take a notice, or to be there again
GOODBYE_SECONDS = 1.0


class MqttOptions(BaseModel):
    """Which broker, and as whom."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    host: str = Field(min_length=1)
    port: int | None = Field(None, ge=1, le=65535)  # None: 1883, with TLS 8883
    user: Secret | None = None
    password: Secret | None = None
    prefix: str = "lad"  # of all topics; two lad at one broker need two
    tls: bool = False
    ca_file: Path | None = None  # certificates to trust in place of the system's
    cert_file: Path | None = None  # this client's own certificate ...
    key_file: Path | None = None  # ... and its key

    @field_validator("prefix")
    @classmethod
    def _is_topic(cls, prefix: str) -> str:
        if not prefix.isprintable() or set(prefix) & set("+#$") or not all(prefix.split("/")):
            raise ValueError("give words with / between them, without + # and $")
        return prefix


class MqttSink:
    """Publishes with QoS 1: a notice is delivered when the broker has acknowledged it.

    Topics, below the prefix: `available` (`online`, by the broker's will `offline`; retained), `<camera>/status`
    (retained), `events`. Whatever broker it comes back to, that one is told all of what is retained again.
    """

    durable = True

    def __init__(self, options: MqttOptions) -> None:
        """Begin to connect, in the background and for ever.

        Raises:
            SinkError: paho-mqtt is not installed, or a file of certificates is none.
        """
        self._prefix = options.prefix
        self._broker = f"{options.host}:{options.port or (TLS_PORT if options.tls else PORT)}"
        self._changed = threading.Condition()
        self._ready = False  # connected, and the broker was told what is retained
        self._problem = "cannot be reached"
        self._taken: set[int] = set()  # numbers of messages that the broker acknowledged
        self._statuses: dict[str, str] = {}
        self._client = _client(options)
        self._client.will_set(f"{self._prefix}/available", "offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        host, _, port = self._broker.rpartition(":")
        self._client.connect_async(host, int(port), KEEP_ALIVE_SECONDS)
        self._client.loop_start()

    # Nobody publishes while holding `_changed`, but for the thread of paho-mqtt: it calls back while it holds the lock
    # that publishing needs.

    def deliver(self, line: str, notice_type: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready, ANSWER_SECONDS):
                raise SinkError(f"{self._broker}: {self._problem}")
            self._taken.clear()
        number = self._client.publish(f"{self._prefix}/events", line, qos=1).mid
        if not self._is_taken(number, ANSWER_SECONDS):
            why = "did not take it in time" if self._ready else "the connection broke"
            raise SinkError(f"{self._broker}: {why}")

    def status(self, camera: str, status: str) -> None:
        with self._changed:
            self._statuses[camera] = status
            ready = self._ready
        if ready:
            self._tell(f"{plain_name(camera)}/status", status)

    def close(self) -> None:
        ready = self._ready
        if ready:  # a client that says goodbye has no will
            self._is_taken(self._tell("available", "offline"), GOODBYE_SECONDS)
        self._client.disconnect()
        if ready:  # else its thread may be waiting for a host that does not answer
            self._client.loop_stop()

    def _is_taken(self, number: int, seconds: float) -> bool:
        """Wait for the broker to acknowledge a message; False where it does not, or the connection breaks."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._taken or not self._ready, seconds)
            return number in self._taken

    def _tell(self, topic: str, value: str) -> int:
        return self._client.publish(f"{self._prefix}/{topic}", value, qos=1, retain=True).mid

    # These are called by the thread of paho-mqtt.

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            if reason.is_failure:
                self._problem = f"refused the connection ({reason})"
                return
            client.drop_out_messages()  # of before: it would send an old status after today's
            self._tell("available", "online")
            for camera, status in self._statuses.items():
                self._tell(f"{plain_name(camera)}/status", status)
            self._ready, self._problem = True, "cannot be reached"
            self._changed.notify_all()

    def _on_connect_fail(self, client: Client, data: Any) -> None:
        error = sys.exception()  # paho-mqtt calls this while it handles it, and does not pass it on
        reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or "no answer"
        with self._changed:
            self._problem = f"cannot be reached ({reason})"

    def _on_disconnect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._ready = False
            self._changed.notify_all()

    def _on_publish(self, client: Client, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._taken.add(number)
            self._changed.notify_all()


def _client(options: MqttOptions) -> Client:
    """A client that is not connected."""
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ModuleNotFoundError as error:
        raise SinkError(NEEDS) from error

    client = Client(CallbackAPIVersion.VERSION2)
    client.connect_timeout = CONNECT_SECONDS
    client.reconnect_delay_set(*RECONNECT_SECONDS)
    if options.user is not None:
        password = options.password.get_secret_value() if options.password else None
        client.username_pw_set(options.user.get_secret_value(), password)
    if options.tls:
        client.tls_set_context(_tls(options))
    return client


def _tls(options: MqttOptions) -> ssl.SSLContext:
    files = [str(file) for file in (options.ca_file, options.cert_file, options.key_file) if file]
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file:
            context.load_cert_chain(options.cert_file, options.key_file)
    except (OSError, ssl.SSLError) as error:
        raise SinkError(f"{', '.join(files)}: no certificates in it, or it cannot be read") from error
    return context
