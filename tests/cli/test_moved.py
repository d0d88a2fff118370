"""A work directory can move to a machine with another number of cores: nothing is done again there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.detectors import write_detector
from helpers.small import write_data
from helpers.work import BEST, items, same_tensors, tensors

from lad.config import load_config
from lad.detector.checkpoint import load_checkpoint, save_checkpoint
from lad.features.recipe import make_recipe

pytestmark = pytest.mark.slow

Lad = Callable[..., tuple[int, str, str]]


def test_a_finished_work_directory_is_finished_on_a_machine_with_more_cores(
    lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = write_data(tmp_path / "data")
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("lad.device.cores", lambda cores=cores: cores)
        work = tmp_path / f"of {cores}"
        status, _, err = lad("run", *options, "--work", str(work))
        assert status == 0 and f"float32, {cores} threads" in err
        found.append(work)
    few, many = found
    moved = few.rename(tmp_path / "moved")
    status, out, _ = lad("run", *options, "--work", str(moved))
    assert status == 0 and out.count("nothing to do") == 4
    for stage in ("extract", "train", "score", "evaluate"):
        fingerprints = [{item: row.fingerprint for item, row in items(work, stage).items()} for work in (moved, many)]
        assert fingerprints[0] == fingerprints[1], stage
    for path in moved.rglob("*.npy"):
        assert path.read_bytes() == (many / path.relative_to(moved)).read_bytes()
    assert same_tensors(tensors(moved / BEST), tensors(many / BEST))


def test_equal_checkpoints_are_the_same_bytes(tmp_path: Path) -> None:
    """Scores depend on the bytes of a checkpoint."""
    first, second = (write_detector(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_checkpoint_read_and_written_again_is_the_same_bytes(tmp_path: Path) -> None:
    """A resumed training writes what it read of the interrupted one."""
    first = write_detector(tmp_path / "one.pt")
    history = [{"step": step, "loss": 0.5} for step in (1, 2)]
    save_checkpoint(first, replace(load_checkpoint(first), history=history, optimizer={"step": 2, "loss": ("step", 0)}))
    save_checkpoint(tmp_path / "two.pt", load_checkpoint(first))
    assert first.read_bytes() == (tmp_path / "two.pt").read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_features_have_the_fingerprint_that_they_always_had_on_two_cores(threads: int) -> None:
    extract = load_config(None, ["extract.backbone=tiny"]).extract
    facts = make_recipe(extract, device="cpu", threads=threads).facts("rgb")
    assert facts["numerics"] == {"device": "cpu", "dtype": "float32", "threads": 2}


def test_threads_that_the_user_sets_are_part_of_what_a_detector_depends_on(lad: Lad, tmp_path: Path) -> None:
    options = [*write_data(tmp_path / "data"), "--work", str(tmp_path / "work")]
    assert lad("run", *options)[0] == 0
    status, out, _ = lad("run", *options, "-o", "threads=1")
    assert status == 0
    assert [line.partition(",")[0] for line in out.splitlines()[:3]] == [
        "extract: nothing to do",
        "train: 1 done",
        "score: 6 done",
    ]
