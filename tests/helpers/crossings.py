"""Footage of a place that boxes cross: slowly as a rule, and fast for a while in an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from helpers.videos import write_video

SIZE = (180, 120)
FRAMES = 48
EVENT = (20, 36)  # frames
SLOW, FAST = 1, 5  # pixels a frame
CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [], motion: true}
train: {detector: normality, folds: 2, smooth_seconds: 0.1}
device: cpu
"""


def crossing(seed: int, event: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Frames in which three boxes go to and fro, one of them faster during the event."""
    rng = np.random.default_rng(seed)
    width = SIZE[0]
    ground, things = (_grain(rng, *SIZE), [_grain(rng, 24, 26) for _ in range(3)])
    places = rng.uniform(0, width, 3)
    for number in range(FRAMES):
        frame = ground.copy()
        for row, thing in enumerate(things):
            fast = event and row == 0 and event[0] <= number < event[1]
            places[row] += FAST if fast else SLOW + 0.3 * np.sin(number / 5 + seed)
            left = int(places[row] % (2 * (width - 24)))
            left = min(left, 2 * (width - 24) - left)
            frame[8 + 38 * row : 34 + 38 * row, left : left + 24] = thing
        yield frame


def _grain(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    cells = rng.integers(0, 255, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def write_crossings(folder: Path, train: int = 4, test: int = 4, cameras: Sequence[str] = ("",)) -> list[str]:
    """Normal videos that train, and others that test, of which every second one has an event.

    Args:
        folder: to be made.
        train, test: how many.
        cameras: that filmed them, two videos each in turn.

    Returns:
        the options to work on them.
    """
    folder.mkdir()
    lines = ["video,path,split,label,events,source"]
    for number in range(train + test):
        tests, has_event = number >= train, number >= train and number % 2 == 0
        write_video(folder / f"{number}.mp4", crossing(number, EVENT if has_event else None), size=SIZE)
        events = f"{EVENT[0]}-{EVENT[1]}" if has_event else ""
        split, label = "test" if tests else "train", "abnormal" if has_event else "normal"
        lines.append(f"{number},{number}.mp4,{split},{label},{events},{cameras[number // 2 % len(cameras)]}")
    (folder / "dataset.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "crossings.yaml").write_text(CONFIG, encoding="utf-8")
    return ["-c", str(folder / "crossings.yaml"), "--data", str(folder)]
