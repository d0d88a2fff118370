"""Which files of a folder are videos: by their suffix where that says it, else by how they begin."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lad.files import frame_files
from lad.ours import NAMES, holds_no_footage
from lad.signatures import HEAD_BYTES, is_surely_video

_OF_VIDEOS = """
    .mp4 .m4v .mov .qt .3gp .3g2 .mkv .webm .avi .divx .ts .m2ts .mts .m2t .tp .trp .mpg .mpeg .mpe .m1v .m2v .mpv .vob
    .wmv .asf .flv .f4v .ogv .mjpeg .mjpg .h264 .264 .avc .h265 .265 .hevc .dav .y4m .ivf .mxf .gxf .dv .rm .rmvb .wtv
    .nut"""
_OF_OTHERS = """
    .txt .md .rst .log .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .conf .html .htm .css .srt .vtt .ass
    .xls .xlsx .ods .parquet .feather .arrow .sqlite .sqlite3 .db .doc .docx .odt .rtf .pdf .ps .tex .ppt .pptx
    .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .iso .dmg .deb .rpm .whl .jar .apk .exe .dll .so .lock
    .py .pyc .ipynb .sh .bat .ps1 .js .c .h .cc .cpp .hpp .cu .java .go .rs .rb .pl .r .m .sql
    .jpg .jpeg .png .tif .tiff .bmp .gif .webp .heic .heif .avif .svg .ico .psd .dng .cr2 .nef .arw .exr .ppm .pgm
    .wav .mp3 .aac .m4a .m4b .flac .ogg .oga .opus .wma .aif .aiff .mid .mka .amr .ac3 .eac3 .dts
    .npy .npz .mat .h5 .hdf5 .pkl .pickle .pt .pth .ckpt .onnx .safetensors .tflite .pb .caffemodel"""
VIDEO_SUFFIXES = frozenset(_OF_VIDEOS.split())
# Of what is certainly something else and is not looked into: a folder may hold a million of them.
OTHER_SUFFIXES = frozenset(_OF_OTHERS.split())
MAX_KINDS, MAX_NAMED = 5, 3  # suffixes and files that are named of those that were passed over


@dataclass
class Passed:
    """The files of folders that were passed over, since they are no videos.

    Attributes:
        suffixes: how many there are of each suffix, in lower case; empty: without one.
        names: a few of them.
        works: work directories and reports of `lad`, which hold no footage.
        twice: (name, name) of files that were met again by another name, and taken by the first.
        closed: what nobody lets us read.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    works: list[Path] = field(default_factory=list)
    twice: list[tuple[Path, Path]] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.suffixes.total()

    def add(self, path: Path) -> None:
        """Count a file."""
        self.suffixes[path.suffix.lower()] += 1
        if len(self.names) < MAX_NAMED:
            self.names.append(path.name)

    def update(self, other: Passed) -> None:
        """Count those of another search, too."""
        self.suffixes += other.suffixes
        self.names += other.names[: MAX_NAMED - len(self.names)]
        self.works += other.works
        self.twice += other.twice
        self.closed += other.closed

    def lines(self) -> list[str]:
        """What a user is told, a line for each kind."""
        said = [self.line()] if self.count else []
        if self.works:
            said.append(f"passed over, being work directories or reports of lad: {_some(list(map(str, self.works)))}")
        if self.twice:
            pairs = [f"{other} is {taken}" for taken, other in self.twice]
            said.append(f"taken once, being one file by two names: {_some(pairs)}")
        if self.closed:
            said.append(f"passed over, because you may not read it: {_some(list(map(str, self.closed)))}")
        return said

    def line(self) -> str:
        """What a user is told of files that are no videos."""
        kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.suffixes.most_common(MAX_KINDS)]
        if len(self.suffixes) > MAX_KINDS:
            kinds.append(f"{self.count - sum(dict(self.suffixes.most_common(MAX_KINDS)).values())} others")
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        return f"passed over, being no videos: {', '.join(kinds)} ({names})"

    def data(self) -> dict[str, object]:
        """The same as plain data."""
        data: dict[str, object] = {
            "files": self.count,
            "suffixes": dict(self.suffixes.most_common()),
            "names": list(self.names),
        }
        if self.works:
            data["work_directories"] = list(map(str, self.works))
        if self.twice:
            data["twice"] = [{"taken": str(taken), "other": str(other)} for taken, other in self.twice]
        return data


def _some(said: list[str]) -> str:
    return ", ".join(said[:MAX_NAMED]) + (f", ... ({len(said)})" if len(said) > MAX_NAMED else "")


Identity = tuple[int, int]  # device and inode: what is one by all of its names


def identity(path: Path) -> Identity | None:
    """What a path is, whatever it is called; None where nobody can say."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def videos_below(path: Path, passed: Passed, seen: dict[Identity, Path] | None = None) -> list[Path]:
    """The video files and frame folders in a folder, to the bottom and in order; a file is itself, whatever it is.

    Hidden files and folders are left out, and what `lad` itself wrote: the work directories below the folder, and the
    results in the folder where it is one. Links are followed, after all else in their folder, and each folder is
    searched once.

    Args:
        path: a folder or a file.
        passed: gets the files that are no videos.
        seen: the folders that were searched.

    Raises:
        RecursionError: folders lie in folders without end.
    """
    if not path.is_dir():
        return [path]
    is_root = seen is None
    seen = {} if seen is None else seen
    me = identity(path)
    if me in seen:  # by a link, maybe to a folder around it, which would go on for ever
        passed.twice.append((seen[me], path.absolute()))
        return []
    if me:
        seen[me] = path.absolute()
    ours = holds_no_footage(path)
    if ours and not is_root:
        passed.works.append(path)
        return []
    below: list[Path] = []
    other: list[Path] = []
    for child in sorted(path.iterdir(), key=lambda child: (child.is_symlink(), child)):
        if child.name.startswith(".") or (ours and child.name in NAMES):
            continue
        try:
            if child.is_dir():
                below += videos_below(child, passed, seen)
            elif is_video_file(child):
                below.append(child)
            else:
                other.append(child)
        except PermissionError:  # such as the lost+found of a disk
            passed.closed.append(child)
    # A picture beside videos, or beside folders of more of them, is a thumbnail, not a frame. Masks are as many.
    frames = set(frame_files(path)) if all(video.is_dir() for video in below) else set()
    if any(len(frames) < len(frame_files(folder)) for folder in below if frames):
        frames = set()
    for child in other:
        if child not in frames:
            passed.add(child)
    return [path] if frames else below


def is_video_file(path: Path) -> bool:
    """Whether a file in a folder is a video. Only a file whose suffix says neither is opened."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix in OTHER_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for whoever writes it
            return False
        with path.open("rb", buffering=0) as file:
            return is_surely_video(os.read(file.fileno(), HEAD_BYTES))
    except OSError:  # it cannot be read: to be named among those passed over is more than it had
        return False
