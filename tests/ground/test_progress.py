"""Progress in plain lines: how far work is, how fast, and how long it still takes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from lad import progress
from lad.console import ConsoleReporter
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Job, Reached
from lad.log import Log
from lad.pipeline import pace as pace_module
from lad.pipeline.pace import Pace
from lad.progress import Work, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass."""
    now = [1000.0]

    class Time:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(progress, "time", Time)
    monkeypatch.setattr(pace_module, "time", Time)

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_items_tell_how_fast_and_how_long(clock: Callable[[float], None]) -> None:
    score = Work("score", 8, "videos")
    for name in ("a", "b"):
        clock(5)
        score.advance(name)
    assert score.line() == "score: 2 of 8 videos (25 %), 0.2 videos/s, about 30 s left: b"


def test_what_the_first_seconds_seem_to_say_is_not_said(clock: Callable[[float], None]) -> None:
    score = Work("score", 8, "videos")
    score.advance("a")
    clock(0.1)
    score.advance("b")
    assert score.line() == "score: 2 of 8 videos (25 %): b"


def test_what_an_earlier_run_did_counts_for_no_speed(clock: Callable[[float], None]) -> None:
    train = Work("train", 1000, "steps")
    clock(60)  # to get ready
    train.show(800, None, None, None, None)
    clock(10)
    train.show(900, None, "auc 0.9", None, None)
    assert train.line() == "train: 900 of 1000 steps (90 %), 10.0 steps/s, about 10 s left: auc 0.9"


def test_of_unknown_length_only_the_count_is_told(clock: Callable[[float], None]) -> None:
    fetched = Work("weights x", None, "MB")
    fetched.show(0, None, None, None, None)
    clock(10)
    fetched.show(25, None, None, None, None)
    assert fetched.line() == "weights x: 25 MB, 2.5 MB/s"


def test_a_long_video_moves_while_it_is_extracted(clock: Callable[[float], None], tmp_path: Path) -> None:
    (tmp_path / "hour.mp4").write_bytes(bytes(100))
    job = Job("hour", tmp_path / "hour.mp4", ClipSpec(("rgb",)))
    extract, pace = Work("extract", 1, "videos"), Pace([job])
    for clips in range(4, 101, 4):
        clock(1)
        pace.computed("hour", Reached(clips * 16, 3200, 25.0), 4, clips)
        extract.show(None, None, f"hour, frame {clips * 16} of 3200", pace.share, pace.speed)
    said = "extract: 0 of 1 videos (50 %), 2.6x real time / 64 frames/s, about 25 s left: hour, frame 1600 of 3200"
    assert extract.line() == said


def test_videos_count_by_their_size(clock: Callable[[float], None], tmp_path: Path) -> None:
    jobs = []
    for name, size in (("short", 100), ("long", 900)):
        (tmp_path / name).write_bytes(bytes(size))
        jobs.append(Job(name, tmp_path / name, ClipSpec(("rgb",))))
    pace = Pace(jobs)
    pace.ended("short")
    assert pace.share == pytest.approx(0.1)
    pace.computed("long", Reached(50, 100, 25.0), 2, 4)
    assert pace.share == pytest.approx(0.55)
    assert pace.speed == "", "nobody can say yet"


def test_durations_are_as_exact_as_an_estimate() -> None:
    assert [duration(s) for s in (7.4, 90, 3599, 9000)] == ["7 s", "2 min", "1 h 00 min", "2 h 30 min"]


def said(
    monkeypatch: pytest.MonkeyPatch, every: float, *, terminal: bool, quiet: bool = False
) -> tuple[str, list[str]]:
    """What 0.5 s of work say on stderr, and in the log."""
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", every)
    logged: list[str] = []
    log = Log()
    monkeypatch.setattr(log, "write", logged.append)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=200, quiet=quiet)
    with ConsoleReporter(console, log=log).progress("check", 3) as bar:
        bar.advance("a")
        time.sleep(0.5)  # one long step, in which nothing comes
    return shown.getvalue(), logged


def test_without_a_terminal_a_line_comes_at_times_also_in_a_long_step(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, logged = said(monkeypatch, 0.1, terminal=False)
    lines = shown.splitlines()
    assert 2 <= len(lines) <= 5 and lines == logged
    assert all(line.startswith("check: 1 of 3 videos (33 %)") for line in lines)


def test_short_work_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, 30, terminal=False) == ("", [])


def test_in_a_terminal_the_bar_is_for_the_eye_and_the_lines_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, logged = said(monkeypatch, 0.1, terminal=True)
    assert "about" not in shown and len(logged) >= 2


def test_quiet_is_quiet_and_the_log_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, logged = said(monkeypatch, 0.1, terminal=False, quiet=True)
    assert shown == "" and len(logged) >= 2


def test_a_stage_s_end_begins_the_wait_anew(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.4)
    shown = io.StringIO()
    reporter = ConsoleReporter(Console(file=shown))
    time.sleep(0.3)
    reporter.announce("extract: 3 done")
    with reporter.progress("train", 2):
        time.sleep(0.3)
    assert (shown.getvalue(), capsys.readouterr().out) == ("", "extract: 3 done\n")
