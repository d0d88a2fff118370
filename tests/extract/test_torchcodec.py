"""torchcodec in decord's place: the same frames, and what it gets wrong or cannot read is PyAV's, as with decord.

On a CPU all of it can be tested but NVDEC itself. These tests need torchcodec and an FFmpeg that it finds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.reading import numbers, read, read_to_the_end
from helpers.videos import grainy_frames, resized_video, write_video

from lad.config import ExtractConfig, load_config
from lad.detector.checkpoint import Checkpoint, save_checkpoint, scoring_config
from lad.extract import read_torchcodec, worker
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Failed, Job
from lad.extract.read_decord import ReaderGaveUp
from lad.extract.read_torchcodec import ReaderMissing, check_torchcodec
from lad.extract.video import VideoError
from lad.features.recipe import make_recipe
from lad.models.aed import AED

Lad = Callable[..., tuple[int, str, str]]
SIZE = (96, 64)
KINDS: dict[str, dict[str, object]] = {
    "h264.mp4": {},
    "b-frames.mkv": {"codec_options": {"bf": "3", "g": "12"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "sound.mkv": {"audio": True},
    "h264.flv": {},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "wmv2.wmv": {"codec": "wmv2"},
    "full-range.mp4": {"pix_fmt": "yuvj420p"},
    "444.mp4": {"pix_fmt": "yuv444p"},
    "grey.mp4": {"pix_fmt": "gray"},
    "wide.mp4": {"size": (362, 242)},
}


def is_usable() -> bool:
    try:
        check_torchcodec()
    except ReaderMissing:
        return False
    return True


needs_torchcodec = pytest.mark.skipif(not is_usable(), reason="NO TORCHCODEC, or no FFmpeg that it finds")


def same(path: Path) -> None:
    """See that torchcodec gives what PyAV does, bit for bit."""
    frames, info = read(path, first="torchcodec")
    expected, other = read(path, choice="pyav")
    assert (info.reader, other.reader) == ("torchcodec", "pyav")
    assert len(frames) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert info.times == pytest.approx(other.times)
    assert (info.size, info.fps, info.pixel_aspect, info.warnings) == (
        other.size,
        pytest.approx(other.fps),
        other.pixel_aspect,
        other.warnings,
    )


@needs_torchcodec
@pytest.mark.parametrize("name", KINDS)
def test_it_gives_the_pixels_order_and_times_of_pyav(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, 40, **{"size": SIZE, **KINDS[name]})  # type: ignore[arg-type]
    same(path)
    assert numbers(read(path, first="torchcodec")[0]) == list(range(40))


@needs_torchcodec
@pytest.mark.real
@pytest.mark.slow
def test_of_real_videos_too(shared_data: Path) -> None:
    paths = sorted((shared_data / "samples").glob("*.mp4")) + sorted((shared_data / "ur_fall").rglob("*.mp4"))[:2]
    assert len(paths) == 4
    for path in paths:
        same(path)


@needs_torchcodec
def test_frames_of_a_variable_rate_have_their_own_times(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 6, 7, 12, 13, 14, 15, 25, 26, 40]
    path = write_video(tmp_path / "a.mp4", len(ticks), size=SIZE, pts=[40 * tick for tick in ticks])  # ms
    same(path)
    assert read(path, first="torchcodec")[1].times == pytest.approx([tick / 25 for tick in ticks], abs=1e-3)


@needs_torchcodec
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_is_read_by_pyav_and_upright(rotation: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10, size=SIZE, rotation=rotation)
    frames, info = read(path, first="torchcodec")
    assert info.reader == "pyav"
    assert all(np.array_equal(a, b) for a, b in zip(frames, read(path)[0], strict=True))


@needs_torchcodec
@pytest.mark.parametrize("name", ["h264.ts", "odd.mp4", "10-bit.mp4", "narrow.mp4"])
def test_what_decord_is_not_given_it_is_not_given_either(name: str, tmp_path: Path) -> None:
    how = {
        "odd.mp4": {"pix_fmt": "yuv444p", "size": (65, 49)},
        "10-bit.mp4": {"pix_fmt": "yuv420p10le"},
        "narrow.mp4": {"size": (48, 64)},
    }
    path = write_video(tmp_path / name, 10, **how.get(name, {}))  # type: ignore[arg-type]
    frames, info = read(path, first="torchcodec")
    assert (info.reader, len(frames)) == ("pyav", 10)


@needs_torchcodec
def test_an_avi_without_times_is_given_up_and_read_by_pyav(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 30, size=SIZE, codec_options={"bf": "3", "b_strategy": "0"})
    frames, info = read_to_the_end(path, first="torchcodec")
    assert numbers(frames) == list(range(30))
    assert info.reader == "pyav"


@needs_torchcodec
def test_damage_that_ffmpeg_conceals_is_noticed(tmp_path: Path) -> None:
    size = (160, 120)
    path = write_video(tmp_path / "a.mp4", grainy_frames(30, size), size=size, codec_options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(ReaderGaveUp, match="torchcodec"):
        read(path, first="torchcodec")
    frames, info = read_to_the_end(path, first="torchcodec")
    expected, other = read_to_the_end(path)
    assert info == other
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))


@needs_torchcodec
def test_frames_of_another_size_in_midstream_are_pyavs(tmp_path: Path) -> None:
    path = resized_video(tmp_path / "grows.mp4", (128, 96), (320, 240))
    frames, info = read_to_the_end(path, first="torchcodec")
    assert {frame.shape for frame in frames} == {(96, 128, 3), (240, 320, 3)}
    assert info.reader == "pyav"


@needs_torchcodec
def test_its_memory_is_bounded_by_the_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 10, size=(640, 480))
    assert read_to_the_end(path, first="torchcodec")[1].reader == "torchcodec"
    monkeypatch.setattr("lad.extract.read_torchcodec.MIN_BLOCK", 1 << 10)
    monkeypatch.setattr("lad.extract.read_torchcodec.DECORD_PIXEL_BYTES", 0)
    assert read_to_the_end(path, first="torchcodec")[1].reader != "torchcodec"


@needs_torchcodec
@pytest.mark.parametrize("content", [b"", b"no video", None])
def test_a_file_that_is_none_fails_as_it_does_without(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    errors = []
    for first in ("decord", "torchcodec"):
        with pytest.raises(VideoError) as caught:
            read(path, first=first)
        errors.append((caught.value.kind, str(caught.value)))
    assert errors[0] == errors[1]


class Decoder:
    """One of a GPU, as far as the reader sees it."""

    def __init__(self, cpu_fallback: bool = False, late: int = 0, full: str = "", **_: object) -> None:
        if full == "opened":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.cpu_fallback, self.late, self.full = cpu_fallback, late, full
        self.metadata = SimpleNamespace(width=SIZE[0], height=SIZE[1])

    def __len__(self) -> int:
        return 20

    def get_frames_in_range(self, start: int, stop: int) -> SimpleNamespace:
        if self.full and start:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        numbers = torch.arange(start, stop) + (self.late if start >= 8 else 0)
        pixels = numbers.to(torch.uint8)[:, None, None, None].expand(-1, SIZE[1], SIZE[0], 3)
        return SimpleNamespace(data=pixels, pts_seconds=numbers.double() / 25)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A GPU's decoder in torchcodec's place."""

    def make(**how: object) -> None:
        decoders = SimpleNamespace(VideoDecoder=lambda *_, **options: Decoder(**how, **options))  # type: ignore[arg-type]
        module = SimpleNamespace(decoders=decoders, ffmpeg_major_version=8, core_library_path="")
        monkeypatch.setitem(sys.modules, "torchcodec", module)
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
        monkeypatch.setattr(read_torchcodec, "cap_torchcodec", lambda _: None)
        monkeypatch.setattr(read_torchcodec, "torchcodec_complaints", list)

    return make


@pytest.mark.parametrize("lazy", [False, True])
def test_a_gpu_gives_its_own_pixels_whether_they_are_all_looked_at_or_not(
    lazy: bool, tmp_path: Path, gpu: Callable[..., None]
) -> None:
    gpu()
    path = write_video(tmp_path / "a.mp4", 20, size=SIZE)
    frames, info = read(path, first="torchcodec", device="cuda", lazy=lazy)
    assert [frame[0, 0, 0] for frame in frames] == list(range(20))
    assert info.reader == "torchcodec"


def test_what_a_gpu_cannot_decode_is_decords(tmp_path: Path, gpu: Callable[..., None]) -> None:
    gpu(cpu_fallback=True)
    path = write_video(tmp_path / "a.mp4", 20, size=SIZE)
    frames, info = read(path, first="torchcodec", device="cuda")
    assert (numbers(frames), info.reader) == (list(range(20)), "decord")


def test_a_frame_that_it_leaves_out_is_noticed(tmp_path: Path, gpu: Callable[..., None]) -> None:
    gpu(late=1)
    path = write_video(tmp_path / "a.mp4", 20, size=SIZE)
    with pytest.raises(ReaderGaveUp, match="other frames than there are by frame 8 of 20"):
        read(path, first="torchcodec", device="cuda")


@pytest.mark.parametrize("when", ["opened", "read"])
def test_a_gpu_without_memory_fails_the_video_and_no_other_reader_takes_it(
    when: str, tmp_path: Path, gpu: Callable[..., None]
) -> None:
    gpu(full=when)
    path = write_video(tmp_path / "a.mp4", 20, size=SIZE)
    with pytest.raises(VideoError, match="no memory for one more decoder") as caught:
        read(path, first="torchcodec", device="cuda")
    assert caught.value.kind == "worker", "the next run tries it again"


def test_a_decoding_process_says_that_it_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    said: list[object] = []
    monkeypatch.setattr(worker, "send", lambda _, message: said.append(message))
    path = write_video(tmp_path / "a.mp4", 20, size=SIZE)
    worker.run_job(0, Job("a", path, ClipSpec(("rgb",), reader="torchcodec")))
    (failed,) = said
    assert isinstance(failed, Failed)
    assert failed.failure == "worker"
    assert "torchcodec is not installed: pip install 'lad-video[torchcodec]'" in failed.error


def test_without_it_nothing_is_extracted_and_one_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lad: Lad
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    write_video(tmp_path / "a.mp4", 20, size=SIZE)
    words = ["extract", str(tmp_path / "a.mp4"), "--work", str(tmp_path / "work"), "--device", "cpu"]
    status, _, err = lad(*words, "-o", "extract.backbone=tiny", "-o", "extract.reader=torchcodec")
    assert status == 2
    (line,) = [line for line in err.splitlines() if "torchcodec" in line and "rror" in line]
    assert "pip install 'lad-video[torchcodec]'" in line and "extract.reader=decord" in line


def test_an_ffmpeg_that_it_does_not_find_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace(ffmpeg_major_version=None))
    with pytest.raises(ReaderMissing, match="finds no FFmpeg"):
        check_torchcodec()


@pytest.mark.gpu
@pytest.mark.real
@needs_torchcodec
def test_a_gpus_decoder_gives_every_frame_in_order_and_nearly_pyavs_pixels(shared_data: Path, tmp_path: Path) -> None:
    numbered = write_video(tmp_path / "a.mp4", 40, size=(320, 240), codec_options={"bf": "3", "g": "12"})
    frames, info = read(numbered, first="torchcodec", device="cuda")
    assert (numbers(frames), info.reader) == (list(range(40)), "torchcodec")
    (path, *_) = sorted((shared_data / "samples").glob("*.mp4"))
    found = np.stack(read(path, first="torchcodec", device="cuda")[0]).astype(int)
    expected = np.stack(read(path)[0])
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 3  # of 255: it rounds colours, and places them, in its own way


@needs_torchcodec
@pytest.mark.slow
def test_features_are_those_of_decord_and_the_manifest_names_the_reader(tmp_path: Path, lad: Lad) -> None:
    write_video(tmp_path / "a.mp4", 40, size=SIZE)
    features = []
    for reader in ("decord", "torchcodec"):
        work = tmp_path / reader
        words = [
            "extract",
            str(tmp_path / "a.mp4"),
            "--work",
            str(work),
            "--device",
            "cpu",
            "-o",
            f"extract.reader={reader}",
        ]
        status, _, err = lad(*words, "-o", "extract.backbone=tiny")
        assert status == 0, err
        (file,) = (work / "features" / "rgb").glob("*.npy")
        features.append(np.load(file))
        rows = [json.loads(line) for line in (work / "manifest.jsonl").read_text().splitlines()]
        assert [row["info"]["reader"] for row in rows if row.get("info", {}).get("reader")] == [reader]
    assert np.array_equal(*features)


def test_the_reader_is_a_fact_of_features_only_where_it_is_not_decord() -> None:
    """So that features of before it could be chosen stay what they are."""
    recipes = {
        (reader, device): make_recipe(
            ExtractConfig(backbone="tiny", motion=True, reader=reader),  # type: ignore[arg-type]
            device=device,
            threads=1,
        )
        for reader in ("decord", "torchcodec")
        for device in ("cpu", "cuda:1")
    }
    for stream in ("rgb", "motion"):
        for device, kind in (("cpu", "cpu"), ("cuda:1", "cuda")):
            facts = recipes["decord", device].facts(stream)
            assert "reader" not in facts
            assert recipes["torchcodec", device].facts(stream) == {**facts, "reader": f"torchcodec, {kind}"}


def test_a_detector_says_nothing_of_the_reader(tmp_path: Path) -> None:
    """Whoever scores with it may have no torchcodec."""
    made_with = load_config(None, ["extract.reader=torchcodec", "extract.fps=12"]).model_dump(mode="json")
    torch.manual_seed(0)
    save_checkpoint(
        tmp_path / "best.pt", Checkpoint(AED(feature_dim=1024, classes=2, window=5).state_dict(), ["a", "b"], made_with)
    )
    extract = scoring_config(tmp_path / "best.pt", []).extract
    assert (extract.reader, extract.fps) == ("decord", 12)
