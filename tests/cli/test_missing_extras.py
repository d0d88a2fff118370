"""What is no part of the plain install is missed in one line that says how to get it, and all else is done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.small_run import arguments

pytestmark = pytest.mark.slow

Lad = Callable[..., tuple[int, str, str]]


def test_without_matplotlib_and_tensorboard_a_run_has_all_its_numbers(
    lad: Lad, dataset: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    status, _, err = lad("run", *arguments(dataset, tmp_path / "work"))
    assert status == 0, err
    said = err.splitlines()
    assert [line for line in said if "lad-video[plots]" in line] == [
        "evaluate: no plots: they need Matplotlib: pip install 'lad-video[plots]', then `lad evaluate --force`"
    ]
    assert len([line for line in said if "pip install 'lad-video[tensorboard]'" in line]) == 1
    assert not (tmp_path / "work" / "plots").exists()
    logs = [path.relative_to(tmp_path / "work") for path in (tmp_path / "work" / "logs").rglob("*") if path.is_file()]
    assert {path.name for path in logs} == {"metrics.jsonl"}
    for same in ("metrics.json", *map(str, logs)):
        assert (tmp_path / "work" / same).read_text() == (finished / same).read_text()


def test_plots_come_with_force_once_matplotlib_is_there(
    lad: Lad, dataset: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        assert lad("evaluate", *arguments(dataset, work), "--force")[0] == 0
    assert not (work / "plots" / "roc.png").exists()
    assert lad("evaluate", *arguments(dataset, work), "--force")[0] == 0
    assert (work / "plots" / "roc.png").exists()
