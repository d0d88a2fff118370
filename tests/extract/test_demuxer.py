"""What FFmpeg and OpenCV only print: it becomes a warning of the video, never a loss without a word, never noise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers.reading import read_to_the_end
from helpers.videos import grainy_frames, write_video

from lad.extract.video import Limits, VideoError

pytestmark = pytest.mark.slow

SIZE = (160, 120)
FRAMES = 120
QUIET_X265 = {"x265-params": "log-level=none"}


def punch(path: Path, place: float) -> None:
    """Zeros for 0.5 % of a file, as a disk leaves them that lost a block."""
    data = bytearray(path.read_bytes())
    start, length = int(len(data) * place), len(data) // 200
    data[start : start + length] = bytes(length)
    path.write_bytes(data)


# Containers


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("vp8.webm", {"codec": "libvpx"}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("vp9.mkv", {"codec": "libvpx-vp9"}),
        ("hevc.mkv", {"codec": "libx265", "codec_options": QUIET_X265}),
        ("wmv2.wmv", {"codec": "wmv2"}),
        ("vp8.ogv", {"codec": "libvpx", "format": "ogg"}),
        ("mpeg2.ts", {"codec": "mpeg2video"}),
    ],
)
def test_a_hole_in_a_file_is_reported(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """The demuxer goes on behind it, and only its log says that frames are gone."""
    path = write_video(tmp_path / name, grainy_frames(FRAMES, SIZE), size=SIZE, **how)
    frames, info = read_to_the_end(path)
    assert (len(frames), info.warnings) == (FRAMES, [])
    whole = path.read_bytes()
    lost = 0
    for place in (0.3, 0.5, 0.7):
        path.write_bytes(whole)
        punch(path, place)
        frames, info = read_to_the_end(path)
        assert frames
        lost += FRAMES - len(frames)
        if len(frames) < FRAMES:
            assert info.warnings
            assert all("\n" not in warning for warning in info.warnings)
    assert lost, "no hole cost a frame, so this test shows nothing"


def test_the_warning_counts_the_places_and_is_not_passed_on_to_the_next_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.webm", grainy_frames(FRAMES, SIZE), size=SIZE, codec="libvpx-vp9")
    whole = path.read_bytes()
    punch(path, 0.5)
    for _ in range(2):  # PyAV leaves a line out that repeats the one before
        info = read_to_the_end(path)[1]
        assert info.reader == "pyav"
        assert info.warnings == ["the container is damaged in 1 places: frames may be missing or wrong there"]
    path.write_bytes(whole)
    assert read_to_the_end(path)[1].warnings == []


def test_a_hole_that_a_decoder_conceals_is_reported(tmp_path: Path) -> None:
    grainy = grainy_frames(FRAMES, SIZE)
    path = write_video(tmp_path / "video.avi", grainy, size=SIZE, codec="mjpeg", pix_fmt="yuvj420p")
    punch(path, 0.1)
    frames, info = read_to_the_end(path)
    assert len(frames) == FRAMES
    assert info.warnings == ["1 damaged packets or frames"]


def test_damage_to_the_sound_alone_is_no_damage_to_the_video(tmp_path: Path) -> None:
    """FFmpeg decodes some of it when it opens the file, and logs what it finds."""
    path = write_video(tmp_path / "video.mkv", 30, audio=True)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        sounds = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert sounds
    for sound in sounds:
        start = data.index(sound)
        data[start : start + len(sound)] = b"\xff" * len(sound)
    path.write_bytes(data)
    frames, info = read_to_the_end(path)
    assert (len(frames), info.warnings) == (30, [])


def test_real_videos_give_no_warning(shared_data: Path) -> None:
    videos = sorted((shared_data / "surveillance" / "videos").rglob("*.mp4"))[::6]
    assert len(videos) > 20
    for video in videos:
        assert read_to_the_end(video, choice="pyav")[1].warnings == [], video
    folder = next((shared_data / "ucsd_ped2").rglob("*.jpg")).parent
    assert read_to_the_end(folder)[1].warnings == []


# Sizes


def resized_video(path: Path, said: tuple[int, int], size: tuple[int, int], garbage: int) -> Path:
    """H.264 of two black frames of `size`, behind packets of garbage, in a container that says `said`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = said, "yuv420p"
        encoder = av.CodecContext.create("libx264", "w")
        (encoder.width, encoder.height), encoder.pix_fmt = size, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "threads=1"}
        frame = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), format="rgb24")
        packets = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(frame), *encoder.encode(None))]
        for number, data in enumerate([b"\0\0\0\1\x65\xff\xff"] * garbage + packets):
            copy = av.Packet(data)
            copy.stream, copy.is_keyframe, copy.time_base = stream, True, Fraction(1, 25)
            copy.pts = copy.dts = number
            container.mux(copy)
    return path


@pytest.mark.parametrize("garbage", [0, 300])  # FFmpeg looks 5 seconds ahead when it opens a file
def test_frames_that_are_all_too_large_are_beyond_the_limit(garbage: int, tmp_path: Path) -> None:
    """What the container says of them is small."""
    path = resized_video(tmp_path / "grows.mp4", (128, 96), (1600, 1200), garbage)
    assert {frame.shape for frame in read_to_the_end(path)[0]} == {(1200, 1600, 3)}
    with pytest.raises(VideoError) as caught:
        read_to_the_end(path, limits=Limits(max_pixels=100_000))
    assert caught.value.kind == "limit"
    assert str(caught.value) == "frames of 1600x1200: beyond the limit of 100000 pixels (extract.max_pixels)"


# Images

READ_FOLDER = """
import sys
from pathlib import Path
from lad.extract.process_setup import prepare
from lad.extract.readers import open_reader
prepare()
reader = open_reader(Path(sys.argv[1]))
print(sum(1 for _ in reader), reader.info.warnings)
print("still there", file=sys.stderr)
"""

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "hole": lambda data: data[: len(data) // 2] + bytes(len(data) // 20) + data[len(data) // 2 + len(data) // 20 :],
    "flipped": lambda data: bytes(value ^ 0x55 if place % 997 == 300 else value for place, value in enumerate(data)),
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_corrupt_images_print_nothing_of_their_own(suffix: str, tmp_path: Path) -> None:
    grain = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    data = cv2.imencode(suffix, grain)[1].tobytes()
    (tmp_path / f"0{suffix}").write_bytes(data)
    for number, damage in enumerate(DAMAGES.values(), 1):
        (tmp_path / f"{number}{suffix}").write_bytes(damage(data))
    call = [sys.executable, "-c", READ_FOLDER, str(tmp_path)]
    result = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.startswith("4 ")
    assert result.stderr == "still there\n"
    closed = subprocess.run(["bash", "-c", 'exec "$@" 2>&-', "-", *call], capture_output=True, text=True, timeout=60)
    assert closed.stdout.startswith("4 ")


def test_a_jpeg_that_opencv_gives_in_part_is_reported(tmp_path: Path) -> None:
    """libjpeg printed that before, and nothing else said it."""
    grain = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", grain)[1].tobytes()
    (tmp_path / "0.jpg").write_bytes(data)
    (tmp_path / "1.jpg").write_bytes(DAMAGES["hole"](data))
    frames, info = read_to_the_end(tmp_path)
    assert len(frames) == 2
    assert info.warnings == ["1 images are damaged: 1.jpg"]
