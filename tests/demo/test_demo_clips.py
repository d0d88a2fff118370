"""What the clips of `lad demo` promise to those who read them."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from lad import demo
from lad.dataset import COLUMNS
from lad.demo import clips
from lad.events import Event


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def first_frame_only(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Stands in for `encode` where a test is about files, not about video."""
    path.write_bytes(next(frames).tobytes())


def early(category: str, seed: int = 0) -> clips.Clip:
    """A clip of the set, but with its event soon, so that few frames need drawing."""
    clip = next(clip for clip in demo.plan(seed) if clip.category == category)
    return replace(clip, event=Event(8, 60))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set: an abnormal and a normal clip a category."""
    return demo.make_clips(tmp_path_factory.mktemp("demo"), per_category=1)


@pytest.mark.slow
def test_every_clip_decodes_to_the_frames_that_the_table_says(made: Path) -> None:
    assert len(rows(made)) == 6
    for row in rows(made):
        with av.open(made.parent / row["path"]) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == int(row["fps"]) == 25
            shapes = [(frame.width, frame.height) for frame in container.decode(stream)]
        assert shapes == [(320, 240)] * int(row["n_frames"])
        assert 112 <= len(shapes) <= 144


@pytest.mark.slow
def test_the_table_names_videos_as_the_rest_of_lad_does(made: Path) -> None:
    table = rows(made)
    assert tuple(table[0]) == COLUMNS
    for row in table:
        assert row["path"] == f"{row['video']}.mp4"
        assert row["video"].split("/")[:2] == ["videos", row["label"]]
    assert len({row["source"] for row in table}) == len({row["video"] for row in table}) == len(table)


@pytest.mark.parametrize("per_category", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 7])
def test_events_lie_inside_their_clips_after_a_normal_beginning(seed: int, per_category: int) -> None:
    for clip in demo.plan(seed, per_category):
        assert (clip.event is None) == clip.name.startswith("normal")
        if clip.event:
            assert 28 <= clip.event.start < clip.event.end <= clip.n_frames
            assert 40 <= clip.event.end - clip.event.start <= 70


@pytest.mark.parametrize("per_category", [2, 3, 4])
def test_both_splits_hold_normal_and_abnormal_clips_of_every_category(per_category: int) -> None:
    kinds = defaultdict(set)
    for clip in demo.plan(per_category=per_category):
        kinds[clip.split].add((clip.category, clip.event is None))
    every = {(category, normal) for category in ("panic", "falling", "fire") for normal in (True, False)}
    assert kinds == {"train": every, "test": every}


def test_the_default_set_is_24_clips_split_in_half() -> None:
    splits = [clip.split for clip in demo.plan()]
    assert (splits.count("train"), splits.count("test")) == (12, 12)


@pytest.mark.slow
@pytest.mark.parametrize("category", ["panic", "falling", "fire"])
def test_the_seed_fixes_every_pixel(category: str) -> None:
    clip, again, other = (early(category, seed) for seed in (3, 3, 4))
    until = 28  # well into the event
    frames = list(islice(clips.render_clip(clip), until))
    assert np.array_equal(frames, list(islice(clips.render_clip(again), until)))
    assert not np.array_equal(frames[0], next(clips.render_clip(other)))


@pytest.mark.slow
def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    """Also when memory lies differently, which x264 can be sensitive to."""
    frames = list(islice(clips.render_clip(demo.plan()[0]), 60))
    files = set()
    for n in range(5):
        ballast = [np.zeros(1000 + 7777 * n * k, np.uint8) for k in range(20)]
        clips.encode(tmp_path / "clip.mp4", iter(frames))
        files.add((tmp_path / "clip.mp4").read_bytes())
        del ballast
    assert len(files) == 1


def test_a_clip_is_the_same_in_a_small_set_and_in_a_large_one() -> None:
    large = {clip.key: clip for clip in demo.plan(per_category=4)}
    for clip in demo.plan(per_category=2):
        assert (clip.event, clip.n_frames) == (large[clip.key].event, large[clip.key].n_frames)


@pytest.mark.slow
@pytest.mark.parametrize("category", ["panic", "falling", "fire"])
def test_the_picture_shows_the_event_from_its_first_frames_on_and_not_before(category: str) -> None:
    """A clip differs from itself without the event only where the table says so."""
    clip, start = early(category), 8
    both = zip(clips.render_clip(clip), clips.render_clip(replace(clip, event=None)), strict=True)
    differs = [not np.array_equal(a, b) for a, b in islice(both, start + 8)]
    assert not any(differs[:start])
    assert all(differs[start + 2 :])


@pytest.mark.slow
def test_a_second_call_does_nothing(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.parent.rglob("*")}
    calls: list[tuple[int, int]] = []
    assert demo.make_clips(made.parent, per_category=1, on_clip=lambda n, of: calls.append((n, of))) == made
    assert {path: path.stat().st_mtime_ns for path in made.parent.rglob("*")} == before
    assert calls == []


def test_an_interrupted_call_is_completed_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "encode", first_frame_only)

    def stop(done: int, total: int) -> None:
        assert total == 6
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.make_clips(tmp_path, per_category=1, on_clip=stop)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")}
    assert len(kept) == 2
    kept_times = {path: path.stat().st_mtime_ns for path in kept}

    calls: list[tuple[int, int]] = []
    table = demo.make_clips(tmp_path, per_category=1, on_clip=lambda n, of: calls.append((n, of)))
    assert calls == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert all((tmp_path / row["path"]).is_file() for row in rows(table))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept_times
    assert not list(tmp_path.rglob(".*"))

    lost = next(iter(kept))
    lost.unlink()
    demo.make_clips(tmp_path, per_category=1)
    assert lost.read_bytes() == kept[lost]


def test_a_clip_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, frames: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(clips, "encode", broken)
    with pytest.raises(OSError, match="no space"):
        demo.make_clips(tmp_path, per_category=1)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["dataset.csv"]


def test_another_seed_makes_every_clip_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "encode", first_frame_only)
    first = {
        row["path"]: (tmp_path / row["path"]).read_bytes()
        for row in rows(demo.make_clips(tmp_path, seed=0, per_category=1))
    }
    second = {
        row["path"]: (tmp_path / row["path"]).read_bytes()
        for row in rows(demo.make_clips(tmp_path, seed=1, per_category=1))
    }
    assert first.keys() == second.keys()
    assert all(first[path] != second[path] for path in first)
