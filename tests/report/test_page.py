"""The page of a report in a real browser, opened from the disk, as a person uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.browser import FAINT, MARKS, NAMELESS, wait_for_frame, watch
from helpers.reported import Made, bumps, scored_work
from helpers.videos import read_number, write_video

from lad.console import make_reporter
from lad.dataset import Video
from lad.detector.included import read_card
from lad.events import Event
from lad.intervals import events_above
from lad.report.build import Choices, build_report
from lad.work.layout import Work
from lad.work.manifest import read_manifest

pytestmark = MARKS
IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "x/</script><script>alert(2)</script>"
ODD = "100% #1 é?"


def make(work: Path, **choices: Any) -> Path:
    """Write the report of a work directory."""
    with read_manifest(work) as manifest:
        return build_report(Work(manifest), work / "report", Choices(**choices), make_reporter(quiet=True)).page


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four videos with hostile names, one with a variable frame rate, one that is gone."""
    folder = tmp_path_factory.mktemp("page")
    pts = np.cumsum(np.random.default_rng(0).integers(20, 120, 150))
    pts -= pts[0]
    truth = (Event(30, 50),)
    made = [
        Made(
            Video(IMAGE, write_video(folder / f"{ODD}.mp4", 150, size=(320, 240)), "test", IMAGE, truth),
            bumps(150, (25, 45, 0.95), (100, 120, 0.7)),
            classes=[IMAGE, "fall"],
            warnings=[f"odd: {SCRIPT}"],
            looks=("punching bag", SCRIPT),
        ),
        Made(
            Video(SCRIPT, write_video(folder / "b.avi", 200, size=(320, 240), codec="mpeg4"), "test", "fall"),
            bumps(200, (60, 90, 0.8)),
            classes=["fall", IMAGE],
        ),
        Made(
            Video("uneven", write_video(folder / "c.mkv", 150, size=(320, 240), pts=pts.tolist()), "test", "fall"),
            bumps(150, (70, 80, 0.6)),
            times=pts / 1000,
            classes=["fall", IMAGE],
        ),
        Made(
            Video("gone", write_video(folder / "d.mp4", 60), "test", "fall"),
            bumps(60, (10, 30, 0.55)),
            classes=["fall"],
        ),
    ]
    work = scored_work(folder / "work", made, detector=read_card("surveillance").sha256)
    (folder / "d.mp4").unlink()
    return make(work)


@pytest.fixture
def page(browser: Any, page_path: Path) -> Iterator[Any]:
    """The page, opened from the disk; nothing may go wrong on it, and nothing may come from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    opened, wrong = context.new_page(), []
    watch(opened, wrong)
    opened.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))
    opened.goto(page_path.as_uri())
    opened.wait_for_selector(".row")
    yield opened
    context.close()
    assert wrong == []


SLIDE = "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }"
READY = (
    "() => { const { seeking, readyState } = document.getElementById('video'); return !seeking && readyState >= 2; }"
)


def peaks(page: Any) -> list[str]:
    return page.locator("#rows .row .peak").all_text_contents()


def frame(page: Any) -> int:
    """The frame that the page says it shows."""
    return int(page.get_attribute("#curve", "aria-valuenow"))


def picture_number(page: Any) -> int:
    """The number that the picture carries."""
    image = cv2.imdecode(np.frombuffer(page.locator("#stage").screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    lit = image.max(axis=2) > 12  # without the black beside it
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.3), np.flatnonzero(lit.mean(axis=0) > 0.3)
    if not len(rows) or not len(columns):
        return -1
    return read_number(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def assert_shows(page: Any, number: int) -> None:
    """See that the page says it shows a frame, and does, once the browser has drawn it."""
    wait_for_frame(page, number)
    page.wait_for_function(READY)
    for _ in range(30):
        if (drawn := picture_number(page)) == number:
            return
        page.wait_for_timeout(100)
    assert drawn == number


def wait_for_looks(page: Any, said: str) -> None:
    """What an event looks like is told once its frame is shown."""
    page.wait_for_function("said => document.getElementById('looks').textContent === said", arg=said)


def test_events_are_listed_worst_first_and_the_worst_is_open(page) -> None:
    assert peaks(page) == ["0.950", "0.800", "0.700", "0.600", "0.550"]
    assert page.text_content("#title") == IMAGE
    assert_shows(page, 25)  # where it starts
    assert "5 events" in page.text_content("#counts")
    assert page.locator("#rows .row").first.locator(".tag").text_content() == "true"


def test_what_an_event_looks_like_is_told_in_the_list_and_while_the_cursor_is_in_it(page) -> None:
    said = f"looks like: punching bag, {SCRIPT}"
    kinds = page.locator("#rows .row .kind").all_text_contents()
    assert [said in kind for kind in kinds] == [True, False, True, False, False]
    assert kinds[1].endswith("fall"), "of features that cannot tell nothing is said"
    wait_for_looks(page, said.replace("looks", "Looks"))
    box = page.locator("#curve .u-over").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)  # between two events
    wait_for_looks(page, "")


def test_the_detector_has_its_name_beside_what_it_found_and_in_the_run(page) -> None:
    assert page.text_content("#counts").endswith("detector: surveillance")
    page.click("#view-run")
    assert page.locator("#run tr", has_text="detector").filter(has_text="surveillance").count() == 1


def test_names_are_text_and_nothing_else(page) -> None:
    names = page.locator("#rows .row .name").all_text_contents()
    assert {IMAGE, SCRIPT, "uneven", "gone"} == set(names)
    assert page.locator("#rows img[src=x], #detail img[src=x]").count() == 0
    assert page.locator("#filter-category option").all_text_contents() == ["all", IMAGE, "fall"]
    assert page.locator("#notes li").all_text_contents() == [f"Label: {IMAGE}", f"odd: {SCRIPT}"]
    page.click("#view-run")
    assert IMAGE in page.text_content("#run")


def test_the_list_is_filtered_by_video_category_score_and_truth(page) -> None:
    page.fill("#filter-video", "SCRIPT")
    assert peaks(page) == ["0.800"]
    page.fill("#filter-video", "")
    page.select_option("#filter-category", label="fall")
    assert peaks(page) == ["0.800", "0.600", "0.550"]
    page.select_option("#filter-category", label="all")
    page.fill("#filter-score", "0.65")
    assert peaks(page) == ["0.950", "0.800", "0.700"]
    page.select_option("#filter-verdict", label="false alarm")
    assert peaks(page) == ["0.800", "0.700"]
    assert "2 events" in page.text_content("#shown")


def test_the_list_follows_the_threshold(page) -> None:
    page.focus("#threshold")
    page.evaluate(
        "() => { const s = document.getElementById('threshold'); s.value = 0.75; s.dispatchEvent(new Event('input')) }"
    )
    page.wait_for_function("() => document.querySelectorAll('#rows .row').length === 2")
    assert [round(float(peak), 2) for peak in peaks(page)] == [0.95, 0.8]
    page.evaluate(
        "() => { const s = document.getElementById('threshold'); s.value = 0.05; s.dispatchEvent(new Event('input')) }"
    )
    page.wait_for_function("() => document.querySelectorAll('#rows .row').length === 4")  # each video is one event
    page.click("#threshold-reset")
    page.wait_for_function("() => document.querySelectorAll('#rows .row').length === 5")
    assert peaks(page)[0] == "0.950"


def test_a_click_on_an_event_or_on_the_curve_seeks_to_the_frame(page) -> None:
    page.locator("#rows .row").nth(1).click()
    page.wait_for_function("() => document.getElementById('title').textContent.includes('script')")
    assert_shows(page, 60)
    box = page.locator("#curve .u-over").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert frame(page) == pytest.approx(100, abs=1)
    assert_shows(page, frame(page))


def test_playing_moves_the_cursor_and_the_picture_is_the_frame_that_is_told(page) -> None:
    page.locator("#rows .row").nth(3).click()
    page.wait_for_function("() => document.getElementById('title').textContent === 'uneven'")
    assert_shows(page, 70)
    page.click("#play")
    page.wait_for_function("() => Number(document.getElementById('curve').getAttribute('aria-valuenow')) > 85")
    page.keyboard.press(",")  # stops, one frame back
    at = frame(page)
    assert at > 75
    assert_shows(page, at)
    for _ in range(3):
        page.keyboard.press(".")
    assert_shows(page, at + 3)


def test_the_last_frame_is_reached_and_playing_again_starts_over(page) -> None:
    page.locator("#rows .row").nth(3).click()
    page.wait_for_function("() => document.getElementById('title').textContent === 'uneven'")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    assert_shows(page, 149)
    page.keyboard.press(" ")
    page.wait_for_function("() => Number(document.getElementById('curve').getAttribute('aria-valuenow')) < 100")


def test_the_clock_of_a_file_is_told_at_the_cursor(page) -> None:
    assert "UTC" not in page.text_content("#where")
    page.evaluate("() => { LAD.given.get('run').videos.recorded[0] = '2024-05-01T12:30:59.500+00:00'; }")
    page.wait_for_function("() => document.getElementById('where').textContent.startsWith('frame 25 ')")  # the event
    page.keyboard.press(".")  # frame 26 of 25 a second
    assert page.text_content("#where").endswith("2024-05-01 12:31:00.54 UTC by the file")


def test_the_page_is_used_by_keyboard_alone(page) -> None:
    page.keyboard.press("n")
    page.wait_for_function("() => document.getElementById('title').textContent.includes('script')")
    page.keyboard.press("p")
    page.wait_for_function("() => document.getElementById('title').textContent.includes('img')")
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_function("() => document.getElementById('title').textContent === 'gone'")
    assert page.get_attribute("#rows .row[aria-selected=true]", "aria-posinset") == "5"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function("() => Number(document.getElementById('curve').getAttribute('aria-valuenow')) > 30")
    page.keyboard.press(" ")
    page.keyboard.press("/")
    page.keyboard.type("uneven")
    assert peaks(page) == ["0.600"]
    reached = set()
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    wanted = {
        "view-run",
        "threshold",
        "filter-video",
        "filter-category",
        "filter-score",
        "list",
        "back",
        "play",
        "on",
        "curve",
    }
    assert wanted <= reached


def test_a_video_that_is_gone_says_so_beside_its_curve(page) -> None:
    page.locator("#rows .row").nth(4).click()
    page.wait_for_function("() => document.getElementById('title').textContent === 'gone'")
    page.wait_for_function("() => document.getElementById('why').textContent.includes('is not there any more')")
    assert page.locator("#curve canvas").count() == 1
    assert not page.is_visible("#video")


def test_probabilities_of_categories_are_told_on_demand(page) -> None:
    page.click("#categories summary")
    page.wait_for_selector("#shares .share")
    assert page.locator("#shares .share .name").all_text_contents() == [IMAGE, "fall"]
    assert page.locator("#shares .share .percent").first.text_content() == "83 %"


def test_the_run_tells_false_alarms_and_a_click_shows_them(page) -> None:
    page.click("#view-run")
    alarms = page.locator("#run .mistakes").first.locator("button")
    assert alarms.count() == 4
    alarms.nth(1).click()
    page.wait_for_function("() => document.getElementById('curve').getAttribute('aria-valuenow') === '100'")
    assert page.is_visible("#look")


def test_every_control_has_a_name_and_text_stands_out(page) -> None:
    assert page.evaluate(NAMELESS) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for view in ("run", "videos", "events"):
            page.click(f"#view-{view}")
            assert page.evaluate(FAINT) == []


def test_a_narrow_page_has_no_sideways_scrolling(page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for view in ("events", "videos", "run"):
        page.click(f"#view-{view}")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_events_are_found_by_the_rule_of_score(page) -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        count = int(random.integers(1, 80))
        scores, gaps = random.uniform(0, 1, count), random.uniform(0.02, 0.3, count)
        ends = np.cumsum(gaps)
        begins = np.append(0, ends[:-1])
        expected = events_above(scores, 0.6, times=begins, ends=ends, merge_seconds=0.3, min_seconds=0.2)
        found = page.evaluate(
            "([s, b, e]) => LAD.eventsAbove(s.length, (i) => s[i] > 0.6, (i) => b[i], (i) => e[i], "
            "{ merge: 0.3, least: 0.2 })",
            [scores.tolist(), begins.tolist(), ends.tolist()],
        )
        assert [tuple(one) for one in found] == expected


def test_a_part_of_a_long_curve_is_drawn_in_all_its_detail(page) -> None:
    drawn = page.evaluate("""async () => {
        const times = Float64Array.from({ length: 50000 }, (_, i) => i / 25);
        const scores = times.map((_, i) => (i === 30000 ? 1 : i % 2 ? 0.1 : 0.2));
        const curve = new LAD.Curve(document.getElementById("curve"), () => {}, () => {});
        curve.show({ times, scores, found: [], truth: [], threshold: 0.5, end: 2000 });
        const drawn = () => { // what is in view of what is there to be drawn
            const [x, y] = curve.plot.data, [first, last] = curve.plot.series[0].idxs;
            return [x[first], x[last], Math.max(...y.slice(first, last + 1)), last - first];
        };
        const whole = drawn();
        curve.plot.setScale("x", { min: 1199, max: 1201 });
        await new Promise(requestAnimationFrame);
        return [whole, drawn()];
    }""")
    (begin, end, peak, count), (near_begin, near_end, near_peak, near_count) = drawn
    assert (begin, end, peak) == (0, 2000, 1)
    assert 2000 < count < 5000  # lows and highs, not each of 50,000
    assert (near_begin, near_end, near_peak) == (pytest.approx(1199, abs=0.1), pytest.approx(1201, abs=0.1), 1)
    assert near_count == pytest.approx(50, abs=4)  # each frame


def test_a_video_that_browsers_play_is_linked_where_that_is_asked_for(browser, page_path: Path) -> None:
    path = make(page_path.parent.parent, videos="link")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_selector(".row")
    assert page.evaluate("() => document.getElementById('video').src").endswith("/100%25%20%231%20%C3%A9%3F.mp4")
    assert_shows(page, 25)
    page.close()


def opened_from(browser: Any, path: Path, check: Callable[[Any], None]) -> None:
    """Open a page from the disk, look at it, and see that nothing went wrong on it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page, wrong = context.new_page(), []
    watch(page, wrong)
    page.goto(path.as_uri())
    page.wait_for_selector(".row")
    check(page)
    context.close()
    assert wrong == []


def test_a_report_without_an_event_shows_its_videos(browser: Any, tmp_path: Path) -> None:
    quiet = Made(Video("quiet", write_video(tmp_path / "a.mp4", 60, size=(320, 240))), bumps(60))

    def check(page: Any) -> None:
        assert "1 video, 0 min, 0 events" in page.text_content("#counts")
        assert page.text_content("#title") == "quiet"
        wait_for_frame(page, 0)
        page.click("#view-events")
        assert "0 events" in page.text_content("#shown")
        page.eval_on_selector("#threshold", SLIDE, "0.05")
        page.wait_for_function("() => document.getElementById('shown').textContent.includes('1 event')")

    opened_from(browser, make(scored_work(tmp_path / "work", [quiet])), check)


DRAWN = """() => {
    LAD.drawn = [];
    const { show } = LAD.Curve.prototype;
    LAD.Curve.prototype.show = function (what) { LAD.drawn.push(what.threshold); show.call(this, what); };
}"""


def test_each_cameras_own_threshold_is_shown_until_another_is_chosen(browser: Any, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60, size=(320, 240))
    made = [
        Made(Video("a", path), bumps(60, (10, 20, 0.9))),
        Made(Video("b", path), bumps(60, (10, 20, 0.3)), threshold=0.2),
    ]

    def check(page: Any) -> None:
        page.evaluate(DRAWN)
        assert page.text_content("#threshold-said") == "of each camera"
        for key, title, threshold in (("n", "b", 0.2), ("p", "a", 0.5)):
            page.keyboard.press(key)
            page.wait_for_function("title => document.getElementById('title').textContent === title", arg=title)
            page.wait_for_function("threshold => LAD.drawn.at(-1) === threshold", arg=threshold)
        page.eval_on_selector("#threshold", SLIDE, "0.25")
        page.wait_for_function("() => LAD.drawn.at(-1) === 0.25")
        assert page.text_content("#threshold-said") == "0.250"

    opened_from(browser, make(scored_work(tmp_path / "work", made)), check)


def test_a_report_on_a_web_server_asks_for_no_verdicts(browser: Any, page_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(page_path.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page, asked = browser.new_page(), []
        page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/index.html")
        page.wait_for_selector(".row")
        page.wait_for_timeout(300)
        assert page.is_hidden("#unsaid") and page.is_hidden("#review") and "verdicts" not in asked
        page.close()
        server.shutdown()
