"""Where notices go, by name: a new sink is a module here and a line in `SINKS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from lad.watch.sink import Sink
from lad.watch.sinks.folder import FolderOptions, FolderSink
from lad.watch.sinks.mqtt import MqttOptions, MqttSink
from lad.watch.sinks.stdout import StdoutOptions, StdoutSink
from lad.watch.sinks.webhook import WebhookOptions, WebhookSink


@dataclass(frozen=True)
class SinkKind:
    """A kind of sink: what one says of it, and what makes it of that (SinkError: it cannot be made)."""

    options: type[BaseModel]
    make: Callable[[Any], Sink]


SINKS = {
    "stdout": SinkKind(StdoutOptions, StdoutSink),
    "folder": SinkKind(FolderOptions, FolderSink),
    "webhook": SinkKind(WebhookOptions, WebhookSink),
    "mqtt": SinkKind(MqttOptions, MqttSink),
}
