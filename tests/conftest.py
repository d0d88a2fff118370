"""The fixtures that several test files use: the commands, a server, the real data. Plain helpers are in `helpers/`."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.downloads import Server
from helpers.places import REPOSITORY
from helpers.videos import write_video

from lad.cli import run as run_cli
from lad.models import weights


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` are skipped where there is none; with LAD_GPU=1, which says that there is one, they fail."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            (pytest.fail if os.environ.get("LAD_GPU") == "1" else pytest.skip)("no GPU")


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """`write_video`: encode a small video whose frames carry their number."""
    return write_video


@pytest.fixture
def lad(monkeypatch, capfd) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit status, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lad", *words])
        monkeypatch.setenv("COLUMNS", "120")
        capfd.readouterr()
        status = run_cli()
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return status, out, err

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data: `$LAD_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("LAD_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"NO REAL DATA at {folder}: set LAD_DATA to its folder to run this")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Odd files with what is right for each: `$LAD_CASES`, or `shared/cases` beside the checkout."""
    folder = Path(os.environ.get("LAD_CASES") or REPOSITORY.parent / "shared" / "cases")
    if not folder.is_dir():
        pytest.skip(f"NO ODD FILES at {folder}: set LAD_CASES to their folder to run this")
    return folder


@pytest.fixture(scope="session")
def real_weights() -> str:
    """The file name of the real weights of I3D."""
    try:
        return weights.fetch("kinetics400-rgb").name
    except weights.WeightsError as error:
        pytest.skip(f"THE REAL WEIGHTS CANNOT BE HAD: {error}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.hits += 1
            self.send_response(200)
            self.send_header("Content-Length", str(state.claimed_bytes or len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: object) -> None:
            """Tests stay quiet."""

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        state = Server(f"http://127.0.0.1:{http_server.server_address[1]}/port.pth")
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield state
        http_server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A chromium; the test's file has `helpers.browser.MARKS`."""
    from helpers.browser import opened_browser

    with opened_browser() as opened:
        yield opened
