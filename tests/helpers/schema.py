"""Whether data are as a JSON Schema says, for the words of JSON Schema that ours uses; any other word is an error."""

from __future__ import annotations

import re
from typing import Any

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
SAID = {"$schema", "$id", "$defs", "title", "description"}


def _is(data: Any, name: str) -> bool:
    return isinstance(data, TYPES[name]) and (name == "boolean" or not isinstance(data, bool))


def check(data: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "") -> None:
    """Raise AssertionError where they are not."""
    root = schema if root is None else root
    for word, value in schema.items():
        if word == "$ref":
            target: Any = root
            for part in value.removeprefix("#/").split("/"):
                target = target[part]
            check(data, target, root, at)
        elif word == "anyOf":
            problems = []
            for one in value:
                try:
                    check(data, one, root, at)
                except AssertionError as error:
                    problems.append(str(error))
            assert len(problems) < len(value), "; ".join(problems)
        elif word == "type":
            names = [value] if isinstance(value, str) else value
            assert any(_is(data, name) for name in names), f"{at}: {data!r} is no {value}"
        elif word == "enum":
            assert data in value, f"{at}: {data!r} is none of {value}"
        elif word == "const":
            assert data == value, f"{at}: {data!r} is not {value!r}"
        elif word == "minimum":
            assert data >= value, f"{at}: {data!r} < {value}"
        elif word == "maximum":
            assert data <= value, f"{at}: {data!r} > {value}"
        elif word == "pattern":
            assert re.search(value, data), f"{at}: {data!r} is not like {value}"
        elif word == "required":
            assert set(value) <= set(data), f"{at}: lacks {set(value) - set(data)}"
        elif word == "properties":
            for key, inner in value.items():
                if key in data:
                    check(data[key], inner, root, f"{at}/{key}")
        elif word == "additionalProperties":
            assert value is False
            assert set(data) <= set(schema["properties"]), f"{at}: {set(data) - set(schema['properties'])} is unknown"
        elif word == "items":
            for number, one in enumerate(data):
                check(one, value, root, f"{at}/{number}")
        else:
            assert word in SAID, f"the schema says {word}, which this check does not know"
