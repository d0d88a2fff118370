"""The page of `lad review` in a real browser: accept, reject, draw, take back, two people, a server that dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import FAINT, MARKS, NAMELESS, wait_for_frame, watch
from helpers.reported import Made, bumps, scored_work
from helpers.reviewing import Server
from helpers.videos import write_video

from lad.dataset import Video
from lad.events import Event
from lad.report.data import file_name
from lad.work.verdicts import Verdict, fold, in_force, read

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
    opened.wait_for_selector("#accept[aria-disabled=false]")
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
    said(page, "accepted 0:00.9 – 0:01.1 of a · 0 of 3 events reviewed")  # most of what was found is still unsaid
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


def test_a_verdict_that_is_corrected_twice_leaves_nothing_of_the_first_one(page, work):
    press(page, "a")
    said(page, "1 of 3")
    press(page, "p")
    wait_for_frame(page, 20)
    press(page, ".", ".", ".", "i", "a")
    said(page, "accepted 0:00.9")
    press(page, "p")
    page.wait_for_function("() => document.getElementById('draft').textContent.startsWith('frames 23–44')")
    press(page, "x")
    said(page, "rejected 0:00.9")
    assert labels(work, "a") == ([], [(23, 45)])


def test_what_was_said_of_more_than_the_event_stays(page, work):
    page.click("#view-videos")
    page.locator(".row", has_text="b").first.click()
    page.wait_for_function("() => document.getElementById('title').textContent === 'b'")
    page.locator("#curve .u-over").click(position={"x": 2, "y": 40})
    wait_for_frame(page, 0)
    press(page, "d")
    for _ in range(5):
        press(page, "ArrowRight")
    press(page, "o", "x")
    said(page, "rejected")
    page.click("#view-events")
    page.locator(".row", has_text="b").first.click()
    wait_for_frame(page, 60)
    page.wait_for_function("() => document.getElementById('draft').textContent.startsWith('frames 60–89')")
    press(page, "a")
    said(page, "accepted")
    assert labels(work, "b") == ([(60, 90, HOSTILE)], [(0, 60), (90, 126)])


def test_a_key_that_is_held_judges_one_event(page, work):
    page.keyboard.down("a")
    for _ in range(3):
        page.keyboard.down("a")
    page.keyboard.up("a")
    said(page, "1 of 3")
    press(page, "x")
    said(page, "2 of 3")
    assert len(read(work / "labels.csv")) == 2


def test_the_event_that_is_shown_is_the_one_that_is_judged_however_slow_another_one_was(page, work):
    page.route(f"**/data/video-{file_name('b')}.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    rows = page.locator(".row")
    rows.nth(1).click()  # b, which takes its time
    rows.nth(2).click()  # a
    page.wait_for_timeout(800)
    press(page, "a")
    said(page, "accepted")
    assert labels(work, "a") == ([(100, 120, "fall")], [])


def test_keys_work_after_the_slider_was_used_and_buttons_keep_the_focus(page, work):
    page.focus("#threshold")
    press(page, "a")
    said(page, "1 of 3")
    page.click("#reject")
    said(page, "2 of 3")
    assert page.evaluate("() => document.activeElement.id") == "reject"


def test_undo_takes_back_ones_own_alone(browser, work):
    for name in ("ben", "anna"):
        server = Server(work, "--who", name)
        context = browser.new_context()
        opened = open_page(context, server, [])
        if name == "ben":
            press(opened, "a")
            said(opened, "1 of 3")
        else:
            press(opened, "u")
            assert opened.get_attribute("#undo", "aria-disabled") == "true"
        context.close()
        server.stop()
    assert len(read(work / "labels.csv")) == 1


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
    assert page.get_attribute("#undo", "aria-disabled") == "true"


def test_the_list_shows_what_nobody_has_reviewed(page):
    page.select_option("#filter-review", "open")
    for left in (2, 1, 0):
        page.locator(".row").first.click()
        page.wait_for_selector("#accept[aria-disabled=false]")
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
    off = ("accept", "reject", "draw", "undo", "from-here", "to-here")
    assert all(opened.get_attribute(f"#{one}", "aria-disabled") == "true" for one in off)
    assert opened.is_disabled("#category")
    context.close()
    server.stop()
    assert not (work / "labels.csv").exists()


def test_the_page_takes_verdicts_back_as_lad_train_does(page):
    random = np.random.default_rng(3)
    for _ in range(20):
        said_in_order: list[Verdict] = []
        for _ in range(int(random.integers(1, 30))):
            kind = random.choice(["event", "normal", "undo"]) if said_in_order else "event"
            numbers = [one.number for one in said_in_order]
            old = random.choice(numbers) if numbers and (kind == "undo" or random.random() < 0.3) else ""
            start = 0 if kind == "undo" else int(random.integers(0, 50))
            said_in_order.append(Verdict("a", kind, start, start and start + 9, replaces=str(old)))
        kept = page.evaluate(
            "all => { const found = new LAD.Verdicts(); found.fold(all); return found.kept.map(one => one.number); }",
            [vars(one) for one in said_in_order],
        )
        assert kept == [one.number for one in in_force(said_in_order)]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_every_control_has_a_name_is_reached_by_keyboard_and_fits(browser, server, width, height):
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = open_page(context, server, wrong := [])
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate(NAMELESS) == []
    press(opened, "a", "x")
    said(opened, "2 of 3")
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)
        assert opened.evaluate(FAINT) == []
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


def test_of_a_video_that_loads_the_event_asked_for_last_is_shown_and_judged(page, work):
    page.route(f"**/data/video-{file_name('a')}.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.reload()
    page.wait_for_selector(".row")
    page.locator(".row").nth(2).click()  # its second event, while it still loads
    press(page, "a")
    said(page, "accepted")
    assert labels(work, "a") == ([(100, 120, "fall")], [])


def test_a_video_in_which_nothing_was_found_can_be_reviewed(browser, footage, tmp_path):
    work = scored_work(tmp_path / "quiet", [Made(Video("a", footage), bumps(150))])
    server, context, wrong = Server(work), browser.new_context(), []
    opened = context.new_page()
    watch(opened, wrong)
    opened.goto(server.address)
    opened.wait_for_selector("#draw[aria-disabled=false]")
    press(opened, "d", "a")
    said(opened, "accepted")
    assert labels(work, "a")[0] == [(0, 25, "")]
    context.close()
    server.stop()
    assert wrong == []


def test_a_miss_that_was_chosen_under_run_takes_no_verdict_meant_for_the_event_before(browser, footage, tmp_path):
    made = [
        Made(Video("a", footage, "test", "fall", (Event(20, 45),)), bumps(150, (20, 45, 0.95))),
        Made(Video("b", footage, "test", "fall", (Event(60, 90),)), bumps(150)),
    ]
    work = scored_work(tmp_path / "missed", made)
    server, context = Server(work), browser.new_context()
    opened = open_page(context, server, wrong := [])
    opened.click("#view-run")
    opened.locator(".mistakes button").last.click()
    opened.wait_for_selector("#accept[aria-disabled=true]")
    assert opened.text_content("#title") == "b" and opened.text_content("#draft") == ""
    press(opened, "x", "a")
    opened.wait_for_timeout(300)
    assert not (work / "labels.csv").exists()
    context.close()
    server.stop()
    assert wrong == []


def test_an_open_page_stays_right_where_another_one_is_opened_after_a_new_video(browser, footage, tmp_path):
    starts = {"b": 20, "c": 60}
    made = [Made(Video(name, footage), bumps(150, (start, start + 20, 0.9))) for name, start in starts.items()]
    work = scored_work(tmp_path / "work", made)
    first, context = Server(work), browser.new_context()
    opened = open_page(context, first, wrong := [])
    scored_work(work, [Made(Video("a", footage), bumps(150, (100, 120, 0.95))), *made])
    second = Server(work)
    opened.locator(".row").nth(1).click()
    wait_for_frame(opened, 60)
    assert opened.text_content("#title") == "c"
    assert "score 0.880" in opened.text_content("#where")
    opened.eval_on_selector(
        "#threshold", "slider => { slider.value = 0.05; slider.dispatchEvent(new Event('input')); }"
    )
    opened.wait_for_function("() => document.getElementById('shown').textContent.includes('load it again')")
    context.close()
    for server in (first, second):
        server.stop()
    assert wrong == []
