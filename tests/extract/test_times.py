"""When each frame is on display, whatever time stamps a file has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.cases import case_numbers
from helpers.reading import numbers, read, read_to_the_end
from helpers.recorders import without_stamps
from helpers.videos import numbered_frame, write_video
from hypothesis import given
from hypothesis import strategies as st

from lad.extract.sampling import resample
from lad.extract.times import DEFAULT_FPS, Clock, Schedule, Stamps, average_fps, schedule
from lad.extract.video import VideoInfo

NONE = float("nan")


def planned(
    shown: Sequence[float | None],
    fps: float = 10.0,
    decoded: Sequence[float | None] | None = None,
    keys: Sequence[int] = (0,),
    delay: int = 0,
) -> Schedule:
    """The schedule of packets with these stamps, in the order of the file."""
    stamps = np.array([NONE if stamp is None else stamp for stamp in shown])
    order = stamps if decoded is None else np.array([NONE if stamp is None else stamp for stamp in decoded])
    marks = np.isin(np.arange(len(stamps)), keys)
    return schedule(Stamps(stamps, order, marks, fps, delay))


def times(shown: Sequence[float | None], fps: float = 10.0, **more: Any) -> list[float]:
    """The times of frames that come one from each packet, in the order in which they are shown."""
    plan = planned(shown, fps, **more)
    order = range(len(shown)) if plan.place is None else np.argsort(plan.place).tolist()
    clock = Clock(plan)
    return [clock.read(packet, len(shown)) for packet in order]


def test_times_are_seconds_since_the_first_frame_wherever_its_stamp_begins() -> None:
    assert times([0.0, 0.04, 0.2]) == [0.0, 0.04, 0.2]
    assert times([1000.0, 1000.5, 1002.0]) == [0.0, 0.5, 2.0]
    assert times([-0.5, 0.0, 0.25]) == [0.0, 0.5, 0.75]


def test_frames_are_shown_in_the_order_of_their_stamps() -> None:
    plan = planned([0.0, 0.12, 0.04, 0.08], decoded=[-0.04, 0.0, 0.04, 0.08], delay=1)
    assert plan.slots.tolist() == [0.0, 0.04, 0.08, 0.12]
    assert plan.place is not None
    assert plan.place.tolist() == [0, 3, 1, 2]
    assert plan.exact
    assert not plan.faults


def test_a_frame_without_a_stamp_comes_between_its_neighbours() -> None:
    assert times([5.0, None, None, 6.0]) == pytest.approx([0.0, 0.1, 0.2, 1.0])
    assert times([5.0, None, None, 5.15]) == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert times([None, None, 7.0, 7.05, 7.5]) == pytest.approx([0.0, 0.1, 0.2, 0.25, 0.7])
    assert times([0.0, 0.1, None, None]) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert "2 of 4 frames have no time stamp" in planned([0.0, 0.1, None, None]).faults[0]


@pytest.mark.parametrize("shown", [[None] * 4, [3.0] * 4, [0.0, None, 0.0, 0.0], [0.0, 1e-5, 2e-5, 3e-5]])
def test_without_stamps_that_can_be_believed_times_are_those_of_the_stated_rate(shown: list[float | None]) -> None:
    assert times(shown, fps=10) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    (fault,) = planned(shown, fps=10).faults
    assert "taken for 10 frames a second, as it states" in fault


@pytest.mark.parametrize("stated", [0.0, 90000.0])
def test_a_video_that_says_nothing_of_time_has_the_default_rate(stated: float) -> None:
    found = times([None] * 4, fps=stated)
    assert found == pytest.approx([number / DEFAULT_FPS for number in range(4)])
    assert "states no rate that can be believed" in planned([None] * 4, fps=stated).faults[0]
    assert average_fps(found, 0) == pytest.approx(DEFAULT_FPS)
    assert average_fps([], stated) == average_fps([0.0], stated) == average_fps([0.0, 0.0], stated) == DEFAULT_FPS


@pytest.mark.parametrize("clip", [2, 3, 10, 50])
@pytest.mark.parametrize("times_over", [2, 5])
def test_time_goes_on_where_the_clock_starts_again(clip: int, times_over: int) -> None:
    stamps = [5 + number / 25 for number in range(clip)] * times_over
    assert times(stamps) == pytest.approx([number / 25 for number in range(clip * times_over)])
    assert planned(stamps).faults == [
        f"its clock starts again or jumps back {times_over - 1} times: times go on where it does"
    ]


def test_time_goes_on_where_a_reordering_codecs_clock_starts_again() -> None:
    """With or without stamps for decoding, as Matroska has it."""
    shown = [0.0, 0.12, 0.04, 0.08, 0.16] * 2
    expected = [number / 25 for number in range(10)]
    decoded = [-0.04, 0.0, 0.04, 0.08, 0.12] * 2
    assert times(shown, decoded=decoded, keys=(0, 5), delay=1) == pytest.approx(expected)
    assert times(shown, decoded=[None] * 10, keys=(0, 5), delay=1) == pytest.approx(expected)


def test_a_clock_that_wraps_or_is_set_back_in_the_middle_goes_on() -> None:
    wrapped = [(2**33 - 7200 + number * 3600) % 2**33 / 90000 for number in range(6)]
    assert times(wrapped) == pytest.approx([number / 25 for number in range(6)])
    assert times([100.0, 100.5, 101.0, 98.0, 98.5, 99.0]) == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])


def test_a_clock_that_is_set_to_the_date_in_midstream_goes_on() -> None:
    stamps = [0.0, 0.04, 0.08, 1.7e9, 1.7e9 + 0.04]
    assert times(stamps) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16], abs=1e-6)
    assert "leaps by more than a day 1 times" in planned(stamps).faults[0]


@pytest.mark.parametrize("stray", [-500.0, 500.0, 0.0])
def test_one_stray_stamp_moves_no_other_frame(stray: float) -> None:
    stamps = [1 + number / 25 for number in range(20)]
    stamps[9] = stray
    assert times(stamps) == pytest.approx([number / 25 for number in range(20)])


def test_equal_stamps_are_spread_until_the_next() -> None:
    assert times([0.0, 0.1, 0.2, 0.2, 0.2, 0.3]) == pytest.approx([0.0, 0.1, 0.2, 0.2333333, 0.2666667, 0.3])
    assert times([0.0, 0.1, 0.2, 0.2, 0.2]) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_long_pause_stays_where_it_is() -> None:
    stamps = [0.0, 0.04, 0.08, 600.0, 600.04]
    assert times(stamps) == stamps
    assert not planned(stamps).faults


def test_a_frame_that_vanishes_moves_none_after_it() -> None:
    plan = planned([0.0, 0.12, 0.04, 0.08, 0.16, 0.2], decoded=[-0.04, 0.0, 0.04, 0.08, 0.12, 0.16], delay=1)
    clock = Clock(plan)
    assert [clock.read(packet, 6) for packet in (0, 3, 1, 5)] == pytest.approx([0.0, 0.08, 0.12, 0.2])


def test_where_only_the_order_of_decoding_is_known_vanished_frames_are_made_up_for_but_the_reordering() -> None:
    plan = planned([number / 25 for number in range(10)], delay=2)
    assert plan.place is None
    clock = Clock(plan)
    found = [clock.read(packet, 10) for packet in (0, 2, 1, 8, 9)]  # those between are lost
    assert found == pytest.approx([0.0, 0.04, 0.08, 0.24, 0.28])


def test_frames_beyond_the_packets_that_were_seen_go_on() -> None:
    clock = Clock(planned([0.0, 0.1]))
    assert [clock.read(packet, 2) for packet in (0, 1, None, 3)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


@given(
    st.lists(st.none() | st.integers(-(2**33), 2**33), min_size=1, max_size=30),
    st.lists(st.none() | st.integers(0, 2**20), min_size=30, max_size=30),
    st.sets(st.integers(0, 29)),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.5, 10.0, 1000.0, 1e9]),
)
def test_time_begins_at_zero_and_always_rises_whatever_the_stamps(
    shown: list[int | None], decoded: list[int | None], keys: set[int], delay: int, fps: float
) -> None:
    stamps = [None if stamp is None else stamp / 90000 for stamp in shown]
    order = [None if stamp is None else stamp / 90000 for stamp in decoded[: len(shown)]]
    for second in (order, None):
        found = times(stamps, fps, decoded=second, keys=sorted(keys), delay=delay)
        assert found[0] == 0
        assert all(earlier < later for earlier, later in pairwise(found))
        rate = average_fps(found, fps)
        assert 0 < rate < float("inf")


def test_the_rate_of_the_container_is_kept_where_the_times_are_about_that() -> None:
    assert average_fps([0.0, 0.033, 0.067, 0.1], 30000 / 1001) == 30000 / 1001
    assert average_fps([0.0, 0.5, 1.0], 25) == pytest.approx(2)
    assert average_fps([0.0, 0.5, 1.0], 0) == pytest.approx(2)
    assert average_fps([0.0], 12.5) == average_fps([0.0, 0.0], 12.5) == 12.5


def test_a_rate_that_no_camera_has_is_not_believed_over_the_times() -> None:
    assert average_fps([number / 25 for number in range(50)], 600) == pytest.approx(25)
    assert average_fps([0.0], 90000) == DEFAULT_FPS
    assert times([0.0, 0.04, 0.08, 0.0, 0.04], fps=600) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


def test_a_pause_does_not_change_how_long_frames_last() -> None:
    paused = [number / 25 for number in range(100)] + [600 + number / 25 for number in range(100)]
    assert average_fps(paused, 25) == 25
    assert average_fps(paused, 0.33) == pytest.approx(25)


# Files ----------------------------------------------------------------------------------------------------------------


def write_pictures(path: Path, shown: Sequence[int], rate: int = 25, **options: str) -> Path:
    """Numbered frames, each shown at its number in units of a frame's duration."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for place in shown:
            frame = av.VideoFrame.from_ndarray(numbered_frame(place, (128, 96)), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sampled(path: Path, rate: float, **options: Any) -> list[int]:
    """The number of the picture at every `1 / rate` seconds."""
    from lad.extract.readers import open_reader

    reader = open_reader(path, **options)
    return numbers(np.asarray(frame) for frame in resample(iter(reader), reader.info, rate))


def rising(info: VideoInfo) -> bool:
    return all(earlier < later for earlier, later in pairwise(info.times))


@pytest.mark.parametrize("rate", [10, 15, 30, 60])
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("raw.h264", {"format": "h264"}),
        ("raw.hevc", {"format": "hevc", "codec": "libx265", "codec_options": {"x265-params": "log-level=none"}}),
        ("raw.m4v", {"format": "m4v", "codec": "mpeg4"}),
        ("raw.m2v", {"format": "mpeg2video", "codec": "mpeg2video"}),
    ],
)
def test_a_raw_stream_has_the_rate_of_its_headers(name: str, how: dict[str, Any], rate: int, tmp_path: Path) -> None:
    if name == "raw.m2v" and rate not in (30, 60):
        pytest.skip("MPEG-2 knows a few rates only")
    _, info = read(write_video(tmp_path / name, 10, fps=rate, **how))
    assert info.times == pytest.approx([number / rate for number in range(10)], abs=1e-6)
    assert info.fps == rate
    assert info.warnings == []


@pytest.mark.parametrize("interlaced", ["0", "1"])
def test_an_avi_with_b_frames_has_rising_times(interlaced: str, tmp_path: Path) -> None:
    how = {"bf": "3", "b_strategy": "0", "x264-params": f"interlaced={interlaced}"}
    path = write_pictures(tmp_path / "a.avi", range(60), **how)
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(60))
    assert info.times == pytest.approx([number / 25 for number in range(60)])
    assert sampled(path, 25, choice="pyav") == list(range(60))


@pytest.mark.parametrize("b_frames", ["0", "3"])
@pytest.mark.parametrize("choice", ["auto", "pyav"])
def test_an_empty_frame_of_an_avi_shows_the_one_before_for_longer(choice: str, b_frames: str, tmp_path: Path) -> None:
    shown = [*range(20), *range(60, 100)]
    path = write_pictures(tmp_path / "a.avi", shown, bf=b_frames, b_strategy="0")
    frames, info = read(path, choice=choice)
    assert numbers(frames) == shown
    assert info.times == pytest.approx([number / 25 for number in shown])
    assert info.fps == 25
    assert info.warnings == []


def test_a_recording_put_behind_another_goes_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 100, codec_options={"bf": "2", "g": "50"})
    path.write_bytes(path.read_bytes() * 2)
    frames, info = read_to_the_end(path)
    assert numbers(frames) == [*range(100), *range(100)]
    assert info.times == pytest.approx([number / 25 for number in range(200)])
    assert any("starts again" in warning for warning in info.warnings)
    assert sampled(path, 25) == [*range(100), *range(100)]


def test_stamps_that_are_all_zero_give_way_to_the_stated_rate(tmp_path: Path) -> None:
    path = without_stamps(write_video(tmp_path / "a.flv", 40, fps=10, codec="flv1"))
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(40))
    assert info.times == pytest.approx([number / 10 for number in range(40)])
    assert "its time stamps are all the same" in info.warnings[0]
    assert sampled(path, 10) == list(range(40))


def test_ten_minutes_without_a_frame_do_not_lengthen_the_last(tmp_path: Path) -> None:
    stamps = [number * 40 + (600_000 if number >= 50 else 0) for number in range(100)]
    _, info = read(write_video(tmp_path / "a.mkv", 100, pts=stamps))
    assert info.times == pytest.approx([stamp / 1000 for stamp in stamps])
    assert 1 / info.fps == pytest.approx(0.04, rel=0.01)


@pytest.mark.parametrize(("name", "slack"), [("a.mp4", 0), ("a.avi", 3)])
def test_damaged_frames_that_vanish_leave_the_others_at_their_times(name: str, slack: int, tmp_path: Path) -> None:
    path = write_pictures(tmp_path / name, range(100), bf="2", g="25")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in packets[10:20]:
        place = data.index(packet)
        data[place : place + len(packet)] = b"\xff" * len(packet)
    path.write_bytes(data)
    frames, info = read_to_the_end(path)
    assert 60 < len(frames) < 100
    assert rising(info)
    whole = [(number, time) for number, time in zip(numbers(frames), info.times, strict=True) if number >= 25]
    assert len(whole) > 70
    assert all(abs(number / 25 - time) <= slack / 25 + 1e-6 for number, time in whole)


def test_a_stream_that_begins_in_the_middle_says_how_much_was_of_no_use(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 60, codec_options={"g": "20", "keyint_min": "20", "sc_threshold": "0"})
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x47\x41\x00")] + data[starts[8] :])
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(20, 60))
    assert info.times == pytest.approx([number / 25 for number in range(40)])
    assert any("12 packets before the first frame are of no use" in warning for warning in info.warnings)


# The odd files that people met ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["auto", "pyav"])
@pytest.mark.parametrize(
    ("name", "shown", "rate"),
    [
        ("bframes_interlaced.avi", list(range(100)), 25),
        ("null_frames.avi", [*range(20), *range(60, 100)], 25),
        ("rate15.h264", list(range(100)), 15),
        ("raw.264", list(range(100)), 25),
        ("recorder.dav", list(range(100)), 25),
        ("plain.mp4", list(range(100)), 25),
    ],
)
def test_odd_files_have_the_times_of_their_frames(
    name: str, shown: list[int], rate: int, choice: str, shared_cases: Path
) -> None:
    frames, info = read(shared_cases / name, choice=choice)
    assert case_numbers(frames) == shown
    assert info.times == pytest.approx([number / rate for number in shown], abs=1e-6)
    assert info.fps == rate
    assert info.warnings == []


def test_the_odd_file_whose_clock_starts_again_goes_on(shared_cases: Path) -> None:
    frames, info = read_to_the_end(shared_cases / "clock_restarts.ts")
    assert case_numbers(frames) == [*range(300), *range(300)]
    assert info.times == pytest.approx([number / 25 for number in range(600)])
    assert info.times[-1] + 1 / info.fps == pytest.approx(24)


def test_a_file_without_time_stamps_has_the_times_of_its_rate(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "raw.h264", 10, fps=25, format="h264")
    with av.open(str(path)) as container:
        assert any(frame.pts is None for frame in container.decode(video=0)), "it has them, so this shows nothing"
    _, info = read(path)
    assert info.times == pytest.approx([number / 25 for number in range(10)], abs=0.002)
