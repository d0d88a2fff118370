"""What `lad config` and the documentation say of the keys of the configuration."""

from __future__ import annotations

import textwrap
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from lad.config import ConfigError, all_keys, elsewhere
from lad.remote.url import Location
from lad.text import did_you_mean

TEXT, PATH = "text", "a path"
ANYTHING = (TEXT, PATH)  # no need to say


def describe_keys(wanted: str = "") -> str:
    """Keys with default, meaning and values: all of them, those of a section, or one.

    Raises:
        ConfigError: there is no such key.
    """
    keys = dict(all_keys())
    chosen = {key: field for key, field in keys.items() if not wanted or f"{key}.".startswith(f"{wanted}.")}
    if not chosen:
        last = wanted.rpartition(".")[2]
        meant = elsewhere(last) or did_you_mean(wanted, keys) or ": `lad config` lists all"
        raise ConfigError(f"unknown key {wanted!r}{meant}")
    lines = []
    for key, field in chosen.items():
        lines.append(f"{key}: {as_yaml(field.get_default(call_default_factory=True))}")
        values = values_of(field)
        said = [field.description or "", *([f"values: {values}"] if values not in ANYTHING else [])]
        lines += [textwrap.fill(line, 116, initial_indent="    ", subsequent_indent="    ") for line in said]
    return "\n".join(lines)


def values_of(field: FieldInfo) -> str:
    """Which values a key may have, in words, as far as its type says it."""
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not types.NoneType]
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{as_yaml(value)}`" for value in get_args(kind))
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return f"a list of {values_of(FieldInfo(annotation=item))}"
    if get_origin(kind) is dict:
        key, _ = get_args(kind)
        return f"a name for each of {values_of(FieldInfo(annotation=key))}"
    pattern = next((limit.pattern for limit in field.metadata if getattr(limit, "pattern", None)), None)
    if pattern:
        return f"`{pattern}`"
    named = {bool: "`true`, `false`", str: TEXT, Path: PATH, Location: "a path or a URL"}
    return named.get(kind) or _range(kind, field.metadata)


def _alternatives(annotation: Any) -> list[Any]:
    union = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in union]


def _range(kind: Any, limits: list[Any]) -> str:
    """The numbers that a key allows: "a whole number, 1 to 64", "a number, above 0, below 1"."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = {name: getattr(limit, name) for limit in limits for name in words if getattr(limit, name, None) is not None}
    number = "a whole number" if kind is int else "a number"
    if set(found) == {"ge", "le"}:
        return f"{number}, {_number(found['ge'])} to {_number(found['le'])}"
    return ", ".join([number, *(f"{words[name]} {_number(value)}" for name, value in found.items())])


def _number(value: float) -> str:
    value = int(value) if value == int(value) else value
    for base, exponent in ((2, 62), (2, 31)):
        if abs(value) == base**exponent:
            return f"{'-' if value < 0 else ''}{base}^{exponent}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6f}".rstrip("0")


def as_yaml(value: Any) -> str:
    """A value in one line, as a configuration has it."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
