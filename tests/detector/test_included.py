"""The detectors that come with `lad`: files that cannot run code, cards that tell the truth of them, found by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.detectors import write_detector
from helpers.places import REPOSITORY
from helpers.work import same_tensors
from safetensors.torch import save_file

from lad.detector import included
from lad.detector.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from lad.detector.included import card_of, find_detector, names, read_card
from lad.files import file_sha256

Lad = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", names())
def test_a_card_says_of_its_file_what_is_in_it(name: str) -> None:
    card, checkpoint = read_card(name), load_checkpoint(find_detector(name))
    assert (card.sha256, card.bytes) == (file_sha256(card.path), card.path.stat().st_size)
    assert card.categories == checkpoint.classes and card.threshold == checkpoint.threshold
    assert card.features["weights"] == checkpoint.weights
    assert card.trained["steps"] == checkpoint.step
    assert checkpoint.config is not None
    extract = checkpoint.config["extract"]
    assert {key: extract[key] for key in card.features if key != "weights"} == {
        key: value for key, value in card.features.items() if key != "weights"
    }
    assert checkpoint.network["name"] in card.kind and not checkpoint.doubt


@pytest.mark.parametrize("name", names())
def test_a_card_says_what_a_person_has_to_know(name: str) -> None:
    card = read_card(name)
    assert all((card.summary, card.licence, card.intended, card.must_not, card.limits, card.tested))
    assert all(one["licence"] and one["from"] for one in card.trained["data"])
    first = card.measured[0]
    assert first.interval is not None and first.interval[0] < first.value < first.interval[1]
    assert str(first) in card.headline and card.name in card.line
    assert len(card.taught_by) == card.trained["videos"]


@pytest.mark.parametrize("name", names())
def test_a_file_that_is_shipped_is_small_and_names_no_place_of_a_machine(name: str) -> None:
    card = read_card(name)
    assert card.bytes < 200_000
    for path in (card.path, card.path.with_suffix(".json")):
        content = path.read_bytes()
        assert not any(place in content for place in (b"/home", b"/root", b"/tmp", b"/work", b"/Users"))


def test_a_detector_is_the_same_in_both_kinds_of_file(tmp_path: Path) -> None:
    torchs = load_checkpoint(write_detector(tmp_path / "best.pt"))
    save_checkpoint(tmp_path / "one.safetensors", torchs)
    ours = load_checkpoint(tmp_path / "one.safetensors")
    assert same_tensors(dict(ours.model), dict(torchs.model))
    assert replace(ours, model={}) == replace(torchs, model={})
    save_checkpoint(tmp_path / "two.safetensors", ours)
    assert file_sha256(tmp_path / "one.safetensors") == file_sha256(tmp_path / "two.safetensors")


def header(said: object) -> dict[str, str]:
    return {"lad_detector": said if isinstance(said, str) else json.dumps(said)}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "does not describe a detector"),
        (header("{"), "holds no detector"),
        (header("[" * 100_000), "holds no detector"),
        (header([]), "does not describe a detector"),
        (header({"format": 99}), "a newer lad wrote it"),
        (header({"format": 4}), "not as lad writes format 4"),
        (header({}), "cannot be used"),
    ],
)
def test_a_file_that_holds_no_detector_is_refused_in_one_line(
    tmp_path: Path, metadata: dict[str, str] | None, reason: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"linear.weight": torch.zeros(3, 8)}, path, metadata)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert reason in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"threshold": "high"}, {"classes": ["one"]}, {"calibration": [1, 2]}])
def test_a_detector_whose_words_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    checkpoint = load_checkpoint(write_detector(tmp_path / "best.pt"))
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, replace(checkpoint, **change))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(path)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(find_detector("surveillance").read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        load_checkpoint(path)


def test_a_name_is_a_detector_that_comes_with_lad_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "surveillance").mkdir()  # of data
    shipped = find_detector("surveillance")
    card = card_of(shipped)
    assert card is not None and card.name == "surveillance"
    (tmp_path / "surveillance").rmdir()
    write_detector(tmp_path / "surveillance")
    assert find_detector("surveillance") == Path("surveillance") and card_of(Path("surveillance")) is None
    assert card_of(None) is None


def test_a_shipped_detector_that_was_altered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(included.FOLDER, tmp_path / "detectors")
    monkeypatch.setattr(included, "FOLDER", folder)
    save_checkpoint(folder / "surveillance.safetensors", Checkpoint(model={"weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="install lad again"):
        find_detector("surveillance")
    assert card_of(folder / "surveillance.safetensors") is None  # its number is not that of this file


def test_the_command_lists_them_and_shows_a_card(lad: Lad) -> None:
    card = read_card("surveillance")
    status, out, _ = lad("detectors", "list")
    assert status == 0 and card.name in out and card.headline in out
    status, out, _ = lad("detectors", "show", "surveillance")
    words = " ".join(out.split())
    assert status == 0 and card.sha256 in words and card.tested in words
    assert all(line in words for line in (*card.intended, *card.must_not, *card.limits))
    assert all(one["from"] in words and one["licence"] in words for one in card.trained["data"])
    status, out, _ = lad("detectors", "show", "surveillance", "--json")
    assert json.loads(out)["sha256"] == card.sha256
    (listed,) = json.loads(lad("detectors", "list", "--json")[1])
    assert listed["name"] == "surveillance" and listed["default"]


@pytest.mark.parametrize("name", names())
def test_the_page_of_the_documentation_is_the_card(name: str) -> None:
    card, page = read_card(name), " ".join((REPOSITORY / "docs" / "detectors.md").read_text().split())
    assert card.sha256 in page and card.headline in page and card.tested in page
    assert all(f"| {one.what} | {one} | {one.on} |" in page for one in card.measured)
    assert all(f"- {line}" in page for line in (*card.intended, *card.must_not, *card.limits))
    assert card.line in (REPOSITORY / "README.md").read_text() or name != included.DEFAULT


def test_an_unknown_name_is_answered_with_the_one_that_was_meant(lad: Lad) -> None:
    status, _, err = lad("detectors", "show", "survelance")
    assert status == 2 and "did you mean 'surveillance'?" in err
