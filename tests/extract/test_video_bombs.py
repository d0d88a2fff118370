"""Small files that claim to be huge: they are refused, or left out and named, before they take memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from helpers.crafted import encoded, mp4
from helpers.places import TESTS
from helpers.reading import read_to_the_end
from helpers.videos import resized_video, write_video
from helpers.work import items

from lad.extract.read_images import image_size, read_image
from lad.extract.video import DEFAULT_LIMITS, Limits, VideoError

pytestmark = pytest.mark.slow

Lad = Callable[..., tuple[int, str, str]]

TINY = ("-o", "extract.backbone=tiny", "-o", "workers=1", "-o", "threads=1")
MEMORY = 300  # MB that reading all of the bombs may take; each would take more than a thousand


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


def image_folder(folder: Path, *images: bytes) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number}.png").write_bytes(image)
    return folder


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
    found = items(tmp_path / "work", "extract")
    said = {item.removeprefix("rgb/"): (row.status, row.failure, row.error) for item, row in found.items()}
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
