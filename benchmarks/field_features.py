"""Features of the field at full scale: how long `lad run` takes on files laid out as others publish theirs.

    python -m benchmarks.field_features --annotations DIR --work DIR [--layouts rtfm vadclip roc_ng]
        [--share 0.1 --dense] [-o KEY=VALUE]

The 1,610 training and 290 test videos are those of UCF-Crime's lists, and test labels are the published ones. The
features are made here, since nobody's can be shipped: random numbers, in which the clips of an event differ by a
little. Test videos are as long as they are, training videos as long as theirs on average. All ten crops at that length
are 70 GB. So of each clip one crop has numbers, and the others are holes in the file, which take no disk and read as
zeros: what is read is as long, but a disk delivers a tenth of it. With `--dense` all crops have numbers, and `--share`
shortens every video and event so that they fit the disk. A layout's files are removed when it is measured. Time is that
of `lad run` alone, from the files to the metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.intervals import intervals
from lad.tables import markdown_table

LISTS = {"train": "Anomaly_Train.txt", "test": "Anomaly_Test.txt"}
ANNOTATION = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
COUNTS = "UCF_Annotation.txt"  # other people's frame counts of the test videos: file, frames, category, start, end, ...
MEAN_FRAMES = 7862  # of a training video: 13,769,300 frames of all 1,900 less those of the test videos, over 1,610
SPREAD = 1.0  # sigma of the logarithm of the length of a training video
CROPS = 10
EVENT = (0.1, 0.4)  # the part of an abnormal training video that is its event, the least and the most
SIGNAL = 0.25  # deviations by which each number of an event's clips differs
BLOCK = 4096  # bytes of a file that may be a hole
Save = Callable[[Path, np.ndarray], None]


@dataclass(frozen=True)
class Layout:
    """How somebody lays out features.

    Attributes:
        dim: numbers a clip and crop.
        settings: of `lad run`.
        save: (path of the video below the data, without suffix, `(crops, clips, dim)`) -> its files.
    """

    dim: int
    settings: tuple[str, ...]
    save: Save


def _save(path: Path, rows: np.ndarray) -> None:
    """A `.npy` file whose numbers begin at a block's border, with a hole where a block is nothing but zeros."""
    facts = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {rows.shape}}}"
    magic = b"\x93NUMPY\x01\x00"
    header = (BLOCK - len(magic) - 2).to_bytes(2, "little") + facts.encode()
    blocks = np.ascontiguousarray(rows, dtype="<f4").reshape(-1, BLOCK // 4)
    with path.open("wb") as file:
        file.write((magic + header).ljust(BLOCK - 1) + b"\n")
        file.truncate(BLOCK + blocks.nbytes)
        for first, last in intervals(blocks[:, 0] != 0):  # no random number is zero
            file.seek(BLOCK + BLOCK * first)
            file.write(blocks[first:last].tobytes())


def _one_file(path: Path, features: np.ndarray) -> None:
    """RTFM's: `Abuse001_x264_i3d.npy`, `(clips, 10, 2048)`."""
    _save(path.with_name(f"{path.name}_i3d.npy"), features.transpose(1, 0, 2))


def _numbered(path: Path, features: np.ndarray) -> None:
    """Those of VadCLIP and XD-Violence: `Abuse001_x264__0.npy` to `__9.npy`, `(clips, 1024)` each."""
    for crop, rows in enumerate(features):
        _save(path.with_name(f"{path.name}__{crop}.npy"), rows)


def _first_plain(path: Path, features: np.ndarray) -> None:
    """Roc-Ng's of UCF-Crime: `Abuse001_x264.npy`, the centre, and `__1.npy` to `__9.npy`."""
    _numbered(path, features)
    path.with_name(f"{path.name}__0.npy").rename(path.with_name(f"{path.name}.npy"))


RGB = ("extract.streams=[rgb]",)
LAYOUTS = {
    "rtfm": Layout(2048, ("extract.backbone=i3d_r50", *RGB, "data.npy_layout=clips,crops,dim"), _one_file),
    "vadclip": Layout(1024, RGB, _numbered),
    "roc_ng": Layout(1024, RGB, _first_plain),
}


Events = list[tuple[int, int]]  # first and last frame of each


def make(data: Path, annotations: Path, layout: Layout, share: float, dense: bool) -> tuple[int, int]:
    """Write lists, labels and features; returns clips, and bytes with holes."""
    rng = np.random.default_rng(0)
    direction = rng.choice([-SIGNAL, SIGNAL], layout.dim).astype(np.float32)
    for name in LISTS.values():
        shutil.copy(annotations / name, data / name)
    events = _shortened_labels(annotations, data, share)
    lines = map(str.split, (annotations / COUNTS).read_text().splitlines())
    frames = {Path(name).name: round(int(count) * share) for name, count, *_ in lines}
    total = 0
    for split, name in LISTS.items():
        for listed in (annotations / name).read_text().split():
            video = Path(listed)
            if split == "test":
                length, pairs = frames[video.name], events[video.name]
            else:
                length, pairs = _drawn(rng, share, "normal" in listed.lower())
            clips = max(length // CLIP_FRAMES, *(last // CLIP_FRAMES for _, last in [*pairs, (0, 0)])) + 1
            numbers = rng.standard_normal((*((CROPS,) if dense else ()), clips, layout.dim), dtype=np.float32)
            for first, last in pairs:
                numbers[..., first // CLIP_FRAMES : last // CLIP_FRAMES + 1, :] += direction
            rows = numbers if dense else np.zeros((CROPS, clips, layout.dim), dtype=np.float32)
            if not dense:
                rows[np.arange(clips) % CROPS, np.arange(clips)] = numbers
            (data / video).parent.mkdir(parents=True, exist_ok=True)
            layout.save(data / video.with_suffix(""), rows)
            total += clips
    return total, total * CROPS * layout.dim * 4


def _shortened_labels(annotations: Path, data: Path, share: float) -> dict[str, Events]:
    """Write the published labels of the test videos at a share of their length; returns them."""
    events: dict[str, Events] = {}
    with (data / ANNOTATION).open("w") as file:
        for name, label, *bounds in map(str.split, (annotations / ANNOTATION).read_text().splitlines()):
            pairs = zip(map(int, bounds[::2]), map(int, bounds[1::2]), strict=True)
            short = [(round(first * share), max(round(last * share), 1)) for first, last in pairs if last > 0]
            events[name] = short
            told = [bound for pair in short or [(-1, -1)] for bound in pair]
            file.write(f"{name}  {label}  {'  '.join(map(str, told))}\n")
    return events


def _drawn(rng: np.random.Generator, share: float, normal: bool) -> tuple[int, Events]:
    """Frames and events of a training video."""
    length = int(rng.lognormal(np.log(MEAN_FRAMES * share) - SPREAD**2 / 2, SPREAD))
    event = int(length * rng.uniform(*EVENT))
    first = int(rng.uniform(0, length - event))
    return length, [] if normal else [(first, first + event)]


def run(data: Path, work: Path, settings: Sequence[str]) -> dict[str, float]:
    """`lad run` on it: AUC, seconds, seconds of CPU and the most memory, GiB."""
    command = [sys.executable, "-m", "lad", "run", "-c", "ucf_crime-weak", "--json", "--data", str(data)]
    command += ["--work", str(work), *(word for one in settings for word in ("-o", one))]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return {
        "auc": json.loads(out)["metrics"]["auc"],
        "seconds": time.monotonic() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / (1 << 20),
    }


def measured(arguments: argparse.Namespace) -> Iterator[list[str]]:
    for name in arguments.layouts:
        data, work = arguments.work / name, arguments.work / f"{name}_run"
        for folder in (data, work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        clips, size = make(data, arguments.annotations, LAYOUTS[name], arguments.share, arguments.dense)
        found = run(data, work, [*LAYOUTS[name].settings, *arguments.o])
        print(name, found, flush=True)
        shutil.rmtree(data)
        shutil.rmtree(work)
        numbers = (f"{found['auc']:.3f}", f"{found['seconds']:.0f}", f"{found['cpu']:.0f}", f"{found['memory']:.1f}")
        yield [name, f"{clips:,}", f"{size / 1e9:.1f}", *numbers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="folder of UCF-Crime's lists and labels")
    parser.add_argument("--work", type=Path, required=True, help="for what is made")
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--share", type=float, default=1.0, help="of every length")
    parser.add_argument("--dense", action="store_true", help="numbers in all crops, and no holes")
    parser.add_argument("-o", action="append", default=[], metavar="KEY=VALUE", help="of `lad run`")
    arguments = parser.parse_args()
    header = ("layout", "clips", "GB", "frame AUC", "seconds", "seconds of CPU", "GiB")
    print(markdown_table(header, list(measured(arguments))))


if __name__ == "__main__":
    main()
