"""A killed extraction resumes inside a video, and ends with the features of one that was never stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.decoders import signal_decoders

from lad.extract.extractor import FeatureExtractor
from lad.work import partial as partial_module
from lad.work.manifest import read_manifest
from lad.work.partial import Partial

CONFIG = """
extract: {backbone: tiny, streams: [rgb, flow], batch_clips: 3}
threads: 1
workers: 1
"""
FRAMES = 203  # 13 clips, of which the last batch has 1


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video) -> Path:
    """A video in motion: no two clips are alike."""
    grain = np.random.default_rng(0).integers(0, 255, (12, 40, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    frames = (np.ascontiguousarray(grain[n % 40 : n % 40 + 48, n : n + 64]) for n in range(FRAMES))
    folder = tmp_path_factory.mktemp("video")
    (folder / "small.yaml").write_text(CONFIG)
    return make_video(folder / "long.mp4", frames)


def words(video: Path, work: Path, *overrides: str) -> list[str]:
    settings = [word for setting in overrides for word in ("-o", setting)]
    folder = video.parent
    where = ["--data", str(folder), "--work", str(work)]
    return ["extract", "-c", str(folder / "small.yaml"), *where, *settings, str(video)]


def features(work: Path) -> dict[str, bytes]:
    """Every file below `features`, by its path there."""
    folder = work / "features"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resumed_at(err: str) -> int:
    found = re.search(r"resumed at clip (\d+)", err)
    return int(found[1]) if found else 0


@pytest.fixture
def extracted(monkeypatch) -> list[int]:
    """Clips that went through a network, batch by batch."""
    counts: list[int] = []
    plain = FeatureExtractor.__call__

    def counting(self: FeatureExtractor, stream: str, clips: np.ndarray) -> np.ndarray:
        counts.append(len(clips))
        return plain(self, stream, clips)

    monkeypatch.setattr(FeatureExtractor, "__call__", counting)
    return counts


class Killed(BaseException):
    """Stands for a signal that cannot be caught."""


def killed_after(monkeypatch: pytest.MonkeyPatch, method: str, calls: int, reader: str) -> None:
    """The process dies at the end of the nth call of a method of `Partial`, of a reader; every batch was saved."""
    plain, count = getattr(Partial, method), 0

    def dying(self: Partial, *arguments: Any) -> Any:
        nonlocal count
        count += self.reader == reader
        given = plain(self, *arguments)
        if count == calls:
            raise Killed
        return given

    monkeypatch.setattr(Partial, method, dying)
    monkeypatch.setattr(partial_module, "SAVE_SECONDS", 0.0)


def extract_and_die(lad, monkeypatch, words: list[str], calls: int, method: str = "add", reader: str = "auto") -> None:
    with monkeypatch.context() as patch:
        killed_after(patch, method, calls, reader)
        with pytest.raises(Killed):
            lad(*words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "streams", "clips"),
    [
        ((), ["flow", "rgb"], 13),
        (("extract.crops=5",), ["rgb"], 13),
        (("extract.clip_stride=8",), ["flow", "rgb"], 25),
        (("extract.fps=40", "extract.clip_stride=5"), ["flow", "rgb"], 63),
        (("extract.clip_stride=32",), ["flow", "rgb"], 7),
        (("extract.fps=10",), ["flow"], 6),
        (("extract.tail=drop",), ["rgb"], 12),
    ],
)
def test_what_is_resumed_equals_what_was_never_stopped(
    lad, video, tmp_path, monkeypatch, extracted, settings, streams, clips
):
    settings = (*settings, f"extract.streams={streams}")
    status, _, err = lad(*words(video, tmp_path / "whole", *settings))
    assert status == 0 and resumed_at(err) == 0, err
    assert not (tmp_path / "whole" / "partial").exists()
    expected = features(tmp_path / "whole")
    assert sorted(expected) == sorted([*(f"{stream}/long.npy" for stream in streams), "times/long.npy"])
    assert np.load(tmp_path / "whole" / "features" / streams[0] / "long.npy").shape[-2] == clips
    batches = -(-clips // 3)
    for calls in sorted({1, batches}):  # the last batch is a short one
        work = tmp_path / f"after {calls}"
        extract_and_die(lad, monkeypatch, words(video, work, *settings), calls)
        extracted.clear()
        status, _, err = lad(*words(video, work, *settings))
        assert status == 0, err
        known = min(3 * calls, clips)
        assert resumed_at(err) == known
        assert sum(extracted) == len(streams) * (clips - known)
        assert features(work) == expected
        assert not (work / "partial").exists()


@pytest.mark.slow
def test_killed_between_writing_a_video_and_clearing_up(lad, video, tmp_path, monkeypatch, extracted):
    work = tmp_path / "work"
    extract_and_die(lad, monkeypatch, words(video, work), 1, "write")  # one stream written, nothing recorded
    extracted.clear()
    assert resumed_at(lad(*words(video, work))[2]) == 13 and not extracted
    assert not (work / "partial").exists()
    expected = features(work)

    again = tmp_path / "again"
    with monkeypatch.context() as patch:  # recorded, and the folder still there
        patch.setattr(partial_module, "SAVE_SECONDS", 0.0)
        patch.setattr(Partial, "remove", lambda self: None)
        assert lad(*words(video, again))[0] == 0
    assert (again / "partial").exists()
    status, out, err = lad(*words(video, again))
    assert status == 0 and "nothing to do" in out, out + err
    assert not (again / "partial").exists() and features(again) == expected


@pytest.mark.slow
def test_what_was_saved_under_other_settings_is_void(lad, video, tmp_path, monkeypatch, extracted):
    work = tmp_path / "work"
    extract_and_die(lad, monkeypatch, words(video, work), 2)
    for settings in (("extract.streams=[rgb]",), ("extract.clip_stride=8",), ()):
        extracted.clear()
        status, _, err = lad(*words(video, work, *settings))
        assert status == 0 and resumed_at(err) == 0, err
        assert not (work / "partial").exists()
    assert sum(extracted) == 2 * 13


@pytest.mark.slow
def test_force_begins_anew_and_what_it_saved_is_resumed_without(lad, video, tmp_path, monkeypatch):
    work = tmp_path / "work"
    extract_and_die(lad, monkeypatch, words(video, work), 2)
    extract_and_die(lad, monkeypatch, [*words(video, work), "--force"], 3)
    assert resumed_at(lad(*words(video, work))[2]) == 9


@pytest.mark.slow
def test_damaged_files_are_a_clean_start(lad, video, tmp_path, monkeypatch):
    expected = None
    for name in ("state.json", "flow.f32"):
        work = tmp_path / name
        extract_and_die(lad, monkeypatch, words(video, work), 2)
        (path,) = (work / "partial").glob(f"*/{name}")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        status, _, err = lad(*words(video, work))
        assert status == 0 and resumed_at(err) == 0, err
        assert not (work / "partial").exists()
        expected = expected or features(work)
        assert features(work) == expected


@pytest.mark.slow
def test_what_cannot_be_reached_for_once_is_resumed_later(lad, video, tmp_path, monkeypatch):
    work = tmp_path / "work"
    extract_and_die(lad, monkeypatch, words(video, work), 2)

    def failing(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", str(video))

    with monkeypatch.context() as patch:
        patch.setattr("lad.work.contents.Contents.of_input", failing)
        status, _, err = lad(*words(video, work))
    assert status == 1 and "Permission denied" in err
    status, _, err = lad(*words(video, work))
    assert status == 0 and resumed_at(err) == 6, err


@pytest.mark.slow
def test_a_reader_that_dies_voids_what_it_gave_and_its_successor_is_resumed(lad, video, tmp_path, monkeypatch):
    work = tmp_path / "work"
    readers: list[str] = []
    restart, add = Partial.restart, Partial.add

    def noting(self: Partial, reader: Any) -> None:
        readers.append(reader)
        restart(self, reader)

    def killing(self: Partial, batch: dict[str, np.ndarray], *back: Any) -> None:
        add(self, batch, *back)
        if self.reader == "auto" and self.clips == 6:
            signal_decoders(signal.SIGSEGV)

    monkeypatch.setattr(Partial, "restart", noting)
    monkeypatch.setattr(Partial, "add", killing)
    extract_and_die(lad, monkeypatch, words(video, work), 1)  # of decord's
    extract_and_die(lad, monkeypatch, words(video, work), 1, reader="pyav")  # decord goes on from 3 and dies at 6
    assert readers == ["auto", "pyav"]
    saved = json.loads(next((work / "partial").rglob("state.json")).read_text())["state"]
    assert (saved["reader"], saved["clips"]) == ("pyav", 3)
    status, _, err = lad(*words(video, work))
    assert status == 0 and resumed_at(err) == 3 and len(readers) == 2, err
    with read_manifest(work) as manifest:
        assert manifest.items("extract")["extract", "rgb/long"].info["reader"] == "pyav"
    monkeypatch.undo()
    lad(*words(video, tmp_path / "whole"))
    assert features(work) == features(tmp_path / "whole")
    assert not (work / "partial").exists()


@pytest.mark.slow
def test_the_features_of_a_finished_video_leave_memory(lad, video, make_video, tmp_path, monkeypatch):
    """Otherwise memory would grow with the dataset: by 4 kB for every clip of every stream."""
    for number in range(4):
        make_video(tmp_path / f"{number}.mp4", 40)
    written: list[weakref.ref[Partial]] = []
    write = Partial.write

    def noting(self: Partial, stream: str, path: Path) -> None:
        assert not any(ref() for ref in written), "the video before is still there"
        written.append(weakref.ref(self))
        write(self, stream, path)

    monkeypatch.setattr(Partial, "write", noting)
    videos = [str(tmp_path / f"{number}.mp4") for number in range(4)]
    assert lad(*words(video, tmp_path / "work", "extract.streams=[rgb]")[:-1], *videos)[0] == 0
    assert len(written) == len(videos)


@pytest.mark.slow
def test_a_video_that_decodes_to_less_than_was_saved_fails_and_begins_anew(lad, video, tmp_path, monkeypatch):
    work = tmp_path / "work"
    extract_and_die(lad, monkeypatch, words(video, work), 4)
    with monkeypatch.context() as patch:
        patch.setattr("lad.pipeline.extract.count_clips", lambda spec, info: 9)
        status, _, err = lad(*words(video, work))
    assert status == 1 and "13 clips came of it, of its frames 9" in err
    assert not (work / "partial").exists()
    status, _, err = lad(*words(video, work))
    assert status == 0 and resumed_at(err) == 0


KILLING = """
import os, signal, sys
from lad.work import partial
moment, calls = sys.argv.pop(1), int(sys.argv.pop(1))
partial.SAVE_SECONDS, partial.SAVE_BYTES = (0, 0) if moment else (60, 64 << 20)
count = 0

def die_at(name, plain):
    def dying(*arguments):
        global count
        count += 1
        if count == calls:
            os.killpg(0, signal.SIGKILL)
        return plain(*arguments)
    return dying

if moment == "append":  # the data are longer than the JSON says
    partial.write_json = die_at(moment, partial.write_json)
elif moment:
    setattr(partial.Partial, moment, die_at(moment, getattr(partial.Partial, moment)))
from lad.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_process_group_killed_again_and_again(video, tmp_path):
    """SIGKILL: after batches, within a save, within the last write, before the folder is removed."""

    def start(work: str, moment: str = "", calls: int = 0) -> tuple[int, str]:
        command = [sys.executable, "-c", KILLING, moment, str(calls), *words(video, tmp_path / work)]
        done = subprocess.run(
            command, capture_output=True, text=True, start_new_session=True, timeout=120, env={**os.environ, "TERM": ""}
        )
        return done.returncode, done.stderr + done.stdout

    status, err = start("whole")
    assert status == 0, err
    moments = [("add", 3), ("append", 2), ("write", 2), ("remove", 1)]
    clips = []
    for moment, calls in moments:
        status, err = start("work", moment, calls)
        assert status == -signal.SIGKILL, err
        clips.append(resumed_at(err))
    assert clips == [0, 6, 9, 13]
    status, err = start("work")
    assert status == 0 and "nothing to do" in err, err
    assert features(tmp_path / "work") == features(tmp_path / "whole")
    assert not (tmp_path / "work" / "partial").exists()
    assert not list((tmp_path / "work").rglob("*.tmp"))
