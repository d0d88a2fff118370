"""How features come from the process that made them, and how that finds out whether it sees the work directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lad.config import load_config
from lad.engine.extracting import _problem, _sees
from lad.engine.handover import prepared, received, staged
from lad.engine.messages import Extracted, File, NotReceived, Setup, Task
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Job
from lad.extract.video import VideoInfo
from lad.features.recipe import make_recipe
from lad.files import file_sha256, write_bytes


def made(home: Path, content: bytes) -> Extracted:
    """Features as a process wrote them to the work directory."""
    path = staged(home, "yard/1", "try", "rgb")
    write_bytes(path, content)
    return Extracted("try", 1, [], VideoInfo(), {"rgb": File(path, file_sha256(path))})


def test_what_lies_there_as_it_was_written_is_taken(tmp_path: Path) -> None:
    assert received(made(tmp_path, b"features"), tmp_path, "yard/1")["rgb"].read_bytes() == b"features"


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"featurez"), Path.unlink])
def test_what_is_damaged_or_gone_is_not(tmp_path: Path, damage) -> None:
    found = made(tmp_path, b"features")
    damage(found.files["rgb"].path)
    with pytest.raises(NotReceived, match="is not as it was written"):
        received(found, tmp_path, "yard/1")


def test_what_comes_in_blocks_is_put_together_and_checked(tmp_path: Path) -> None:
    found = made(tmp_path / "theirs", b"features")
    sent = replace(found, files={"rgb": replace(found.files["rgb"], blocks=[b"feat", b"ures"])})
    (tmp_path / "ours").mkdir()
    assert received(sent, tmp_path / "ours", "yard/1")["rgb"].read_bytes() == b"features"
    short = replace(found, files={"rgb": replace(found.files["rgb"], blocks=[b"feat"])})
    with pytest.raises(NotReceived):
        received(short, tmp_path / "ours", "yard/1")


def setup_of(home: Path, token: Path, word: str) -> Setup:
    extract = load_config(None, ["extract.backbone=tiny"]).extract
    recipe = make_recipe(extract, device="cpu", threads=1)
    return Setup(recipe, 1, 60, home, token, word, {}, {})


def test_a_process_sees_the_work_directory_by_a_word_in_it_and_not_by_its_name(tmp_path: Path) -> None:
    recipe = setup_of(tmp_path, Path("token"), "").recipe
    with prepared(tmp_path, recipe, workers=1, stall_seconds=60) as setup:
        assert _sees(setup)
        assert not _sees(replace(setup, home=tmp_path / "elsewhere"))
        assert not _sees(replace(setup, word="another one"))
    assert not list(tmp_path.iterdir()), "nothing stays"


def test_a_video_that_has_another_size_on_a_node_is_not_the_drivers(tmp_path: Path) -> None:
    video = tmp_path / "street.mp4"
    video.write_bytes(bytes(10))
    task = Task("try", "street", Job("street", video, ClipSpec(("rgb",))), 10)
    assert _problem(task) is None
    assert _problem(replace(task, size=11)) == "has 10 bytes there and 11 where lad was started"
    video.unlink()
    assert _problem(task) == "cannot be read: No such file or directory"
