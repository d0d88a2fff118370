"""How features come from the process that made them, and how that finds out whether it sees the work directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lad.config import load_config
from lad.engine.extracting import _problem, _sees
from lad.engine.handover import for_others, placed, prepared
from lad.engine.messages import File, NotReceived
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Job
from lad.features.recipe import make_recipe
from lad.files import file_sha256, write_bytes

RECIPE = make_recipe(load_config(None, ["extract.backbone=tiny"]).extract, device="cpu", threads=1)


def made(path: Path, content: bytes) -> File:
    """What a process wrote where the driver sees it."""
    write_bytes(path, content)
    return File(path, file_sha256(path))


def test_what_lies_there_as_it_was_written_is_taken(tmp_path: Path) -> None:
    file = made(tmp_path / "rgb.npy", b"features")
    placed(file, file.path)
    assert file.path.read_bytes() == b"features"


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"featurez"), Path.unlink])
def test_what_is_damaged_or_gone_is_not(tmp_path: Path, damage) -> None:
    file = made(tmp_path / "rgb.npy", b"features")
    damage(file.path)
    with pytest.raises(NotReceived, match="is not as it was written"):
        placed(file, file.path)


def test_what_comes_in_blocks_is_put_together_and_checked(tmp_path: Path) -> None:
    file, place = made(tmp_path / "theirs" / "rgb.npy", b"features"), tmp_path / "ours" / "rgb.npy"
    with pytest.raises(NotReceived, match="did not arrive as it was written"):
        placed(replace(file, blocks=[b"feat"]), place)
    assert not list(place.parent.iterdir()), "half of a file is no file"
    placed(replace(file, blocks=[b"feat", b"ures"]), place)
    assert place.read_bytes() == b"features"


def test_a_process_sees_the_work_directory_by_a_word_in_it_and_not_by_its_name(tmp_path: Path) -> None:
    with prepared(tmp_path, RECIPE, workers=1, stall_seconds=60) as setup:
        assert _sees(setup)
        assert not _sees(replace(setup, home=tmp_path / "elsewhere"))
        assert not _sees(replace(setup, word="another one"))
    assert not list(tmp_path.iterdir()), "nothing stays"


def test_a_video_that_has_another_size_on_a_node_is_not_the_drivers(tmp_path: Path) -> None:
    video = tmp_path / "street.mp4"
    video.write_bytes(bytes(10))
    job = for_others(Job("street", video, ClipSpec(("rgb",))))
    assert _problem(job) is None
    video.write_bytes(bytes(11))
    assert _problem(job) == "has 11 bytes there and 10 where lad was started"
    video.unlink()
    assert _problem(job) == "cannot be read: No such file or directory"


def test_torchcodec_has_to_be_the_same_where_it_reads_and_only_there(tmp_path: Path) -> None:
    reads = replace(RECIPE, clips=replace(RECIPE.clips, reader="torchcodec"))
    with prepared(tmp_path, reads, workers=1, stall_seconds=60) as setup:
        assert set(setup.versions) == {"lad", "torch", "av", "decord", "torchcodec"}
    with prepared(tmp_path, RECIPE, workers=1, stall_seconds=60) as setup:
        assert set(setup.versions) == {"lad", "torch", "av", "decord"}
