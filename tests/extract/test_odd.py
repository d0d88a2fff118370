"""Odd but right: for every odd video that people have, what the right answer is.

Item: where it is stated (`decode` is test_decode.py, `damaged` test_damaged.py and so on; no name: here;
`scored`: test_scores_are_as_long_as_the_video and the tests after it, on a folder of all of them at once).

- variable frame rate: decode::test_variable_frame_rate_gives_true_times, test_sampling.py; its scores: `scored`
- rotated phone video: decode::test_rotation_metadata_is_honoured; mirrored: test_a_mirrored_video_is_upright;
  photographs: test_a_photograph_is_turned_as_its_camera_says; its scores: `scored`
- 10-bit, grayscale, HEVC, VP9, odd sizes, 16x16: decode::test_every_frame_comes_once_in_order_with_its_size_and_time
  and test_both_readers_give_the_same_pixels (`KINDS`); more containers of theirs: MORE_KINDS; scores: `scored`
- MJPEG: KINDS (in AVI), MORE_KINDS (alone, in MOV, MP4, MKV, odd size)
- AV1: test_av1_is_read_by_pyav
- interlaced: KINDS (MPEG-2); test_interlaced_video_gives_frames_not_fields
- 8K: test_8k_is_read_in_bounded_memory
- 1, 2, 15, 16, 17 frames: decode::test_short_files_give_all_their_frames, test_clips.py; scores and clips: `scored`
- no audio: every video of KINDS but `sound.mkv`; only audio: damaged::test_a_file_with_only_sound_says_so,
  cli::test_a_folder_with_broken_files_is_scored_as_far_as_it_goes; with a cover picture:
  test_a_cover_picture_is_no_video; audio longer than the picture: `scored`
- mkv without cues: test_a_matroska_file_without_cues_is_read_whole
- names with spaces, quotes, unicode: decode::test_names_that_ffmpeg_could_misread,
  decode::test_a_name_that_is_not_utf8_is_read; through the commands: `scored`
- 255 characters: test_the_longest_names_are_scored_under_shorter_ones, test_an_id_too_long_for_a_file_is_refused
- same name in two folders, same stem with two suffixes:
  dataset::test_colliding_ids_keep_their_suffix_and_others_do_not,
  dataset::test_videos_outside_the_root_get_a_hash_of_their_path; scores: `scored`
- symlinks: test_links_to_videos_are_videos_of_their_own, test_links_that_lead_back_are_not_followed_for_ever,
  test_links_that_lead_nowhere_fail_alone
- frame folders: numeric order, one corrupt image, mixed sizes, one image, suffixes:
  frame_folders::test_a_frame_folder_is_read_in_numeric_order ff.; gaps:
  test_gaps_between_numbered_images_are_not_filled;
  test_a_picture_above_folders_of_videos_hides_none_of_them; scores: `scored`
- a change of size in midstream: decode::test_a_change_of_size_in_midstream_loses_no_frame (transport stream);
  other containers: test_a_change_of_size_in_midstream_keeps_every_frame_as_it_is
"""

from __future__ import annotations

import csv
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from helpers.places import TESTS
from helpers.reading import numbers, read_to_the_end
from helpers.videos import frame_folder, numbered_frame, write_video

from lad.config import load_config
from lad.dataset import DatasetError, is_safe_id, read_dataset
from lad.detector.checkpoint import Checkpoint, save_checkpoint
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.video import VideoInfo
from lad.files import frame_files
from lad.finding import find_videos, video_ids
from lad.models.aed import AED

pytestmark = pytest.mark.slow

QUIET_X265 = {"x265-params": "log-level=none"}
VFR = [0, 40, 200, 240, 1000]  # milliseconds
CUES, VOID = b"\x1c\x53\xbb\x6b", b"\xec"

# name of the file -> how it is encoded, and which reader is right
MORE_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "raw.mjpeg": ("pyav", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "mjpeg.mov": ("decord", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "mjpeg.mp4": ("decord", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "mjpeg.mkv": ("decord", {"codec": "mjpeg", "pix_fmt": "yuvj422p"}),
    "odd-mjpeg.avi": ("pyav", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "size": (65, 49)}),
    "hevc.mkv": ("decord", {"codec": "libx265", "codec_options": QUIET_X265}),
    "hevc.ts": ("pyav", {"codec": "libx265", "codec_options": QUIET_X265}),
    "vp9.mp4": ("decord", {"codec": "libvpx-vp9"}),
    "10-bit-prores.mov": ("pyav", {"codec": "prores", "pix_fmt": "yuv422p10le"}),
    "16-bit-grey.mkv": ("pyav", {"codec": "ffv1", "pix_fmt": "gray16le"}),
    "one-row-of-blocks.mp4": ("decord", {"size": (2000, 16)}),
    "not-a-multiple-of-16.mp4": ("decord", {"size": (98, 54)}),
}


def assert_plays(path: Path, count: int, size: tuple[int, int]) -> VideoInfo:
    """All frames, once, in order, `size` (width, height), 25 a second."""
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(count))
    assert {frame.shape for frame in frames} == {(size[1], size[0], 3)}
    assert info.times == pytest.approx([number / 25 for number in range(count)], abs=0.002)
    assert info.warnings == []
    return info


# Codecs and containers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MORE_KINDS)
def test_every_frame_comes_once_by_the_right_reader(name: str, tmp_path: Path) -> None:
    reader, how = MORE_KINDS[name]
    path = write_video(tmp_path / name, 20, **how)
    info = assert_plays(path, 20, how.get("size", (64, 48)))
    assert info.reader == reader
    first, second = read_to_the_end(path)[0], read_to_the_end(path, choice="pyav")[0]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


AV1_ENCODERS = {
    "libaom-av1": {"cpu-used": "8", "crf": "10", "lag-in-frames": "0"},
    "libsvtav1": {"preset": "8", "crf": "5", "svtav1-params": "enable-tf=0:keyint=1"},  # else it blends the numbers
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_av1_is_read_by_pyav(suffix: str, pix_fmt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """decord's FFmpeg is older than AV1's decoders."""
    monkeypatch.setenv("SVT_LOG", "1")  # errors alone
    encoder = next((name for name in AV1_ENCODERS if name in av.codecs_available), None)
    if encoder is None:
        pytest.skip(f"NO AV1 ENCODER in this PyAV ({', '.join(AV1_ENCODERS)}): reading AV1 is not tested")
    options = AV1_ENCODERS[encoder]
    path = write_video(tmp_path / f"av1.{suffix}", 20, codec=encoder, pix_fmt=pix_fmt, codec_options=options)
    assert assert_plays(path, 20, (64, 48)).reader == "pyav"


def comb(number: int) -> np.ndarray:
    """A numbered frame whose two fields differ: one is bright, the other dark."""
    return numbered_frame(number, (128, 96)) // 2 + np.where(np.arange(96) % 2, 0, 100)[:, None, None].astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("top-first.mp4", "libx264", {"x264-params": "tff=1"}),
        ("bottom-first.mkv", "libx264", {"x264-params": "bff=1"}),
        ("top-first.ts", "libx264", {"x264-params": "tff=1"}),
        ("top-first.mpg", "mpeg2video", {"top": "1", "b": "4M"}),
    ],
)
def test_interlaced_video_gives_frames_not_fields(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    """As many as are coded, 25 a second, both fields woven into each; nothing is made up by deinterlacing."""
    options = {"flags": "+ilme+ildct", **options}
    images = [comb(number) for number in range(20)]
    path = write_video(tmp_path / name, images, size=(128, 96), codec=codec, codec_options=options)
    with av.open(str(path)) as container:
        coded = list(container.decode(video=0))
    assert len(coded) == 20
    assert all(frame.interlaced_frame for frame in coded), "the encoder made no interlaced video"
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(20))
    assert info.times == pytest.approx([number / 25 for number in range(20)], abs=0.002)
    assert info.reader == "pyav"
    for frame in frames:
        assert frame.shape == (96, 128, 3)
        assert frame[0::2].mean() - frame[1::2].mean() > 70, "the fields are blended"


def write_8k(path: Path, count: int) -> Path:
    """Numbered frames 5, 6, ... of 7680x4320."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        for number in range(count):
            small = av.VideoFrame.from_ndarray(numbered_frame(number + 5, (64, 36)), format="rgb24")
            frame = small.reformat(width=7680, height=4320, format="yuv420p", interpolation="POINT")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


READ_8K = """
import json, sys
from pathlib import Path
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.process_setup import prepare
from lad.extract.readers import open_reader
prepare()
sys.path.insert(0, sys.argv[2])
from helpers.memory import peak_memory
from helpers.videos import read_number
reader = open_reader(Path(sys.argv[1]))
(batch,) = clip_batches(reader, ClipSpec(("rgb",)))
info = reader.info
print(json.dumps({
    "numbers": [read_number(image) for image in batch["rgb"][0]], "clips": len(batch["rgb"]), "frames": info.frames,
    "size": info.size, "MiB": peak_memory(),
}))
"""


def test_8k_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A frame has 95 MiB; there are never more than a few of them."""
    path = write_8k(tmp_path / "8k.mp4", 3)
    command = [sys.executable, "-c", READ_8K, str(path), str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["numbers"] == [5, 6, *[7] * 14]
    assert (found["clips"], found["frames"], found["size"]) == (1, 3, [4320, 7680])
    assert found["MiB"] < 2000


def without_cues(path: Path) -> None:
    """Overwrite the index of a Matroska file by as much void."""
    data = bytearray(path.read_bytes())
    start = data.rindex(CUES)  # the one before is the name of it in the table of contents
    width = 9 - data[start + 4].bit_length()
    length = int.from_bytes(data[start + 4 : start + 4 + width], "big") & (1 << 7 * width) - 1
    end = start + 4 + width + length
    assert end <= len(data)
    inside = end - start - 9  # behind the void's name and its length in 8 bytes
    data[start:end] = VOID + (1 << 56 | inside).to_bytes(8, "big") + bytes(inside)
    path.write_bytes(data)


@pytest.mark.parametrize("way", ["never written", "lost"])
@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_matroska_file_without_cues_is_read_whole(way: str, suffix: str, tmp_path: Path) -> None:
    """As a camera or a recorder that was cut off writes it: there is no index to seek with."""
    how: dict[str, Any] = {"codec": "libvpx-vp9"} if suffix == "webm" else {"codec_options": {"g": "10"}}
    if way == "never written":
        how["container_options"] = {"live": "1"}
    path = write_video(tmp_path / f"a.{suffix}", 40, **how)
    if way == "lost":
        assert path.read_bytes().count(CUES) == 2
        without_cues(path)
        assert path.read_bytes().count(CUES) == 1
    else:
        assert CUES not in path.read_bytes()
    assert_plays(path, 40, (64, 48))


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    """Music with a cover has only sound; a video with a cover is that video."""
    cover = cv2.imencode(".png", numbered_frame(9, (64, 48)))[1].tobytes()

    def add_cover(path: Path, source: Path) -> Path:
        with av.open(str(source)) as given, av.open(str(path), "w") as container:
            streams = {stream.index: container.add_stream_from_template(stream) for stream in given.streams}
            picture: Any = container.add_stream("png")
            picture.width, picture.height, picture.pix_fmt = 64, 48, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 90000)
            container.mux(packet)
            for packet in given.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    container.mux(packet)
        return path

    music = add_cover(tmp_path / "music.mp4", write_video(tmp_path / "sound.mp4", codec=None, audio=True))
    with av.open(str(music)) as container:
        assert len(container.streams.video) == 1, "the muxer wrote no cover"
    with pytest.raises(Exception, match="only sound"):
        read_to_the_end(music)
    film = add_cover(tmp_path / "film.mp4", write_video(tmp_path / "plain.mp4", 5))
    assert numbers(read_to_the_end(film)[0]) == list(range(5))


# A display matrix (a, b, c, d) that mirrors -> what it does to the stored picture.
MIRRORS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "left for right": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "top for bottom": ((1, 0, 0, -1), lambda image: image[::-1]),
    "rows for columns": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MIRRORS)
def test_a_mirrored_video_is_upright(name: str, tmp_path: Path) -> None:
    """Of a front camera, or flipped in an editor: shown as players show it."""

    def cells(a: int, b: int, c: int, d: int) -> bytes:
        values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        return b"".join(value.to_bytes(4, "big", signed=True) for value in values)

    matrix, mirrored = MIRRORS[name]
    images = [np.ascontiguousarray(mirrored(numbered_frame(number, (128, 96)))) for number in range(5)]
    height, width = images[0].shape[:2]
    path = write_video(tmp_path / "mirror.mp4", images, size=(width, height))
    data = path.read_bytes()
    place = data.index(cells(1, 0, 0, 1), data.index(b"tkhd"))
    path.write_bytes(data[:place] + cells(*matrix) + data[place + 36 :])
    assert numbers(read_to_the_end(path)[0]) == list(range(5))


def write_two_sizes(path: Path, codec: str, first: tuple[int, int], second: tuple[int, int], **how: Any) -> Path:
    """Five numbered frames of each size in one stream."""
    pix_fmt = how.get("pix_fmt", "yuv420p")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        (stream.width, stream.height), stream.pix_fmt = first, pix_fmt
        for part, size in enumerate((first, second)):
            encoder: Any = av.CodecContext.create(codec, "w")
            (encoder.width, encoder.height), encoder.pix_fmt = size, pix_fmt
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            encoder.options = how.get("options", {})
            packets = []
            for number in range(5 * part, 5 * part + 5):
                frame = av.VideoFrame.from_ndarray(numbered_frame(number, size), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode(None):
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec", "how"),
    [
        ("camera.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("call.webm", "libvpx-vp9", {"options": {"lag-in-frames": "0"}}),
        ("joined.mkv", "libx264", {}),
        ("joined.mp4", "libx264", {}),
    ],
)
@pytest.mark.parametrize("sizes", [((128, 96), (96, 128)), ((64, 48), (320, 240))], ids=["turned", "larger"])
def test_a_change_of_size_in_midstream_keeps_every_frame_as_it_is(
    name: str, codec: str, how: dict[str, Any], sizes: tuple[tuple[int, int], tuple[int, int]], tmp_path: Path
) -> None:
    """decord would squash the later frames to the size of the first."""
    path = write_two_sizes(tmp_path / name, codec, *sizes, **how)
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(10))
    (width, height), (later_width, later_height) = sizes
    assert [frame.shape[:2] for frame in frames] == [(height, width)] * 5 + [(later_height, later_width)] * 5
    assert info.size == (height, width)
    assert info.times == pytest.approx([number / 25 for number in range(10)], abs=0.002)
    (batch,) = clip_batches(frames, ClipSpec(("rgb",)))
    assert numbers(batch["rgb"][0]) == [*range(10), *[9] * 6]


# Frame folders --------------------------------------------------------------------------------------------------------


def test_gaps_between_numbered_images_are_not_filled(tmp_path: Path) -> None:
    """There are as many frames as images, in the order of their numbers, evenly spaced: frame 2 is 010.png."""
    frames, info = read_to_the_end(frame_folder(tmp_path / "gaps", ["001.png", "003.png", "010.png"]), folder_fps=10.0)
    assert numbers(frames) == [0, 1, 2]
    assert info.times == pytest.approx([0, 0.1, 0.2])
    assert info.warnings == ["images seem to be missing: 003 is followed by 010; they are not made up"]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [0, 5, 10, 15], [7], [1, 9], [0, 0, 1]])
def test_images_that_are_numbered_evenly_are_no_reason_to_warn(tmp_path: Path, numbers: list[int]) -> None:
    names = [f"{place}_{number:03}.png" for place, number in zip("abcd", numbers, strict=False)]
    _, info = read_to_the_end(frame_folder(tmp_path / "even", names))
    assert not info.warnings


def test_what_windows_and_macs_leave_among_images_is_no_frame(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "seq", ["IMG_9.PNG", "IMG_10.PNG"])
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._IMG_9.PNG", "IMG_9.PNG:Zone.Identifier"):
        (folder / name).write_bytes(b"\0\1\2")
    frames, info = read_to_the_end(folder)
    assert numbers(frames) == [0, 1]
    assert info.warnings == []
    assert [video.path for video in find_videos([str(tmp_path)], tmp_path)] == [folder]


def test_images_of_the_same_number_have_an_order_of_their_own(tmp_path: Path) -> None:
    """Not the disk's, which is another one on another disk: features must not depend on it."""
    names = [f"{'0' * zeros}{number}.png" for number in range(8) for zeros in range(4)]
    for name in names[::-1]:
        (tmp_path / name).write_bytes(b"x")
    expected = [f"{'0' * zeros}{number}.png" for number in range(8) for zeros in (3, 2, 1, 0)]
    expected[:4] = ["0.png", "00.png", "000.png", "0000.png"]
    assert [file.name for file in frame_files(tmp_path)] == expected


def test_images_of_every_depth_are_frames(tmp_path: Path) -> None:
    """16 bits, transparency, grey: as 8-bit colours."""
    folder = tmp_path / "depths"
    folder.mkdir()
    bgr = [numbered_frame(number, (64, 48))[..., ::-1] for number in range(4)]
    cv2.imwrite(str(folder / "0.png"), bgr[0].astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "1.png"), np.dstack([bgr[1], np.full((48, 64), 9, np.uint8)]))
    cv2.imwrite(str(folder / "2.png"), bgr[2][..., 2])
    cv2.imwrite(str(folder / "3.tif"), bgr[3][..., 2].astype(np.uint16) * 257)
    frames, info = read_to_the_end(folder)
    assert numbers(frames) == [0, 1, 2, 3]
    assert {(frame.shape, frame.dtype) for frame in frames} == {((48, 64, 3), np.dtype(np.uint8))}
    assert np.array_equal(frames[0], numbered_frame(0, (64, 48)))
    assert info.warnings == []


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    """EXIF orientation 6: to be turned clockwise."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    stored = np.rot90(numbered_frame(5, (128, 96)))
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(stored[..., ::-1]))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    (folder / "1.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    frames, info = read_to_the_end(folder)
    assert numbers(frames) == [5]
    assert info.size == (96, 128)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_half_an_image_is_a_corrupt_one(suffix: str, tmp_path: Path) -> None:
    """Its lower half would be grey."""
    folder = tmp_path / "half"
    folder.mkdir()
    grain = np.random.default_rng(0)
    for number in range(3):
        image = numbered_frame(number, (160, 120)) // 2 + grain.integers(0, 60, (120, 160, 3)).astype(np.uint8)
        data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
        (folder / f"{number}{suffix}").write_bytes(data[: len(data) // 2] if number == 1 else data)
    frames, info = read_to_the_end(folder)
    assert np.array_equal(frames[1], frames[0])
    assert len(frames) == 3
    assert f"1{suffix}" in "".join(info.warnings)


def test_a_picture_above_folders_of_videos_hides_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "a.mp4").write_bytes(b"x")
    (tmp_path / "preview.jpg").write_bytes(b"x")
    assert [video.id for video in find_videos([str(tmp_path)], tmp_path)] == ["gate/a"]


# Names and links ------------------------------------------------------------------------------------------------------


LONG_NAMES = ["y" * 251 + ".mp4", "z" * 252 + ".ts", "ö" * 125 + "x.mp4", "日" * 83 + "xx.mp4"]


def test_the_longest_names_have_ids_that_are_names_too(tmp_path: Path) -> None:
    names = [*LONG_NAMES, "z" * 252 + ".qt", "summary.mp4"]
    for root in (tmp_path, None):
        found = video_ids([tmp_path / name for name in names], root)
        assert len(set(found)) == len(names)
        for video_id in found:
            assert is_safe_id(video_id)
            (tmp_path / f"{video_id}.npy").write_bytes(b"")  # or: File name too long


def test_an_id_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text(f"video,path\n{'y' * 251},a.mp4\nb/{'y' * 251},a.mp4\n")
    assert len(read_dataset(path)) == 2
    path.write_text(f"video,path\n{'y' * 252},a.mp4\n")
    with pytest.raises(DatasetError, match="251 bytes"):
        read_dataset(path)


def ids_below(folder: Path) -> list[str]:
    return [video.id for video in find_videos([str(folder)], folder)]


def test_links_to_videos_elsewhere_are_videos_and_each_video_is_taken_once(tmp_path: Path) -> None:
    """A link is what it leads to, under its own name, unless that is there by another one."""
    (tmp_path / "all").mkdir()
    write_video(tmp_path / "all" / "a.mp4", 3)
    frame_folder(tmp_path / "all" / "seq", ["1.png", "2.png"])
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "linked.mp4").symlink_to(tmp_path / "all" / "a.mp4")
    (tmp_path / "view" / "sequence").symlink_to(tmp_path / "all" / "seq")
    found = find_videos([str(tmp_path / "view")], tmp_path / "view")
    counts = {video.id: len(read_to_the_end(video.path)[0]) for video in found}
    assert counts == {"linked": 3, "sequence": 2}
    assert ids_below(tmp_path) == ["all/a", "all/seq"]
    (tmp_path / "view" / "folder").symlink_to("../all")
    assert len(ids_below(tmp_path / "view")) == 2


def test_folders_in_folders_without_end_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "/".join(["top", *["d"] * 250])).mkdir(parents=True)
    usual = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        with pytest.raises(DatasetError, match="top: holds folders in folders without end"):
            find_videos([str(tmp_path / "top")])
    finally:
        sys.setrecursionlimit(usual)


def test_links_that_lead_back_are_not_followed_for_ever(tmp_path: Path) -> None:
    """Each video once. Two such links would otherwise be 2^40 folders."""
    root = tmp_path / "root"
    (root / "gate").mkdir(parents=True)
    for name in ("a.mp4", "gate/b.mp4"):
        (root / name).write_bytes(b"x")
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(".")
    (root / "gate" / "up").symlink_to("..")
    assert ids_below(root) == ["a", "gate/b"]


# Scores ---------------------------------------------------------------------------------------------------------------


@dataclass
class Scored:
    """What one `lad score` of a folder of odd things left."""

    status: int
    data: dict[str, Any]
    err: str
    work: Path

    def table(self, video_id: str) -> np.ndarray:
        """`(frames, 2)`: time and score."""
        with (self.work / "scores" / f"{video_id}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
        return np.array([[float(row["time"]), float(row["score"])] for row in rows])

    def clips(self, video_id: str) -> int:
        return len(np.load(self.work / "features" / "rgb" / f"{video_id}.npy", allow_pickle=False))


# id -> file, how it is encoded, frames
ODD_VIDEOS: dict[str, tuple[str, dict[str, Any], int]] = {
    **{f"short/{count}": (f"short/{count}.mp4", {}, count) for count in (1, 2, 15, 16, 17)},
    "vfr": ("vfr.mkv", {"pts": VFR}, 5),
    "phone": ("phone.mp4", {"size": (96, 128), "rotation": 90}, 18),
    "interlaced": ("interlaced.ts", {"codec_options": {"flags": "+ilme+ildct", "x264-params": "tff=1"}}, 18),
    "ten-bit": ("ten-bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "codec_options": QUIET_X265}, 18),
    "grey": ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}, 18),
    "odd": ("odd.webm", {"codec": "libvpx-vp9", "size": (67, 51)}, 18),
    "16x16": ("16x16.mp4", {"size": (16, 16)}, 18),
    "stream": ("stream.mjpeg", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, 18),
    "live": ("live.mkv", {"container_options": {"live": "1"}}, 18),
    "loud": ("loud.mkv", {"audio": True}, 2),  # 0.13 s of sound, 0.08 s of picture
    'it\'s "quoted", a  b': ('it\'s "quoted", a  b.mp4', {}, 3),
    "камера-日本 🎥": ("камера-日本 🎥.mp4", {}, 4),
    "[red]not [/markup]": ("[red]not [/markup].mp4", {}, 5),
    "cam1/a": ("cam1/a.mp4", {}, 6),
    "cam2/a": ("cam2/a.mp4", {}, 7),
    "door.mp4": ("door.mp4", {}, 8),
    "door.avi": ("door.avi", {"codec": "mpeg4"}, 9),
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """A folder of odd things, scored by one command with the tiny backbone and a detector that learned nothing."""
    base = tmp_path_factory.mktemp("odd")
    root, work = base / "videos", base / "work"
    for file, how, frames in ODD_VIDEOS.values():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        write_video(root / file, frames, **how)
    (root / "long").mkdir()
    for name in LONG_NAMES:
        write_video(base / "plain.mp4", 3)
        (base / "plain.mp4").rename(root / "long" / name)
    frame_folder(root / "long" / ("f" * 255), ["1.png", "2.png"])
    frame_folder(root / "door", ["1.png", "2.png"])
    frame_folder(root / "gaps", ["001.png", "003.png", "010.png"])
    cv2.imwrite(str(frame_folder(root / "mixed", ["1.jpg", "2.JPG"]) / "3.png"), numbered_frame(2, (80, 40)))
    (frame_folder(root / "corrupt", [f"{number}.png" for number in range(5)]) / "3.png").write_bytes(b"rubbish")
    (root / "link.mp4").symlink_to("cam1/a.mp4")
    (root / "back").symlink_to(root)
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    (root / "own tail.mp4").symlink_to("own tail.mp4")

    overrides = ["extract.backbone=tiny", "extract.streams=[rgb]", "train.window=2", "threads=1"]
    config = load_config(None, overrides).model_dump(mode="json")
    torch.manual_seed(0)
    detector = AED(feature_dim=128, classes=2, window=2, hidden=4)
    weights = {"rgb": "random:tiny:rgb:seed=0"}
    checkpoint = Checkpoint(model=detector.state_dict(), classes=["run", "walk"], config=config, weights=weights)
    save_checkpoint(base / "best.pt", checkpoint)
    command = [sys.executable, "-m", "lad", "score", "--json", "--checkpoint", str(base / "best.pt")]
    command += ["--work", str(work), "--data", str(root), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return Scored(done.returncode, json.loads(done.stdout), done.stderr, work)


@pytest.mark.parametrize("video_id", ODD_VIDEOS)
def test_scores_are_as_long_as_the_video(video_id: str, scored: Scored) -> None:
    _, how, frames = ODD_VIDEOS[video_id]
    table = scored.table(video_id)
    times = np.array(how["pts"]) / 1000 if "pts" in how else np.arange(frames) / 25
    assert table[:, 0] == pytest.approx(times, abs=0.002)
    assert np.all((table[:, 1] > 0) & (table[:, 1] < 1))
    assert scored.clips(video_id) == -(-frames // 16)
    assert scored.data["scores"][video_id]["frames"] == frames
    assert scored.data["scores"][video_id]["warnings"] == []


def test_scores_of_frame_folders_are_as_long_as_they_have_images(scored: Scored) -> None:
    for video_id, frames in {"gaps": 3, "mixed": 3, "corrupt": 5, "door": 2}.items():
        assert scored.table(video_id)[:, 0] == pytest.approx(np.arange(frames) / 25, abs=0.002)
    (warning,) = scored.data["scores"]["corrupt"]["warnings"]
    assert "1 images cannot be read" in warning
    assert "3.png" in warning


def test_the_longest_names_are_scored_under_shorter_ones(scored: Scored) -> None:
    found = {
        video_id: info["frames"] for video_id, info in scored.data["scores"].items() if video_id not in known_ids()
    }
    assert sorted(found.values()) == [2, 3, 3, 3, 3]
    for video_id, frames in found.items():
        assert len(scored.table(video_id)) == frames
    # What fits keeps its place and its name; what does not is cut short and told apart by a hash.
    assert "long/" + "y" * 251 in found
    assert [video_id[:233] for video_id in found if video_id.startswith("z")] == ["z" * 233]


def known_ids() -> set[str]:
    return {*ODD_VIDEOS, "door", "gaps", "mixed", "corrupt"}


def test_a_link_to_a_video_that_is_there_by_its_name_is_no_second_one(scored: Scored) -> None:
    assert "link" not in scored.data["scores"] and "link.mp4 is " in scored.err


def test_links_that_lead_nowhere_fail_alone(scored: Scored) -> None:
    assert scored.status == 1
    failed = [line for line in scored.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2, scored.err
    assert "dangling.mp4: cannot be read: No such file" in failed[0]
    assert "own tail.mp4: cannot be read: Too many levels" in failed[1]
    assert len(scored.data["scores"]) == len(known_ids()) + len(LONG_NAMES) + 1, "the rest is scored, and nothing twice"


def test_the_summary_names_every_video_as_it_is_called(scored: Scored) -> None:
    with (scored.work / "scores" / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {*scored.data["scores"], "dangling", "own tail"}
    assert all(rows[video_id]["frames"] == str(frames) for video_id, (_, _, frames) in ODD_VIDEOS.items())
    assert "No such file" in rows["dangling"]["error"]
