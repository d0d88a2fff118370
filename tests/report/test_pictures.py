"""Thumbnails and clips: the right frames, upright, in shape, each at its own time."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from helpers.videos import frame_folder, grainy_frames, read_number, write_video

from lad.extract.recorded import recorded_at
from lad.report.frames import frames_of, is_played
from lad.report.pictures import Wanted, make_pictures


def clip_frames(path: Path) -> list[tuple[float, int]]:
    """Seconds and number of each frame of a clip, as a player sees them."""
    with av.open(str(path)) as container:
        return [
            (round(frame.time, 4), read_number(frame.to_ndarray(format="rgb24"))) for frame in container.decode(video=0)
        ]


def test_a_clip_shows_its_frames_at_their_own_times(tmp_path: Path) -> None:
    pts = [0, 40, 80, 400, 440, 900, 940, 1000, 1500, 1600]
    video = write_video(tmp_path / "a.mkv", 10, size=(320, 240), pts=pts)
    times = np.array(pts) / 1000
    make_pictures(video, Wanted({4: tmp_path / "4.jpg"}, {(2, 9): tmp_path / "clip.mp4"}), times, 25.0)
    shown = clip_frames(tmp_path / "clip.mp4")
    assert [number for _, number in shown] == list(range(2, 9))
    assert [time for time, _ in shown] == pytest.approx(times[2:9] - times[2], abs=1e-4)
    assert read_number(cv2.imread(str(tmp_path / "4.jpg"))[..., ::-1]) == 4
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, rotation: int) -> None:
    video = write_video(tmp_path / "a.mp4", 12, size=(128, 96), rotation=rotation)
    make_pictures(video, Wanted({7: tmp_path / "7.jpg"}, {(3, 10): tmp_path / "clip.mp4"}), np.arange(12) / 25, 25.0)
    assert [number for _, number in clip_frames(tmp_path / "clip.mp4")] == list(range(3, 10))
    image = cv2.imread(str(tmp_path / "7.jpg"))[..., ::-1]
    assert (read_number(image), image.shape) == (7, (180, 240, 3))


def test_a_folder_of_images_becomes_a_clip(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "f", [f"{number}.png" for number in range(9)], size=(71, 53))
    make_pictures(folder, Wanted({}, {(0, 9): tmp_path / "clip.mp4"}), np.arange(9) / 10, 10.0)
    assert clip_frames(tmp_path / "clip.mp4") == [(number / 10, number) for number in range(9)]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_frames_far_into_a_video_are_those_that_reading_all_of_it_gives(tmp_path: Path, suffix: str) -> None:
    options = {"g": "50", "bf": "2"}
    video = write_video(tmp_path / f"a{suffix}", grainy_frames(400, (64, 48)), codec_options=options)
    wanted = [(150, 153), (180, 181), (380, 385)]
    found = [(number, read_number(image)) for number, image, _ in frames_of(video, wanted, frames=400, folder_fps=25)]
    assert found == [(number, number % 256) for start, end in wanted for number in range(start, end)]


def test_what_browsers_play_is_told_by_what_is_in_a_file(tmp_path: Path) -> None:
    assert is_played(write_video(tmp_path / "a.mp4", 5))
    assert is_played(write_video(tmp_path / "a.webm", 5, codec="libvpx-vp9"))
    assert not is_played(write_video(tmp_path / "b.mp4", 5, pix_fmt="yuv444p"))
    assert not is_played(write_video(tmp_path / "c.mp4", 5, codec="mpeg4"))
    assert not is_played(write_video(tmp_path / "a.avi", 5))
    assert not is_played(write_video(tmp_path / "late.mp4", 3, pts=[500, 540, 580]))
    assert not is_played(frame_folder(tmp_path / "f", ["0.png"]))


def test_the_clock_of_a_file_is_told_where_it_was_set(tmp_path: Path) -> None:
    def written(name: str, when: str) -> Path:
        path = write_video(tmp_path / "plain.mp4", 3)
        with av.open(str(path)) as plain, av.open(str(tmp_path / name), "w") as container:
            container.metadata["creation_time"] = when
            stream = container.add_stream_from_template(plain.streams.video[0])
            for packet in plain.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
        return tmp_path / name

    assert recorded_at(written("a.mp4", "2024-05-01T12:30:00Z")) == "2024-05-01T12:30:00.000+00:00"
    assert recorded_at(written("b.mp4", "1970-01-01T00:00:00Z")) is None
    assert recorded_at(write_video(tmp_path / "c.avi", 3)) is None
