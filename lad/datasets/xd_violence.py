"""XD-Violence (Wu, Liu, Shi, Sun, Shao, Wu, Yang, "Not only Look, but also Listen: Learning Multimodal Violence
Detection under Weak Supervision", ECCV 2020).

The download holds:

- videos named `<film or upload>__#<piece>_label_<codes>.mp4` in the folders of the training and the test archives:
  3,954 train and 800 test (500 violent, 300 normal). No file lists the normal test videos. Where a video is not there,
  features that somebody made of it are (`..._label_B1-0-0__0.npy` to `__4.npy`, a file for each crop).
- `annotations.txt`: `name start end start end ...` for the 500 violent test videos. Some names end in `.mp4`.

The codes are A for normal, B1 fighting, B2 shooting, B4 riot, B5 abuse, B6 car accident and G explosion. A name has up
to three, the foremost first, and 0 fills up: `B2-G-0`. Nothing else is known about an abnormal training video. The
protocol `paper` takes each of its frames for abnormal, as the LAD2000 paper does on UCF-Crime.

Annotated frames are 0-based and half-open: the authors' `make_gt.py` fills `[start:end]` of a numpy array, and 88 of
the 500 videos start at 0. There are 24 frames a second: no annotated end is beyond 24.05 times the seconds that the
file name gives. Train and test share films (*Bad Boys*). `source` keeps the pieces of a film together when training
videos are divided, and does not change the official split. The classes are the paper's six in alphabetical order, then
normal, which comes last for UCF-Crime in the LAD2000 paper too.
"""

from __future__ import annotations

from pathlib import Path

from lad.dataset import DatasetError, Video
from lad.datasets.common import Listing, Options
from lad.datasets.downloads import (
    find_below,
    folders_below,
    footage_by_stem,
    lines_of,
    name_below,
    refuse,
    stem,
    video_name,
    with_ids,
)
from lad.events import WEAK, WHOLE_VIDEO, AnyEvent, Event

NORMAL = "Normal"
CLASSES: tuple[str, ...] = ("Abuse", "Car accident", "Explosion", "Fighting", "Riot", "Shooting", NORMAL)
CODES = {"B1": "Fighting", "B2": "Shooting", "B4": "Riot", "B5": "Abuse", "B6": "Car accident", "G": "Explosion"}
FPS = 24.0
ANNOTATION = "annotations.txt"
TRAIN, TEST_VIOLENT, TEST_NORMAL = 3954, 500, 300

Events = tuple[Event, ...]


def read_xd_violence(root: Path, options: Options) -> Listing:
    """Read XD-Violence as downloaded. A label is the names of a file's codes in their order, joined by `|`.

    Annotated videos test. A normal video tests if it is in a folder with `test` in its name, or if it lies beside
    annotated videos and beside no other violent ones. All others train, but a violent video without annotation is left
    out if it is in a folder with `test` in its name. Whatever is missing is listed by name: the annotation file,
    annotated videos, annotations. Counts that differ from the official ones are listed too.

    Raises:
        DatasetError: there is no video with `_label_` in its name, or a line of the annotation or a video's codes
            cannot be understood.
    """
    folders = folders_below(root)
    named = ((file, name) for name, files in footage_by_stem(folders).items() for file in files)
    here = [file for file, name in named if video_name(file).lower() == name and "_label_" in name]
    annotation = find_below(folders, ANNOTATION)
    if not here:
        only = f", only {ANNOTATION}: give a folder that holds both" if annotation else ""
        raise DatasetError(f"{root}: no XD-Violence here: there is no video named *_label_*.mp4{only}")
    missing = [] if annotation is not None else [ANNOTATION]
    events = {} if annotation is None else _read_annotation(annotation)
    labels = _labels(here)
    annotated = {file.parent for file in here if video_name(file) in events}
    mixed = {file.parent for file in here if labels[file] != NORMAL and video_name(file) not in events}
    trains = WHOLE_VIDEO if options.protocol == "paper" else WEAK
    videos: list[Video] = []
    for file in here:
        found: tuple[AnyEvent, ...]
        in_test = any("test" in folder.lower() for folder in file.relative_to(root).parts[:-1])
        label, source = labels[file], video_name(file).partition("__#")[0].strip()
        if video_name(file) in events:
            split, found = "test", events[video_name(file)]
        elif label == NORMAL:
            split, found = "test" if in_test or file.parent in annotated - mixed else "train", ()
        elif not in_test:
            split, found = "train", trains
        else:
            missing += [f"{name_below(root, file)}: a line in {ANNOTATION}"] if annotation is not None else []
            continue
        videos.append(Video(id="", path=file, split=split, label=label, events=found, fps=FPS, source=source))
    if annotation is not None and len(events) != TEST_VIOLENT:
        missing.append(f"{ANNOTATION}: it lists {len(events)} of {TEST_VIOLENT} videos")
    train = sum(video.split == "train" for video in videos)
    normal = sum(video.split == "test" and not video.is_abnormal for video in videos)
    missing += [f"training videos: {train} of {TRAIN} are here"] if train != TRAIN else []
    missing += [f"normal test videos: {normal} of {TEST_NORMAL} are here"] if normal != TEST_NORMAL else []
    stems = {video_name(file) for file in here}
    missing += [f"{name}.mp4" for name in events if name not in stems]
    return Listing(with_ids(videos, root), missing)


def _labels(files: list[Path]) -> dict[Path, str]:
    """Video -> the names of its codes."""
    labels: dict[Path, str] = {}
    problems: list[str] = []
    for file in files:
        text = video_name(file).rpartition("_label_")[2]
        codes = [code for code in text.split("-") if code != "0"]
        if codes == ["A"]:
            labels[file] = NORMAL
        elif codes and set(codes) <= set(CODES):
            labels[file] = "|".join(CODES[code] for code in codes)
        else:
            problems.append(
                f"{file}: the codes {text!r} in its name are neither A nor made of {', '.join(CODES)} and 0"
            )
    refuse(problems)
    return labels


def _read_annotation(path: Path) -> dict[str, Events]:
    """A video's name without suffix -> its events."""
    events: dict[str, Events] = {}
    for number, line in lines_of(path):
        name, *bounds = line.split()
        try:
            pairs = [(int(s), int(e)) for s, e in zip(bounds[::2], bounds[1::2], strict=True)]
        except ValueError:
            pairs = []
        if not pairs or any(not 0 <= start < end for start, end in pairs):
            raise DatasetError(f"{path}:{number}: not a video and pairs of its frames, start and end: {line!r}")
        events[stem(name)] = tuple(Event(start, end) for start, end in sorted(pairs))
    return events
