"""Which clips `extract.still: skip` leaves out: those in which nothing moves, whatever noise a camera has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.filmed import HEIGHT, WIDTH, filmed, place

import lad as library
from lad.clip import CLIP_FRAMES
from lad.extract.clips import ClipSpec, clip_batches, seen_clips
from lad.extract.readers import open_reader
from lad.extract.stillness import LONGEST_CLIPS, Stillness, runs, with_repeated

CLIPS = 24
CROSSES = 12 * CLIP_FRAMES + 5  # the frame in which somebody comes, who is gone a second later
SECOND = 25


def crossing(number: int) -> float | None:
    return (number - CROSSES) / SECOND if CROSSES <= number < CROSSES + SECOND else None


def bands(number: int) -> np.ndarray:
    """Lamps on the mains and a rolling shutter: bands that run over the picture."""
    return 1 + 0.05 * np.sin(2 * np.pi * (np.arange(HEIGHT) / HEIGHT * 1.7 + number * 0.13))[:, None, None]


TRAPS: dict[str, dict[str, Any]] = {
    "none": {},
    "no noise at all": {"noise": 0.0},
    "a night with much gain": {"noise": 14.0, "light": lambda number: 0.4},
    "lamps that flicker": {"light": bands},
    "rain": {"rain": 25},
    "exposure that drifts": {"light": lambda number: 1 - number / 2000},
}
CODECS: dict[str, dict[str, str]] = {
    "key frames every second": {"crf": "30", "g": "25", "bf": "0"},
    "few bits": {"b": "60k", "maxrate": "60k", "bufsize": "60k", "g": "50", "bf": "0"},
    "pictures between pictures": {"crf": "24", "g": "250", "bf": "3"},
}


def verdicts(frames: Any, clips: int = 1) -> list[bool]:
    stillness = Stillness(clips)
    given = sum(1 for _ in stillness.frames(frames))
    return [stillness.is_still(number) for number in range(given // CLIP_FRAMES)]


def encoded(path: Path, make_video: Callable[..., Path], options: dict[str, str], **facts: Any) -> Iterator[Any]:
    frames = filmed(CLIPS * CLIP_FRAMES, **facts)
    make_video(path, frames, size=(WIDTH, HEIGHT), codec_options=options)
    return iter(open_reader(path, lazy=True))


def check(without: list[bool], crossed: list[bool]) -> None:
    """Nearly all of a place where nothing happens is left out, and nobody who crosses it in a second."""
    assert not without[0]
    assert np.mean(without[1:]) >= 0.85
    first, last = CROSSES // CLIP_FRAMES, (CROSSES + SECOND - 1) // CLIP_FRAMES
    assert not any(crossed[first : last + 1])
    assert np.mean(crossed[1:first] + crossed[last + 2 :]) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("trap", TRAPS)
def test_noise_is_left_out_and_somebody_who_crosses_in_a_second_is_not(trap: str) -> None:
    count = CLIPS * CLIP_FRAMES
    check(verdicts(filmed(count, **TRAPS[trap])), verdicts(filmed(count, **TRAPS[trap], walks=crossing)))


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_nor_do_codecs_count_as_movement_or_hide_it(
    codec: str, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    found = [
        verdicts(encoded(tmp_path / f"{number}.mp4", make_video, CODECS[codec], **facts))
        for number, facts in enumerate(({}, {"walks": crossing}))
    ]
    check(*found)


def test_where_somebody_always_walks_no_clip_is_still() -> None:
    walks = verdicts(filmed(12 * CLIP_FRAMES, walks=lambda number: number % 70 / 70))
    assert not any(walks)


def test_where_the_whole_picture_moves_no_clip_is_still() -> None:
    """However much of it moves: that is not taken for noise."""
    wide = np.hstack([place(seed) for seed in range(4)])
    pans = verdicts(np.ascontiguousarray(wide[:, 3 * number :][:, :WIDTH]) for number in range(8 * CLIP_FRAMES))
    assert not any(pans)


def test_a_picture_that_changes_at_a_cut_gets_a_new_reference() -> None:
    """Nothing moves in a clip before and after it."""
    first, second = place(0), place(1)
    cut = verdicts(iter([first] * 4 * CLIP_FRAMES + [second] * 4 * CLIP_FRAMES))
    assert cut == [False, True, True, True] * 2


def test_light_that_is_switched_on_gets_a_new_reference() -> None:
    picture = place() // 2
    lit = verdicts(iter([picture] * 3 * CLIP_FRAMES + [picture + picture // 2] * 3 * CLIP_FRAMES))
    assert lit == [False, True, True] * 2


@pytest.mark.parametrize("size", [(8, 8), (16, 2000), (1, 1), (3000, 40)])
def test_pictures_of_any_shape_have_a_verdict(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 90, np.uint8)
    assert verdicts(iter([picture] * 3 * CLIP_FRAMES)) == [False, True, True]


@pytest.mark.slow
def test_what_changes_too_slowly_to_be_seen_moving_is_seen_all_the_same() -> None:
    """Somebody who takes two minutes for the width of the picture moves a pixel in a second."""
    creeps = verdicts(filmed(40 * CLIP_FRAMES, walks=lambda number: 0.3 + number / 3000))
    assert sum(not still for still in creeps[1:]) >= 2
    assert any(creeps)


def test_a_reference_stands_for_a_limited_time() -> None:
    picture = next(filmed(1))
    still = verdicts(iter([picture] * (LONGEST_CLIPS + 4) * CLIP_FRAMES))
    assert runs(still) == [[1, 1 + LONGEST_CLIPS], [LONGEST_CLIPS + 2, LONGEST_CLIPS + 4]]


def test_clips_that_a_network_sees_as_one_are_left_out_together() -> None:
    count = 22 * CLIP_FRAMES
    crosses = 9 * CLIP_FRAMES  # in the second of four clips
    walks = verdicts(
        filmed(count, walks=lambda number: 0.5 + (number - crosses) / 50 if 0 <= number - crosses < 16 else None), 4
    )
    pieces = np.array(walks[: count // CLIP_FRAMES // 4 * 4]).reshape(-1, 4)
    assert (pieces == pieces[:, :1]).all()
    assert pieces[:, 0].tolist() == [False, True, False, False, True]
    assert walks[len(pieces) * 4 :] == [False, False]  # fewer than four


def test_the_seen_clips_are_those_that_they_would_be_without(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    """In all streams: what led to a clip and from it is there."""
    streams = ("rgb", "flow", "motion")
    frames = list(filmed(8 * CLIP_FRAMES + 1, walks=lambda number: 0.5 if 50 <= number < 60 else None))
    make_video(tmp_path / "a.mp4", frames, size=(WIDTH, HEIGHT))
    (all_clips,) = clip_batches(open_reader(tmp_path / "a.mp4"), ClipSpec(streams, batch_clips=100))
    spec = ClipSpec(streams, batch_clips=100, still=1)
    ((seen, still),) = seen_clips(open_reader(tmp_path / "a.mp4", lazy=True), spec)
    assert 3 <= sum(still) <= 7
    assert len(still) == len(all_clips["rgb"])
    for stream in streams:
        np.testing.assert_array_equal(seen[stream], all_clips[stream][~np.array(still)])


@pytest.mark.parametrize(("stride", "together"), [(20, 1), (40, 1), (32, 2)])
def test_of_clips_with_gaps_between_them_still_ones_are_left_out_too(
    stride: int, together: int, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    streams = ("rgb", "flow")
    length = stride * together
    walks = dict.fromkeys(range(3 * length - 2, 3 * length + 6), 0.5)
    frames = list(filmed(6 * length + 7, walks=walks.get))
    make_video(tmp_path / "a.mp4", frames, size=(WIDTH, HEIGHT))
    spec = ClipSpec(streams, batch_clips=100, stride=stride, together=together)
    (all_clips,) = clip_batches(open_reader(tmp_path / "a.mp4"), spec)
    ((seen, still),) = seen_clips(open_reader(tmp_path / "a.mp4", lazy=True), replace(spec, still=together))
    pieces = (False, True, True, False, False, True)  # somebody, a new reference; and at last too short a clip
    assert still == (*np.repeat(pieces, together), False)
    for stream in streams:
        np.testing.assert_array_equal(seen[stream], all_clips[stream][~np.array(still)])


def test_clips_that_lie_apart_are_not_left_out_together() -> None:
    with pytest.raises(ValueError, match="a network sees as one, and no others"):
        ClipSpec(("rgb",), still=4, stride=32)


def test_a_batch_of_still_clips_is_empty() -> None:
    frames = iter([next(filmed(1))] * 8 * CLIP_FRAMES)
    batches = list(seen_clips(frames, ClipSpec(("rgb",), still=1)))
    assert [len(still) for _, still in batches] == [4, 4]
    assert batches[-1] == ({}, (True,) * 4)


def test_a_still_clip_has_the_features_of_the_one_before_it() -> None:
    before = {"rgb": np.float32([[1, 2], [3, 4]])}
    found = with_repeated({"rgb": np.float32([[5, 6]])}, (1, 1, 0, 1), before)
    assert found["rgb"].tolist() == [[3, 4], [3, 4], [5, 6], [5, 6]]


def test_a_still_piece_has_the_features_of_the_piece_before_it() -> None:
    before = {"rgb": np.arange(12, dtype=np.float32).reshape(2, 3, 2)}  # two crops of three clips
    found = with_repeated({}, (2, 2, 2), before)
    np.testing.assert_array_equal(found["rgb"], before["rgb"][:, [1, 2, 1]])


@pytest.mark.parametrize("context", ["clip", "batch"])
def test_features_depend_neither_on_threads_nor_on_workers(
    context: str, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    make_video(tmp_path / "a.mp4", filmed(8 * CLIP_FRAMES), size=(WIDTH, HEIGHT))
    found = {
        (still, threads): library.extract_features(
            tmp_path / "a.mp4", device="cpu", backbone="tiny", context=context, still=still, threads=threads
        )["rgb"]
        for still, threads in (("see", 1), ("skip", 1), ("skip", 2))
    }
    see, skip = found["see", 1], found["skip", 1]
    np.testing.assert_array_equal(skip, found["skip", 2])
    assert skip.shape == see.shape
    back = 4 if context == "batch" else 1
    seen = (skip == see).all(axis=1)
    assert 3 <= (~seen).sum() <= 8
    for clip in np.flatnonzero(~seen):
        np.testing.assert_array_equal(skip[clip], skip[clip - back])


def test_clips_that_overlap_are_refused() -> None:
    with pytest.raises(library.LadError, match="clip_stride"):
        library.extract_features("a.mp4", still="skip", clip_stride=8)
