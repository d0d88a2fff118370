"""What an installation takes: torch comes as the build that was asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lad.models import weights
from lad.models.registry import TorchvisionMissing

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"(torch|torchvision)==([^+\n]*)(\+.*)?")


def pins(constraints: str) -> dict[str, str]:
    """Of torch and torchvision, the build that is asked for."""
    return {found[1]: found[3] or "" for line in constraints.splitlines() if (found := PINNED.fullmatch(line))}


@pytest.mark.parametrize(("torch", "build"), [("", ""), ("cpu", "+cpu"), ("cu126", "+cu126")])
def test_make_setup_pins_the_build_that_was_asked_for(torch: str, build: str) -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup", f"TORCH={torch}"], cwd=ROOT, capture_output=True, text=True
    )
    (command,) = [line.partition(" > ")[0] for line in plan.stdout.splitlines() if line.startswith("sed ")]
    made = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert pins(made.stdout) == {"torch": build, "torchvision": build}


@pytest.mark.parametrize(("torch", "build"), [("", ""), ("cpu", "+cpu")])
def test_the_image_pins_the_build_that_was_asked_for(torch: str, build: str, tmp_path: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^RUN (sed .*?) \\$", dockerfile, flags=re.MULTILINE)
    copy = tmp_path / "constraints.txt"
    copy.write_text((ROOT / "constraints.txt").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env={**os.environ, "TORCH": torch}, check=True)
    assert pins(copy.read_text(encoding="utf-8")) == {"torch": build, "torchvision": build}


@pytest.mark.parametrize(("backbone", "stream"), [("i3d_r50", "rgb"), ("raft", "flow")])
def test_networks_that_need_torchvision_say_so(backbone: str, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(TorchvisionMissing, match=r"torchvision cannot be imported: .* same build as torch"):
        weights.load("random", backbone=backbone, stream=stream)
