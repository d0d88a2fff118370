"""What the user says of cameras: `cameras.yaml`, or sources on the command line. docs/watch.md describes every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from lad.config import ConfigError, read_yaml
from lad.masking import hide
from lad.text import did_you_mean
from lad.watch.address import Address, SourceError, Transport, address_of
from lad.watch.environment import SecretUrl, expand_url
from lad.watch.events import Rule
from lad.watch.sinks import SINKS

Latency = Literal["exact", "low"]
RULE_KEYS = ("hysteresis", "cutoff_seconds", "cooldown_seconds", "smooth_seconds", "update_seconds")


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class EventKeys(_Keys):
    """What makes an event, and what is kept of it. Of a camera they stand for its own, else for all."""

    threshold: float | None = Field(None, ge=0, le=1)
    alert_threshold: float | None = Field(None, ge=0, le=1)
    alarms_per_day: float | None = Field(None, gt=0, le=1000)
    hysteresis: float | None = Field(None, ge=0, le=1)
    cutoff_seconds: float | None = Field(None, ge=0, le=3600)
    cooldown_seconds: float | None = Field(None, ge=0, le=86_400)
    smooth_seconds: float | None = Field(None, ge=0, le=60)
    update_seconds: float | None = Field(None, ge=0, le=3600)
    clips: bool | None = None
    pre_seconds: float | None = Field(None, ge=0, le=60)
    post_seconds: float | None = Field(None, ge=0, le=60)
    offline_seconds: float | None = Field(None, ge=1, le=3600)


class CameraKeys(EventKeys):
    """One camera."""

    url: SecretUrl
    transport: Transport = "tcp"
    realtime: bool = False
    follow: bool = False

    @model_validator(mode="after")
    def _is_one_kind(self) -> CameraKeys:
        if self.realtime and self.follow:
            raise ValueError("realtime and follow: choose one of them")
        return self


class WatchConfig(EventKeys):
    """The file."""

    checkpoint: Path | None = None
    cameras: dict[str, CameraKeys] = {}
    known: Path | None = None
    out: Path | None = None
    latency: Latency | None = None
    cooldown_all_seconds: float = Field(0.0, ge=0, le=86_400)
    metrics: str | None = None
    keep_days: float | None = Field(None, gt=0)
    keep_gigabytes: float | None = Field(20.0, gt=0)
    queue_megabytes: float = Field(100.0, gt=0, le=1e6)
    stdout: bool = True
    sinks: dict[str, dict[str, Any]] = {}

    @field_validator("cameras", mode="before")
    @classmethod
    def _urls_alone(cls, cameras: Any) -> Any:
        """A camera may be its URL alone."""
        if not isinstance(cameras, dict):
            return cameras
        return {str(name): {"url": keys} if isinstance(keys, str) else keys for name, keys in cameras.items()}


@dataclass(frozen=True)
class Camera:
    """A camera to watch.

    Attributes:
        name: by which events, metrics and sinks call it.
        address: of its stream.
        threshold, alert_threshold: None: the detector's, and halfway from the threshold to 1.
        alarms_per_day: for which the threshold is raised; None: for none.
        rule: further keys of `events.Rule` that were set.
        clips: whether clips and pictures of its events are kept.
        pre_seconds, post_seconds: of a clip, before and after the event.
        offline_seconds: without a frame after which it is offline.
    """

    name: str
    address: Address
    threshold: float | None = None
    alert_threshold: float | None = None
    alarms_per_day: float | None = None
    rule: Mapping[str, float] = field(default_factory=dict)
    clips: bool = True
    pre_seconds: float = 5.0
    post_seconds: float = 5.0
    offline_seconds: float = 20.0

    def rule_with(self, threshold: float) -> Rule:
        """What makes an event of it, where the detector has this threshold."""
        taken = threshold if self.threshold is None else self.threshold
        alert = (1 + taken) / 2 if self.alert_threshold is None else self.alert_threshold
        return Rule(taken, max(alert, taken), **self.rule)


def read_config(path: Path) -> WatchConfig:
    """Read `cameras.yaml`.

    Raises:
        ConfigError: every wrong key and value, with its line; no value is shown, since it may be a password.
    """
    tree, lines = read_yaml(path)
    try:
        config = WatchConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explained(path, lines, error))) from None
    if problems := list(_sink_problems(path, lines, config)):
        raise ConfigError("\n".join(problems))
    return config


def with_options(config: WatchConfig, options: Mapping[str, Any]) -> WatchConfig:
    """The file, with what the command line says in place of what it says of all cameras, and of each."""
    said = {key: value for key, value in options.items() if value is not None}
    of_each = dict.fromkeys(said.keys() & EventKeys.model_fields.keys())
    cameras = {name: keys.model_copy(update=of_each) for name, keys in config.cameras.items()}
    return config.model_copy(update={**said, "cameras": cameras})


def _explained(
    path: Path, lines: Mapping[tuple[str, ...], int], error: ValidationError, prefix: tuple[str, ...] = ()
) -> Iterator[str]:
    for problem in error.errors():
        place = (*prefix, *(str(part) for part in problem["loc"]))
        key = ".".join(place)
        if problem["type"] == "extra_forbidden":
            known = CameraKeys if len(place) > 1 else WatchConfig
            names = [] if prefix else list(known.model_fields)
            meant = did_you_mean(place[-1], names)
            said = f"unknown key {key!r}{meant}" + (f"; known here: {', '.join(sorted(names))}" if names else "")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            said = f"{key}: {message[0].lower()}{message[1:]}"
        yield f"{_where(path, lines, place)}: {said}"


def _sink_problems(path: Path, lines: Mapping[tuple[str, ...], int], config: WatchConfig) -> Iterator[str]:
    for name, keys in config.sinks.items():
        kind = str(keys.get("kind", name))
        place = ("sinks", name)
        if kind not in SINKS:
            known = sorted(SINKS)
            yield (
                f"{_where(path, lines, place)}: sinks.{name}: no kind of sink {kind!r}{did_you_mean(kind, known)}; "
                f"known: {', '.join(known)}; say it with `kind`"
            )
            continue
        try:
            SINKS[kind].options(**{key: value for key, value in keys.items() if key != "kind"})
        except ValidationError as error:
            yield from _explained(path, lines, error, place)


def _where(path: Path, lines: Mapping[tuple[str, ...], int], place: tuple[str, ...]) -> str:
    known = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), None)
    return f"{path}:{known}" if known else str(path)


def cameras_of(config: WatchConfig, sources: Sequence[str], *, realtime: bool, follow: bool) -> list[Camera]:
    """The cameras of a file and those named beside it.

    Raises:
        SourceError: one of them cannot be one; a line for each.
    """
    named = dict(config.cameras)
    problems: list[str] = []
    for source in sources:
        try:
            url = expand_url(source)
        except ValueError as error:
            problems.append(f"{hide(source)}: {error}")
            continue
        keys = CameraKeys(url=SecretStr(url), realtime=realtime, follow=follow)
        named[_new_name(url, named)] = keys
    cameras: list[Camera] = []
    for name, keys in named.items():
        try:
            cameras.append(_camera(name, keys, config))
        except SourceError as error:
            problems.append(str(error))
    if problems:
        raise SourceError("\n".join(problems))
    return cameras


def _camera(name: str, keys: CameraKeys, config: WatchConfig) -> Camera:
    own = config.model_dump(include=set(EventKeys.model_fields), exclude_none=True)
    own |= keys.model_dump(include=set(EventKeys.model_fields), exclude_none=True)
    rule = {key: own.pop(key) for key in RULE_KEYS if key in own}
    address = address_of(
        keys.url.get_secret_value(), paced=keys.realtime, growing=keys.follow, transport=keys.transport
    )
    return Camera(name, address, rule=rule, **own)


def _new_name(url: str, known: Mapping[str, object]) -> str:
    """A name for a source that got none: the host of a URL, or the file's name, with a number where it is taken."""
    try:
        name = (urlsplit(url).hostname if "://" in url else Path(url).stem) or "camera"
    except ValueError:  # it is no URL, which is told where it is opened
        name = "camera"
    number = 2
    taken = name
    while taken in known:
        taken, number = f"{name}-{number}", number + 1
    return taken
