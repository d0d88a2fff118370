"""A web server of our own, and `lad` that does not wait long for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from helpers.web import Web, web_server

from lad.remote import fetch, store

PACKAGES = ("aiohttp", "fsspec", "s3fs", "gcsfs")


@pytest.fixture
def extra() -> None:
    """What `pip install 'lad-video[remote]'` brings."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        pytest.skip(f"NO {', '.join(missing)}: pip install 'lad-video[remote]' to run this")


@pytest.fixture
def web(extra: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(fetch, "_unreached", {})
    monkeypatch.setattr(fetch, "_not_md5", set())
    monkeypatch.setattr(store, "_open", {})
    with web_server() as server:
        yield server
