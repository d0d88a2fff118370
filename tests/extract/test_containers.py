"""Every kind of file that recorders, phones and tools write is read whole, whatever its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cases import case_numbers
from helpers.reading import numbers, read_to_the_end
from helpers.recorders import dahua
from helpers.videos import numbered_frame, write_video

from lad.extract.container import is_cut_short, sniff_container

QUIET_X265 = {"x265-params": "log-level=none"}
AV1 = {"preset": "8", "crf": "5", "svtav1-params": "enable-tf=0:keyint=1"}

# container, as `sniff_container` has it -> how it is written
WRITTEN: dict[str, dict[str, Any]] = {
    "h264": {"format": "h264"},
    "hevc": {"format": "hevc", "codec": "libx265", "codec_options": QUIET_X265},
    "m4v": {"format": "m4v", "codec": "mpeg4"},
    "mpegvideo": {"format": "mpeg2video", "codec": "mpeg2video"},
    "obu": {"format": "obu", "codec": "libsvtav1", "codec_options": AV1},
    "mjpeg": {"format": "mjpeg", "codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg": {"format": "vob", "codec": "mpeg2video"},
    "ivf": {"format": "ivf", "codec": "libvpx"},
    "yuv4mpegpipe": {"format": "yuv4mpegpipe", "codec": "rawvideo"},
    "mxf": {"format": "mxf", "codec": "mpeg2video"},
    "gxf": {"format": "gxf", "codec": "mpeg2video", "size": (720, 576)},
    "dv": {"format": "dv", "codec": "dvvideo", "size": (720, 576)},
    "nut": {"format": "nut", "codec": "mpeg4"},
    "rm": {"format": "rm", "codec": "rv10"},
    "wtv": {"format": "wtv", "codec": "mpeg2video"},
    "mov": {"format": "3gp", "codec": "mpeg4"},
}


@pytest.mark.parametrize("container", WRITTEN)
def test_a_file_is_recognised_by_its_content_and_read_whole(
    container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")  # errors alone
    path = write_video(tmp_path / "recording", 20, **WRITTEN[container])
    assert sniff_container(path) == container
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(20))
    assert info.warnings == []


def test_writing_av1_leaves_the_tests_at_their_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    before = os.sched_getscheduler(0)
    write_video(tmp_path / "recording", 3, **WRITTEN["obu"])
    assert os.sched_getscheduler(0) == before


def test_h264_with_start_codes_of_three_bytes_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", 20, format="h264")
    path.write_bytes(path.read_bytes().replace(b"\0\0\0\1", b"\0\0\1"))
    assert numbers(read_to_the_end(path)[0]) == list(range(20))


def test_hevc_with_start_codes_of_three_bytes_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.bin", 20, format="hevc", codec="libx265", codec_options=QUIET_X265)
    path.write_bytes(path.read_bytes().replace(b"\0\0\0\1", b"\0\0\1"))
    assert numbers(read_to_the_end(path)[0]) == list(range(20))


@pytest.mark.parametrize("header", [b"", b"DAHUA" + bytes(0x400 - 5)], ids=["bare", "with a header"])
def test_a_recorders_dav_is_read(header: bytes, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.h264", 60, size=(128, 96), format="h264", codec_options={"bf": "0"})
    path = dahua(source, tmp_path / "a.dav")
    path.write_bytes(header + path.read_bytes())
    frames, info = read_to_the_end(path)
    assert numbers(frames) == list(range(60))
    assert info.times == pytest.approx([number / 25 for number in range(60)], abs=0.002)
    assert info.warnings == []


def test_a_program_stream_behind_a_recorders_header_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mpg", 20, format="vob", codec="mpeg2video")
    path.write_bytes(b"IMKH" + bytes(36) + path.read_bytes())
    assert numbers(read_to_the_end(path)[0]) == list(range(20))


def test_a_transport_stream_that_begins_within_a_packet_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 20)
    junk = np.random.default_rng(0).integers(0, 256, 100, np.uint8).tobytes()
    path.write_bytes(junk + path.read_bytes())
    assert not is_cut_short(path, sniff_container(path))
    assert numbers(read_to_the_end(path)[0]) == list(range(20))
    path.write_bytes(path.read_bytes()[:-50])
    assert is_cut_short(path, sniff_container(path))


@pytest.mark.parametrize("name", ["plain.mp4", "raw.264", "raw.h265", "recorder.dav", "rate15.h264"])
def test_odd_files_give_every_frame(name: str, shared_cases: Path) -> None:
    frames, info = read_to_the_end(shared_cases / name)
    assert case_numbers(frames) == list(range(100))
    assert info.warnings == []


def test_rows_of_zeros_before_the_first_unit_hide_no_stream(tmp_path: Path) -> None:
    frames = [numbered_frame(number, (64, 48)) for number in range(5)]
    path = write_video(tmp_path / "a", frames, format="h264")
    path.write_bytes(bytes(10) + path.read_bytes())
    assert numbers(read_to_the_end(path)[0]) == list(range(5))
