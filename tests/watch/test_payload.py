"""What is told of an event: the dataclass, the JSON Schema, a line and its reader agree."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
from helpers.notices import START, event, notice
from helpers.places import REPOSITORY
from helpers.schema import check

from lad.watch.payload import Notice, Payload, new_id, place, plain_name, read_notice

SCHEMA = json.loads((REPOSITORY / "docs" / "watch_events.schema.json").read_text())


def ended() -> Notice:
    clip = "yard/2025-11-29/yard-20251129T101000.123Z-000000.mp4"
    return Notice("end", event(), event(end_time=START + 9, has_clip=True, clip=clip, thumb="x.jpg", looks_like=()))


@pytest.mark.parametrize("told", [notice(), Notice("update", event(), event(score=0.2)), ended()])
def test_a_line_is_as_the_schema_says_and_reads_back_as_it_was(told):
    line = told.to_json()
    assert "\n" not in line and line.isascii()
    check(json.loads(line), SCHEMA)
    assert read_notice(line) == told


def test_the_schema_names_every_field_and_no_other():
    described = SCHEMA["$defs"]["event"]
    assert list(described["properties"]) == [one.name for one in fields(Payload)] == described["required"]
    assert SCHEMA["properties"]["type"]["enum"] == ["new", "update", "end"]


def test_the_page_describes_every_field_and_its_example_is_one():
    page = (REPOSITORY / "docs" / "watch_events.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]
    check(json.loads(example), SCHEMA)
    assert read_notice(example).type == "new"
    assert [one.name for one in fields(Payload) if f"| `{one.name}` |" not in page] == []


@pytest.mark.parametrize(
    "broken", [{"severity": "loud"}, {"score": 1.5}, {"has_clip": 1}, {"end_time": "now"}, {"id": "yard-1"}]
)
def test_the_schema_refuses_what_is_none(broken):
    content = json.loads(notice().to_json())
    content["after"] |= broken
    with pytest.raises(AssertionError):
        check(content, SCHEMA)


def test_a_number_that_is_none_is_never_told():
    with pytest.raises(ValueError):
        notice(score=math.nan).to_json()


def test_keys_of_a_later_lad_are_passed_over_and_another_version_is_not_read():
    content = json.loads(notice().to_json())
    content["after"]["mood"] = "calm"
    assert read_notice(json.dumps(content)) == notice()
    with pytest.raises(ValueError, match="lad-watch 2"):
        read_notice(json.dumps(content | {"version": 2}))
    for damaged in ("", "[]", "{}", "null", json.dumps({"format": "lad-watch", "version": 1})):
        with pytest.raises(ValueError, match="not a notice"):
            read_notice(damaged)


def test_an_event_has_a_name_of_its_own_and_a_place_by_its_day():
    names = {new_id("yard", START) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("yard-20251129T101000.123Z-") for name in names)
    assert place(event()) == f"yard/2025-11-29/{event().id}"


def test_cameras_have_names_that_every_disk_and_broker_takes():
    odd = ["", ".", "..", ".hidden", "a/b", "a_b", "+", "#", "a\0b", "a b", "é" * 200, "x" * 64, "x" * 65, "\ud800"]
    plain = [plain_name(name) for name in odd]
    assert len(set(plain)) == len(odd)
    assert all(name and len(name.encode()) < 100 and not set(name) & set("/+#\0 ") for name in plain)
    assert not any(name.startswith(".") for name in plain)
    kept = ["yard", "a_b", "gate-2.left", "Straße"]
    assert [plain_name(name) for name in kept] == kept
    assert new_id("a/b", 0.0).startswith(f"{plain_name('a/b')}-19700101T000000.000Z-")
