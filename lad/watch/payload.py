"""What is told of an event of a camera: a line of JSON for each of its changes, the same for every sink.

docs/watch_events.md describes it for those who read it, docs/watch_events.schema.json is its JSON Schema.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FORMAT = "lad-watch"
VERSION = 1  # rises when a program that reads the lines would have to change
LONGEST_NAME = 64  # bytes; with a time behind it, it has to fit into the name of a file

Kind = Literal["new", "update", "end"]
Severity = Literal["detection", "alert"]


@dataclass(frozen=True)
class Payload:
    """One state of one event.

    Attributes:
        id: its name, for ever: no other event has it, of whatever camera or run. `new_id` makes it.
        camera: where it happens.
        label: the category that it looks like most.
        severity: `alert` where the highest score passed the higher threshold.
        score: of the newest frame, in [0, 1].
        top_score: the highest score so far, in [0, 1].
        threshold: what a score has to pass for an event to begin.
        start_time: when it began, in Unix seconds; of a file, seconds since its first frame.
        end_time: when it ended, as `start_time`; None while it lasts.
        frame_time: when the newest frame was taken that this tells of, as `start_time`.
        delay_seconds: from then until this was made.
        has_clip: whether `clip` is there to be played.
        clip, thumb: files below the folder of events, `/`-separated; empty where there are none.
        model_sha256: SHA-256 of the detector's file.
        looks_like: the likeliest of Kinetics' 400 actions, the likeliest first; empty where the features cannot tell.
    """

    id: str
    camera: str
    label: str
    severity: Severity
    score: float
    top_score: float
    threshold: float
    start_time: float
    end_time: float | None
    frame_time: float
    delay_seconds: float
    has_clip: bool
    clip: str
    thumb: str
    model_sha256: str
    looks_like: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """An event began (`new`), changed (`update`) or ended (`end`).

    Attributes:
        before: what the notice before this one said of it; None where this is the first.
        after: how it is now.
        peak: time of the frame with the top score so far, for its picture; it is not sent.
    """

    type: Kind
    before: Payload | None
    after: Payload
    peak: float = field(default=0.0, compare=False)

    def to_json(self) -> str:
        """One line of ASCII, without its end.

        Raises:
            ValueError: a number is not finite.
        """
        before = asdict(self.before) if self.before else None
        content = {
            "format": FORMAT,
            "version": VERSION,
            "type": self.type,
            "before": before,
            "after": asdict(self.after),
        }
        return json.dumps(content, allow_nan=False)


def read_notice(line: str) -> Notice:
    """What `Notice.to_json` wrote. Keys that a later `lad` added are passed over.

    Raises:
        ValueError: it is none, or of another version.
    """
    try:
        content = json.loads(line)
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{content['format']} {content['version']}")
        before = content["before"]
        return Notice(content["type"], _payload(before) if before else None, _payload(content["after"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a notice of {FORMAT}, version {VERSION}: {error}") from error


def _payload(content: dict[str, Any]) -> Payload:
    known = {key: content[key] for key in Payload.__dataclass_fields__}
    return Payload(**known | {"looks_like": tuple(known["looks_like"])})


def new_id(camera: str, start_time: float) -> str:
    """A name for an event that no other has: `yard-20261129T100903.123Z-1a2b3c`."""
    moment = datetime.fromtimestamp(start_time, UTC)
    return f"{plain_name(camera)}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{secrets.token_hex(3)}"


def place(event: Payload) -> str:
    """Where an event's files lie below the folder of events, without their suffix: `yard/2026-11-29/<id>`.

    The day is that of the event's start, in UTC.
    """
    return f"{plain_name(event.camera)}/{datetime.fromtimestamp(event.start_time, UTC):%Y-%m-%d}/{event.id}"


def plain_name(camera: str) -> str:
    """A camera's name as a part of paths and of MQTT topics: letters, digits, `.`, `_` and `-`.

    A name that had to be changed gets some digits of its own, so that `a/b` and `a_b` stay apart.
    """
    plain = re.sub(r"[^\w.-]|^\.", "_", camera).encode()[:LONGEST_NAME].decode(errors="ignore")
    if plain and plain == camera:
        return plain
    return f"{plain}-{hashlib.sha256(camera.encode(errors='surrogatepass')).hexdigest()[:6]}"
