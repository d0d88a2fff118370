"""`lad clips`: which clips there are, what they are called, and that nothing is done twice or to others' files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.reading import numbers, read_to_the_end
from helpers.scored import Found, write_scored
from helpers.videos import write_video

from lad.console import ConsoleReporter, make_reporter
from lad.detector.scoring import Event as FoundEvent
from lad.pipeline.clips import Wanted, cut_clips, plan_clips
from lad.pipeline.project import Asked
from lad.pipeline.reporter import StageError
from lad.pipeline.scored import ScoredVideo
from lad.work.layout import Work
from lad.work.manifest import open_manifest

Lad = Callable[..., tuple[int, str, str]]


def video(name: str, *events: tuple[float, float, str, float]) -> ScoredVideo:
    found = [FoundEvent(round(s * 25), round(e * 25), s, e, category, peak) for s, e, category, peak in events]
    return ScoredVideo(name, Path(f"{name}.mp4"), 5000, 25.0, 200.0, 0.9, "run", 0.5, found)


def names(scored: list[ScoredVideo], /, **wanted: object) -> list[str]:
    return [str(clip.path) for clip in plan_clips(scored, Wanted(**wanted), Path("out"))]  # type: ignore[arg-type]


def test_near_events_are_one_clip_and_the_worst_comes_first() -> None:
    one = video("yard/a", (10, 11, "run", 0.6), (12.5, 13, "Fire", 0.9), (15, 16, "run", 0.7))
    other = video("b", (3723.5, 3724, "run", 0.8))
    assert names([one, other]) == [
        "out/yard/a_0-00-10.000_Fire.mp4",
        "out/b_1-02-03.500_run.mp4",
        "out/yard/a_0-00-15.000_run.mp4",
    ]
    assert len(names([one], merge=0)) == 3
    assert len(names([one], merge=2.01)) == 1


def test_clips_are_chosen_by_video_category_peak_and_number() -> None:
    videos = [
        video("yard/a", (10, 11, "run", 0.6), (50, 51, "Fire", 0.9)),
        video("b", (1, 2, "run", 0.8), (90, 91, "run", 0.7)),
    ]
    assert len(names(videos)) == 4
    assert len(names(videos, videos=("yard/*",))) == 2
    assert len(names(videos, categories=("run",))) == 3
    assert len(names(videos, min_peak=0.7)) == 3
    assert names(videos, limit=1) == ["out/yard/a_0-00-50.000_Fire.mp4"]


def test_what_was_asked_for_and_is_nowhere_is_named() -> None:
    videos = [video("a", (1, 2, "run", 0.6))]
    with pytest.raises(StageError, match="--video nobody"):
        names(videos, videos=("nobody",))
    with pytest.raises(StageError, match="--category Fire: no event has it; there are run"):
        names(videos, categories=("Fire",))


@pytest.mark.parametrize(
    "category", ["../../etc", "a/b\\c", "=cmd|'/c calc'!A1", "line\nbreak", "", "x" * 300, "喧嘩" * 99]
)
@pytest.mark.parametrize("name", ["a", "yard/" + "v" * 250, "=cmd", "喧" * 80])
def test_a_clip_has_a_name_that_a_file_can_have_below_its_folder(category: str, name: str) -> None:
    (path,) = names([video(name, (1, 2, category, 0.6))])
    parts = Path(path).parts
    assert parts[0] == "out"
    assert len(parts) == 2 + name.count("/")
    assert ".." not in parts
    assert "\n" not in path
    assert "\\" not in path
    assert all(len(part.encode()) <= 255 for part in parts)


@pytest.mark.slow
def test_events_become_clips_once_exact_to_the_frame(tmp_path: Path, lad: Lad) -> None:
    path = write_video(tmp_path / "a.mp4", 200)
    write_scored(tmp_path / "work", [Found("yard/a", path, [(60, 80, "run")])])
    words = ("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--before", "1", "--after", "2")
    status, out, _ = lad(*words)
    clip = tmp_path / "out" / "yard" / "a_0-00-02.400_run.mp4"
    assert status == 0
    assert str(clip) in out
    assert numbers(read_to_the_end(clip)[0]) == list(range(35, 130))
    before = clip.stat()
    status, out, _ = lad(*words)
    assert (status, clip.stat()) == (0, before)
    assert "nothing to do, 1 done before" in out
    lad(*words, "--overlay")
    assert clip.stat().st_mtime_ns > before.st_mtime_ns
    assert not list(tmp_path.rglob(".lad-*"))


@pytest.mark.slow
def test_a_video_that_is_gone_or_has_no_pictures_is_named_and_the_others_are_cut(tmp_path: Path, lad: Lad) -> None:
    good = write_video(tmp_path / "good.mp4", 30)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    events = [(5, 10, "run")]
    write_scored(
        tmp_path / "work",
        [
            Found("gone", tmp_path / "gone.mp4", events),
            Found("given", tmp_path / "given.npy", events),
            Found("good", good, events),
        ],
    )
    status, out, err = lad("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert status == 1
    assert "clips: 1 done, 2 failed" in out
    assert f"{tmp_path / 'gone.mp4'}: it is not there any more" in err
    assert f"{tmp_path / 'given.npy'}: it was given as features: there are no pictures to cut" in err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["good_0-00-00.200_run.mp4"]


@pytest.mark.slow
def test_somebody_elses_file_is_replaced_by_force_alone(tmp_path: Path, lad: Lad) -> None:
    path = write_video(tmp_path / "a.mp4", 30)
    write_scored(tmp_path / "work", [Found("a", path, [(5, 10, "run")])])
    clip = tmp_path / "out" / "a_0-00-00.200_run.mp4"
    clip.parent.mkdir()
    words = ("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    for planted in (lambda: clip.write_bytes(b"mine"), lambda: clip.symlink_to(path)):
        planted()
        before = path.read_bytes(), clip.read_bytes()
        status, _, err = lad(*words)
        assert status == 2
        assert "is there already, and is not as lad wrote it" in err
        assert (path.read_bytes(), clip.read_bytes()) == before
        clip.unlink()
    assert lad(*words)[0] == 0
    clip.write_bytes(b"edited")
    assert lad(*words)[0] == 2
    assert lad(*words, "--force")[0] == 0
    assert len(read_to_the_end(clip)[0]) == 30


class Interrupting(ConsoleReporter):
    """Ctrl-C when the first clip is there."""

    @contextmanager
    def progress(self, what: str, total: int | None, unit: str = "videos") -> Iterator[Any]:
        class Bar:
            def show(self, **_: object) -> None:
                pass

            def advance(self, note: str = "") -> None:
                raise KeyboardInterrupt

        yield Bar()


@pytest.mark.slow
def test_an_interrupted_command_leaves_no_half_file_and_goes_on(tmp_path: Path, lad: Lad) -> None:
    path = write_video(tmp_path / "a.mp4", 250)
    write_scored(tmp_path / "work", [Found("a", path, [(5, 10, "run"), (200, 210, "run")])])
    out = tmp_path / "out"
    with open_manifest(tmp_path / "work") as manifest, pytest.raises(KeyboardInterrupt):
        cut_clips(Work(manifest), Wanted(), out, Asked(), Interrupting(make_reporter(quiet=True).console))
    assert list(out.iterdir()) == []
    (out / ".lad-0123456789abcdef01234567.tmp").touch()  # of one that was killed, days ago
    os.utime(out / ".lad-0123456789abcdef01234567.tmp", (1, 1))
    assert lad("clips", "--work", str(tmp_path / "work"), "--out", str(out))[0] == 0
    assert sorted(file.name for file in out.iterdir()) == ["a_0-00-00.200_run.mp4", "a_0-00-08.000_run.mp4"]


def test_a_video_is_read_within_the_limits_of_its_run(tmp_path: Path, lad: Lad) -> None:
    path = write_video(tmp_path / "a.mp4", 10, size=(96, 64))
    write_scored(tmp_path / "work", [Found("a", path, [(5, 10, "run")])])
    (tmp_path / "work" / "config.yaml").write_text("extract: {max_pixels: 4096}\n")
    status, _, err = lad("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert status == 1
    assert "beyond the limit of 4096 pixels (extract.max_pixels)" in err


def test_of_several_random_splits_one_has_to_be_named(tmp_path: Path, lad: Lad) -> None:
    with open_manifest(tmp_path / "work"):
        (tmp_path / "work" / "splits").mkdir()
    words = ("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert "name one with --split" in lad(*words)[2]
    assert "splits/0: no video was scored here" in lad(*words, "--split", "0")[2]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("clips", option) for option in ("--before", "--after", "--merge", "--min-peak")),
        *(("report", option) for option in ("--before", "--after", "--minutes")),
        ("review", "--minutes"),
        ("score", "--gpus-per-actor"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, lad: Lad, command: str, option: str) -> None:
    status, _, err = lad(command, "--work", str(tmp_path), option, "nan")
    assert status == 2
    assert f"'{option}': nan is no number" in err


def test_where_nothing_was_done_no_work_directory_is_made(tmp_path: Path, lad: Lad) -> None:
    for command in (("clips",), ("export", "--layout", "srt")):
        status, _, err = lad(*command, "--work", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
        assert status == 2
        assert "nothing was done here yet" in err
    assert list(tmp_path.iterdir()) == []


def test_a_video_whose_scores_were_changed_is_named_and_the_others_are_cut(tmp_path: Path, lad: Lad) -> None:
    found = [Found(name, write_video(tmp_path / f"{name}.mp4", 30), [(5, 10, "run")]) for name in "ab"]
    write_scored(tmp_path / "work", found)
    (tmp_path / "work" / "scores" / "a.csv").write_text("frame,time,score,run\n0,0,0.1,1\n")
    status, out, err = lad("clips", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
    assert status == 1
    assert "a.csv: not as lad made it: run `lad score --verify` first" in out + err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["b_0-00-00.200_run.mp4"]
