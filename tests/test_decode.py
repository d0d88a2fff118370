"""What reading a video promises: every frame, in order, upright, or one line that says why not."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from conftest import numbered_frame, read_number

from lad.extract import decode
from lad.extract.container import VideoError, sniff_container
from lad.extract.decode import Picture, ReaderGaveUp, VideoInfo, read_frames, read_pictures
from lad.extract.sampling import resample
from lad.files import numeric_order
from lad.pipeline import engine

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


def read(path: Path, **options: object) -> tuple[list[np.ndarray], VideoInfo]:
    info = VideoInfo()
    return list(read_frames(path, info, **options)), info  # type: ignore[arg-type]


def read_to_the_end(path: Path) -> tuple[list[np.ndarray], VideoInfo]:
    """As the decoding process does it: what decord gives up, PyAV reads anew."""
    try:
        return read(path)
    except ReaderGaveUp:
        return read(path, reader="pyav")


def numbers(frames: list[np.ndarray]) -> list[int]:
    return [read_number(frame) for frame in frames]


def refusal(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        read_to_the_end(path)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    return caught.value


# Whole files ----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", KINDS)
def test_both_readers_give_the_same_pixels(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / name, 20, **KINDS[name])
    first, info = read(path)
    second, other = read(path, reader="pyav")
    assert other.reader == "pyav"
    assert len(first) == len(second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert info.times == pytest.approx(other.times)


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_the_frames(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / name, 20, **KINDS[name])
    frames, info = read(path)
    other = VideoInfo()
    pictures = list(read_pictures(path, other))  # looked at when the file is long closed
    assert all(np.array_equal(a, b) for a, b in zip(frames, map(np.asarray, pictures), strict=True))
    assert other == info


@pytest.mark.parametrize("rate", [None, 12.5, 25, 40])
@pytest.mark.parametrize("rotation", [0, 90])
def test_pictures_are_converted_when_they_are_looked_at(
    rate: float | None, rotation: int, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "video.mp4", 40, size=(128, 96), rotation=rotation)
    info = VideoInfo()
    expected = list(resample(read_frames(path, info), info, rate))
    converted: list[int] = []
    upright = decode._upright
    monkeypatch.setattr(decode, "_upright", lambda *frame: converted.append(1) or upright(*frame))
    info = VideoInfo()
    pictures = list(resample(read_pictures(path, info), info, rate))
    assert len(pictures) == len(expected)
    assert sum(converted) == 1  # the first one, which tells the size
    assert all(isinstance(picture, Picture) for picture in pictures)
    half = len(pictures) // 2
    assert all(np.array_equal(a, b) for a, b in zip(expected[half:], map(np.asarray, pictures[half:]), strict=True))
    assert sum(converted) == 1 + len({id(picture) for picture in pictures[half:]})


def test_a_job_that_goes_on_converts_no_frame_of_the_clips_that_it_skips(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "video.mp4", 160)
    converted: list[int] = []
    upright = decode._upright
    monkeypatch.setattr(decode, "_upright", lambda *frame: converted.append(1) or upright(*frame))
    sent: list[object] = []
    monkeypatch.setattr(engine, "send", lambda _pipe, message: sent.append(message))
    no_pipe: Any = None
    engine._run_job(no_pipe, engine.ClipJob("video", path, ("rgb",), "dis", "pad", 2, 25.0, skip_clips=8))
    assert [type(message) for message in sent] == [engine.Clips, engine.Finished]
    assert sum(converted) == 1 + 33  # the first frame, the last skipped one, and those of two clips


def test_pictures_of_a_damaged_file_are_void_as_decords_frames_are(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "damaged.mp4", noisy(30, (160, 120)), size=(160, 120), codec_options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(ReaderGaveUp):
        list(read_pictures(path, VideoInfo()))
    info = VideoInfo()
    assert len(list(read_pictures(path, info, reader="pyav"))) == len(read(path, reader="pyav")[0])
    assert any("damaged" in warning for warning in info.warnings)


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
@pytest.mark.parametrize("reader", ["auto", "pyav"])
def test_variable_frame_rate_gives_true_times(
    suffix: str, codec: str, reader: str, tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / f"vfr.{suffix}", 5, codec=codec, pts=[0, 40, 200, 240, 1000])
    frames, info = read(path, reader=reader)
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
@pytest.mark.parametrize("reader", ["auto", "pyav"])
def test_names_that_ffmpeg_could_misread(
    name: str, reader: str, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    make_video(tmp_path / "plain.mp4", 3).rename(path)
    frames, info = read(path, reader=reader)
    assert numbers(frames) == [0, 1, 2]
    assert info.reader == {"auto": "decord"}.get(reader, "pyav")
    monkeypatch.chdir(tmp_path)
    assert numbers(read(Path(name), reader=reader)[0]) == [0, 1, 2]


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, make_video: MakeVideo) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    make_video(tmp_path / "plain.mp4", 3).rename(path)
    assert numbers(read(path)[0]) == [0, 1, 2]


# Files that are no videos, or damaged ones ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello world\n" * 200, "not a video"),
        (random.Random(0).randbytes(5000), "not a video"),
    ],
    ids=["zero bytes", "text", "random bytes"],
)
def test_what_is_no_video_is_refused_by_its_content(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "not.mp4"
    path.write_bytes(content)
    error = refusal(path)
    assert reason in str(error)
    assert error.kind == "content"


@pytest.mark.parametrize(
    "start",
    [
        b"\0\0\0\x18ftypisom",
        b"\0\0\0\x18mdat",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\0\0\0\0AVI ",
        b"\0\0\x01\xba",
        b"\0\0\x01\xb3",
        b"FLV\x01",
        b"OggS",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        b"\0\0\0\x01",
        b"\xff\xd8\xff",
    ],
    ids=lambda start: start.hex(),
)
def test_a_right_start_followed_by_rubbish_is_a_content_error(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rubbish.mp4"
    path.write_bytes(start + random.Random(1).randbytes(3000))
    assert refusal(path).kind == "content"


def test_a_transport_stream_of_rubbish_is_a_content_error(tmp_path: Path) -> None:
    path = tmp_path / "rubbish.ts"
    path.write_bytes(b"".join(b"\x47" + random.Random(seed).randbytes(187) for seed in range(30)))
    assert refusal(path).kind == "content"


def test_a_file_with_only_sound_says_so(tmp_path: Path, make_video: MakeVideo) -> None:
    assert "only sound" in str(refusal(make_video(tmp_path / "sound.mp4", codec=None, audio=True)))


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("hls.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{bait}\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile '{bait}'\n"),
        ("sdp.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("dash.mp4", '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011">{bait}</MPD>'),
    ],
)
def test_a_playlist_in_disguise_is_refused_and_what_it_names_is_not_opened(
    name: str, playlist: str, tmp_path: Path, make_video: MakeVideo
) -> None:
    bait = make_video(tmp_path / "bait.ts", 5)
    os.utime(bait, (0, 1_000_000))  # reading it would change the first (where the disk keeps such times at all)
    path = tmp_path / name
    path.write_text(playlist.format(bait=bait))
    assert "not a video" in str(refusal(path))
    assert bait.stat().st_atime == 0


def test_a_playlist_behind_a_false_sync_byte_is_read_as_what_it_begins_like(tmp_path: Path) -> None:
    """FFmpeg would recognise a playlist in it; here it is a transport stream with nothing in it."""
    body = b'    G<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011">'
    path = tmp_path / "dash.m2ts"
    path.write_bytes(body.ljust(196) + b"G" + b" " * 500 + b"</MPD>")
    assert sniff_container(path) == "mpegts"
    assert refusal(path).kind == "content"


def test_an_mp4_without_its_index_is_a_content_error(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "cut.mp4", 40)
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    path.write_bytes(data[: data.index(b"moov") - 4])
    assert refusal(path).kind == "content"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cut.mp4", {"container_options": {"movflags": "faststart"}}),
        ("cut.mkv", {}),
        ("cut.webm", {"codec": "libvpx-vp9"}),
        ("cut.avi", {"codec": "mpeg4"}),
        ("cut.ts", {}),
    ],
)
def test_a_cut_file_gives_what_decodes_and_a_warning(
    name: str, options: dict[str, object], tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / name, 60, size=(128, 96), **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3 // 188 * 188 - 50])
    frames, info = read_to_the_end(path)
    found = numbers(frames)
    assert 10 < len(found) < 60
    assert found == sorted(found)
    assert found[:10] == list(range(10))
    assert info.warnings
    assert all("\n" not in warning for warning in info.warnings)


def noisy(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Numbered frames with grain: most of the bytes of their file are picture."""
    grain = np.random.default_rng(0)
    width, height = size
    return [
        np.clip(numbered_frame(number, size) + grain.integers(-25, 25, (height, width, 3)), 0, 255).astype(np.uint8)
        for number in range(count)
    ]


def test_damage_in_the_picture_data_is_reported(tmp_path: Path, make_video: MakeVideo) -> None:
    """decord conceals it without a word."""
    path = make_video(tmp_path / "damaged.mp4", noisy(30, (160, 120)), size=(160, 120), codec_options={"g": "10"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    for place in range(start + len(data) // 4, start + len(data) * 3 // 4, 997):
        data[place] ^= 0x55
    path.write_bytes(data)
    frames, info = read_to_the_end(path)
    assert frames
    assert info.reader == "pyav"
    assert any("damaged" in warning for warning in info.warnings)


def test_random_damage_never_shows_as_another_error(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts", "a.avi"):
        path = make_video(tmp_path / name, 20, codec="mpeg4")
        data = path.read_bytes()
        for seed in range(8):
            chance = random.Random(seed)
            damaged = bytearray(data)
            for _ in range(chance.choice([1, 10, 100])):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                frames, info = read_to_the_end(path)
                assert len(frames) == info.frames > 0
                assert info.times == sorted(info.times)
            except VideoError as error:
                assert "\n" not in str(error)


def test_an_overstated_frame_count_does_not_hang(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.avi", 20, codec="mpeg4")
    data = bytearray(path.read_bytes())
    stream_header = data.index(b"strh") + 8
    data[stream_header + 32 : stream_header + 36] = (500).to_bytes(4, "little")
    path.write_bytes(data)
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(20))
    assert any("500" in warning for warning in info.warnings)


# The disk's faults ----------------------------------------------------------------------------------------------------


def test_a_missing_file_is_an_io_error(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nothing.mp4")
    assert error.kind == "io"
    assert "No such file" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="chmod means nothing to root")
def test_a_file_without_permission_is_an_io_error(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "locked.mp4", 3)
    path.chmod(0)
    assert refusal(path).kind == "io"


# Frame folders --------------------------------------------------------------------------------------------------------


def frame_folder(folder: Path, names: list[str], size: tuple[int, int] = (64, 48)) -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), numbered_frame(number, size)[..., ::-1])
    return folder


def test_any_name_of_an_image_can_be_ordered() -> None:
    assert sorted(["\u00b2.png", "b10", "b9", "1\u0663"], key=numeric_order) == ["1\u0663", "b9", "b10", "\u00b2.png"]


def test_a_frame_folder_is_read_in_numeric_order(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", [f"frame{number}.png" for number in range(12)])
    (folder / "notes.txt").write_text("no frame")
    (folder / ".hidden.png").write_bytes(b"no frame")
    frames, info = read(folder, folder_fps=10.0)
    assert numbers(frames) == list(range(12))
    assert info.reader == "images"
    assert info.times == pytest.approx([number / 10 for number in range(12)])
    assert info.fps == pytest.approx(10)
    assert info.size == (48, 64)
    assert info.warnings == []


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "tif", "tiff", "JPG"])
def test_the_usual_kinds_of_images_are_read(suffix: str, tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", [f"{number:03}.{suffix}" for number in range(3)])
    assert numbers(read(folder)[0]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [([2], [0, 1, 1, 3, 4]), ([0], [1, 1, 2, 3, 4]), ([0, 1], [2, 2, 2, 3, 4]), ([3, 4], [0, 1, 2, 2, 2])],
)
def test_a_corrupt_image_is_replaced_by_its_neighbour(bad: list[int], expected: list[int], tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", [f"{number}.png" for number in range(5)])
    for number in bad:
        (folder / f"{number}.png").write_bytes(b"" if number % 2 else b"rubbish")
    frames, info = read(folder)
    assert numbers(frames) == expected
    assert info.frames == 5
    assert len(info.warnings) == 1
    assert f"{len(bad)} images" in info.warnings[0]
    assert all(f"{number}.png" in info.warnings[0] for number in bad)


def test_images_of_several_sizes_keep_them(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", ["0.png", "1.png"])
    cv2.imwrite(str(folder / "2.png"), numbered_frame(2, (80, 40))[..., ::-1])
    frames, info = read(folder)
    assert [frame.shape for frame in frames] == [(48, 64, 3), (48, 64, 3), (40, 80, 3)]
    assert numbers(frames) == [0, 1, 2]
    assert info.size == (48, 64)


def test_a_folder_of_corrupt_images_is_a_content_error(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(b"rubbish")
    error = refusal(folder)
    assert error.kind == "content"
    assert "5 images" in str(error)


def test_one_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    frames, info = read(frame_folder(tmp_path / "frames", ["1.png"]))
    assert numbers(frames) == [0]
    assert info.times == [0.0]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no frame" in str(refusal(tmp_path))


def test_a_frame_is_freed_once_it_was_taken(make_video: MakeVideo, tmp_path: Path) -> None:
    """Not when the garbage collector runs: FFmpeg reuses a frame's memory, and shows it where it decodes nothing."""
    path = make_video(tmp_path / "clip.mp4", 20)
    gc.collect()
    gc.disable()
    try:
        frames = read_frames(path, VideoInfo(), reader="pyav")
        held = [sum(type(one) is av.VideoFrame for one in gc.get_objects()) for _ in frames]
    finally:
        gc.enable()
    assert max(held) < 6
