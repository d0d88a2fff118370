"""The scripts in `examples/` run as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from helpers.detectors import write_detector

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for number in range(3):
        make_video(folder / f"{number}.mp4", 40 + number)
    write_detector(folder / "best.pt")
    return folder


def run(place: Path, name: str, *words: str, text: str | None = None) -> str:
    script = EXAMPLES / name
    if text is not None:
        script = place / name
        script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script), *words], cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))


def test_score_videos(place: Path) -> None:
    (place / "broken.mp4").write_text("no video")
    out = run(place, "score_videos.py", "best.pt", "0.mp4", "broken.mp4")
    assert "0.mp4: peak 0." in out
    assert "broken.mp4: broken.mp4: not a video" in out


def test_worst_frame(place: Path) -> None:
    out = run(place, "worst_frame.py", "best.pt", "0.mp4", "worst.png")
    assert out.startswith("frame ")
    assert cv2.imread(str(place / "worst.png")).shape == (48, 64, 3)


def test_own_detector(place: Path) -> None:
    text = (EXAMPLES / "own_detector.py").read_text().replace('BACKBONE = "i3d"', 'BACKBONE = "tiny"')
    out = run(place, "own_detector.py", "0.mp4", "1.mp4", "2.mp4", text=text)
    assert len(out.splitlines()) == 3  # clips of the new video
