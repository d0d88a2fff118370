"""`python -m benchmarks.gpu`: every path of it that needs no card, so that nothing but the card is new on the day."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.places import REPOSITORY

from benchmarks.gpu import __main__ as script
from benchmarks.gpu import card, network
from benchmarks.gpu.size import FULL, SMALL

MARKED = "before\n<!-- gpu: begin -->\nold\n<!-- gpu: end -->\nafter\n"
Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the script in this process, its subjects in their own, with all the time that they want."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(script, "BUDGETS", dict.fromkeys(script.BUDGETS, 600))

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gpu", *words])
        return script.main()

    return call


@pytest.mark.slow
def test_every_subject_runs_on_a_cpu_and_writes_its_rows_into_the_page(tmp_path: Path, run: Run) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    assert run("--device", "cpu", "--small", "--page", str(page)) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- gpu: begin -->\nNo card: ") and text.endswith("<!-- gpu: end -->\nafter\n")
    assert "old" not in text and "failed" not in text and "NO |" not in text
    assert not re.search(r"\| 0 \S+/s", text), "nothing was measured"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for begin in (
        *(f"| matrix product, {dtype}, " for dtype in ("float32", "float16", "bfloat16")),
        *(f"| rgb network, {dtype}, batches of {n} " for dtype in ("float32", "float16") for n in SMALL.batches),
        "| rgb network, float16, 4 clips as one piece ",
        "| tvl1, 64x64, pairs at a time: 2 ",
        "| raft, 64x64, pairs at a time: 1 ",
        "| training step, ",
        "| ... mean loss of 3 steps, ",
        "| extraction, 320x240, decoders: 1 ",
        "| reading 160x96, decord ",
        "| reading 160x96, PyAV ",
        "| tests marked gpu |  |  | ",
    ):
        assert [row for row in rows if row.startswith(begin)], begin
    assert any("torchcodec" in row for row in rows)
    assert "skipped" in rows[-1]
    assert len([row for row in rows if "| yes |" in row]) == 5  # features twice, both flows, the loss


def test_a_subject_that_fails_is_a_row_that_says_why(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = script.run_part("nothing", "cpu", 60)
    assert (row.what, row.met) == ("nothing", False)
    assert "No module named 'benchmarks.gpu.nothing'" in row.value


def test_a_subject_that_takes_too_long_is_ended_and_keeps_the_rows_that_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.write_text('#!/bin/sh\necho \'["done", "", "", "1", "", null]\'\necho "[half a ro"\nsleep 60\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    first, second = script.run_part("flow", "cpu", 4)
    assert (first.what, first.value) == ("done", "1")
    assert (second.what, second.value, second.met) == ("flow", "ended after its 4 s", False)


def test_a_page_without_its_marks_is_named_before_anything_is_measured(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    assert run("--device", "cpu", "--page", str(page)) == 2
    assert f"{page}: no marks" in capsys.readouterr().err
    assert page.read_text() == "nothing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_it_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "finds no usable GPU; pass --device cpu" in capsys.readouterr().err


def test_all_of_it_takes_less_than_8_minutes() -> None:
    assert sum(script.BUDGETS.values()) <= 470  # and torch is imported here once


def test_the_documentation_has_a_place_for_it() -> None:
    assert "<!-- gpu: begin -->" in (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "dtype", "said"),
    [
        ("NVIDIA H200", "float16", "99 TFLOP/s, 10% of 989.5"),
        ("NVIDIA A100-SXM4-80GB", "float32", "99 TFLOP/s, 508% of 19.5"),
        ("Tesla T4", "bfloat16", "99 TFLOP/s"),  # it has none
        ("NVIDIA H200 NVL", "float16", "99 TFLOP/s"),  # another card than the H200, which nobody looked up
    ],
)
def test_a_speed_is_a_share_of_the_peak_of_a_card_that_is_known(
    name: str, dtype: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert card.of_peak("cuda", dtype, 99e12) == said


def test_a_card_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(name="NVIDIA H200", total_memory=139 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    assert card.describe("cuda").startswith("NVIDIA H200, 139 GiB, compute capability 9.0, beside ")


def test_the_operations_of_a_clip_are_those_that_the_cpus_benchmark_counts_with() -> None:
    from benchmarks.speed.network import CLIP_GFLOP

    assert network.flops_of_a_clip(FULL.backbone) / 1e9 == pytest.approx(CLIP_GFLOP, rel=0.01)
