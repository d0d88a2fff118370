"""Videos that are extracted by several processes, and what one machine made of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.videos import numbered_frame, write_video

VIDEOS = 6
SMALL = ("-o", "extract.backbone=tiny", "-o", "extract.streams=[rgb,flow]", "-o", "extract.batch_clips=2")
SMALL += ("-o", "threads=1", "--device", "cpu")


def write_videos(root: Path) -> Path:
    """Six videos of different lengths, and one that cannot be read."""
    for number in range(VIDEOS):
        frames = (numbered_frame((40 * number + frame) % 256, (32, 32)) for frame in range(40 + 30 * number))
        write_video(root / "yard" / f"{number}.mp4", frames, size=(32, 32))
    (root / "yard" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(400))
    return root


def extract_alone(data: Path, work: Path) -> dict[str, bytes]:
    """What one machine makes of them."""
    command = [sys.executable, "-m", "lad", "extract", "-q", "--data", str(data), "--work", str(work), *SMALL]
    subprocess.run(command, timeout=300, capture_output=True)
    return features(work)


def features(work: Path) -> dict[str, bytes]:
    """Every file below `features`."""
    return {str(path.relative_to(work)): path.read_bytes() for path in (work / "features").rglob("*.npy")}


def left_behind(work: Path) -> list[str]:
    """Files of a work directory that should not be there when nobody works in it."""
    found = [*work.rglob("*.tmp"), *work.glob("partial"), *work.glob("fleet.json")]
    return [str(path.relative_to(work)) for path in found]


def processes_of(test: Path) -> dict[int, str]:
    """The processes that were started with `LAD_TEST=test` in their environment, and by such ones: id -> title."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environ, title = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if os.fsencode(f"LAD_TEST={test}") in environ.split(b"\0"):
                found[int(folder.name)] = os.fsdecode(title.replace(b"\0", b" ").strip())
    return found


def actors_of(test: Path) -> list[int]:
    """Those that are actors of `lad`, in a cluster of Ray."""
    return [process for process, title in processes_of(test).items() if title.startswith("ray::Actor")]
