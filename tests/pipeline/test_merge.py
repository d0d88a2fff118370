"""What `lad merge` takes of a part, and what it does not: a part may come from anywhere."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from lad.console import make_reporter
from lad.features.recipe import EXTRACT
from lad.files import file_sha256
from lad.pipeline.merge import merge_parts
from lad.pipeline.reporter import StageResult
from lad.work.layout import Work
from lad.work.manifest import open_manifest, read_manifest

ITEM = "rgb/a"
PLACE = "features/rgb/a.npy"


def make_part(folder: Path, content: bytes = b"1", fingerprint: str = "today") -> Path:
    """A work directory in which the features of one video were made."""
    with open_manifest(folder) as manifest:
        manifest.start(EXTRACT, ITEM, fingerprint)
        path = folder / PLACE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        manifest.finish(EXTRACT, ITEM, [path], {})
    return folder


def change(part: Path, column: str, value: object) -> None:
    with sqlite3.connect(part / "manifest.sqlite") as connection:
        connection.execute(f"UPDATE items SET {column} = ?", (value,))
    connection.close()


def merge(work: Path, *parts: Path) -> StageResult:
    with open_manifest(work) as manifest:
        return merge_parts(Work(manifest), parts, make_reporter(quiet=True))


@pytest.mark.parametrize("path", ["../outside.npy", "features/../../outside.npy", "config.yaml", "a/b"])
def test_nothing_is_written_where_no_features_lie(path: str, tmp_path: Path) -> None:
    part, work = make_part(tmp_path / "in" / "part"), tmp_path / "work"
    (part / path).parent.mkdir(parents=True, exist_ok=True)
    (part / path).write_bytes(b"2")
    change(part, "outputs", json.dumps([{"path": path, "bytes": 1, "sha256": file_sha256(part / path)}]))
    before = sorted(tmp_path.glob("*"))
    result = merge(work, part)
    assert result.done == 0 and "is not taken" in result.failed[ITEM]
    assert sorted(tmp_path.glob("*")) == sorted([*before, work])
    assert not (work / "config.yaml").exists()
    with read_manifest(work) as manifest:
        assert manifest.get(EXTRACT, ITEM) is None


@pytest.mark.parametrize(("column", "value"), [("outputs", '[{"path": 5, "bytes": 1, "sha256": ""}]'), ("info", "5")])
def test_a_part_whose_manifest_makes_no_sense_is_refused(column, value, tmp_path: Path) -> None:
    part = make_part(tmp_path / "part")
    change(part, column, value)
    assert "is unreadable" in merge(tmp_path / "work", part).failed[str(part)]


def test_a_link_in_a_part_becomes_the_file_that_it_leads_to(tmp_path: Path) -> None:
    part, work = make_part(tmp_path / "part"), tmp_path / "work"
    (part / PLACE).rename(tmp_path / "elsewhere.npy")
    (part / PLACE).symlink_to(tmp_path / "elsewhere.npy")
    assert merge(work, part).done == 1
    assert not (work / PLACE).is_symlink() and (work / PLACE).read_bytes() == b"1"


def test_a_file_that_was_altered_or_is_no_file_leaves_nothing_behind(tmp_path: Path) -> None:
    part, work = make_part(tmp_path / "part"), tmp_path / "work"
    (part / PLACE).write_bytes(b"2")
    assert "it is not as it was made" in merge(work, part).failed[ITEM]
    assert not (work / PLACE).exists()
    (part / PLACE).unlink()
    os.mkfifo(part / PLACE)
    assert "it is not there any more" in merge(work, part).failed[ITEM]


def test_of_two_that_were_made_otherwise_the_newer_stays(tmp_path: Path) -> None:
    old, new = make_part(tmp_path / "old", b"1", "then"), make_part(tmp_path / "new", b"2")
    for parts in ((old, new), (new, old)):
        work = tmp_path / f"of_{parts[0].name}"
        assert not merge(work, *parts).failed
        assert (work / PLACE).read_bytes() == b"2"
        with read_manifest(work) as manifest:
            assert manifest.get(EXTRACT, ITEM).fingerprint == "today"


def test_a_part_that_is_the_work_directory_is_named_so(tmp_path: Path) -> None:
    work = make_part(tmp_path / "work")
    (tmp_path / "link").symlink_to(work)
    for part in (work, tmp_path / "link"):
        assert "it is the work directory itself" in merge(work, part).failed[str(part)]


def test_a_part_on_a_disk_that_is_read_only_is_taken(tmp_path: Path, monkeypatch) -> None:
    part = make_part(tmp_path / "part")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, how: Path(path) != part and allowed(path, how))
    (part / ".lock").unlink()
    (part / ".lock").symlink_to("/nowhere/at/all")  # whoever locks it fails, as on such a disk
    result = merge(tmp_path / "work", part)
    assert result.done == 1 and not result.failed
