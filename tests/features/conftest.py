"""Features of somebody else, and no weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.given import (
    write_layout,
)


@pytest.fixture
def root(tmp_path) -> Path:
    return write_layout(tmp_path / "data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """No weights are here, and none may be fetched."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("LAD_CACHE", str(folder))

    def fetch(name: str, **_: object) -> None:
        pytest.fail(f"the weights {name} are fetched")

    monkeypatch.setattr("lad.models.weights.fetch", fetch)
    return folder
