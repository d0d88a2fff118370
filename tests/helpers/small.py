"""A small labelled data set with its configuration, for commands that are run as a user runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from helpers.videos import write_video

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb, flow], batch_clips: 2}
train: {window: 2, hidden: 8, abnormal_windows: 2, normal_windows: 2, steps: 4, evaluate_every: 2}
device: cpu
"""


def write_data(folder: Path, names: Sequence[str] = "abcdef", labels: tuple[str, str] = ("run", "walk")) -> list[str]:
    """Six videos in a new folder: a pair each to train, to validate and to test, of which the first has an event.

    Returns:
        the options to work on them.
    """
    folder.mkdir()
    lines = ["video,path,split,label,events"]
    for number, name in enumerate(names):
        write_video(folder / f"{name}.mp4", 33 + number)
        split, events = ("train", "val", "test")[number // 2], ("5-20", "")[number % 2]
        lines.append(f"{name},{name}.mp4,{split},{labels[number % 2]},{events}")
    (folder / "dataset.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "small.yaml").write_text(CONFIG, encoding="utf-8")
    return ["-c", str(folder / "small.yaml"), "--data", str(folder)]
