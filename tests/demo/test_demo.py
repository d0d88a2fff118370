"""`lad demo` end to end; the network is the `tiny` one here, `make demo` runs the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad.demo.command import OVERVIEW, run_demo

pytestmark = pytest.mark.slow


def test_the_demo_shows_metrics_a_picture_and_the_next_command(tmp_path: Path, capfd):
    quick = ["extract.backbone=tiny", "train.hidden=8", "train.steps=20", "threads=2"]
    assert run_demo(tmp_path, quiet=True, overrides=quick)
    out = capfd.readouterr().out
    assert "frame AUC, all videos" in out and "12 test videos" in out
    assert "panic/panic_03" in out and "━" in out
    assert "score --report VIDEO" in out
    assert (tmp_path / "plots" / OVERVIEW).read_bytes().startswith(b"\x89PNG")
