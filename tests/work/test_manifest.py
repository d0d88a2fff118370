"""What the manifest promises: nothing is done twice, nothing is forgotten, and two never work in one place."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lad.pipeline.outcome import status_data
from lad.work import contents as contents_module
from lad.work import manifest as manifest_module
from lad.work.contents import take_stamp
from lad.work.journal import SINCE_2
from lad.work.lock import hold, holder
from lad.work.manifest import Manifest, ManifestError, open_manifest, read_manifest
from lad.work.rebuild import rebuild_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with open_manifest(tmp_path / "work") as opened:
        yield opened


def do(manifest: Manifest, item: str = "video", fingerprint: str = "today", content: bytes = b"result") -> Path:
    output = manifest.work / f"{item}.npy"
    manifest.start("extract", item, fingerprint)
    output.write_bytes(content)
    manifest.finish("extract", item, [output], {"frames": 3})
    return output


def is_done(manifest: Manifest, fingerprint: str = "today", *, verify: bool = False) -> bool:
    return manifest.is_done(manifest.get("extract", "video"), fingerprint, verify=verify)


def test_a_finished_item_is_done(manifest: Manifest) -> None:
    do(manifest)
    assert is_done(manifest)
    assert is_done(manifest, verify=True)
    row = manifest.get("extract", "video")
    assert row is not None
    assert (row.status, row.attempt, row.info, row.error) == ("done", 1, {"frames": 3}, None)
    assert row.seconds is not None
    assert [(output.path, output.bytes) for output in row.outputs] == [("video.npy", 6)]


def test_an_item_that_was_never_begun_is_not_done(manifest: Manifest) -> None:
    assert not is_done(manifest)


def test_an_item_with_another_fingerprint_is_not_done(manifest: Manifest) -> None:
    do(manifest)
    assert not is_done(manifest, "tomorrow")


def test_an_item_that_runs_or_failed_is_not_done(manifest: Manifest) -> None:
    manifest.start("extract", "video", "today")
    assert not is_done(manifest)
    manifest.fail("extract", "video", "content", "the file is empty")
    assert not is_done(manifest)


def test_an_item_whose_output_is_gone_or_of_another_size_is_not_done(manifest: Manifest) -> None:
    output = do(manifest)
    output.write_bytes(b"longer than before")
    assert not is_done(manifest)
    output.unlink()
    assert not is_done(manifest)


def test_only_verify_sees_an_output_of_the_same_size_and_time(manifest: Manifest) -> None:
    output = do(manifest)
    before = output.stat()
    output.write_bytes(b"RESULT")
    os.utime(output, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_done(manifest), "neither size nor time changed"
    assert not is_done(manifest, verify=True)


def test_a_started_item_forgets_its_last_result(manifest: Manifest) -> None:
    do(manifest)
    manifest.start("extract", "video", "today")
    row = manifest.get("extract", "video")
    assert row is not None
    assert (row.status, row.outputs, row.info) == ("running", [], {})


def test_attempts_count_up_while_the_fingerprint_stays(manifest: Manifest) -> None:
    def attempt(fingerprint: str) -> int:
        manifest.start("extract", "video", fingerprint)
        row = manifest.get("extract", "video")
        assert row is not None
        return row.attempt

    assert [attempt("a"), attempt("a"), attempt("a"), attempt("b"), attempt("b")] == [1, 2, 3, 1, 2]


def test_a_failed_row_keeps_its_kind_and_reason(manifest: Manifest) -> None:
    manifest.start("extract", "video", "today")
    manifest.fail("extract", "video", "io", "clip.mp4: cannot be read")
    row = manifest.get("extract", "video")
    assert row is not None
    assert (row.status, row.failure, row.error) == ("failed", "io", "clip.mp4: cannot be read")
    manifest.start("extract", "video", "today")
    row = manifest.get("extract", "video")
    assert row is not None
    assert (row.status, row.failure, row.error, row.attempt) == ("running", None, None, 2)


def test_items_are_listed_by_stage(manifest: Manifest) -> None:
    do(manifest, "a")
    do(manifest, "b")
    manifest.start("score", "a", "today")
    assert set(manifest.items()) == {("extract", "a"), ("extract", "b"), ("score", "a")}
    assert set(manifest.items("extract")) == {("extract", "a"), ("extract", "b")}
    assert manifest.items("train") == {}


def test_status_parses_no_item(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second where there are a hundred thousand."""
    do(manifest, "a")
    manifest.start("extract", "b", "today")
    manifest.fail("extract", "b", "content", "the file is empty")
    manifest.start("score", "a", "today")
    monkeypatch.setattr(manifest_module, "item_of", lambda *_: pytest.fail("an item was parsed"))
    data = status_data(manifest)
    none = dict.fromkeys(("done", "failed", "running", "interrupted", "pending"), 0)
    assert data["stages"] == {"extract": {**none, "done": 1, "failed": 1}, "score": {**none, "running": 1}}
    failure = {"stage": "extract", "item": "b", "failure": "content", "attempt": 1, "error": "the file is empty"}
    assert data["failed"] == [failure]


def test_what_is_done_outlives_the_process_and_running_rows_become_pending(tmp_path: Path) -> None:
    with open_manifest(tmp_path) as first:
        do(first)
        first.start("extract", "killed", "today")
    with open_manifest(tmp_path) as second:
        assert is_done(second)
        killed = second.get("extract", "killed")
        assert killed is not None
        assert (killed.status, killed.attempt) == ("pending", 1)
        assert not second.is_done(killed, "today")


def test_a_transaction_is_kept_whole_or_not_at_all(manifest: Manifest) -> None:
    with pytest.raises(ZeroDivisionError), manifest.transaction():
        manifest.start("extract", "a", "today")
        raise ZeroDivisionError
    assert manifest.items() == {}
    with manifest.transaction():
        manifest.start("extract", "a", "today")
    assert set(manifest.items()) == {("extract", "a")}


# Two processes --------------------------------------------------------------------------------------------------------


def test_rows_that_are_easily_had_again_wait_for_no_disk_and_all_others_do(manifest: Manifest) -> None:
    def waits() -> bool:
        return manifest._db.execute("PRAGMA synchronous").fetchone()[0] >= 2  # FULL

    assert waits()
    with pytest.raises(ZeroDivisionError), manifest.unhurried():
        manifest.start("extract", "rgb/a", "1")
        assert not waits()
        _ = 1 / 0
    assert waits()
    assert manifest.get("extract", "rgb/a") is not None


def test_a_second_process_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    with open_manifest(tmp_path):
        assert holder(tmp_path)
        opener = (
            "import pathlib, sys; from lad.work.manifest import open_manifest\n"
            "with open_manifest(pathlib.Path(sys.argv[1])): pass"
        )
        second = subprocess.run([sys.executable, "-c", opener, str(tmp_path)], capture_output=True, text=True)
        assert second.returncode == 1
        assert "ManifestError" in second.stderr
        assert f"process {os.getpid()} " in second.stderr
    assert holder(tmp_path) is None


def test_the_same_process_cannot_open_it_twice_either(tmp_path: Path) -> None:
    with open_manifest(tmp_path):
        with (
            pytest.raises(ManifestError, match=f"another lad works here .*process {os.getpid()} "),
            open_manifest(tmp_path),
        ):
            pytest.fail("opened twice")
        assert holder(tmp_path), "the refused one must not take the lock away"


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, sys; from lad.work.manifest import open_manifest\n"
        "with open_manifest(pathlib.Path(sys.argv[1])) as m:\n"
        "    m.start('extract', 'video', 'today'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)]).returncode == -9
    assert holder(tmp_path) is None
    with open_manifest(tmp_path) as manifest:
        row = manifest.get("extract", "video")
        assert row is not None
        assert row.status == "pending"


def test_looking_is_possible_while_another_works(tmp_path: Path) -> None:
    with open_manifest(tmp_path) as writer:
        do(writer)
        with read_manifest(tmp_path) as reader:
            assert is_done(reader)


def test_a_directory_without_a_manifest_says_that_nothing_was_done(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nothing was done here"), read_manifest(tmp_path):
        pytest.fail("read nothing")
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


# Content --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are really hashed."""
    names: list[str] = []
    original = contents_module.file_sha256

    def counting(path: Path) -> str:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(contents_module, "file_sha256", counting)
    return names


def test_content_is_hashed_once_until_size_or_time_change(
    manifest: Manifest, tmp_path: Path, hashed: list[str]
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"one")
    first = manifest.content_sha256(video)
    assert manifest.content_sha256(video) == first
    assert hashed == ["a.mp4"]
    video.write_bytes(b"three")
    assert manifest.content_sha256(video) != first
    video.write_bytes(b"one")
    os.utime(video, ns=(1, 1))
    assert manifest.content_sha256(video) == first
    assert hashed == ["a.mp4"] * 3


def test_verify_hashes_again(manifest: Manifest, tmp_path: Path, hashed: list[str]) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"one")
    os.utime(video, ns=(5, 5))
    first = manifest.content_sha256(video)
    video.write_bytes(b"two")
    os.utime(video, ns=(5, 5))
    assert manifest.content_sha256(video) == first, "trusted: neither size nor time changed"
    assert manifest.content_sha256(video, verify=True) != first
    assert len(hashed) == 2


def test_content_does_not_depend_on_the_place(manifest: Manifest, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"same")
    assert manifest.content_sha256(tmp_path / "a.mp4") == manifest.content_sha256(tmp_path / "b.mp4")


def test_the_content_of_a_frame_folder_is_its_images_and_their_names(
    manifest: Manifest, tmp_path: Path, hashed: list[str]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(name.encode())
    first = manifest.content_sha256(folder)
    (folder / "notes.txt").write_text("no frame")
    assert manifest.content_sha256(folder) == first
    assert len(hashed) == 2
    (folder / "2.png").rename(folder / "3.png")
    renamed = manifest.content_sha256(folder)
    (folder / "3.png").write_bytes(b"other")
    assert len({first, renamed, manifest.content_sha256(folder)}) == 3


def test_a_name_that_is_not_utf8_is_hashed_and_recorded(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    path.write_bytes(b"content")
    assert manifest.content_sha256(path) == manifest.content_sha256(path)
    manifest.start("extract", "video", "today")
    manifest.fail("extract", "video", "content", f"{path}: the file is empty")
    row = manifest.get("extract", "video")
    assert row is not None
    assert "the file is empty" in (row.error or "")


def test_the_content_of_a_missing_file_is_an_os_error(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        manifest.content_sha256(tmp_path / "nothing.mp4")


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opener", [open_manifest, read_manifest])
@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_manifest_is_named(opener: object, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.sqlite").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.sqlite: the manifest cannot be used"), opener(tmp_path):  # type: ignore[operator]
        pytest.fail("opened a damaged manifest")
    assert (tmp_path / "manifest.sqlite").read_bytes() == content, "it must be left as it is"


@pytest.mark.parametrize("opener", [open_manifest, read_manifest])
def test_a_manifest_of_another_format_is_refused(opener: object, tmp_path: Path) -> None:
    with open_manifest(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "manifest.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(ManifestError, match="its format is 99"), opener(tmp_path):  # type: ignore[operator]
        pytest.fail("opened another format")
    assert holder(tmp_path) is None


def test_damage_that_shows_later_is_a_manifest_error_too(tmp_path: Path) -> None:
    with open_manifest(tmp_path) as manifest:
        do(manifest)
    with sqlite3.connect(tmp_path / "manifest.sqlite") as database:
        database.execute("DROP TABLE items")
    with pytest.raises(ManifestError), read_manifest(tmp_path) as manifest:
        manifest.items()


def test_a_work_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ManifestError, match="cannot be written to"), open_manifest(tmp_path / "file" / "work"):
        pytest.fail("opened a directory below a file")


# Order, older formats, and looking ------------------------------------------------------------------------------------


def test_rows_have_an_order_whatever_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_manifest(tmp_path) as manifest:
        do(manifest)
    monkeypatch.setattr("time.time", lambda: 1000.0)  # set back by decades
    with open_manifest(tmp_path) as manifest:
        do(manifest)
        monkeypatch.setattr("time.time", lambda: 10.0)
        manifest.start("extract", "other", "today")
        monkeypatch.setattr("time.time", lambda: 1.0)
        manifest.fail("extract", "other", "io", "gone")
    with open_manifest(tmp_path) as manifest:  # the journal's last line is no newer than the manifest
        first, second = manifest.get("extract", "video"), manifest.get("extract", "other")
    assert first is not None
    assert second is not None
    assert first.sequence < second.sequence
    assert second.seconds == 0, "not less than nothing"


def to_first_format(work: Path) -> None:
    """Make a work directory what lad left before it counted."""
    with sqlite3.connect(work / "manifest.sqlite") as database:
        database.executescript(
            "ALTER TABLE items DROP COLUMN sequence; ALTER TABLE items DROP COLUMN repairs; DROP TABLE files;"
            "PRAGMA user_version = 1;"
        )
    database.close()
    _, *lines = (work / "manifest.jsonl").read_text().splitlines()
    old = [{key: value for key, value in json.loads(line).items() if key not in SINCE_2} for line in lines]
    (work / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"format": 1}, *old]))


@pytest.mark.parametrize("how", ["opened", "rebuilt", "killed on the way"])
def test_a_manifest_of_the_first_format_goes_on(how: str, tmp_path: Path) -> None:
    with open_manifest(tmp_path) as manifest:
        do(manifest)
        (tmp_path / "config.yaml").write_text("name: mine\n")
    to_first_format(tmp_path)
    old_journal = (tmp_path / "manifest.jsonl").read_bytes()
    with read_manifest(tmp_path) as manifest:
        assert status_data(manifest)["stages"]["extract"]["done"] == 1, "it can be looked at"
        assert is_done(manifest)
    if how == "rebuilt":
        assert rebuild_manifest(tmp_path).verified == 1
    if how == "killed on the way":
        with open_manifest(tmp_path):
            pass
        (tmp_path / "manifest.jsonl").write_bytes(old_journal)
    with open_manifest(tmp_path) as manifest:
        assert is_done(manifest, verify=True)
        assert manifest.is_own(tmp_path / "config.yaml"), "nobody else wrote it"
        do(manifest, "other")
    with open_manifest(tmp_path) as manifest:
        rows = manifest.items()
    assert rows["extract", "video"].sequence < rows["extract", "other"].sequence
    assert json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[0]) == {"format": 2}


def test_looking_never_keeps_another_from_the_lock(tmp_path: Path) -> None:
    looked = threading.Event()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            holder(tmp_path)
            looked.set()

    with hold(tmp_path):
        pass
    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        looked.wait()
        for _ in range(100):
            with hold(tmp_path):
                pass
    finally:
        done.set()
        for looker in lookers:
            looker.join()


# What cannot be hashed ------------------------------------------------------------------------------------------------


def test_what_has_no_end_is_recognised_before_it_is_read(manifest: Manifest, tmp_path: Path, hashed: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    said = {
        tmp_path / "pipe": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        Path("/proc/kmsg"): "not a file of a disk",
        Path("/proc/self/status"): "not a file of a disk",
        tmp_path / "holes": "1024 GiB that are nearly all holes",
    }
    for path, reason in said.items():
        with pytest.raises(OSError, match=reason):
            manifest.content_sha256(path)
    assert hashed == []


def test_a_file_that_changes_while_it_is_hashed_has_no_hash(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"half")
    original = contents_module.file_sha256

    def growing(place: Path) -> str:
        found = original(place)
        path.write_bytes(b"half of it")
        return found

    monkeypatch.setattr(contents_module, "file_sha256", growing)
    with pytest.raises(OSError, match="it changed while it was read"):
        manifest.content_sha256(path)
    monkeypatch.undo()
    assert manifest.content_sha256(path)


def test_a_command_sees_an_input_as_it_first_was(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"half")
    with open_manifest(tmp_path / "work") as manifest:
        first = manifest.contents.of_input(path)
        assert manifest.contents.is_unchanged(path)
        path.write_bytes(b"half of it")
        assert manifest.contents.of_input(path) == first
        assert not manifest.contents.is_unchanged(path)
    with open_manifest(tmp_path / "work") as manifest:
        assert manifest.contents.of_input(path) != first


def test_hashes_that_were_made_before_an_interruption_are_kept(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.npy" for number in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode())
    with open_manifest(tmp_path / "work") as manifest:
        real, kept = manifest.contents._keep, []

        def keep(*found: Any) -> None:
            if len(kept) == 3:
                raise KeyboardInterrupt
            kept.append(found)
            real(*found)

        manifest.contents._keep = keep  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            manifest.contents.learn(paths)
    with open_manifest(tmp_path / "work") as manifest:
        assert sum(manifest.contents._known(take_stamp(path)) is not None for path in paths) == 3
