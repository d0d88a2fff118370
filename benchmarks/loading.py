"""How soon training starts on the released features of 2,000 videos, and how much memory it takes.

    python -m benchmarks.loading [--videos 2000] [--folder DIR]

It makes a benchmark in the layout of the authors' code: videos of 20 to 400 clips, 2048 numbers a clip, about 3.4 GB.
Then it starts the real `lad train` on it three times, each until its first step. The first time nothing is known of the
files, so each is hashed. After that their hashes are in the manifest. It prints the seconds until the first step and
the peak of the memory. The baseline is the time that it takes to read the same files and do nothing else.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DIM = 2048
CONFIG = "data: {benchmark: lad2000, layout: released}\nextract: {streams: [rgb, flow]}\n"
READY = "train: begins"  # what `lad train -v` says before its first step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2000, help="how many [default: 2000]")
    parser.add_argument(
        "--folder", type=Path, help="where the features are made and kept [default: a temporary folder]"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="lad-loading-"))
    try:
        size = make_features(folder / "LAD2000", arguments.videos)
        print(f"{arguments.videos} videos, {size / 2**30:.2f} GiB of features", flush=True)
        shutil.rmtree(folder / "work", ignore_errors=True)
        (folder / "loading.yaml").write_text(CONFIG)
        print("                       seconds to the first step   peak GiB")
        print(f"reading, no more       {read_all(folder):25.1f}")
        for name in ("nothing known", "hashes known", "hashes known"):
            read_all(folder)  # so that every row finds the page cache as it is just after a read
            seconds, peak = start_training(folder)
            print(f"{name:22} {seconds:26.1f} {peak / 2**30:10.2f}", flush=True)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


def make_features(root: Path, videos: int) -> int:
    """Write what is not there yet of the benchmark. Returns the size of its features in bytes."""
    rng = np.random.default_rng(0)
    block = np.abs(rng.standard_normal((400, DIM), dtype=np.float32))
    frame_labels, video_labels, size = {}, {}, 0
    for number in range(videos):
        name = f"v_{'a' if number % 3 == 0 else 'n'}_{number:05d}"
        clips = int(rng.integers(20, 401))
        path = root / "features_video" / "i3d" / "combine" / name / "feature.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.roll(block, number, axis=0)[:clips])
        size += path.stat().st_size
        labels = np.zeros((1, clips * 16), dtype=np.uint8)
        if number % 3 == 0:
            labels[0, clips * 4 : clips * 8] = 1
        frame_labels[name], video_labels[name] = labels, number % 14
    (root / "GT").mkdir(exist_ok=True)
    for kind, labels_by_video in (("frame", frame_labels), ("video", video_labels)):
        (root / "GT" / f"{kind}_label_IET.pickle").write_bytes(pickle.dumps(labels_by_video))
    names = list(frame_labels)
    (root / "train_split.txt").write_text("\n".join(names))  # all of them train, which is the most that can be asked
    (root / "test_split.txt").write_text("")
    return size


def read_all(folder: Path) -> float:
    """The seconds that it takes to read every file once. The page cache is as warm as it will be for `lad train`."""
    start = time.perf_counter()
    for path in (folder / "LAD2000").glob("features_video/i3d/combine/*/feature.npy"):
        np.load(path, allow_pickle=False)
    return time.perf_counter() - start


def start_training(folder: Path) -> tuple[float, int]:
    """The seconds from the command to its first step, and the most bytes of memory held until some steps later."""
    command = [sys.executable, "-m", "lad", "train", "-v", "-c", str(folder / "loading.yaml"), "--data", str(folder)]
    start = time.perf_counter()
    with subprocess.Popen([*command, "--work", str(folder / "work")], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(READY):
                break
        seconds = time.perf_counter() - start
        time.sleep(5)  # some steps, which are part of the peak
        peak = 0
        status = Path(f"/proc/{process.pid}/status")
        if process.poll() is None:
            peak = next(
                int(x.split()[1]) * 1024
                for x in status.read_text(encoding="utf-8").splitlines()
                if x.startswith("VmHWM")
            )
        process.kill()
    if not peak:
        sys.exit(f"lad train ended by itself:\n{''.join(said)}")
    return seconds, peak


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
