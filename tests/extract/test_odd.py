"""Odd but right: for every odd video that people have, what the right answer is.

Item: where it is stated (`decode` is test_decode.py, `damaged` test_damaged.py and so on; no name: here;
`scored`: test_odd_scored.py, on a folder of all of them at once).

- variable frame rate: decode::test_variable_frame_rate_gives_true_times, test_sampling.py; its scores: `scored`
- rotated phone video: decode::test_rotation_metadata_is_honoured; mirrored: test_a_mirrored_video_is_upright;
  photographs: frame_folders::test_a_photograph_is_turned_as_its_camera_says; its scores: `scored`
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
- 255 characters: scored::test_the_longest_names_are_scored_under_shorter_ones,
  scored::test_an_id_too_long_for_a_file_is_refused
- same name in two folders, same stem with two suffixes:
  dataset::test_colliding_ids_keep_their_suffix_and_others_do_not,
  dataset::test_videos_outside_the_root_get_a_hash_of_their_path; scores: `scored`
- symlinks: scored::test_links_to_videos_elsewhere_are_videos_and_each_video_is_taken_once,
  scored::test_links_that_lead_back_are_not_followed_for_ever, scored::test_links_that_lead_nowhere_fail_alone
- frame folders: numeric order, one corrupt image, mixed sizes, one image, suffixes:
  frame_folders::test_a_frame_folder_is_read_in_numeric_order ff.; gaps:
  frame_folders::test_gaps_between_numbered_images_are_not_filled;
  frame_folders::test_a_picture_above_folders_of_videos_hides_none_of_them; scores: `scored`
- a change of size in midstream: decode::test_a_change_of_size_in_midstream_loses_no_frame (transport stream);
  other containers: test_a_change_of_size_in_midstream_keeps_every_frame_as_it_is
"""

from __future__ import annotations

import json
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
from helpers.places import TESTS
from helpers.reading import numbers, read_to_the_end
from helpers.videos import numbered_frame, write_video

from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.video import VideoInfo

pytestmark = pytest.mark.slow

QUIET_X265 = {"x265-params": "log-level=none"}
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
