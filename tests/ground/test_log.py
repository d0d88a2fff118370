"""`lad.log`: what a command said, with times; it costs a command nothing, and nobody's file is written through it."""

from __future__ import annotations

import errno
import re
from datetime import datetime
from pathlib import Path

import pytest

from lad import log as log_module
from lad.errors import LadError
from lad.log import Log


def lines(work: Path) -> list[str]:
    """What the log of a work directory says, without the times."""
    return [line.partition(" ")[2] for line in (work / "lad.log").read_text().splitlines()]


def test_lines_said_before_the_place_is_known_are_there_with_their_times(tmp_path: Path) -> None:
    log = Log()
    log.write("warning: early")
    with log.kept_in(tmp_path, pytest.fail):
        log.write("late")
        log.end(0)
    begins, *rest = lines(tmp_path)
    assert begins.startswith("begins: lad ") and "(lad 0." in begins
    assert rest == ["warning: early", "late", "ends: exit status 0"]
    for line in (tmp_path / "lad.log").read_text().splitlines():
        time = line.partition(" ")[0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", time)
        assert abs((datetime.now().astimezone() - datetime.fromisoformat(time)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LadError("one\ntwo"), ["error: one", "error: two", "ends: exit status 2"]),
        (KeyboardInterrupt(), ["interrupted", "ends: exit status 130"]),
        (ValueError("a bug"), ["error: unexpected ValueError: a bug", "ends: exit status 1"]),
    ],
)
def test_how_a_command_ended_is_logged(error: BaseException, said: list[str], tmp_path: Path) -> None:
    with pytest.raises(type(error)), Log().kept_in(tmp_path, pytest.fail):
        raise error
    assert lines(tmp_path)[1:] == said


def test_commands_append_and_long_logs_are_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_BYTES", 2000)
    for number in range(4):
        log = Log()
        with log.kept_in(tmp_path, pytest.fail):
            for line in range(40):
                log.write(f"command {number}, line {line}")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["lad.log", "lad.log.1", "lad.log.2"]
    assert all(0 < path.stat().st_size <= 2000 for path in files)
    told = [line for path in reversed(files) for line in path.read_text().splitlines() if "command" in line]
    assert told[-1].endswith("command 3, line 39")
    assert [line.partition(" ")[2] for line in told[-40:]] == [f"command 3, line {line}" for line in range(40)]


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    log = Log()
    with log.kept_in(tmp_path, pytest.fail):
        log.write("\x1b]0;gotcha\x07 \udcff\nsecond line")
    assert lines(tmp_path)[1:] == ["\\x1b]0;gotcha\\x07 \\udcff", "second line"]


@pytest.mark.parametrize("name", ["lad.log", "lad.log.1", "lad.log.2"])
def test_no_link_is_written_through(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_BYTES", 500)
    work, precious = tmp_path / "work", tmp_path / "precious"
    work.mkdir()
    precious.write_text("precious")
    (work / name).symlink_to(precious)
    warnings: list[str] = []
    log = Log()
    with log.kept_in(work, warnings.append):
        for _ in range(50):
            log.write("a line of this log")
    assert precious.read_text() == "precious"
    assert len(warnings) == (name == "lad.log")
    assert all("lad.log: is a link" in warning for warning in warnings)


def test_a_full_disk_costs_the_log_a_line_and_the_command_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    log = Log()
    with log.kept_in(tmp_path, warnings.append):
        with monkeypatch.context() as full:

            def refuse(*_: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            full.setattr(log_module, "write_all", refuse)
            log.write("lost")
            log.write("lost too")
        log.write("there is room again")
    assert lines(tmp_path)[1:] == ["there is room again"]
    assert len(warnings) == 1 and "lad.log: No space left on device" in warnings[0]
