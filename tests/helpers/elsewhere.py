"""Videos that are extracted and scored by several processes, and what one machine made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.videos import numbered_frame, write_video

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}  # of a cluster of Ray

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


@contextmanager
def two_nodes(cache: Path) -> Iterator[Any]:
    """A cluster of Ray on this machine: a head with one CPU, and a node with one. Their weights are in `cache`."""
    from ray import cluster_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAD_CACHE", str(cache))
        patch.setenv("LAD_TEST", str(cache))
        made = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        made.add_node(**NODE)
    yield made
    made.shutdown()


def ended(driver: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a command: exit status, stdout, stderr."""
    out, err = driver.communicate(timeout=300)
    assert "Traceback" not in err, err
    return driver.returncode, out, err


def wait_for(condition: Callable[[], object], driver: subprocess.Popen[str]) -> None:
    """Wait while a command works."""
    deadline = time.monotonic() + 120
    while not condition():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)


def apart(place: Path) -> list[str]:
    """Words before a command that has a disk of its own mounted over `place`, which is copied to `$KEPT` at the end."""
    script = 'mount -t tmpfs none "$1" && place=$1 && shift && "$@"; status=$?; cp -a "$place" "$KEPT"; exit $status'
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(place)]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], env={"KEPT": "/dev/null"}).returncode:
        pytest.skip("NO NAMESPACES: this machine lets nobody mount")
    return words


SCORED = 16  # videos to score, beside normal ones by which their camera is known
KNOWN = {"usual": -3.0, "slope": 1.0, "offset": 0.0}  # of a detector that gets to know cameras
SCORING = ("-o", "data.dataset=dataset.csv", "-o", "train.adapt=source", "-o", "score.videos=test", "--device", "cpu")


def write_scoring(folder: Path, clips: int) -> None:
    """A detector, and given features of ever longer videos of one camera, up to so many clips."""
    from helpers.detectors import write_detector

    root, rng = folder / "data", np.random.default_rng(0)
    (root / "made").mkdir(parents=True)
    write_detector(folder / "best.pt", known_cameras=KNOWN)
    lines = ["video,path,split,label,events,n_frames,source"]
    for number in range(-4, SCORED):
        count = max(1, clips * number // SCORED) if number > 0 else 8
        np.save(root / "made" / f"{number}.npy", rng.standard_normal((count, 128)).astype(np.float32))
        split, odd = "train" if number < 0 else "test", number > 0 and number % 2
        facts = f"fight,0-{8 * count}" if odd else "fall,"
        lines.append(f"yard/{number},made/{number}.npy,{split},{facts},{16 * count},gate")
    (root / "dataset.csv").write_text("\n".join(lines) + "\n")


def scoring(command: str, folder: Path, work: Path, *more: str) -> list[str]:
    """The words of a command on what `write_scoring` wrote."""
    words = [sys.executable, "-m", "lad", command, "--data", str(folder / "data"), "--work", str(work)]
    return [*words, "--checkpoint", str(folder / "best.pt"), *SCORING, *more]


def results(work: Path) -> dict[str, bytes]:
    """Scores, pictures and metrics."""
    files = [*(work / "scores").rglob("*"), *(work / "plots").rglob("*"), work / "metrics.json"]
    return {str(path.relative_to(work)): path.read_bytes() for path in files if path.is_file()}
