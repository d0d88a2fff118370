"""The page of `lad review` in a real browser: accept, reject, draw, take back, two people, a server that dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import MARKS, wait_for_frame, watch
from helpers.reported import Made, bumps, scored_work
from helpers.reviewing import Server
from helpers.videos import write_video

from lad.dataset import Video
from lad.work.verdicts import fold, read

pytest.importorskip("starlette", reason="NO STARLETTE: lad review is not tested: pip install starlette uvicorn")
pytestmark = MARKS
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("footage") / "a.mp4", 150, size=(320, 240))


@pytest.fixture
def work(footage: Path, tmp_path: Path) -> Path:
    made = [
        Made(Video("a", footage), bumps(150, (20, 45, 0.95), (100, 120, 0.7)), classes=["fall", HOSTILE]),
        Made(Video("b", footage), bumps(150, (60, 90, 0.8)), classes=[HOSTILE, "fall"]),
    ]
    return scored_work(tmp_path / "work", made)


@pytest.fixture
def server(work: Path) -> Iterator[Server]:
    running = Server(work)
    yield running
    running.stop()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = open_page(context, server, wrong := [])
    yield opened
    context.close()
    assert wrong == []


def open_page(context: Any, server: Server, wrong: list[str]) -> Any:
    opened = context.new_page()
    watch(opened, wrong)
    opened.goto(server.address)
    opened.wait_for_selector("#accept:enabled")
    return opened


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def said(page: Any, text: str) -> None:
    """Wait until the page says it."""
    page.wait_for_function("text => document.getElementById('said').textContent.includes(text)", arg=text)


def labels(work: Path, video: str) -> tuple[list[tuple[int, int | None, str]], list[tuple[int, int | None]]]:
    """The events and the normal stretches of a video by `labels.csv`."""
    found = fold(read(work / "labels.csv"))[video]
    return [(e.start, e.end, name) for e, name in found.events], [(e.start, e.end) for e in found.normal]


def tags(page: Any) -> list[str]:
    rows = page.locator("#rows .row").all()
    return [" ".join(row.locator(".tag").all_text_contents()) for row in rows]


def test_events_are_accepted_and_rejected_by_keys_and_the_next_one_is_shown(page, work):
    press(page, "a")
    said(page, "accepted 0:00.8 – 0:01.8 of a · 1 of 3 events reviewed")
    wait_for_frame(page, 60)
    assert page.text_content("#title") == "b"
    press(page, "x")
    said(page, "2 of 3 events reviewed")
    assert labels(work, "a") == ([(20, 45, "fall")], [])
    assert labels(work, "b") == ([], [(60, 90)])
    assert tags(page) == ["✓ accepted", "✗ rejected", ""]
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('.tag').length === 2")
    assert tags(page) == ["✓ accepted", "✗ rejected", ""]


def test_start_and_end_are_set_at_the_cursor_and_the_category_is_typed(page, work):
    press(page, ".", ".", ".", "i", ".", ".", ".", "o")
    assert page.text_content("#draft").startswith("frames 23–26")
    press(page, "c")
    page.keyboard.type("slipped")
    press(page, "Enter", "a")
    said(page, "1 of 3")
    assert labels(work, "a") == ([(23, 27, "slipped")], [])


def test_another_event_is_drawn_where_nothing_was_found(page, work):
    page.click("#view-videos")
    page.locator(".row", has_text="b").first.click()
    page.wait_for_function("() => document.getElementById('title').textContent === 'b'")
    page.locator("#curve .u-over").click(position={"x": 2, "y": 40})
    wait_for_frame(page, 0)
    press(page, "d", "ArrowRight", "o", "a")
    said(page, "accepted")
    assert labels(work, "b") == ([(0, 26, "")], [])


def test_a_verdict_that_is_changed_replaces_the_first_one(page, work):
    press(page, "a")
    said(page, "1 of 3")
    press(page, "p")
    wait_for_frame(page, 20)
    press(page, "x")
    said(page, "rejected")
    assert labels(work, "a") == ([], [(20, 45)])
    assert read(work / "labels.csv")[1].replaces == read(work / "labels.csv")[0].number


def test_undo_takes_back_one_after_the_other_and_shows_what(page, work):
    press(page, "a", "x")  # however fast
    said(page, "2 of 3")
    press(page, "u")
    said(page, "took back: rejected")
    assert page.text_content("#title") == "b"
    press(page, "u")
    said(page, "took back: accepted")
    wait_for_frame(page, 20)
    assert fold(read(work / "labels.csv")) == {} and tags(page) == ["", "", ""]
    assert len(read(work / "labels.csv")) == 4  # nothing is ever removed
    assert page.is_disabled("#undo")


def test_the_list_shows_what_nobody_has_reviewed(page):
    page.select_option("#filter-review", "open")
    for left in (2, 1, 0):
        page.locator(".row").first.click()
        page.wait_for_selector("#accept:enabled")
        press(page, "a")
        page.wait_for_function("left => document.querySelectorAll('.row').length === left", arg=left)


def test_two_browsers_see_what_the_other_said_and_lose_nothing(browser, server, work):
    wrong: list[str] = []
    contexts = [browser.new_context() for _ in range(2)]
    first, second = (open_page(context, server, wrong) for context in contexts)
    press(first, "a")
    press(second, "n", "x")
    for one in (first, second):
        one.wait_for_function("() => document.querySelectorAll('.tag').length === 2", timeout=15_000)
        assert tags(one) == ["✓ accepted", "✗ rejected", ""]
    for context in contexts:
        context.close()
    assert len(read(work / "labels.csv")) == 2 and wrong == []


def test_a_server_that_died_is_told_and_the_verdict_can_be_given_to_the_next_one(browser, server, work):
    context = browser.new_context()
    opened = open_page(context, server, [])
    press(opened, "a")
    said(opened, "1 of 3")
    server.stop()
    opened.keyboard.press("x")
    opened.wait_for_selector("#unsaid:visible")
    assert "Not saved: the server does not answer" in opened.text_content("#unsaid")
    said(opened, "1 of 3")  # what was not saved does not count
    again = Server(work)
    opened.goto(again.address)
    opened.wait_for_function("() => document.querySelectorAll('.tag').length === 1")
    again.stop()
    context.close()
    assert len(read(work / "labels.csv")) == 1


def test_read_only_offers_nothing(browser, work):
    server = Server(work, "--read-only")
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(server.address)
    said(opened, "read-only")
    press(opened, "a", "x", "d", "u")
    assert all(opened.is_disabled(f"#{one}") for one in ("accept", "reject", "draw", "undo", "from-here", "category"))
    context.close()
    server.stop()
    assert not (work / "labels.csv").exists()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_every_control_has_a_name_is_reached_by_keyboard_and_fits(browser, server, width, height):
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = open_page(context, server, wrong := [])
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    buttons = opened.locator("#review").get_by_role("button")
    assert all(one.text_content().strip() for one in buttons.all()) and buttons.count() == 6
    assert opened.get_by_label("Category", exact=True).locator("visible=true").count() >= 1
    opened.focus("#on")
    reached = set()
    for _ in range(8):
        press(opened, "Tab")
        reached.add(opened.evaluate("document.activeElement.id"))
    context.close()
    assert {"accept", "reject", "category", "from-here", "to-here", "draw"} <= reached and wrong == []
