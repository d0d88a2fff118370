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

NAMELESS = """() => [...document.querySelectorAll("button, input, select, [role]")]
    .filter((one) => !one.closest("[hidden]"))
    .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
    .map((one) => one.outerHTML)"""

# Texts with a contrast below 4.5 to 1, which is what WCAG AA asks for: relative luminance as it defines that.
FAINT = """() => {
    const parts = (text) => text.match(/[0-9.]+/g).map(Number);
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = (one) => {
        if (!one) return [255, 255, 255];
        const colour = parts(getComputedStyle(one).backgroundColor);
        return colour.length === 3 || colour[3] === 1 ? colour : behind(one.parentElement);
    };
    const contrast = (one) => {
        const pair = [light(parts(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    };
    const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter((one) => one.offsetParent && hasText(one) && contrast(one) < 4.5)
        .map((one) => [contrast(one), one.outerHTML.slice(0, 80)]);
}"""


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
