"""Pages in Debian's chromium, as a person uses them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="NO PLAYWRIGHT: pages are not tested: pip install playwright"
)
FOUND = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = os.environ.get("LAD_CHROMIUM") or next(filter(None, FOUND), None)
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: pages are not tested: apt-get install chromium"),
]


@contextmanager
def opened_browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = play.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield opened
        opened.close()


def watch(page: Any, wrong: list[str]) -> None:
    """Note what goes wrong on a page."""
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))


def wait_for_frame(page: Any, number: int) -> None:
    """Until the page says that it shows a frame."""
    page.wait_for_function(
        "number => document.getElementById('curve').getAttribute('aria-valuenow') === String(number)", arg=number
    )
