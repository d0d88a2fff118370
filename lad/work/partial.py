"""What a video's extraction has come to so far, so that one of many hours resumes where it was killed.

Features are held in memory until a save is due. Then they go to `<work>/partial/<hash of the video id>/`: a file of raw
numbers a stream, clip after clip, and a small JSON that says how much of them counts. A short video is done before
that and never has such a folder; a long one never holds more in memory than what came since its last save.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lad.extract.readers import Choice
from lad.extract.stillness import runs
from lad.files import fingerprint, naming, open_kept, replacing, write_all, write_json

SAVE_SECONDS = 60.0  # from one save to the next
SAVE_BYTES = 64 << 20  # held in memory make one due earlier
BLOCK_BYTES = 8 << 20  # read at a time
FORMAT = 1
STATE = "state.json"
PARTIAL = "partial"  # the folder of the work directory in which each half-done video has its own


@dataclass
class Partial:
    """Features of a video, batch by batch.

    Attributes:
        folder: its own; not there until a save was due.
        fingerprints: item -> fingerprint, of all streams that are extracted: what a save is of use to.
        reader: what its decoder was told to begin with.
        clips: how many there are of every stream, saved or held.
        still: `[start, end)` of clips that were not seen, as `extract.still: skip` leaves them out.
        shapes: stream -> what one clip comes to, `[dim]` or `[crops, dim]`.
        checksums: stream -> CRC-32 of what is saved.
        held: stream -> batches since the last save, `(n, dim)` or `(n, crops, dim)` float32.
        files: stream -> complete `.npy`, where somebody else made all of them.
    """

    folder: Path
    fingerprints: Mapping[str, str]
    reader: Choice = "auto"
    clips: int = 0
    still: list[list[int]] = field(default_factory=list)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[np.ndarray]] = field(default_factory=dict)
    held_bytes: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)
    saved_at: float = field(default_factory=time.monotonic)

    def restart(self, reader: Choice) -> None:
        """Begin anew: what there is, is void."""
        self.remove()
        self.reader, self.clips, self.held_bytes, self.saved_at = reader, 0, 0, time.monotonic()
        self.still.clear()
        for facts in (self.shapes, self.checksums, self.held):
            facts.clear()

    def take(self, clips: int, still: list[list[int]], files: Mapping[str, Path]) -> None:
        """Take all features of the video as they are: stream -> complete `.npy` on the same disk, moved by `write`."""
        self.clips, self.still, self.files = clips, still, files

    def add(self, features: Mapping[str, np.ndarray], back: Sequence[int] = ()) -> None:
        """Take the next batch of every stream, `(n, dim)` or `(crops, n, dim)`, and save where that is due.

        `back`: as `Computed` has it.
        """
        for start, end in runs((steps > 0 for steps in back), self.clips):
            if self.still and self.still[-1][1] == start:
                self.still[-1][1] = end
            else:
                self.still.append([start, end])
        for stream, array in features.items():
            rows = np.ascontiguousarray(np.moveaxis(array, -2, 0))  # clips first: so files can be appended to
            self.shapes[stream] = list(rows.shape[1:])
            self.held.setdefault(stream, []).append(rows)
            self.held_bytes += rows.nbytes
        self.clips += len(rows)
        if self.held_bytes >= SAVE_BYTES or time.monotonic() - self.saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Append to the files, then say so: killed in between, the JSON still tells of the part that is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stream, batches in self.held.items():
            with naming(self._file(stream)), open_kept(self._file(stream)) as file:
                for rows in batches:
                    write_all(file, rows.data.cast("B"))
                    self.checksums[stream] = zlib.crc32(rows.data, self.checksums.get(stream, 0))
                os.fsync(file.fileno())
            batches.clear()
        state = {
            "format": FORMAT,
            "fingerprints": dict(self.fingerprints),
            "reader": self.reader,
            "clips": self.clips,
            "still": self.still,
            "shapes": self.shapes,
            "checksums": self.checksums,
        }
        write_json(self.folder / STATE, {"state": state, "sha256": fingerprint(state)})
        self.held_bytes, self.saved_at = 0, time.monotonic()

    def write(self, stream: str, path: Path) -> None:
        """Write a stream's `.npy`, `(clips, dim)` or `(crops, clips, dim)`, as `np.save` would, block by block."""
        if stream in self.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.files[stream].replace(path)
            return
        *crops, dim = self.shapes[stream]
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
            "fortran_order": False,
            "shape": (*crops, self.clips, dim),
        }
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            begin, clip = file.tell(), 0
            for rows in self._rows(stream):
                for crop, view in enumerate(np.moveaxis(rows.reshape(len(rows), -1, dim), 1, 0)):
                    file.seek(begin + (crop * self.clips + clip) * dim * view.itemsize)
                    file.write(np.ascontiguousarray(view).data)
                clip += len(rows)

    def last(self, clips: int) -> dict[str, np.ndarray]:
        """The features of the last clips that are saved, as `add` took them: what further ones may repeat."""
        found = {}
        for stream in self.checksums:
            count = min(clips, self.clips)
            with self._file(stream).open("rb") as file:
                file.seek((self.clips - count) * self._clip_bytes(stream))
                rows = np.frombuffer(file.read(), np.float32).reshape(count, *self.shapes[stream])
            found[stream] = np.moveaxis(rows, 0, -2)
        return found

    def remove(self) -> None:
        """Leave no trace on the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other videos have theirs in it
            self.folder.parent.rmdir()

    def _file(self, stream: str) -> Path:
        return self.folder / f"{stream}.f32"

    def _clip_bytes(self, stream: str) -> int:
        return int(np.prod(self.shapes[stream])) * np.dtype(np.float32).itemsize

    def _rows(self, stream: str) -> Iterator[np.ndarray]:
        """All rows, the saved ones in blocks."""
        if stream in self.checksums:
            clip_bytes = self._clip_bytes(stream)
            with self._file(stream).open("rb") as file:
                while block := file.read(max(1, BLOCK_BYTES // clip_bytes) * clip_bytes):
                    yield np.frombuffer(block, np.float32).reshape(-1, *self.shapes[stream])
        yield from self.held[stream]

    def _cut_to_what_counts(self) -> bool:
        """Drop what a killed process appended in vain; whether the files then hold what was saved."""
        for stream, expected in self.checksums.items():
            size = self.clips * self._clip_bytes(stream)
            with open_kept(self._file(stream)) as file:
                file.truncate(max(size, 0))
                found = 0
                while block := file.read(BLOCK_BYTES):
                    found = zlib.crc32(block, found)
                if file.tell() != size or found != expected:
                    return False
        return True


def resume(home: Path, video_id: str, fingerprints: Mapping[str, str]) -> Partial:
    """What was saved of a video in the work directory `home`; nothing where that is damaged, or not of today.

    Args:
        fingerprints: today's, item -> fingerprint, of all streams that are to be extracted.
    """
    folder = folder_of(home, video_id)
    nothing = Partial(folder, fingerprints)
    try:
        saved = json.loads((folder / STATE).read_text(encoding="utf-8"))
        state = saved["state"]
        if saved["sha256"] != fingerprint(state) or state.pop("format") != FORMAT:
            return nothing
        if state.pop("fingerprints") != fingerprints:
            return nothing
        partial = Partial(folder, fingerprints, **state, held={stream: [] for stream in state["shapes"]})
        return partial if partial._cut_to_what_counts() else nothing
    except (OSError, ValueError, KeyError, TypeError):  # most often: there is none
        return nothing


def sweep(home: Path, unfinished: Collection[str]) -> None:
    """Remove what was saved of all videos but these: a process killed just after a video's end leaves that behind."""
    root = home / PARTIAL
    if not root.is_dir():
        return
    kept = {folder_of(home, video_id).name for video_id in unfinished}
    for folder in root.iterdir():
        if folder.name not in kept and re.fullmatch("[0-9a-f]{32}", folder.name):  # nobody else's
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        root.rmdir()


def folder_of(home: Path, video_id: str) -> Path:
    """Where what is saved of a half-done video lies in the work directory `home`."""
    return home / PARTIAL / hashlib.sha256(os.fsencode(video_id)).hexdigest()[:32]
