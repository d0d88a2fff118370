"""UCF-Crime (Sultani, Chen, Shah, "Real-World Anomaly Detection in Surveillance Videos", CVPR 2018).

The download holds:

- videos in folders named after 13 anomalies (`Anomaly-Videos-Part-1/Abuse/Abuse001_x264.mp4`) and in folders of normal
  ones. The lists call these folders otherwise, so a video is found by its file name. Where it is not there, features
  that somebody made of it are (`Abuse001_x264_i3d.npy`).
- `Anomaly_Train.txt` (1,610 videos: 810 abnormal, 800 normal) and `Anomaly_Test.txt` (290: 140, 150), one
  `Folder/file.mp4` per line. Of an abnormal training video only the category is known. The LAD2000 paper takes each of
  its frames for abnormal.
- `Temporal_Anomaly_Annotation_for_Testing_Videos.txt`: `file category start end start end`, -1 where there is none.

Annotated frames are 1-based and inclusive. The authors' evaluation (MATLAB) marks `max(start, 1):min(end, frames)`, and
of the 156 intervals none starts at 0 and one at 1 (Burglary035). Compared with the frame counts in other people's
`UCF_Annotation.txt`, 2 intervals end at the count, 3 end one frame and 2 two frames beyond it (decoders differ), and
none ends at the count less 1. So `start end` is `[start - 1, end)` here. An end beyond the video is kept, as no frame
count is official.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from lad.dataset import DatasetError, Video
from lad.datasets.common import Listing, Options
from lad.datasets.downloads import find_below, find_by_stem, folders_below, footage_by_stem, lines_of, stem, with_ids
from lad.events import WEAK, WHOLE_VIDEO, Event

NORMAL = "Normal"
CLASSES: tuple[str, ...] = (
    *("Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents", "Robbery"),
    *("Shooting", "Shoplifting", "Stealing", "Vandalism", NORMAL),
)
FPS = 30.0
LISTS = {"train": ("Anomaly_Train.txt", 1610), "test": ("Anomaly_Test.txt", 290)}
ANNOTATIONS = ("Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "Temporal_Anomaly_Annotation.txt")

Events = tuple[Event, ...]


def read_ucf_crime(root: Path, options: Options) -> Listing:
    """Read UCF-Crime as downloaded. Folders may be renamed and nested, but files may not be renamed.

    Missing lists, the temporal annotation and videos are listed by name, the videos as in the lists. An abnormal test
    video without an annotation is left out.

    Raises:
        DatasetError: both lists are missing, or there is no video, or a line of a list or of the annotation cannot be
            understood.
    """
    folders = folders_below(root)
    here = footage_by_stem(folders)
    lists = {split: find_below(folders, name) for split, (name, _) in LISTS.items()}
    if not any(lists.values()):
        names = " nor ".join(name for name, _ in LISTS.values())
        raise DatasetError(f"{root}: no UCF-Crime here: there is neither {names}")
    if not here:
        raise DatasetError(f"{root}: no video of UCF-Crime is here, only its lists: give a folder that holds both")
    missing: list[str] = []
    annotation = next(filter(None, (find_below(folders, name) for name in ANNOTATIONS)), None)
    if annotation is None:
        missing.append(ANNOTATIONS[0])
    events = {} if annotation is None else _read_annotation(annotation)
    trains = WHOLE_VIDEO if options.protocol == "paper" else WEAK
    videos: list[Video] = []
    seen: dict[str, str] = {}
    for split, (name, expected) in LISTS.items():
        path = lists[split]
        if path is None:
            missing.append(name)
            continue
        lines = lines_of(path)
        if len(lines) != expected:
            missing.append(f"{name}: it lists {len(lines)} of {expected} videos")
        for number, line in lines:
            place = f"{path}:{number}"
            key = PurePosixPath(stem(line)).name
            if key in seen:
                raise DatasetError(f"{place}: {line} is already at {seen[key]}")
            seen[key] = place
            label = _category(line, place)
            video = find_by_stem(here, stem(line))
            if video is None:
                missing.append(line)
            elif label == NORMAL:
                videos.append(Video(id="", path=video, split=split, label=label, fps=FPS))
            elif split == "train":
                videos.append(Video(id="", path=video, split=split, label=label, events=trains, fps=FPS))
            elif events.get(key):
                videos.append(Video(id="", path=video, split=split, label=label, events=events[key], fps=FPS))
            elif annotation is not None:
                missing.append(f"{line}: a line with its frames in {annotation.name}")
    return Listing(with_ids(videos, root), missing)


def _category(listed: str, place: str) -> str:
    """The category that a folder in a list means. Normal ones have `Normal` in their names."""
    folder = PurePosixPath(listed.replace("\\", "/")).parent.name
    label = NORMAL if "normal" in folder.lower() else folder
    if label not in CLASSES:
        raise DatasetError(f"{place}: {listed!r} is not in the folder of a category, as Abuse/Abuse001_x264.mp4 is")
    return label


def _read_annotation(path: Path) -> dict[str, Events]:
    """A video's name without suffix -> its events."""
    events: dict[str, Events] = {}
    for number, line in lines_of(path):
        name, *rest = line.split()
        label, bounds = (rest or [""])[0], rest[1:]
        try:
            pairs = [(int(s), int(e)) for s, e in zip(bounds[::2], bounds[1::2], strict=True)]
        except ValueError:
            pairs = []
        given = [(start, end) for start, end in pairs if (start, end) != (-1, -1)]
        sound = pairs and label in CLASSES and all(0 <= start <= end and end > 0 for start, end in given)
        if not sound or (label == NORMAL) != (not given):
            raise DatasetError(f"{path}:{number}: not a video, its category and its first and last frames: {line!r}")
        events[stem(name)] = tuple(Event(max(start, 1) - 1, end) for start, end in sorted(given))
    return events
