"""How long the page of a large report takes to open, to scroll and to follow the threshold, in a real browser.

    python -m benchmarks.report --work /tmp/large

Needs Playwright and a chromium. The scores are made up; the videos are one small file by many names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from lad.console import make_reporter
from lad.dataset import Video
from lad.events import Event
from lad.report.build import Choices, build_report
from lad.work.layout import Work
from lad.work.manifest import read_manifest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

FRAMES, EVENTS = 1500, 25  # a minute, of a video
SCROLL = """async () => {
    const list = document.getElementById("list"), times = [];
    let last = performance.now();
    for (let i = 0; i < 120; i += 1) {
        list.scrollTop += 900;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
    }
    return times;
}"""
SLIDE = """async (value) => {
    const slider = document.getElementById("threshold"), shown = document.getElementById("shown");
    const began = performance.now();
    const before = shown.textContent;
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    while (shown.textContent === before) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""


def make_work(folder: Path, videos: int) -> None:
    """A work directory with so many scored videos."""
    from helpers.reported import Made, scored_work
    from helpers.videos import write_video

    random = np.random.default_rng(0)
    clip = write_video(folder / "clip.mp4", FRAMES, size=(320, 240))
    made = []
    for number in range(videos):
        scores = random.uniform(0, 0.45, FRAMES)
        for start in range(20, FRAMES - 40, FRAMES // EVENTS):
            scores[start : start + 15] = random.uniform(0.55, 1)
        video = Video(f"site {number % 40}/camera {number:04}", clip, "test", "run", (Event(20, 60),))
        made.append(Made(video, scores))
    scored_work(folder / "work", made)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made up")
    parser.add_argument("--videos", type=int, default=2000)
    options = parser.parse_args()
    if not (options.work / "work").is_dir():
        make_work(options.work, options.videos)
    began = time.perf_counter()
    with read_manifest(options.work / "work") as manifest:
        made = build_report(Work(manifest), options.work / "report", Choices(minutes=5), make_reporter())
    print(f"{made.summary()}, {time.perf_counter() - began:.1f} s")
    size = sum(path.stat().st_size for path in (options.work / "report").rglob("*") if path.is_file())
    print(
        f"folder: {size / 1e6:.1f} MB, data/run.js {(options.work / 'report/data/run.js').stat().st_size / 1e6:.1f} MB"
    )
    measure(made.page)


def measure(path: Path) -> None:
    """Open the page five times, scroll it and move the threshold."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("LAD_CHROMIUM") or shutil.which("chromium")
    opened = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            began = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector(".row")
            page.wait_for_selector("#curve canvas")
            opened.append(time.perf_counter() - began)
        frames = page.evaluate(SCROLL)
        slid = [page.evaluate(SLIDE, value) for value in (0.7, 0.8, 0.6)]
        rows = page.locator(".row").count()
        browser.close()
    print(
        f"opens in {statistics.median(opened):.2f} s ({min(opened):.2f} to {max(opened):.2f}); {rows} rows in the page"
    )
    print(f"scrolling: {statistics.median(frames):.0f} ms a picture, 95 % below {np.percentile(frames, 95):.0f} ms")
    print(f"threshold: {', '.join(f'{one:.0f}' for one in slid)} ms (the first loads the blocks)")


if __name__ == "__main__":
    main()
