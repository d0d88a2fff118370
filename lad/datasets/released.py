"""Features and labels in the layout of the LAD2000 authors' code, for any of its datasets.

The layout, of github.com/wanboyang/anomaly_detection_LAD2000, below the dataset's folder:

- `features_video/i3d/{rgb,flow,combine}/<video>/feature.npy`: `(clips, dim)` float32, where `combine` is rgb beside
  flow,
- `GT/frame_label_IET.pickle`: dict video -> `[1, frames]`, not 0 where the frame is abnormal,
- `GT/video_label_IET.pickle`: dict video -> index of its category,
- `train_split.txt`, `test_split.txt`: one video per line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lad.dataset import FEATURES_SUFFIX, DatasetError, Video, is_safe_id
from lad.datasets.common import Listing
from lad.datasets.downloads import lines_of, name_below, refuse, stem
from lad.datasets.released_labels import category, frame_labels, label_file, read_labels
from lad.events import events_of

FEATURES = "features_video/i3d"
COMBINED = "combine"
COMBINED_STREAMS = ["rgb", "flow"]  # beside each other, in this order
FRAME_LABELS, VIDEO_LABELS = "frame_label", "video_label"  # in the names of their files
SPLIT_FILES = {"train": "train_split.txt", "test": "test_split.txt"}
# Frames a second of each dataset's videos. Names are in lower case and without punctuation.
FPS = {"lad2000": 25.0, "avenue": 25.0, "ucfcrime": 30.0, "shanghaitech": 24.0, "ped2": 10.0}


def read_released(root: Path, name: str, classes: Sequence[str], streams: Sequence[str]) -> Listing:
    """Read features and labels that the authors' code made, or that `lad export` wrote. No feature file is opened.

    Args:
        root: the folder that holds `features_video` and `GT`, or its parent.
        name: the dataset's name. In the parent, the name of the dataset's folder must end in it (`UCSDPed2`). Case and
            punctuation do not matter.
        classes: its categories in the order of their index.
        streams: those whose features are wanted, in order.

    Returns:
        The videos with features and labels. The path of each is that of its features. A labelled video in neither split
        file has no split. What is listed as missing are videos without features or labels, and split files.

    Raises:
        DatasetError: the layout is not here, its features are those of other streams, or labels cannot be understood.
    """
    base = _base(root, name)
    features = base / _feature_layout(base, streams)
    frame_file, video_file = label_file(base, FRAME_LABELS), label_file(base, VIDEO_LABELS)
    marks, indices = read_labels(frame_file), read_labels(video_file)
    splits, missing = _splits(base, marks)
    listing = Listing([], missing)
    problems: list[str] = []
    fps = FPS.get(_plain(name))
    for video, split in splits.items():
        if not is_safe_id(video):
            problems.append(f"{base}: {video!r} cannot be a video's name")
            continue
        lacks = [
            f"no {what} labels in {name_below(base, file)}"
            for what, file, labels in (("frame", frame_file, marks), ("video", video_file, indices))
            if video not in labels
        ]
        path = features / video / f"feature{FEATURES_SUFFIX}"
        files = dict.fromkeys(Path(str(path).replace("{stream}", stream)) for stream in streams)
        lacks += [name_below(base, file) for file in files if not file.is_file()]
        if lacks:
            listing.missing.append(f"{video}: {', '.join(lacks)}")
            continue
        try:
            frames = frame_labels(marks[video], f"{frame_file}: {video}")
            label = category(indices[video], classes, f"{video_file}: {video}")
        except DatasetError as error:
            problems.append(str(error))
            continue
        listing.videos.append(Video(video, path, split, label, events_of(frames), n_frames=len(frames), fps=fps))
    refuse(problems)
    return listing


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _base(root: Path, name: str) -> Path:
    """The dataset's own folder."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    named = [child for child in sorted(root.iterdir()) if _plain(child.name).endswith(_plain(name))]
    for folder in (root, *named):
        if (folder / FEATURES).is_dir() and (folder / "GT").is_dir():
            return folder
    raise DatasetError(
        f"{root}: no released features here: there are neither {FEATURES} and GT nor a folder called {name} with them"
    )


def _feature_layout(base: Path, streams: Sequence[str]) -> str:
    """The folder of the features, in which `{stream}` stands for the stream."""
    there = [folder for folder in (*COMBINED_STREAMS, COMBINED) if (base / FEATURES / folder).is_dir()]
    if set(streams) <= set(there) - {COMBINED}:
        return f"{FEATURES}/{{stream}}"
    if COMBINED in there and list(streams) == COMBINED_STREAMS:
        return f"{FEATURES}/{COMBINED}"
    works = [[stream] for stream in COMBINED_STREAMS if stream in there]
    works += [COMBINED_STREAMS] if COMBINED in there or len(works) == 2 else []
    advice = " or ".join(f"[{', '.join(each)}]" for each in works)
    found = f"there are {', '.join(there)}, so extract.streams can be {advice}" if there else "there are none at all"
    raise DatasetError(f"{base / FEATURES}: no features of {' + '.join(streams)}: {found}")


def _splits(base: Path, labelled: Mapping[str, object]) -> tuple[dict[str, str], list[str]]:
    """Video -> its split, empty for a labelled video in neither file. Also the files that are missing."""
    splits: dict[str, str] = {}
    missing, problems = [], []
    for split, file in SPLIT_FILES.items():
        if not (base / file).is_file():
            missing.append(file)
            continue
        for number, line in lines_of(base / file):
            # A name may hold dots: if it is labelled as it is, what follows its last dot is not a suffix.
            video = line if line in labelled else stem(line.removesuffix(FEATURES_SUFFIX))
            # Their lists may say `Ped` where folders and labels say `ped`. Their code takes one for the other.
            video = video if video in labelled else video.replace("Ped", "ped")
            if splits.setdefault(video, split) != split:
                problems.append(f"{base / file}:{number}: {video!r} is in {SPLIT_FILES[splits[video]]} too")
    refuse(problems)
    return {**dict.fromkeys(labelled, ""), **splits}, missing
