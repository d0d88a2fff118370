"""Whatever links are planted beside or as the files that lad writes: nothing is written through them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lad.files import link, replacing, sweep_leftovers, write_text
from lad.work.journal import Journal, ManifestError
from lad.work.lock import hold
from lad.work.manifest import open_manifest
from lad.work.partial import Partial

PRECIOUS = "alias ll='ls -l'\n"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / ".bashrc"
    path.write_text(PRECIOUS)
    return path


def test_a_link_at_the_place_of_a_file_is_replaced(tmp_path: Path, precious: Path) -> None:
    target = tmp_path / "out" / "dataset.csv"
    target.parent.mkdir()
    target.symlink_to(precious)
    write_text(target, "mine")
    assert (target.read_text(), target.is_symlink(), precious.read_text()) == ("mine", False, PRECIOUS)
    link(target, tmp_path / "out" / "again")
    assert (tmp_path / "out" / "again").samefile(target)


def test_no_two_writers_share_a_name_and_none_is_the_same_twice(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
            names |= {one.name, other.name}
            one.write_text("one")
            other.write_text("other")
    assert len(names) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_moved_while_a_file_is_written_gets_it(tmp_path: Path, precious: Path) -> None:
    """As whoever swaps the folder for a link to another one would have it."""
    folder, moved = tmp_path / "work", tmp_path / "moved"
    with replacing(folder / "a") as temporary:
        temporary.write_text("mine")
        folder.rename(moved)
        folder.symlink_to(precious.parent)
    assert (moved / "a").read_text() == "mine"
    assert not (precious.parent / "a").exists()


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    old, new = tmp_path / f".lad-{'0' * 24}.tmp", tmp_path / f".lad-{'1' * 24}.tmp"
    others = [tmp_path / ".lad-notes.tmp", tmp_path / "a.tmp"]
    for path in (old, new, *others):
        path.write_text("")
        os.utime(path, (1, 1))
    os.utime(new)
    linked = tmp_path / f".lad-{'2' * 24}.tmp"
    linked.symlink_to(others[0])
    sweep_leftovers(tmp_path, before=2)
    assert set(tmp_path.iterdir()) == {new, linked, *others}


def test_opening_a_work_directory_sweeps_it(tmp_path: Path) -> None:
    with open_manifest(tmp_path):
        (tmp_path / "features" / "rgb").mkdir(parents=True)
    name = f".lad-{'a' * 24}.tmp"
    left = [tmp_path / name, tmp_path / "features" / "rgb" / name]
    (tmp_path / "runs").mkdir()
    others = tmp_path / "runs" / name  # somebody else may be writing there
    for path in (*left, others):
        path.write_text("half of")
        os.utime(path, (1, 1))
    with open_manifest(tmp_path):
        assert not any(path.exists() for path in left)
    assert others.exists()


@pytest.mark.parametrize("name", [".lock", "manifest.jsonl", "manifest.sqlite", "manifest.sqlite-wal"])
def test_a_link_or_a_pipe_at_a_file_that_stays_open_is_refused(name: str, tmp_path: Path, precious: Path) -> None:
    work = tmp_path / "work"
    with open_manifest(work):
        pass
    (work / name).unlink(missing_ok=True)
    (work / name).symlink_to(precious)
    with pytest.raises((ManifestError, OSError), match="is a link"), open_manifest(work):
        pytest.fail("opened")
    assert precious.read_text() == PRECIOUS


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(ManifestError, match=r"\.lock: is no regular file: remove it"), hold(tmp_path):
        pytest.fail("held")
    os.mkfifo(tmp_path / "manifest.jsonl")
    with pytest.raises(OSError, match="is no regular file"):
        Journal(tmp_path / "manifest.jsonl")


def test_half_done_features_are_appended_to_no_link(tmp_path: Path, precious: Path) -> None:
    import numpy as np

    partial = Partial(tmp_path / "partial", {})
    partial.folder.mkdir()
    (partial.folder / "rgb.f32").symlink_to(precious)
    partial.add({"rgb": np.zeros((2, 3), np.float32)})
    with pytest.raises(OSError, match="is a link"):
        partial.save()
    assert precious.read_text() == PRECIOUS


CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb]}
train: {window: 2, hidden: 4, abnormal_windows: 1, normal_windows: 1, steps: 2, evaluate_every: 2}
workers: 1
threads: 1
"""
KEPT_OPEN = (".lock", "manifest.jsonl", "manifest.sqlite")  # refused in one line, as tested above


def test_no_link_at_any_name_of_a_real_run_is_written_through(
    lad: Callable[..., tuple[int, str, str]], make_video: Callable[..., Path], tmp_path: Path, precious: Path
) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    rows = ["video,path,split,label,events", "0,0.mp4,train,run,4-30", "1,1.mp4,val,run,8-20", "2,2.mp4,test,run,2-19"]
    for number in range(3):
        make_video(data / f"{number}.mp4", 33 + 8 * number)
    (data / "dataset.csv").write_text("\n".join(rows) + "\n")
    (data / "small.yaml").write_text(CONFIG)
    words = ["run", "-c", str(data / "small.yaml"), "--data", str(data), "--work", str(work)]
    assert lad(*words)[0] == 0
    written = [path for path in work.rglob("*") if path.is_file() and "tfevents" not in path.name]
    planted = [path for path in written if path.name not in KEPT_OPEN]
    names = {path.name for path in planted}
    assert {"config.yaml", "dataset.csv", "0.npy", "best.pt", "summary.csv", "metrics.json"} <= names
    shutil.rmtree(work / "logs")
    for path in planted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(precious)
    status, _, err = lad(*words)
    assert (status, precious.read_text()) == (2, PRECIOUS)
    assert "dataset.csv: is not as lad wrote it: move it away, or give --force to replace it" in err
    status, _, err = lad(*words, "--force")
    assert status == 0, err
    assert precious.read_text() == PRECIOUS
    assert [path.name for path in planted if path.is_symlink()] == ["lad.log"]
    assert "warning:" in err and "lad.log: is a link: nothing is written through it, remove it" in err


def test_what_a_report_writes_meanwhile_is_not_swept_away(tmp_path: Path) -> None:
    with open_manifest(tmp_path):
        pass
    with replacing(tmp_path / "report" / "clips" / "a.mp4") as temporary:
        temporary.write_bytes(b"half")
        old = temporary.with_name(f".lad-{'3' * 24}.tmp")
        old.write_bytes(b"of a killed report")
        os.utime(old, (1, 1))
        with open_manifest(tmp_path):
            assert temporary.exists() and not old.exists()
    assert (tmp_path / "report" / "clips" / "a.mp4").read_bytes() == b"half"
