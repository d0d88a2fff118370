"""Which frames a clip covers, and how its scores come back to the frames of the video."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers.videos import read_number
from hypothesis import given
from hypothesis import strategies as st

from lad.clip import CLIP_FRAMES
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.readers import open_reader
from lad.extract.sampling import (
    Timeline,
    clip_frames,
    clip_starts,
    clip_times,
    resample,
    sample_indices,
    sampled_labels,
    spread,
)
from lad.extract.video import VideoError, VideoInfo

NTSC = 30000 / 1001
LATE = Fraction(101, 100_000)  # what may be due to times in whole milliseconds


def regular(frames: int, fps: float) -> np.ndarray:
    return np.arange(frames) / fps


def sampled(frames: int, fps: float, rate: float | None) -> list[int]:
    return sample_indices(regular(frames, fps), fps, rate).tolist()


# Source frames to sampled frames


@pytest.mark.parametrize("fps", [1, 7.3, 12.5, 15, 23.976, 24, 25, NTSC, 30, 50, 60, 240, 1000])
@pytest.mark.parametrize("frames", [1, 2, 999])
def test_the_video_s_own_rate_and_no_rate_take_every_frame_once(fps: float, frames: int) -> None:
    assert sampled(frames, fps, fps) == sampled(frames, fps, None) == list(range(frames))


@pytest.mark.parametrize(
    ("fps", "rate", "step"), [(30, 15, 2), (25, 12.5, 2), (60, 15, 4), (50, 10, 5), (NTSC, NTSC / 2, 2)]
)
@pytest.mark.parametrize("frames", [1, 2, 3, 1000, 1001])
def test_a_fraction_of_the_rate_takes_every_nth_frame(fps: float, rate: float, step: int, frames: int) -> None:
    assert sampled(frames, fps, rate) == list(range(0, frames, step))


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(Fraction(25), Fraction(30)), (Fraction(30000, 1001), Fraction(25)), (Fraction(30000, 1001), Fraction(30))],
)
def test_other_rates_show_the_picture_that_is_on_display(fps: Fraction, rate: Fraction) -> None:
    exact = [int((Fraction(r) / rate + LATE) * fps) for r in range(int(1000 / fps * rate) + 1)]
    assert sampled(1000, float(fps), float(rate)) == [frame for frame in exact if frame < 1000]


def test_a_higher_rate_repeats_pictures() -> None:
    assert sampled(3, 10, 30) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_variable_frame_rate_goes_by_the_times() -> None:
    times = np.array([0, 0.1, 0.2, 1.0, 1.05, 1.5])  # after it, as long as the average: 0.3 s
    assert sample_indices(times, 1 / 0.3, 10).tolist() == [0, 1, *[2] * 8, *[3], *[4] * 4, *[5] * 3]
    assert sample_indices(times, 1 / 0.3, 2).tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("fps", [30, NTSC, 24, 60])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("start", [0.0, 0.0677])
def test_times_in_whole_milliseconds_do_as_exact_ones(fps: float, step: int, start: float) -> None:
    """As in Matroska, WebM and FLV, whose first frame's time is rounded too."""
    times = np.round(start + regular(500, fps), 3)
    assert sample_indices(times - times[0], fps, fps / step).tolist() == list(range(0, 500, step))


def test_a_frame_hidden_by_one_of_the_same_time_is_never_shown() -> None:
    assert sample_indices(np.array([0, 0, 0.1, 0.1, 0.1]), 10, 10).tolist() == [1, 4]


def test_one_frame_is_shown_at_least_once() -> None:
    assert sample_indices(np.array([0.0]), 25, 0.1).tolist() == [0]
    assert sample_indices(np.array([0.0]), 1000, 1).tolist() == [0]


@st.composite
def some_times(draw: st.DrawFn) -> np.ndarray:
    steps = draw(st.lists(st.one_of(st.just(0.0), st.just(0.04), st.floats(0, 2)), max_size=60))
    times = np.cumsum([0.0, *steps])
    return np.round(times, 3) if draw(st.booleans()) else times


RATES = st.one_of(st.none(), st.sampled_from([1.0, 12.5, 15.0, 25.0, 30.0, NTSC]), st.floats(0.05, 300))
FPS = st.floats(0.5, 240)


class Source:
    """A video of numbered frames that counts how many of them are held."""

    def __init__(self, times: np.ndarray, fps: float) -> None:
        self.info, self.times, self.fps = VideoInfo(fps=1.0), times, fps
        self.alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, time in enumerate(self.times):
            frame = np.array([number]).view(Held)
            self.alive.add(frame)
            self.info.times.append(float(time))
            yield frame
            del frame
        self.info.fps = self.fps  # before, only what the container says


class Held(np.ndarray):
    __hash__ = object.__hash__  # type: ignore[assignment]


@given(some_times(), FPS, RATES)
def test_resampling_while_decoding_chooses_the_same_frames(times: np.ndarray, fps: float, rate: float | None) -> None:
    source = Source(times, fps)
    chosen = [int(frame[0]) for frame in resample(source, source.info, rate)]
    assert chosen == sample_indices(times, fps, rate).tolist()


@given(some_times(), FPS, RATES)
def test_every_sampled_frame_is_on_display(times: np.ndarray, fps: float, rate: float | None) -> None:
    index = sample_indices(times, fps, rate)
    assert len(index) >= 1 and index.min() >= 0 and index.max() < len(times)
    assert (np.diff(index) >= 0).all()
    if rate is not None:
        instants = np.arange(len(index)) / rate
        ends = np.append(times[1:], times[-1] + 1 / fps)
        assert (times[index] <= instants + float(LATE)).all() and (instants <= ends[index] + 1e-9).all()


@pytest.mark.parametrize("rate", [None, 5, 25, 60])
def test_resampling_holds_no_more_than_two_frames(rate: float | None) -> None:
    source = Source(regular(50, 25), 25)
    most = 0
    for frame in resample(source, source.info, rate):
        del frame
        most = max(most, len(source.alive))
    assert 1 <= most <= 2


def test_no_frame_gives_no_frame() -> None:
    assert list(resample(iter(()), VideoInfo(), 25)) == []
    assert sampled(0, 25, 25) == sampled(0, 25, None) == []


def test_a_damaged_time_is_named_rather_than_filled_with_years_of_one_picture() -> None:
    source = Source(np.array([0, 0.04, 1e8]), 25)
    with pytest.raises(VideoError, match="frame 2 comes 100000000 s after the one before"):
        list(resample(source, source.info, 25))


# Sampled frames to clips


@given(st.integers(0, 200), st.integers(1, 16))
def test_padded_clips_cover_every_frame_and_none_is_needless(frames: int, stride: int) -> None:
    starts = clip_starts(frames, stride, "pad")
    assert starts.tolist() == list(range(0, stride * len(starts), stride))
    index, inside = clip_frames(frames, stride, "pad")
    assert index.shape == inside.shape == (len(starts), CLIP_FRAMES)
    assert set(index[inside].tolist()) == set(range(frames))
    assert (index[~inside] == frames - 1).all()
    assert len(starts) == (0 if frames == 0 else 1 if frames <= 16 else -(-(frames - 16) // stride) + 1)
    if len(starts) > 1:
        assert set(index[:-1].ravel().tolist()) != set(range(frames))


@given(st.integers(1, 200), st.integers(17, 70))
def test_clips_with_gaps_between_them_are_those_that_begin_within_the_video(frames: int, stride: int) -> None:
    starts = clip_starts(frames, stride, "pad")
    assert starts.tolist() == list(range(0, frames, stride))
    index, inside = clip_frames(frames, stride, "pad")
    assert index[inside].tolist() == [frame for frame in range(frames) if frame % stride < CLIP_FRAMES]


@given(st.integers(1, 400), st.integers(16, 50), st.integers(1, 5))
def test_clips_that_belong_together_have_no_gap_between_them(frames: int, stride: int, together: int) -> None:
    index, inside = clip_frames(frames, stride, "pad", together)
    seen = [frame for frame in range(frames) if frame % (stride * together) < CLIP_FRAMES * together]
    assert index[inside].tolist() == seen
    assert (index[:, 0] < frames).all()


@given(st.integers(0, 200), st.integers(1, 70), st.integers(1, 4))
def test_drop_keeps_the_whole_clips_of_pad(frames: int, stride: int, together: int) -> None:
    together = together if stride >= CLIP_FRAMES else 1
    index, inside = clip_frames(frames, stride, "pad", together)
    whole, all_inside = clip_frames(frames, stride, "drop", together)
    assert np.array_equal(whole, index[inside.all(axis=1)])
    assert all_inside.all()


@pytest.mark.parametrize("stride", [0, -1])
def test_a_stride_that_leads_nowhere_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride of {stride} frames"):
        clip_starts(100, stride, "pad")


# And back


def test_overlapping_clips_average_and_padding_does_not_count() -> None:
    scores = np.repeat([[0.0], [1.0], [4.0]], 16, axis=1)
    scores[2, 12:] = 1e9  # padding: frame 27 is the last
    found = spread(scores, regular(28, 25), 25, None, 8)
    assert found.dtype == np.float64
    assert found.tolist() == [0] * 8 + [0.5] * 8 + [2.5] * 8 + [4] * 4


@pytest.mark.parametrize(("stride", "until"), [(17, 17), (18, 17), (19, 18), (32, 24), (40, 28)])
def test_a_frame_between_clips_takes_the_score_of_the_nearer_one_of_two_the_earlier(stride: int, until: int) -> None:
    scores = np.repeat([[0.0], [1.0]], 16, axis=1)
    found = spread(scores, regular(stride + 16, 25), 25, None, stride)
    assert found.tolist() == [0] * until + [1] * (stride + 16 - until)
    line = Timeline(regular(stride + 16, 25), 25, None, stride)
    assert line.clip_of_frame(2).tolist() == found.tolist()


def test_a_frame_between_clips_takes_the_score_of_the_clip_s_frame_beside_it() -> None:
    scores = np.arange(32.0).reshape(2, 16)
    found = spread(scores, regular(60, 25), 25, None, 20)
    assert found.tolist() == [*range(16), 15, 15, 16, 16, *range(16, 32), *[31] * 24]


def test_a_frame_between_clips_that_belong_together_takes_the_score_of_the_nearer_ones() -> None:
    scores = np.repeat([[0.0], [1.0], [2.0], [3.0]], 16, axis=1)
    line = Timeline(regular(100, 25), 25, None, 32, together=2)
    assert line.by_frame(scores).tolist() == [0] * 16 + [1] * 32 + [2] * 32 + [3] * 20
    assert line.clip_of_frame(4).tolist() == line.by_frame(scores).tolist()
    assert line.seen([20, 40, 50, 99]).tolist() == [20, 31, 64, 95]
    assert (line.clip_times(4) * 25).round().tolist() == [[0, 16], [16, 32], [64, 80], [80, 96]]


def test_what_clips_show_of_frames_between_them_is_the_frame_nearest_to_each() -> None:
    line = Timeline(regular(60, 25), 25, None, 32)
    assert line.seen([0, 15, 16, 23, 24, 31, 47, 50, 59]).tolist() == [0, 15, 15, 15, 32, 32, 47, 47, 47]
    assert Timeline(regular(60, 25), 25).seen([0, 17, 59]).tolist() == [0, 17, 59]
    halved = Timeline(regular(60, 25), 25, 12.5, 16)
    assert halved.seen([0, 1, 2, 3, 59]).tolist() == [0, 0, 2, 2, 58]


def test_frames_after_the_last_whole_clip_take_its_last_score() -> None:
    scores = np.arange(16.0)[None]
    assert spread(np.ones((1, 16)), regular(20, 25), 25, None, 8).tolist() == [1] * 20
    assert spread(scores, regular(20, 25), 25, None, 16).tolist() == [*range(16), 15, 15, 15, 15]
    # 40 frames at 30 are 20 sampled ones.
    found = spread(scores, regular(40, 30), 30, 15, 16)
    assert found.tolist() == [*np.repeat(range(16), 2), *[15] * 8]


@pytest.mark.parametrize("rate", [None, 25.0])
def test_without_resampling_the_scores_come_back_as_they_are(rate: float | None) -> None:
    scores = np.random.default_rng(0).random((3, 16)).astype(np.float32)
    found = spread(scores, regular(40, 25), 25, rate, 16)
    assert np.array_equal(found, scores.ravel()[:40])


def test_a_source_frame_takes_thenearest_sampled_one_of_two_the_earlier() -> None:
    ramp = np.arange(32.0).reshape(2, 16)
    halved = spread(ramp, regular(64, 50), 50, 25, 16)
    assert halved.tolist() == np.repeat(range(32), 2).tolist()
    thirds = spread(ramp, regular(90, 30), 30, 10, 16)[:7]
    assert thirds.tolist() == [0, 0, 1, 1, 1, 2, 2]
    doubled = spread(ramp, regular(16, 25), 25, 50, 16)
    assert doubled.tolist() == list(range(0, 32, 2))
    milliseconds = np.round(regular(64, 30), 3)
    assert spread(ramp, milliseconds, 30, 15, 16).tolist() == halved.tolist()


@given(some_times(), FPS, RATES, st.integers(1, 50), st.sampled_from(["pad", "drop"]), st.floats(0, 1))
def test_a_constant_score_is_every_frame_s(
    times: np.ndarray, fps: float, rate: float | None, stride: int, tail: str, score: float
) -> None:
    clips = len(clip_starts(len(sample_indices(times, fps, rate)), stride, tail))  # type: ignore[arg-type]
    scores = np.full((clips, 16), score)
    if clips == 0:
        with pytest.raises(ValueError, match=r"shape \(0, 16\)"):
            spread(scores, times, fps, rate, stride)
        return
    found = spread(scores, times, fps, rate, stride)
    np.testing.assert_allclose(found, np.full(len(times), score))
    if tail == "pad":
        beyond = np.vstack([scores, np.ones((2, 16))])
        assert np.array_equal(spread(beyond, times, fps, rate, stride), found), "no frame is there"


def test_a_sampled_frame_has_the_label_of_the_frame_that_it_shows() -> None:
    labels = np.zeros(30, bool)
    labels[10:13] = True
    assert np.flatnonzero(sampled_labels(labels, regular(30, 30), 30, 15)).tolist() == [5, 6]
    assert np.flatnonzero(sampled_labels(labels, regular(30, 30), 30, 60)).tolist() == [*range(20, 26)]
    assert np.array_equal(sampled_labels(labels, regular(30, 30), 30, None), labels)


@pytest.mark.parametrize("rate", [None, 30.0, 15.0])
def test_clips_that_do_not_overlap_follow_each_other_in_time(rate: float | None) -> None:
    found = clip_times(regular(100, 30), 30, rate, 16, "pad")
    assert found.shape == (-(-100 * round(rate or 30) // 30 // 16), 2)
    assert found[0, 0] == 0
    np.testing.assert_allclose(found[1:, 0], found[:-1, 1])
    assert found[-1, 1] == pytest.approx(100 / 30)


def test_times_of_clips() -> None:
    times = np.array([*regular(18, 10), 5.0])
    assert clip_times(times, 10, None, 8, "drop").ravel().tolist() == pytest.approx([0, 1.6])
    assert clip_times(times, 10, None, 8, "pad").ravel().tolist() == pytest.approx([0, 1.6, 0.8, 5.1])
    # A picture a second, shown 10 times: the second clip begins within the second picture.
    assert clip_times(regular(3, 1), 1, 10, 16, "pad").ravel().tolist() == pytest.approx([0, 1.6, 1, 3])
    assert clip_times(regular(5, 1), 1, None, 16, "drop").shape == (0, 2)


@given(some_times(), FPS, RATES, st.integers(1, 50), st.sampled_from(["pad", "drop"]))
def test_a_clip_ends_within_the_video_and_not_before_it_begins(
    times: np.ndarray, fps: float, rate: float | None, stride: int, tail: str
) -> None:
    found = clip_times(times, fps, rate, stride, tail)  # type: ignore[arg-type]
    assert (found[:, 0] <= found[:, 1]).all()
    assert (found <= times[-1] + 1 / fps).all()


# On real files


def clip_numbers(path: Path, rate: float | None, stride: int) -> tuple[list[list[int]], VideoInfo]:
    reader = open_reader(path)
    frames = resample(reader, reader.info, rate)
    batches = clip_batches(frames, ClipSpec(("rgb",), batch_clips=3, stride=stride))
    return [[read_number(image) for image in clip] for batch in batches for clip in batch["rgb"]], reader.info


@pytest.mark.parametrize("rate", [None, 12.5, 25, 30])
@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_clips_of_a_file_show_the_frames_that_they_are_said_to(
    rate: float | None, variable: bool, suffix: str, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    pts = np.cumsum([0, *[40, 120, 10] * 13]).tolist() if variable else None
    path = make_video(tmp_path / f"video{suffix}", 40, pts=pts)
    numbers, info = clip_numbers(path, rate, 8)
    shown = sample_indices(np.array(info.times), info.fps, rate)
    index, _ = clip_frames(len(shown), 8, "pad")
    assert numbers == shown[index].tolist()
    if not variable and rate == 12.5:
        assert numbers == [[*range(0, 32, 2)], [*range(16, 40, 2), 38, 38, 38, 38]]
    if not variable and rate in (None, 25):
        assert numbers == [[*range(16)], [*range(8, 24)], [*range(16, 32)], [*range(24, 40)]]
    if variable and rate == 12.5:  # at 0, 80, 160, 240, ... ms; frames at 0, 40, 160, 170, 210, 330, 340 ms
        assert numbers[0][:5] == [0, 1, 2, 4, 4]


@pytest.mark.parametrize("seconds", [3600.0, 100_000.0, 3e9])
def test_a_last_frame_said_to_last_for_days_lasts_an_hour(seconds: float) -> None:
    info = VideoInfo(times=[0.0], fps=1 / seconds)
    sampled = sample_indices(np.array(info.times), info.fps, 10)
    assert len(sampled) == 36_000
    assert sum(1 for _ in resample(iter("a"), info, 10)) == 36_000
    line = Timeline(np.array([0.0]), 1 / seconds, 10.0)
    assert line.ends.tolist() == [3600.0]
    assert line.clip_times(2250)[-1].tolist() == [0.0, 3600.0]  # it began with the only frame
