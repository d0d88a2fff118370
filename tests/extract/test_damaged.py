"""What reading promises of files that are no videos, are damaged, or cannot be read."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.reading import numbers, read, read_to_the_end, refusal
from helpers.videos import grainy_frames

from lad.extract.container import sniff_container
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.readers import open_reader
from lad.extract.video import VideoError

MakeVideo = Callable[..., Path]


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


def test_damage_in_the_picture_data_is_reported(tmp_path: Path, make_video: MakeVideo) -> None:
    """decord conceals it without a word."""
    size = (160, 120)
    path = make_video(tmp_path / "damaged.mp4", grainy_frames(30, size), size=size, codec_options={"g": "10"})
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


def test_pictures_of_a_damaged_file_are_void_as_decords_frames_are(tmp_path: Path, make_video: MakeVideo) -> None:
    size = (160, 120)
    path = make_video(tmp_path / "damaged.mp4", grainy_frames(30, size), size=size, codec_options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(ReaderGaveUp):
        list(open_reader(path, lazy=True))
    reader = open_reader(path, lazy=True, choice="pyav")
    assert len(list(reader)) == len(read(path, choice="pyav")[0])
    assert any("damaged" in warning for warning in reader.info.warnings)


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
