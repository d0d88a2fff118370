"""Keys that were renamed or dropped: what an older lad wrote is read all the same, and who writes them is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad import config
from lad.config import load_config


@pytest.fixture(autouse=True)
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"train.rounds": ("train.steps", "as everybody says"), "extract.colour": (None, "frames have colours")}
    monkeypatch.setattr(config, "BECAME", table)


def test_a_file_with_old_keys_is_read_and_its_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("train:\n  rounds: 7\nextract:\n  colour: true\n")
    said: list[str] = []
    assert load_config(path, [], say=said.append).train.steps == 7
    assert said == [
        f"{path}:2: train.rounds is called train.steps now: as everybody says",
        f"{path}:4: extract.colour is no more: frames have colours",
    ]


def test_an_override_of_an_old_key_sets_that_of_today() -> None:
    said: list[str] = []
    assert load_config(None, ["train.rounds=9", "extract.colour=1"], say=said.append).train.steps == 9
    assert [line.partition(":")[0] for line in said] == ["-o train.rounds=9", "-o extract.colour=1"]


def test_what_is_in_a_checkpoint_is_read_without_a_word() -> None:
    said: list[str] = []
    assert load_config(None, [], {"train": {"rounds": 5}}, say=said.append).train.steps == 5
    assert said == []
