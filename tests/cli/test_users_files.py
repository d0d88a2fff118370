"""The user's files: lad replaces none that it did not make, takes none of its own for data, and each only once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.work import items

Lad = Callable[..., tuple[int, str, str]]
CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb]}
train: {window: 2, hidden: 4, abnormal_windows: 1, normal_windows: 1, steps: 2, evaluate_every: 2}
workers: 1
threads: 1
"""
ROWS = ["video,path,split,label,events", "0,0.mp4,train,run,4-30", "1,1.mp4,val,run,8-20", "2,2.mp4,test,run,2-19"]
TINY = ("-o", "extract.backbone=tiny", "-o", "extract.streams=[rgb]", "-o", "workers=1", "-o", "threads=1", "-q")


@pytest.fixture
def data(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for number in range(3):
        make_video(root / f"{number}.mp4", 33 + 8 * number)
    (root / "dataset.csv").write_text("\n".join(ROWS) + "\n")
    (root / "small.yaml").write_text(CONFIG)
    return root


def options(data: Path, work: Path) -> list[str]:
    return ["-c", str(data / "small.yaml"), "--data", str(data), "--work", str(work)]


# Files that somebody else made ----------------------------------------------------------------------------------------


def test_a_folder_with_somebody_s_files_is_no_work_directory(lad: Lad, data: Path) -> None:
    (data / "config.yaml").write_text("name: mine\n")
    before = sorted(data.iterdir())
    status, _, err = lad("extract", *options(data, data))
    said = f"error: {data}: config.yaml, dataset.csv are there already and not made by lad, which would replace them"
    assert (status, err.splitlines()[-1]) == (2, f"{said}: choose another --work, or give --force")
    assert sorted(data.iterdir()) == before
    assert (data / "config.yaml").read_text() == "name: mine\n"
    assert lad("extract", *options(data, data), "--force")[0] == 0


def test_a_file_that_came_into_a_work_directory_later_stays(lad: Lad, data: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert lad("extract", *options(data, work))[0] == 0
    assert lad("extract", *options(data, work), "-o", "train.steps=3")[0] == 0, "its own it replaces"
    (work / "config.yaml").write_text("name: mine\n")
    status, _, err = lad("extract", *options(data, work))
    assert status == 2
    assert f"{work / 'config.yaml'}: is not as lad wrote it: move it away, or give --force to replace it" in err
    assert (work / "config.yaml").read_text() == "name: mine\n"
    assert lad("extract", *options(data, work), "--force")[0] == 0
    assert lad("extract", *options(data, work))[0] == 0


def test_prepare_replaces_no_file_that_holds_something_else(lad: Lad, data: Path, tmp_path: Path) -> None:
    words = ["prepare", "folder", "--root", str(data), "--out", str(data / "dataset.csv")]
    status, _, err = lad(*words)
    assert status == 2
    assert f"{data / 'dataset.csv'}: is there with other content: name another --out, or give --force" in err
    assert (data / "dataset.csv").read_text().splitlines() == ROWS
    assert lad(*words, "--force")[0] == 0
    assert lad(*words)[0] == 0, "the same again is no replacement"


def test_export_replaces_only_what_it_exported(lad: Lad, data: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    assert lad("extract", *options(data, work))[0] == 0
    words = ["export", *options(data, work), "--layout", "released", "--out"]
    assert lad(*words, str(tmp_path / "first"))[0] == 0
    (data / "dataset.csv").write_text("\n".join(ROWS).replace("run", "fall").replace("2-19", "3-19") + "\n")
    assert lad(*words, str(tmp_path / "first"))[0] == 0, "its own it replaces"
    (exported,) = (tmp_path / "first" / "GT").glob("frame*")
    by_hand = out / "GT" / exported.name
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(b"made by hand")
    status, _, err = lad(*words, str(out))
    assert status == 2
    assert f"{by_hand}: is there already, and was not exported from {work}" in err
    assert by_hand.read_bytes() == b"made by hand"
    assert lad(*words, str(out), "--force")[0] == 0
    assert by_hand.read_bytes() == exported.read_bytes()


# What lad made is no data ---------------------------------------------------------------------------------------------


def test_a_run_in_the_data_folder_finds_the_same_videos_twice(
    lad: Lad, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "dataset.csv").unlink()
    monkeypatch.chdir(data)
    for work in ("work", "."):
        for _ in range(2):
            assert lad("extract", "--data", ".", "--work", work, *TINY)[0] == 0
            (data / work / "plots").mkdir(exist_ok=True)
            shutil.copy("0.mp4", data / work / "plots")
        assert set(items(data / work, "extract")) == {"rgb/0", "rgb/1", "rgb/2"}


def test_one_content_in_two_splits_is_refused_before_anything_is_learned(lad: Lad, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "0.mp4", data / "2.mp4")
    status, _, err = lad("run", *options(data, tmp_path / "work"))
    said = f"error: {data / '2.mp4'} (test) holds the same as {data / '0.mp4'} (train): leave one of them out"
    assert status == 2
    assert said in err
    assert not (tmp_path / "work" / "checkpoints").exists()


def test_a_copy_within_the_training_videos_is_warned_of(lad: Lad, data: Path, tmp_path: Path) -> None:
    with (data / "dataset.csv").open("a") as table:
        table.write("copy,copy.mp4,train,run,10-30\n")
    shutil.copy(data / "0.mp4", data / "copy.mp4")
    status, _, err = lad("run", *options(data, tmp_path / "work"))
    assert status == 0, err
    assert "warning: copy holds the same as 0: what it shows counts twice in training; the two count as one" in err


def test_an_event_and_its_copy_cannot_both_teach_and_validate(lad: Lad, data: Path, tmp_path: Path) -> None:
    (data / "dataset.csv").write_text(f"{ROWS[0]}\n{ROWS[1]}\ncopy,copy.mp4,train,run,10-30\n")
    shutil.copy(data / "0.mp4", data / "copy.mp4")
    lad("extract", *options(data, tmp_path / "work"))
    status, _, err = lad("train", *options(data, tmp_path / "work"))
    assert status == 2 and "of one source" in err


# Files that change while they are read --------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read_fails_alone_and_is_done_when_complete(
    lad: Lad, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, growing = tmp_path / "work", data / "1.mp4"
    assert lad("run", *options(data, tmp_path / "trained"))[0] == 0
    detector = tmp_path / "trained" / "checkpoints" / "best.pt"
    original = sys.modules["lad.pipeline.extract"].extract_videos  # type: ignore[attr-defined]

    def grow(*args: object, **kwargs: object) -> object:
        for event in original(*args, **kwargs):
            if event.item == "1":
                with growing.open("ab") as file:
                    file.write(b"\0")
            yield event

    monkeypatch.setattr("lad.pipeline.extract.extract_videos", grow)
    words = ["score", "--checkpoint", str(detector), "--data", str(data), "--work", str(work)]
    words += [str(data / f"{number}.mp4") for number in range(3)]
    status, _, err = lad(*words)
    assert status == 1, err
    assert f"{growing}: it changed while it was read" in err
    assert {item: row.status for item, row in items(work, "score").items()} == {"0": "done", "2": "done"}
    assert items(work, "extract")["rgb/1"].failure == "io"
    monkeypatch.undo()
    assert lad(*words)[0] == 0
    assert items(work, "score")["1"].status == "done"


def test_a_name_that_is_no_utf8_and_one_with_a_line_break_are_two_items(lad: Lad, data: Path, tmp_path: Path) -> None:
    (data / "dataset.csv").unlink()
    (data / "0.mp4").rename(data / os.fsdecode(b"caf\xe9.mp4"))
    (data / "1.mp4").rename(data / "two\nlines\r.mp4")
    words = ["--data", str(data), *TINY]
    status, _, err = lad("extract", *words, "--work", str(tmp_path / "work"))
    assert status == 0, err
    found = items(tmp_path / "work", "extract")
    assert len(found) == 3
    table = tmp_path / "work" / "dataset.csv"
    status, _, err = lad("extract", *words, "-o", f"data.dataset={table}", "--work", str(tmp_path / "again"))
    assert status == 0, err
    assert items(tmp_path / "again", "extract").keys() == found.keys()


def test_a_pipe_a_device_and_holes_fail_alone(data: Path, tmp_path: Path) -> None:
    os.mkfifo(data / "pipe.mp4")
    (data / "zero.mp4").symlink_to("/dev/zero")
    with (data / "holes.mp4").open("wb") as file:
        file.truncate(1 << 40)
    (data / "dataset.csv").unlink()
    words = ["extract", "--data", str(data), "--work", str(tmp_path / "work"), *TINY]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "lad", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert time.monotonic() - began < 200
    found = items(tmp_path / "work", "extract")
    assert {item for item, row in found.items() if row.status == "done"} == {"rgb/0", "rgb/1", "rgb/2"}
    assert {item for item, row in found.items() if row.failure == "io"} == {"rgb/pipe", "rgb/zero", "rgb/holes"}


def test_names_that_are_markup_are_shown_as_they_are(lad: Lad, data: Path, tmp_path: Path) -> None:
    work = tmp_path / "[red]runs[/red]:cat:"
    (data / "2.mp4").write_bytes(b"no video")
    assert lad("extract", *options(data, work))[0] == 1
    shown = lad("status", "--work", str(work))[1]
    assert "[red]runs[/red]:cat:" in "".join(shown.split())
