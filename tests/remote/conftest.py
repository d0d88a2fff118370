"""A web server and an S3 of our own, and `lad` that does not wait long for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("s3fs") is None:
        pytest.skip("NO moto OR NO s3fs: pip install 'lad-video[dev]' to run this")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A client of the server, whose bucket `cams` is new."""
    import boto3

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAGEHEIM",
        "AWS_SECRET_ACCESS_KEY": "geheim77",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setattr(store, "_open", {})
    monkeypatch.setattr(fetch, "PAUSES", (0.01,))
    monkeypatch.setattr(fetch, "_unreached", {})
    monkeypatch.setattr(fetch, "_not_md5", set())
    client = boto3.client("s3")
    client.create_bucket(Bucket="cams")
    yield client
    for one in client.list_objects_v2(Bucket="cams").get("Contents", []):
        client.delete_object(Bucket="cams", Key=one["Key"])
    client.delete_bucket(Bucket="cams")
