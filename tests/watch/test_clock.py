"""When a camera's frames were taken."""

from __future__ import annotations

import numpy as np
import pytest

from lad.watch.clock import PacketClock, Rising, WallClock


class Clock:
    def __init__(self, wall: float = 1000.0) -> None:
        self.wall, self.monotonic = wall, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def made(self) -> WallClock:
        return WallClock(lambda: self.wall, lambda: self.monotonic)


def test_times_are_the_wall_clocks() -> None:
    clock = Clock()
    wall = clock.made()
    wall.begin()
    clock.pass_by(5)
    assert wall.now() == 1005


def test_a_clock_that_is_set_back_moves_no_time_back() -> None:
    clock = Clock()
    wall = clock.made()
    wall.begin()
    clock.pass_by(5)
    before = wall.now()
    clock.wall -= 3600
    clock.pass_by(1)
    assert wall.now() == before + 1
    clock.pass_by(8)
    wall.begin()  # the next connection, after a while without one
    assert wall.now() == before + 9


def test_what_an_earlier_process_told_is_not_gone_back_behind() -> None:
    clock = Clock()
    wall = WallClock(lambda: clock.wall, lambda: clock.monotonic, latest=4600.0)
    assert wall.now() == 4600
    clock.pass_by(1)
    assert wall.now() == 4601


def test_a_clock_that_is_set_forward_is_followed() -> None:
    clock = Clock()
    wall = clock.made()
    wall.begin()
    clock.wall += 0.5
    assert wall.now() == 1000  # corrected in small steps, it is no other clock
    clock.wall += 3600
    assert wall.now() == 4600.5
    clock.pass_by(1)
    assert wall.now() == 4601.5


def test_packets_that_come_in_bursts_have_even_times() -> None:
    clock, stamps = PacketClock(), np.arange(100) / 25
    arrivals = 1000 + np.ceil(stamps / 0.6) * 0.6  # fifteen at a time
    times = np.array([clock.read(stamp, arrival) for stamp, arrival in zip(stamps, arrivals, strict=True)])
    assert np.diff(times[20:]) == pytest.approx(0.04)
    assert (times <= arrivals + 1e-9).all()


def test_a_camera_whose_clock_drifts_is_followed() -> None:
    clock, arrivals = PacketClock(), 1000 + np.arange(25 * 600) / 25
    stamps = (arrivals - 1000) * 0.999  # 0.6 s in ten minutes
    times = np.array([clock.read(stamp, arrival) for stamp, arrival in zip(stamps, arrivals, strict=True)])
    assert np.abs(times - arrivals).max() < 0.1


def test_what_a_new_connection_sends_at_once_was_filmed_before() -> None:
    clock = PacketClock()
    for stamp in np.arange(50) / 25:
        clock.learn(stamp, 1000.0)
    assert [clock.read(stamp, 1000.0) for stamp in (0.0, 1.0, 1.96)] == pytest.approx([998.04, 999.04, 1000.0])


def test_a_camera_whose_clock_jumps_is_believed_from_there_on() -> None:
    clock = PacketClock()
    assert clock.read(5.0, 1000) == 1000
    assert clock.read(90000.0, 1000.04) == pytest.approx(1000.04)
    assert clock.read(1.0, 1000.08) == pytest.approx(1000.08)


def test_without_stamps_to_believe_the_arrival_counts() -> None:
    assert PacketClock().read(None, 1000) == 1000
    assert PacketClock(believes=False).read(7.0, 1000) == 1000


def test_frames_times_rise() -> None:
    rising = Rising()
    assert [rising(time) for time in (1.0, 1.0, 0.5, 2.0)] == pytest.approx([1.0, 1.001, 1.002, 2.0])
