"""What labels.csv promises: a verdict that was given is there, whoever dies and whoever writes beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lad.events import Event
from lad.work.verdicts import HEADER, Verdict, VerdictsError, append, counted, fold, in_force, read

WRITER = """
import sys
from pathlib import Path
from lad.work.verdicts import Verdict, append
path, who, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(most):
    append(path, [Verdict("yard/monday", "event", number, number + 1, "run", who=who)])
    print(number, flush=True)
"""


def writer(path, who: str, most: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), who, str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


def said(*verdicts: Verdict) -> dict:
    return {video: (one.events, one.normal) for video, one in fold(verdicts).items()}


def test_what_is_appended_is_read_back_and_older_lines_stay(path):
    first = Verdict("yard/monday", "event", 5, 20, "run")
    append(path, [first])
    before = path.read_bytes()
    second = Verdict("a, b", "normal", 0, 9, who='the "boss"')
    undo = Verdict("yard/monday", "undo", replaces=first.number)
    append(path, [second, undo])
    assert read(path) == [first, second, undo]
    assert path.read_bytes().startswith(before) and before.startswith(HEADER.encode())


def test_no_file_is_no_verdict(path):
    assert read(path) == [] and not path.exists()


def test_a_formula_stays_text(path):
    verdict = Verdict("=1+1", "event", 0, 1, "@run", who="-me")
    append(path, [verdict])
    assert ",'=1+1," in path.read_text() and ",'@run," in path.read_text() and ",'-me," in path.read_text()
    assert read(path) == [verdict]


@pytest.mark.parametrize("keep", [1, 20, -1, -14])
def test_a_line_that_was_cut_short_is_ignored_and_then_removed(path, keep):
    whole, torn, later = (Verdict("a", "normal", 0, end) for end in (10, 20, 30))
    append(path, [whole])
    path.write_text(path.read_text() + torn.line()[: keep if keep > 0 else keep - 1])
    assert read(path) == [whole]
    append(path, [later])
    assert read(path) == [whole, later]
    assert path.read_text() == HEADER + whole.line() + later.line()


def test_a_last_line_that_only_lacks_its_end_counts(path):
    first, second = Verdict("a", "normal", 0, 10), Verdict("a", "normal", 20, 30)
    append(path, [first])
    path.write_text(path.read_text().rstrip("\n"))  # as editors leave it
    assert read(path) == [first]
    append(path, [second])
    assert read(path) == [first, second]


@pytest.mark.parametrize("written", ["", "tim", HEADER[:-1]])
def test_a_file_of_which_not_even_the_header_was_written_is_begun_again(path, written):
    path.write_text(written)
    assert read(path) == []
    verdict = Verdict("a", "normal", 0, 10)
    append(path, [verdict])
    assert path.read_text() == HEADER + verdict.line()


def test_what_a_spreadsheet_saves_is_read(path):
    verdict = Verdict("a", "event", 0, 10, "run")
    append(path, [verdict])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(path) == [verdict]
    append(path, [Verdict("a", "undo", replaces=verdict.number)])
    assert in_force(read(path)) == []


def test_somebody_elses_file_is_not_touched(path):
    path.write_text("my,labels\n1,2\n")
    with pytest.raises(VerdictsError, match=r"labels.csv:1: not a labels.csv of lad review"):
        append(path, [Verdict("a", "normal", 0, 10)])
    with pytest.raises(VerdictsError, match=r"labels.csv:1: "):
        read(path)
    assert path.read_text() == "my,labels\n1,2\n"


def test_nothing_is_written_through_a_link(path, tmp_path):
    (tmp_path / "other").write_text(HEADER)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="is a link"):
        append(path, [Verdict("a", "normal", 0, 10)])
    assert (tmp_path / "other").read_text() == HEADER


GOOD = {"time": "2026-11-29T09:14:02+01:00", "who": "me", "video": "a", "kind": "event", "start": "0", "end": "5"}
GOOD |= {"label": "run", "replaces": "", "verdict": "0123456789ab"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start": "5"}, "no interval"),
        ({"start": "-1"}, "not a verdict"),
        ({"end": "1e3"}, "not a verdict"),
        ({"end": "9" * 30}, "not a verdict"),
        ({"video": "../a"}, "no id of a video"),
        ({"video": ""}, "no id of a video"),
        ({"kind": "maybe"}, "is not one of event, normal, undo"),
        ({"kind": "normal"}, "only an event has one"),
        ({"label": "run|walk"}, "one category"),
        ({"label": "\x1b[2J"}, "not printable"),
        ({"who": "x" * 999}, "not printable"),
        ({"time": "yesterday"}, "is not as 2026"),
        ({"time": "2026-11-29T09:14:02"}, "is not as 2026"),
        ({"replaces": "ffffffffffff"}, "no verdict before it"),
        ({"replaces": "it"}, "no number"),
        ({"verdict": "7"}, "not a verdict"),
        ({"label": '"'}, "not a verdict"),
        ({"who": "\udcff"}, "not a verdict"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(path, change, reason):
    line = ",".join({**GOOD, **change}.values()) + "\n"
    path.write_bytes((HEADER + line).encode(errors="surrogateescape"))
    with pytest.raises(VerdictsError, match=rf"labels.csv:2: .*{reason}") as caught:
        read(path)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_verdict_that_is_there_twice_is_named(path):
    line = ",".join(GOOD.values()) + "\n"
    path.write_text(HEADER + line * 2)
    with pytest.raises(VerdictsError, match=r"labels.csv:3: verdict 0123456789ab is there twice"):
        read(path)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("a", "normal", 5, 5),
        Verdict("a", "event", 0, 5, "run\nwalk"),
        Verdict("a\n", "event", 0, 5),
        Verdict("a", "undo", replaces="ffffffffffff"),
        Verdict("a", "undo"),
    ],
)
def test_a_verdict_that_makes_no_sense_is_not_written(path, verdict):
    good = Verdict("a", "normal", 0, 10)
    append(path, [good])
    with pytest.raises(VerdictsError, match="not written"):
        append(path, [Verdict("a", "normal", 0, 20), verdict])
    assert read(path) == [good]


def test_later_verdicts_win_where_they_overlap():
    drawn = Verdict("a", "event", 10, 30, "run")
    rejected = Verdict("a", "normal", 20, 40)
    inside = Verdict("a", "event", 22, 24, "walk")
    events = ((Event(10, 20), "run"), (Event(22, 24), "walk"))
    assert said(drawn, rejected, inside) == {"a": (events, (Event(20, 22), Event(24, 40)))}
    assert said(inside, rejected, drawn) == {"a": (((Event(10, 30), "run"),), (Event(30, 40),))}


def test_a_verdict_that_is_replaced_twice_is_gone_with_all_before_it_until_that_is_undone():
    first = Verdict("a", "event", 20, 45)
    second = Verdict("a", "event", 25, 50, replaces=first.number)
    third = Verdict("a", "normal", 25, 50, replaces=second.number)
    assert in_force([first, second, third]) == [third]
    assert in_force([first, second, third, Verdict("a", "undo", replaces=third.number)]) == [second]


def test_a_number_begins_with_a_letter_so_that_a_spreadsheet_keeps_it():
    assert all(Verdict("a", "normal", 0, 1).number[0].isalpha() for _ in range(50))


def test_an_undo_takes_one_verdict_back_and_can_be_undone():
    drawn = Verdict("a", "event", 10, 30, "run")
    undo = Verdict("a", "undo", replaces=drawn.number)
    redo = Verdict("a", "undo", replaces=undo.number)
    assert said(drawn, undo) == {}
    assert said(drawn, undo, redo) == said(drawn)


def test_an_interval_that_is_drawn_again_replaces_the_first():
    drawn = Verdict("a", "event", 10, 30, "run")
    again = Verdict("a", "event", 15, 25, "run", replaces=drawn.number)
    assert said(drawn, again) == {"a": (((Event(15, 25), "run"),), ())}
    assert said(drawn, again, Verdict("a", "undo", replaces=again.number)) == said(drawn)


def test_verdicts_are_counted_by_what_is_left():
    drawn, other = Verdict("a", "event", 0, 5), Verdict("b", "normal", 0, 5)
    assert counted(fold([drawn, other]).values()) == "2 verdicts on 2 videos"
    assert counted(fold([drawn, Verdict("a", "undo", replaces=drawn.number), other]).values()) == "1 verdict on 1 video"


def test_many_verdicts_on_one_video_are_folded_fast():
    many = [Verdict("a", "normal", 2 * n, 2 * n + 100, who="me", time="t", number="x") for n in range(20000)]
    begin = time.process_time()
    assert len(fold(many)["a"].normal) == 20000
    assert time.process_time() - begin < 2


@pytest.mark.slow
def test_two_writers_lose_nothing(path):
    both = [writer(path, who, 60) for who in ("one", "two")]
    assert [process.communicate()[1] or process.returncode for process in both] == [0, 0]
    found = read(path)
    assert [one.start for one in found if one.who == "one"] == list(range(60))
    assert [one.start for one in found if one.who == "two"] == list(range(60))


@pytest.mark.slow
def test_what_was_said_to_be_written_survives_kill_9(path):
    confirmed = 0
    for number in range(3):
        process = writer(path, f"life {number}", 100000)
        for _ in range(20 + number):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        confirmed += 20 + number + rest.count("\n")
        # One more may be there, whose writer died before it could say so.
        assert confirmed <= len(read(path)) <= confirmed + number + 1
    append(path, [Verdict("a", "normal", 0, 1)])
    assert path.read_bytes().endswith(b"\n") and read(path)[-1].video == "a"
