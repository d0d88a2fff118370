"""Files made to do harm: they take no memory, run no code, open no other file or address, write nowhere else."""

from __future__ import annotations

import http.server
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from helpers.pickles import Calls
from helpers.places import TESTS
from helpers.reading import read_to_the_end
from helpers.videos import numbered_frame, read_number, resized_video, write_video

from lad.extract.read_images import image_size, read_image
from lad.extract.video import DEFAULT_LIMITS, Limits, VideoError
from lad.work.manifest import Item, read_manifest

pytestmark = pytest.mark.slow

Lad = Callable[..., tuple[int, str, str]]

TINY = ("-o", "extract.backbone=tiny", "-o", "workers=1", "-o", "threads=1")
MEMORY = 300  # MB that reading all of the bombs may take; each would take more than a thousand


def rows(work: Path) -> dict[str, Item]:
    with read_manifest(work) as manifest:
        return {item.partition("/")[2]: row for (_, item), row in manifest.items("extract").items()}


# Bombs ----------------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel: 30000x30000 are half a megabyte, and 2.7 GB as RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(1), bytes(width // 8 + 1 + 1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png_video(path: Path, *images: bytes) -> Path:
    """A video of PNGs whose container says 64x48."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for number, image in enumerate(images):
            packet = av.Packet(image)
            packet.stream, packet.is_keyframe, packet.time_base = stream, True, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def mp4(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    samples: int = 1,
    tracks: int = 1,
    reference: bytes = b"",
    **more: bytes,
) -> Path:
    """An mp4 of a hundred bytes that claims what it is told to; `reference`: another file that holds its data."""
    start = box(b"ftyp", b"isom\0\0\0\0isom") + box(b"mdat", b"x" * 100)
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), struct.pack(">HH", *size), bytes(50))
    data = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), reference or box(b"url ", b"\0\0\0\1")))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, samples)),  # each of one byte: no line for each is needed
        box(b"stco", struct.pack(">III", 0, 1, len(start) - 100)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">IIHH", 25, samples, 0, 0)),
        box(b"hdlr", bytes(8), b"vide", bytes(13)),
        box(b"minf", box(b"vmhd", bytes(12)), data, table),
    )
    trak = [
        box(b"trak", box(b"tkhd", b"\0\0\0\3", bytes(8), struct.pack(">I", i + 1), bytes(68)), media)
        for i in range(tracks)
    ]
    path.write_bytes(
        start + box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 25, 1), bytes(80)), *trak, *more.values())
    )
    return path


def image_folder(folder: Path, *images: bytes) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number}.png").write_bytes(image)
    return folder


def encoded(suffix: str, size: tuple[int, int] = (64, 48)) -> bytes:
    return cv2.imencode(suffix, np.zeros((size[1], size[0], 3), np.uint8))[1].tobytes()


def claiming(path: Path) -> Path:
    """A Matroska file of 640x480 that says 16128x16128."""
    data = write_video(path, 3, size=(640, 480), codec="ffv1").read_bytes()
    for said in (b"\xb0\x82\x02\x80", b"\xba\x82\x01\xe0"):  # PixelWidth, PixelHeight
        assert data.count(said) == 1
        data = data.replace(said, said[:2] + b"\x3f\x00")
    path.write_bytes(data)
    return path


BOMBS: dict[str, tuple[str, str]] = {  # file -> (kind of failure, what is said)
    "claim.mp4": ("content", "(extract.max_pixels)"),
    "claim.mkv": ("limit", "frames of 16128x16128: beyond the limit of 67108864 pixels (extract.max_pixels)"),
    "png.mov": ("content", "no frame could be decoded"),
    "png.avi": ("content", "no frame could be decoded"),
    "samples.mp4": ("content", ""),
    "tracks.mp4": ("content", ""),
    "png": ("limit", "frames of 30000x30000: beyond the limit of 67108864 pixels (extract.max_pixels)"),
    "jpeg": ("limit", "frames of 30000x30000"),
    "tiff": ("limit", "frames of 30000x30000"),
}
READ_ALL = """
import json, sys
from pathlib import Path
import av, cv2, decord
from lad.extract.process_setup import prepare
from lad.extract.readers import open_reader, read_frames
from lad.extract.video import VideoError
prepare()
sys.path.insert(0, sys.argv[2])
from helpers.memory import peak_memory
before, said = peak_memory(), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[path.name] = ["frames", str(sum(1 for _ in read_frames(open_reader(path))))]
    except VideoError as error:
        said[path.name] = [error.kind, str(error)]
print(json.dumps({"memory": peak_memory() - before, "said": said}))
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What reading the bombs came to, in a process that may take little memory; and how much it took, in MB."""
    folder = tmp_path_factory.mktemp("bombs")
    large = png(30000, 30000)
    jpeg, tiff = bytearray(encoded(".jpg")), bytearray(encoded(".tif"))
    jpeg[(at := jpeg.index(b"\xff\xc0") + 5) : at + 4] = struct.pack(">HH", 30000, 30000)
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HHI", tag, 3, 1)) + 8
        tiff[at : at + 2] = struct.pack("<H", 30000)
    mp4(folder / "claim.mp4", size=(65535, 65535))
    claiming(folder / "claim.mkv")
    png_video(folder / "png.mov", large, large)
    png_video(folder / "png.avi", large, large)
    mp4(folder / "samples.mp4", samples=100_000_000)
    mp4(folder / "tracks.mp4", samples=20_000_000, tracks=20)
    image_folder(folder / "png", large)
    image_folder(folder / "jpeg", bytes(jpeg))
    image_folder(folder / "tiff", bytes(tiff))
    read_all = [sys.executable, "-c", READ_ALL, str(folder), str(TESTS)]
    result = subprocess.run(
        ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "-", *read_all],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_to_be_huge_is_refused(name: str, bombs: dict[str, dict[str, list[str]]]) -> None:
    kind, reason = bombs["said"][name]
    assert kind == BOMBS[name][0]
    assert BOMBS[name][1] in reason
    assert "\n" not in reason


def test_what_is_refused_takes_no_memory(bombs: dict[str, int]) -> None:
    assert bombs["memory"] < MEMORY


@pytest.mark.parametrize("choice", ["auto", "pyav"])
def test_a_frame_that_is_too_large_in_midstream_is_left_out_and_named(choice: str, tmp_path: Path) -> None:
    path = resized_video(tmp_path / "grows.mp4", (128, 96), (1600, 1200))
    assert {frame.shape for frame in read_to_the_end(path, choice=choice)[0]} == {(96, 128, 3), (1200, 1600, 3)}
    frames, info = read_to_the_end(path, choice=choice, limits=Limits(max_pixels=100_000))
    assert [frame.shape for frame in frames] == [(96, 128, 3)] * 2
    assert info.reader == "pyav"
    (warning,) = info.warnings
    assert "2 damaged" in warning
    assert "the limit of 100000 pixels (extract.max_pixels)" in warning


def test_decords_memory_is_bounded_by_the_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It decodes ahead of what is looked at, so its FFmpeg is told how much it may take in one piece."""
    path = write_video(tmp_path / "video.mp4", 40, size=(640, 480))
    monkeypatch.setattr("lad.extract.read_decord.MIN_BLOCK", 1 << 10)
    assert read_to_the_end(path)[1].reader == "decord"  # it needs no more than it is granted
    monkeypatch.setattr("lad.extract.read_decord.DECORD_PIXEL_BYTES", 0)
    assert read_to_the_end(path)[1].reader == "pyav"  # and is denied what is more


def test_an_image_that_is_too_large_is_replaced_by_its_neighbour(tmp_path: Path) -> None:
    small, large = encoded(".png"), encoded(".png", (640, 480))
    folder = image_folder(tmp_path / "frames", small, large, small)
    frames, info = read_to_the_end(folder, limits=Limits(max_pixels=10_000))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert info.warnings == [
        "1 images cannot be read and are replaced by their neighbours: 1.png; "
        "frames of 640x480: beyond the limit of 10000 pixels (extract.max_pixels)"
    ]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("size", [(64, 48), (300, 7), (1, 1), (4000, 33)])
def test_the_header_of_an_image_tells_its_size(suffix: str, size: tuple[int, int]) -> None:
    data = encoded(suffix, size)
    assert image_size(data) == size
    for end in range(0, 200, 3):  # cut anywhere
        assert image_size(data[:end]) in (None, size)


def test_headers_of_other_encoders_tell_the_size() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    progressive = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert progressive.find(b"\xff\xc2") > 0
    assert image_size(progressive) == (64, 48)
    exif = b"\xff\xe1\x00\x0c" + b"\xff\xc0\x00\x08\x08\xff\xff\xff\xff\x00"  # holds what looks like a frame header
    assert image_size(progressive[:2] + exif + progressive[2:]) == (64, 48)
    entries = struct.pack(">HHIIHHII", 256, 4, 1, 5000, 257, 4, 1, 70000)
    assert image_size(b"MM\0*" + struct.pack(">IH", 8, 2) + entries) == (5000, 70000)
    assert image_size(cv2.imencode(".bmp", picture)[1].tobytes()) is None


def test_a_tiff_whose_size_stands_elsewhere_is_refused(tmp_path: Path) -> None:
    """libtiff reads a number of 64 bits where the tag points to: the tag itself may say anything."""
    width, height, rows = 9000, 8000, zlib.compress(bytes(9000 * 8000), 9)
    short = {258: 8, 259: 8, 262: 1, 277: 1}  # 8 bits, deflate, black is zero, one channel
    begin = 8 + 2 + 12 * 9 + 4
    values = {256: (16, begin), 257: (16, begin + 8), **{tag: (3, value) for tag, value in short.items()}}
    values |= {273: (4, begin + 16), 278: (4, height), 279: (4, len(rows))}  # one strip
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(values.items()))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(values)) + tags + bytes(4) + struct.pack("<QQ", width, height)
    (tmp_path / "1.tif").write_bytes(head + rows)
    assert begin * (begin + 8) < DEFAULT_LIMITS.max_pixels < width * height
    image, _ = read_image(tmp_path / "1.tif", DEFAULT_LIMITS)
    assert image is None


def tiled_tiff(order: str, tile: tuple[int, int], kind: int) -> bytes:
    """A TIFF of 64x48 in tiles of that size."""
    values = {256: (3, 64), 257: (3, 48), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1)}
    values |= {322: (kind, tile[0]), 323: (kind, tile[1]), 324: (4, 8), 325: (4, 8)}
    shapes = {3: "HHIHxx", 4: "HHII"}  # a number of 16 bits stands in the first half
    entries = b"".join(struct.pack(order + shapes[form], tag, form, 1, value) for tag, (form, value) in values.items())
    return struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(values)) + entries + bytes(40)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_a_tiff_of_huge_tiles_is_beyond_the_limit_before_memory_is_taken(order: str, kind: int, tmp_path: Path) -> None:
    """It is decoded a tile at a time, each of which may be larger than the picture."""
    size = image_size(tiled_tiff(order, (60000, 48000), kind))
    assert size == (60000, 48000)
    assert image_size(tiled_tiff(order, (16, 16), kind)) == (64, 48)
    (tmp_path / "1.tif").write_bytes(tiled_tiff(order, (60000, 48000), kind))
    with pytest.raises(VideoError, match="frames of 60000x48000") as caught:
        read_image(tmp_path / "1.tif", DEFAULT_LIMITS)
    assert caught.value.kind == "limit"


def test_limits_are_configured_and_what_they_refused_is_tried_again(lad: Lad, tmp_path: Path) -> None:
    write_video(tmp_path / "small.mp4", 20)
    write_video(tmp_path / "large.mp4", 20, size=(128, 96))
    write_video(tmp_path / "long.mp4", 21)
    write_video(tmp_path / "slow.mp4", 2, pts=[0, 3_000_000])
    videos = [str(tmp_path / f"{name}.mp4") for name in ("small", "large", "long", "slow")]
    call = ("extract", *TINY, "--work", str(tmp_path / "work"), "--data", str(tmp_path))
    limits = ("-o", "extract.max_pixels=5000", "-o", "extract.max_frames=20", "-o", "extract.fps=25")
    status, _, err = lad(*call, *limits, *videos)
    assert status == 1
    said = {name: (row.status, row.failure, row.error) for name, row in rows(tmp_path / "work").items()}
    assert said == {
        "small": ("done", None, None),
        "large": (
            "failed",
            "limit",
            f"{videos[1]}: frames of 128x96: beyond the limit of 5000 pixels (extract.max_pixels)",
        ),
        "long": ("failed", "limit", f"{videos[2]}: more than 20 frames, the limit (extract.max_frames)"),
        "slow": ("failed", "limit", f"{videos[3]}: more than 20 frames, the limit (extract.max_frames)"),
    }
    assert "3 videos failed" in err
    status, out, _ = lad(*call, "-o", "extract.fps=25", "--json", *videos[:3])
    assert status == 0
    extracted = json.loads(out)["stages"]["extract"]
    assert (extracted["done"], extracted["skipped"]) == (2, 1)


def test_a_device_without_an_end_is_no_image(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "frames", encoded(".png"))
    (folder / "1.png").symlink_to("/dev/zero")
    assert len(read_to_the_end(folder)[0]) == 2


# Other files and addresses --------------------------------------------------------------------------------------------


@pytest.fixture
def visited() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def link(kind: bytes, target: str) -> bytes:
    return box(kind, bytes(4), target.encode() + b"\0")


def test_what_a_file_refers_to_is_not_opened(lad: Lad, tmp_path: Path, visited: tuple[str, list[str]]) -> None:
    address, asked = visited
    bait = write_video(tmp_path / "bait.ts", 5)
    texts = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{to}\n#EXT-X-ENDLIST\n",
        "m3u": "{to}\n",
        "concat": "ffconcat version 1.0\nfile '{to}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{to}\n",
        "dash": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011">{to}</MPD>',
        "asf": "[Reference]\nRef1={to}\n",
        "asx": '<asx version="3.0"><entry><ref href="{to}"/></entry></asx>',
        "rtsp": "RTSPtextRTSP://{to}",
        "smil": '<smil><body><video src="{to}"/></body></smil>',
    }
    videos: list[Path] = []
    for target, to in (("file", str(bait)), ("web", f"{address}/bait.ts")):
        for name, text in texts.items():
            for suffix in (".mp4", ".m3u8"):
                videos.append(tmp_path / f"{name}-{target}{suffix}")
                videos[-1].write_text(text.format(to=to))
        videos.append(mp4(tmp_path / f"reference-{target}.mov", reference=link(b"url ", to)))
        alias = box(b"alis", bytes(4), bytes(150), struct.pack(">HH", 2, len(to)), to.encode())
        videos.append(mp4(tmp_path / f"alias-{target}.mov", reference=alias))
        data = struct.pack(">4sI", b"url ", len(to) + 1) + to.encode() + b"\0"
        redirect = box(b"rmra", box(b"rmda", box(b"rdrf", bytes(4), data)))
        videos.append(mp4(tmp_path / f"redirect-{target}.mov", tracks=0, rmra=redirect))
    with av.open(str(tmp_path / "hls-file.m3u8")) as container:
        assert len(list(container.decode(video=0))) == 5, "the playlist leads nowhere, so this test would show nothing"
    os.utime(bait, (0, 1_000_000))  # reading it would change the first
    work = tmp_path / "work"
    status, _, _ = lad("extract", *TINY, "--work", str(work), "--data", str(tmp_path), *map(str, videos))
    assert status == 1
    failed = rows(work)
    assert len(failed) == len(videos)
    assert {(row.status, row.failure) for row in failed.values()} == {("failed", "content")}
    assert bait.stat().st_atime == 0
    assert asked == []
    assert not list(work.rglob("*.npy"))


def test_an_address_of_ffmpeg_is_no_name_of_a_video(lad: Lad, tmp_path: Path, visited: tuple[str, list[str]]) -> None:
    _, asked = visited
    bait = write_video(tmp_path / "bait.mp4", 3)
    for name in (f"file://{bait}", f"concat:{bait}|{bait}", f"subfile,,start,0,end,0,,:{bait}"):
        status, _, err = lad("extract", *TINY, "--work", str(tmp_path / "work"), name)
        assert status == 2
        assert "no such file" in err or "videos are fetched from s3://" in err
        (tmp_path / "dataset.csv").write_text(f'video,path\na,"{name}"\n')
        data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "work"))
        assert lad("extract", *TINY, *data)[0] == (2 if "://" in name else 1)
    assert {row.failure for row in rows(tmp_path / "work").values()} == {"io"}
    assert asked == []


@pytest.mark.parametrize("choice", ["auto", "pyav"])
@pytest.mark.parametrize(
    "name", ["concat:bait.mp4", "subfile,,start,0,end,0,,:bait.mp4", "cache:bait.mp4", "file:bait.mp4"]
)
def test_a_name_that_is_a_protocol_of_ffmpeg_is_a_name(
    name: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("bait.mp4"), [numbered_frame(100 + number, (64, 48)) for number in range(3)])
    write_video(tmp_path / "video.mp4", 3).rename(name)
    frames, _ = read_to_the_end(Path(name), choice=choice)
    assert [read_number(frame) for frame in frames] == [0, 1, 2]


def test_a_name_that_is_a_pattern_opens_no_other_image(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"img{number}.jpg").write_bytes(encoded(".jpg"))
    (tmp_path / "img%d.jpg").write_bytes(encoded(".jpg", (128, 96)))
    with av.open(str(tmp_path / "img%d.jpg")) as container:
        assert len(list(container.demux(video=0))) > 3, (
            "FFmpeg takes it for no pattern, so this test would show nothing"
        )
    with pytest.raises(VideoError, match="not a readable video"):
        read_to_the_end(tmp_path / "img%d.jpg")


# Names and places -----------------------------------------------------------------------------------------------------


def test_nothing_is_written_outside_the_work_directory(lad: Lad, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    good = write_video(outside / "good.mp4", 3)
    names = ["..\\..\\x.mp4", "a\nb.mp4", "summary.mp4", "\x1b]0;x\x07.mp4", "....mp4", "C:x.mp4", "~.mp4", "$HOME.mp4"]
    footage = tmp_path / "footage"
    footage.mkdir()
    for name in names:
        shutil.copy(good, footage / name)
    (footage / "link.mp4").symlink_to(good)  # reading through a link is the user's wish, writing is not
    names.append("link.mp4")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    work = tmp_path / "deep" / "work"
    call = ("extract", *TINY, "--work", str(work), "--data", str(footage))
    status, _, _ = lad(*call, *(str(footage / name) for name in names))
    assert status == 0
    assert len(list((work / "features" / "rgb").rglob("*.npy"))) == len(names)
    known = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if not path.is_relative_to(work.parent)}
    assert {path: stamp for path, stamp in known.items() if path != tmp_path} == before


@pytest.mark.parametrize("video", ["../x", "/tmp/x", "a/../../x", "a\\..\\x", "a\0b", "a\nb"])
def test_hostile_ids_of_a_dataset_are_refused(video: str, lad: Lad, tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 3)
    (tmp_path / "dataset.csv").write_text(f'video,path\n"{video}",{good}\n')
    data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "a" / "work"))
    status, _, err = lad("extract", *TINY, *data)
    assert status == 2
    assert "must be a relative path" in err
    assert not list(tmp_path.rglob("*.npy"))


TOO_LONG = {"name": "a" * 300, "path": "b/" * 3000}
PLACES = [
    ["extract", "-c", "{}"],
    ["extract", "--data", "{}"],
    ["extract", "--work", "{}", "{video}"],
    ["extract", "{}"],
    ["extract", "-o", "data.dataset={}"],
    ["extract", "-o", "data.root={}"],
    ["extract", "-o", "name={}", "{video}"],
    ["score", "--checkpoint", "{}", "{video}"],
    ["score", "-o", "score.checkpoint={}", "{video}"],
    ["evaluate", "--scores", "{}", "--data", "{folder}"],
    ["export", "--layout", "released", "--out", "{}", "--data", "{folder}"],
    ["status", "-c", "{}"],
    ["status", "--work", "{}"],
    ["prepare", "ped2", "--root", "{}"],
    ["prepare", "folder", "--root", "{folder}", "--out", "{}"],
    ["weights", "fetch", "kinetics400-rgb", "--from", "{}"],
    ["demo", "--work", "{}"],
]


@pytest.mark.parametrize("words", PLACES, ids=" ".join)
@pytest.mark.parametrize("path", [*TOO_LONG, "nul"])
def test_a_path_that_can_be_none_is_one_line(
    words: list[str], path: str, lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    video = write_video(tmp_path / "footage" / "video.mp4", 3)
    before = sorted(tmp_path.rglob("*"))
    setting = any(word.endswith("={}") for word in words)
    text = TOO_LONG.get(path) or (r'"a\0b"' if setting else "a\0b")
    status, _, err = lad(*(word.format(text, video=video, folder=video.parent) for word in words))
    assert status == 2
    said = [line for line in err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert len(said) == 1, err
    assert len(said[0]) < 1000
    assert ("leave that out" if path == "nul" else "shorten it") in said[0]
    assert ("a\\0b" in said[0] or "a\\x00b" in said[0]) if path == "nul" else text[:60] in said[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words", [w for w in PLACES if not {"--work", "--out"} & set(w) and "name={}" not in w], ids=" ".join
)
def test_a_home_of_nobody_is_one_line(
    words: list[str], lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    video = write_video(tmp_path / "footage" / "video.mp4", 3)
    status, _, err = lad(*(word.format("~nobody/x", video=video, folder=video.parent) for word in words))
    assert status == 2
    (said,) = [line for line in err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert "~nobody/x" in said


def test_a_cache_in_a_home_of_nobody_is_one_line(lad: Lad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAD_CACHE", "~nobody-of-this-name/cache")
    assert lad("weights", "list") == (
        2,
        "",
        "error: ~nobody-of-this-name/cache: no such home directory: set LAD_CACHE to a folder\n",
    )


# Code -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{mark}]", "!!python/name:os.system"])
def test_yaml_runs_no_code(tag: str, lad: Lad, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.yaml").write_text(f"name: {tag.format(mark=mark)}\n")
    for words in (["-c", str(tmp_path / "evil.yaml")], ["-o", f"train.steps={tag.format(mark=mark)}"]):
        status, _, err = lad("extract", *words, "--work", str(tmp_path / "work"))
        assert status == 2
        assert "not valid YAML" in err
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_and_weights_run_no_code(
    zipped: bool, lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    mark, evil = tmp_path / "ran", tmp_path / "evil.pt"
    call = Calls(os.mkdir, str(mark))
    data = {"format": 2, "model": {"weight": torch.zeros(1)}, "config": call, "model_state": call}
    torch.save(data, evil, _use_new_zipfile_serialization=zipped)
    video = write_video(tmp_path / "video.mp4", 3)
    status, _, err = lad("score", "--checkpoint", str(evil), "--work", str(tmp_path / "work"), str(video))
    assert status == 2
    assert "evil.pt: not a checkpoint that can be read safely" in err
    for name in ("kinetics400-r50", "kinetics400-rgb"):
        status, _, err = lad("weights", "fetch", name, "--from", str(evil))
        assert status == 2
        assert "cannot be used" in err
    assert not mark.exists()


def test_label_files_run_no_code(lad: Lad, tmp_path: Path) -> None:
    mark, base = tmp_path / "ran", tmp_path / "LAD2000"
    (base / "GT").mkdir(parents=True)
    (base / "features_video" / "i3d" / "rgb").mkdir(parents=True)
    (base / "features_video" / "i3d" / "flow").mkdir()
    for kind in ("frame", "video"):
        (base / "GT" / f"{kind}_label_IET.pickle").write_bytes(pickle.dumps({"a": Calls(os.mkdir, str(mark))}))
    out = tmp_path / "dataset.csv"
    status, _, err = lad("prepare", "lad2000", "--layout", "released", "--root", str(tmp_path), "--out", str(out))
    assert status == 2
    assert "only plain data and numpy arrays are read" in err
    assert not mark.exists()


def test_features_and_scores_run_no_code(lad: Lad, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = np.empty(1, dtype=object)
    evil[0] = Calls(os.mkdir, str(mark))
    (tmp_path / "scores").mkdir()
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.save(tmp_path / "scores" / "a.npy", evil, allow_pickle=True)
    (tmp_path / "scores" / "b.npy").write_bytes(pickle.dumps(evil[0]))  # which np.load takes for an array
    (tmp_path / "dataset.csv").write_text(
        "video,path,split,label,events,n_frames\na,a.npy,test,x,,16\nb,b.npy,test,y,0-8,16\n"
    )
    data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "work"))
    status, _, err = lad("extract", *TINY, *data)
    assert status == 1
    assert "not a plain .npy array" in err
    status, _, err = lad("evaluate", *data, "--scores", str(tmp_path / "scores"))
    assert status == 2
    assert "not a plain .npy array" in err
    assert not mark.exists()


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_a_device_or_a_pipe_is_no_video_and_hangs_nothing(lad, tmp_path, path):
    if path == "pipe":
        os.mkfifo(tmp_path / path)
    (tmp_path / "dataset.csv").write_text(f"video,path\na,{path}\n")
    work = str(tmp_path / "work")
    status, _, err = lad(
        "extract", "-o", "extract.backbone=tiny", "-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", work
    )
    assert status == 1 and "not a regular file" in err


def test_a_work_directory_that_is_too_deep_for_its_manifest_says_so(lad, tmp_path, make_video):
    work = tmp_path.joinpath(*["w" * 100] * 6)
    status, _, err = lad("extract", *TINY, str(make_video(tmp_path / "a.mp4")), "--work", str(work))
    assert status == 2
    assert "choose a shorter work directory" in err and "Traceback" not in err
