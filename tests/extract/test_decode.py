"""What reading a video promises: every frame, in order, upright, or one line that says why not."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.reading import numbers, read, read_to_the_end
from helpers.videos import read_number

from lad.extract import read_pyav, readers, worker
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Clips, Finished, Job
from lad.extract.read_pyav import Picture
from lad.extract.readers import open_reader, read_frames
from lad.extract.sampling import resample

MakeVideo = Callable[..., Path]
QUIET_X265 = {"x265-params": "log-level=none"}

# name of the file -> how it is encoded
KINDS: dict[str, dict[str, object]] = {
    "h264.mp4": {},
    "h264.mov": {},
    "h264.mkv": {},
    "h264.flv": {},
    "h264.ts": {},
    "h264.m2ts": {},
    "raw.h264": {"format": "h264"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "wmv2.wmv": {"codec": "wmv2"},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "interlaced.mpg": {"codec": "mpeg2video", "codec_options": {"flags": "+ilme+ildct"}},
    "hevc.mp4": {"codec": "libx265", "codec_options": QUIET_X265},
    "hevc-10-bit.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le", "codec_options": QUIET_X265},
    "h264-10-bit.mp4": {"pix_fmt": "yuv420p10le"},
    "grey.mp4": {"pix_fmt": "gray"},
    "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "444.mp4": {"pix_fmt": "yuv444p"},
    "full-range.mp4": {"pix_fmt": "yuvj420p"},
    "odd.mp4": {"pix_fmt": "yuv444p", "size": (65, 49)},
    "odd.webm": {"codec": "libvpx-vp9", "size": (67, 51)},
    "tiny.mp4": {"size": (16, 16)},
    "narrow.mp4": {"size": (48, 64)},
    "b-frames.mp4": {"codec_options": {"bf": "3", "g": "12"}},
    "sound.mkv": {"audio": True},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "vp8-alt-ref.webm": {"codec": "libvpx", "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "vp9-alt-ref.webm": {"codec": "libvpx-vp9", "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_comes_once_in_order_with_its_size_and_time(
    name: str, tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / name, 40, **KINDS[name])
    frames, info = read(path)
    assert numbers(frames) == list(range(40))
    width, height = KINDS[name].get("size", (64, 48))  # type: ignore[misc]
    assert {frame.shape for frame in frames} == {(height, width, 3)}
    assert frames[0].dtype == np.uint8
    assert info.frames == 40
    assert info.size == (height, width)
    assert info.times == pytest.approx([number / 25 for number in range(40)], abs=0.002)
    assert info.fps == pytest.approx(25, rel=0.01)
    assert info.warnings == []


def test_frames_of_any_even_width_have_three_channels(tmp_path: Path, make_video: MakeVideo) -> None:
    """decord takes what pads a row of 72 pixels for a fourth one."""
    for width in range(64, 100, 2):
        frames, _ = read_to_the_end(make_video(tmp_path / f"{width}.mp4", 3, size=(width, 48)))
        assert [frame.shape for frame in frames] == [(48, width, 3)] * 3


@pytest.mark.parametrize("name", KINDS)
def test_both_readers_give_the_same_pixels(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / name, 20, **KINDS[name])
    first, info = read(path)
    second, other = read(path, choice="pyav")
    assert other.reader == "pyav"
    assert len(first) == len(second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert info.times == pytest.approx(other.times)


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_the_frames(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / name, 20, **KINDS[name])
    frames, info = read(path)
    lazy = open_reader(path, lazy=True)
    pictures = list(lazy)  # looked at when the file is long closed
    assert all(np.array_equal(a, b) for a, b in zip(frames, map(np.asarray, pictures), strict=True))
    assert lazy.info == info


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each frame that PyAV has converted to RGB."""
    counted: list[int] = []
    upright = read_pyav._upright
    monkeypatch.setattr(read_pyav, "_upright", lambda *frame: counted.append(1) or upright(*frame))
    return counted


@pytest.mark.parametrize("rate", [None, 12.5, 25, 40])
@pytest.mark.parametrize("rotation", [0, 90])
def test_pictures_are_converted_when_they_are_looked_at(
    rate: float | None, rotation: int, tmp_path: Path, make_video: MakeVideo, converted: list[int]
) -> None:
    path = make_video(tmp_path / "video.mp4", 40, size=(128, 96), rotation=rotation)
    reader = open_reader(path)
    expected = list(resample(read_frames(reader), reader.info, rate))
    converted.clear()
    lazy = open_reader(path, lazy=True)
    pictures = list(resample(lazy, lazy.info, rate))
    assert len(pictures) == len(expected)
    assert sum(converted) == 1  # the first one, which tells the size
    assert all(isinstance(picture, Picture) for picture in pictures)
    half = len(pictures) // 2
    assert all(np.array_equal(a, b) for a, b in zip(expected[half:], map(np.asarray, pictures[half:]), strict=True))
    assert sum(converted) == 1 + len({id(picture) for picture in pictures[half:]})


def test_a_job_that_goes_on_converts_no_frame_of_the_clips_that_it_skips(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, converted: list[int]
) -> None:
    path = make_video(tmp_path / "video.mp4", 160)
    sent: list[object] = []
    monkeypatch.setattr(worker, "send", lambda _pipe, message: sent.append(message))
    no_pipe: Any = None
    worker.run_job(no_pipe, Job("video", path, ClipSpec(("rgb",), batch_clips=2), skip_clips=8))
    assert [type(message) for message in sent] == [Clips, Finished]
    assert sum(converted) == 1 + 33  # the first frame, the last skipped one, and those of two clips


@pytest.mark.parametrize(
    ("how", "looked_at"),
    [({"fps": 12.5}, range(0, 100, 2)), ({"stride": 32}, [n for n in range(100) if n % 32 < 16])],
    ids=["fps", "stride"],
)
def test_where_half_of_the_frames_are_left_out_no_reader_converts_them(
    how: dict[str, Any],
    looked_at: Sequence[int],
    tmp_path: Path,
    make_video: MakeVideo,
    monkeypatch: pytest.MonkeyPatch,
    converted: list[int],
) -> None:
    path = make_video(tmp_path / "video.mp4", 100)
    sent: list[Any] = []
    monkeypatch.setattr(worker, "send", lambda _pipe, message: sent.append(message))
    no_pipe: Any = None
    worker.run_job(no_pipe, Job("video", path, ClipSpec(("rgb",), batch_clips=9, **how)))
    (clips, finished) = sent
    shown = [read_number(image) for clip in clips.batch["rgb"] for image in clip]
    assert shown == [*looked_at, *[looked_at[-1]] * (-len(looked_at) % 16)]
    assert sum(converted) == len(looked_at)
    assert finished.info.reader == "decord", "whose pixels they are"


def test_decord_is_the_first_reader_of_the_usual_files(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("h264.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm", "hevc.mp4"):
        assert read(make_video(tmp_path / name, 3, **KINDS[name]))[1].reader == "decord"


def test_decord_is_not_trusted_with_transport_streams(tmp_path: Path, make_video: MakeVideo) -> None:
    """It gives their frames in a wrong order and repeats some, without an error."""
    assert read(make_video(tmp_path / "a.ts", 20, codec="mpeg2video"))[1].reader == "pyav"


@pytest.mark.parametrize("count", [1, 2, 5, 15, 16, 17])
@pytest.mark.parametrize("suffix", ["mp4", "avi", "ts"])
def test_short_files_give_all_their_frames(count: int, suffix: str, tmp_path: Path, make_video: MakeVideo) -> None:
    frames, info = read(make_video(tmp_path / f"short.{suffix}", count, codec="mpeg4"))
    assert numbers(frames) == list(range(count))
    assert info.times == pytest.approx([number / 25 for number in range(count)], abs=0.002)
    assert info.fps > 0


def test_frame_numbers_are_in_display_order_with_b_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "b.mp4", 40, codec_options={"bf": "3", "g": "12"})
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps), "the encoder used no B-frames, so this test would show nothing"
    assert numbers(read(path)[0]) == list(range(40))


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("count", [1, 10])
def test_rotation_metadata_is_honoured(rotation: int, count: int, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "phone.mp4", count, size=(128, 96), rotation=rotation)
    with av.open(str(path)) as container:
        stored = container.streams.video[0].codec_context
        assert (stored.width, stored.height) == ((128, 96) if rotation == 180 else (96, 128))
    frames, info = read(path)
    assert numbers(frames) == list(range(count))
    assert info.size == frames[0].shape[:2] == (96, 128)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx-vp9")])
@pytest.mark.parametrize("choice", ["auto", "pyav"])
def test_variable_frame_rate_gives_true_times(
    suffix: str, codec: str, choice: str, tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / f"vfr.{suffix}", 5, codec=codec, pts=[0, 40, 200, 240, 1000])
    frames, info = read(path, choice=choice)
    assert numbers(frames) == list(range(5))
    assert info.times == pytest.approx([0, 0.04, 0.2, 0.24, 1.0], abs=0.002)
    assert info.fps == pytest.approx(4)


def test_a_change_of_size_in_midstream_loses_no_frame(tmp_path: Path, make_video: MakeVideo) -> None:
    wide = make_video(tmp_path / "1.ts", 10, size=(128, 96)).read_bytes()
    high = make_video(tmp_path / "2.ts", 10, size=(96, 128)).read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(wide + high)
    frames, info = read(both)
    assert numbers(frames) == [*range(10), *range(10)]
    assert info.size == (96, 128)
    assert frames[-1].shape == (128, 96, 3)


@pytest.mark.parametrize(
    "name",
    [
        "two words.mp4",
        'it\'s "quoted".mp4',
        "камера-日本.mp4",
        "12:30:00.mp4",
        "http:example.mp4",
        "%d.mp4",
        "frame%03d.mp4",
        "a,b;c|d#e?.mp4",
        "[x]*.mp4",
        "-y.mp4",
        "back\\slash.mp4",
    ],
)
@pytest.mark.parametrize("choice", ["auto", "pyav"])
def test_names_that_ffmpeg_could_misread(
    name: str, choice: str, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    make_video(tmp_path / "plain.mp4", 3).rename(path)
    frames, info = read(path, choice=choice)
    assert numbers(frames) == [0, 1, 2]
    assert info.reader == {"auto": "decord"}.get(choice, "pyav")
    monkeypatch.chdir(tmp_path)
    assert numbers(read(Path(name), choice=choice)[0]) == [0, 1, 2]


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, make_video: MakeVideo) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    make_video(tmp_path / "plain.mp4", 3).rename(path)
    assert numbers(read(path)[0]) == [0, 1, 2]


def test_a_frame_is_freed_once_it_was_taken(make_video: MakeVideo, tmp_path: Path) -> None:
    """Not when the garbage collector runs: FFmpeg reuses a frame's memory, and shows it where it decodes nothing."""
    path = make_video(tmp_path / "clip.mp4", 20)
    gc.collect()
    gc.disable()
    try:
        frames = read_frames(open_reader(path, choice="pyav"))
        held = [sum(type(one) is av.VideoFrame for one in gc.get_objects()) for _ in frames]
    finally:
        gc.enable()
    assert max(held) < 6


def test_what_decord_could_fill_the_memory_with_is_read_in_its_place(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decodes ahead, and nothing holds it back: on a busy machine 11,000 frames of a film were waiting, 6.5 GB."""
    path = make_video(tmp_path / "film.mp4", 60, size=(128, 96))
    frames, info = read(path)
    monkeypatch.setattr(readers, "MOST_AHEAD_BYTES", 60 * 128 * 96 * 3)
    monkeypatch.setattr(readers, "read_decord", lambda *_: pytest.fail("it holds more than it may"))
    same, other = read(path)
    assert all(np.array_equal(one, another) for one, another in zip(frames, same, strict=True))
    assert other == info and info.reader == "decord"
