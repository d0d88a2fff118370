"""How the field calls the files of a video: `Abuse001_x264_i3d.npy` holds the features of `Abuse001_x264.mp4`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from lad.footage import VIDEO_SUFFIXES

# What stands behind a video's name in the lists and downloads of RTFM, S3R, MGFN, TEVAD and their followers.
CROP = "{crop}"  # stands for the number of a crop where each of them is a file
CROP_SUFFIX = f"__{CROP}"  # Abuse001_x264__0.npy, Abuse001_x264__1.npy, ...: XD-Violence, VadCLIP and their followers
FEATURE_SUFFIXES = ("_i3d", "_c3d", "_clip", "_videomae", "_swin", "_rgb", "_flow", "_{stream}", CROP_SUFFIX)
FIELD_SUFFIXES = (*FEATURE_SUFFIXES, "_x264")


def is_normal(category: str) -> bool:
    """Whether a category is what normal videos are filed under (`Normal`, `Normal_Videos_event`): no event is one."""
    return category.casefold().startswith("normal")


def last_part(name: str) -> str:
    """The file's name in a path of any system, or the last part of a video's id."""
    return name.replace("\\", "/").rpartition("/")[2]


def plain_names(name: str) -> list[str]:
    """The last part of a name and what is left of it without each suffix: `a_x264_i3d` is `a_x264` and `a`, too."""
    found = [last_part(name)]
    while True:
        longer = found[-1]
        path = PurePosixPath(longer)
        shorter = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else longer
        for suffix in FIELD_SUFFIXES:
            shorter = shorter if shorter != longer else longer.removesuffix(suffix)
        if shorter in (longer, ""):
            return found
        found.append(shorter)


def video_of_features(name: str) -> str:
    """A feature file's name without `.npy`, and without what says that it holds features."""
    return next((name.removesuffix(end) for end in FEATURE_SUFFIXES if name.endswith(end) and name != end), name)


class Names:
    """Ids of videos, found by what the field calls them."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._whole: dict[str, set[str]] = {}  # last parts of an id, two or more of them -> ids
        self._ids: dict[str, set[str]] = {}  # last part of an id -> ids
        self._plain: dict[str, set[str]] = {}  # any plain name of it -> ids
        for video_id in ids:
            for end in _ends(video_id):
                self._whole.setdefault(end, set()).add(video_id)
            for number, name in enumerate(plain_names(video_id)):
                self._plain.setdefault(name, set()).add(video_id)
                if number == 0:
                    self._ids.setdefault(name, set()).add(video_id)

    def find(self, name: str) -> str | None:
        """The id that alone is called so, by as many of its last parts as it takes; None: none is, or several are."""
        above = name.replace("\\", "/").rpartition("/")[0]
        for plain in plain_names(name):
            for end in _ends(f"{above}/{plain}"):
                if len(alone := self._whole.get(end, set())) == 1:
                    return next(iter(alone))
            for index in (self._ids, self._plain):
                if found := index.get(plain):
                    return next(iter(found)) if len(found) == 1 else None
        return None

    def why_not(self, name: str) -> str:
        """Why `find` finds none: none is called so, or several are."""
        for plain in plain_names(name):
            for index in (self._ids, self._plain):
                if found := index.get(plain):
                    return f"may be {' or '.join(sorted(found)[:3])}"
        return "is no test video"


def _ends(path: str) -> list[str]:
    """The last parts of a path, the most first, and two at least: `a/b/c` and `b/c`."""
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(len(parts) - 1)]
