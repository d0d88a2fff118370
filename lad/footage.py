"""Which files of a folder are videos: by their suffix where that says it, else by how they begin."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lad.files import frame_files
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
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

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

    def line(self) -> str:
        """What a user is told."""
        kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.suffixes.most_common(MAX_KINDS)]
        if len(self.suffixes) > MAX_KINDS:
            kinds.append(f"{self.count - sum(dict(self.suffixes.most_common(MAX_KINDS)).values())} others")
        names = ", ".join(self.names) + (", ..." if self.count > len(self.names) else "")
        return f"passed over, being no videos: {', '.join(kinds)} ({names})"

    def data(self) -> dict[str, object]:
        """The same as plain data."""
        return {"files": self.count, "suffixes": dict(self.suffixes.most_common()), "names": list(self.names)}


def videos_below(path: Path, passed: Passed, above: tuple[Path, ...] = ()) -> list[Path]:
    """The video files and frame folders in a folder, to the bottom and in order; a file is itself, whatever it is.

    Hidden files and folders are left out. A link is followed, but to no folder around it.

    Args:
        path: a folder or a file.
        passed: gets the files that are no videos.
        above: the folders that it was reached through.

    Raises:
        RecursionError: links go on without end.
    """
    if not path.is_dir():
        return [path]
    place = path.resolve()
    if place in above:  # a link to a folder around it, which would go on for ever
        return []
    below: list[Path] = []
    other: list[Path] = []
    for child in sorted(path.iterdir()):
        if child.name.startswith("."):
            continue
        if child.is_dir():
            below += videos_below(child, passed, (*above, place))
        elif is_video_file(child):
            below.append(child)
        else:
            other.append(child)
    # A picture beside videos, or beside folders of them, is a thumbnail, not a frame.
    frames = set(frame_files(path)) if all(video.is_dir() for video in below) else set()
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
