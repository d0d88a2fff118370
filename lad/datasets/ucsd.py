"""UCSD Ped1 and Ped2 (Mahadevan et al., "Anomaly Detection in Crowded Scenes", CVPR 2010), split at random.

The official split has no anomaly in its training half. The LAD2000 paper re-splits all 28 clips of Ped2 at random. Its
code trains on 6 of the 12 abnormal clips and 8 of the 16 normal ones, and tests on the others. It is not published
which ones these are, so here a seed draws them. The paper does not use Ped1. It is halved in the same way: 18 of its 36
abnormal clips train, and 17 of its 34 normal ones.

Both are read as downloaded from UCSD, and in the layout of the frame-prediction code bases (`N` is 1 or 2):

- `UCSDpedN/{Train,Test}/{Train,Test}NNN/NNN.tif` and `UCSDpedN/Test/UCSDpedN.m`, which has one line per test clip, such
  as `TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, 1-based and inclusive
- `{training,testing}/frames/NN/NNN.jpg` and `pedN.mat` (`halves.read_pairs`). Without that file, the name of their
  folder must end in `pedN`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lad.dataset import DatasetError
from lad.datasets.common import Listing, Options
from lad.datasets.downloads import folders_below, name_below
from lad.datasets.halves import Half, Truth, checked_events, list_halves, numbered_clips, read_pairs
from lad.events import Event

FPS = 10.0  # of the official frames
RANGES = re.compile(r"gt_frame\s*=\s*\[([^\]]*)\]")


@dataclass(frozen=True)
class Part:
    """Ped1 or Ped2: the number of frames of each training and each test clip, and how many clips of each half train."""

    name: str
    normal: tuple[int, ...]
    abnormal: tuple[int, ...]
    train_normal: int
    train_abnormal: int


PED1 = Part("Ped1", (200,) * 34, (200,) * 36, train_normal=17, train_abnormal=18)
PED2 = Part(
    "Ped2",
    (120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150),
    (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180),
    train_normal=8,
    train_abnormal=6,
)


def read_ped1(root: Path, options: Options) -> Listing:
    """Read UCSD Ped1: 34 normal and 36 abnormal clips.

    Raises:
        DatasetError: the folder holds no clip of Ped1, or its labels cannot be understood.
    """
    return _read(root, PED1)


def read_ped2(root: Path, options: Options) -> Listing:
    """Read UCSD Ped2: 16 normal and 12 abnormal clips.

    Raises:
        DatasetError: the folder holds no clip of Ped2, or its labels cannot be understood.
    """
    return _read(root, PED2)


def _read(root: Path, part: Part) -> Listing:
    short = part.name.lower()
    official, frames = f"UCSD{short}", f"{short}.mat"
    for place in folders_below(root):
        name = place.absolute().name.lower()
        halves = [place / "Train", place / "Test"]
        if (halves[1] / f"{official}.m").is_file() or (name == official.lower() and any(h.is_dir() for h in halves)):
            return _list(root, part, halves, ("Train", "Test"), halves[1] / f"{official}.m")
        halves = [place / "training" / "frames", place / "testing" / "frames"]
        if ((place / frames).is_file() or name.endswith(short)) and any(h.is_dir() for h in halves):
            return _list(root, part, halves, ("", ""), place / frames)
    raise DatasetError(
        f"{root}: no UCSD {part.name} here: there is neither {official}/{{Train,Test}} "
        f"with {official}/Test/{official}.m nor {short}/{{training,testing}}/frames with {short}/{frames}"
    )


def _list(root: Path, part: Part, folders: list[Path], prefixes: tuple[str, str], labels: Path) -> Listing:
    read = _read_ranges if labels.suffix == ".m" else read_pairs
    events = read(labels, len(part.abnormal)) if labels.is_file() else []
    abnormal: list[Truth | None] = [None] * len(part.abnormal)
    for index, clip in enumerate(events):
        if any((event.end or 0) > part.abnormal[index] for event in clip):
            raise DatasetError(f"{labels}: an event of clip {index + 1} ends after its {part.abnormal[index]} frames")
        abnormal[index] = Truth(clip, part.abnormal[index])
    normal = [Truth(n_frames=frames) for frames in part.normal]
    names = [prefix + ("{:03}" if prefix else "{:02}") for prefix in prefixes]
    clips = [numbered_clips(folder, rf"{prefix}(\d+)") for folder, prefix in zip(folders, prefixes, strict=True)]
    halves = [
        Half(folders[0], names[0], clips[0], normal, part.train_normal),
        Half(folders[1], names[1], clips[1], abnormal, part.train_abnormal),
    ]
    listing = list_halves(root, halves, FPS)
    if not listing.videos:
        raise DatasetError(f"{root}: there are no clips of UCSD {part.name} here, only empty folders or labels")
    if not labels.is_file():
        listing.missing.append(f"{name_below(root, labels)}: the labels of the test clips")
    elif unlabelled := abnormal.count(None):
        listing.missing.append(f"{name_below(root, labels)}: the labels of the last {unlabelled} test clips")
    return listing


def _read_ranges(path: Path, clips: int) -> list[tuple[Event, ...]]:
    text = re.sub(r"%.*", "", path.read_text(encoding="utf-8", errors="replace"))
    try:
        found = []
        for ranges in RANGES.findall(text):
            parts = " ".join(ranges.replace(",", " ").split()).replace(" :", ":").replace(": ", ":").split()
            if wrong := [part for part in parts if not re.fullmatch(r"\d+(:\d+)?", part)]:
                raise ValueError(f"{wrong[0]!r} is not start:end")
            found.append([(int(start), int(end or start)) for start, _, end in (p.partition(":") for p in parts)])
        return checked_events(found, clips)
    except ValueError as error:
        raise DatasetError(f"{path}: not the frame labels of {clips} clips: {error}") from error
