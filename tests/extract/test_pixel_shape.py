"""Pixels that are not square, as television has them: frames that keep their shape keep the one that is displayed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.reading import numbers, read
from helpers.videos import numbered_frame

from lad.extract import worker
from lad.extract.clips import ClipSpec, resize
from lad.extract.jobs import Clips, Job


def write(path: Path, pixel: Fraction, size: tuple[int, int] = (192, 96)) -> Path:
    """Twenty numbered frames of `size` (width, height), stored so; a pixel is shown `pixel` times as wide as high."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clips(path: Path, monkeypatch: pytest.MonkeyPatch, choice: str = "auto", **spec: Any) -> Any:
    """The first clips that a decoding process sends of a video."""
    sent: list[Any] = []
    monkeypatch.setattr(worker, "send", lambda _pipe, message: sent.append(message))
    no_pipe: Any = None
    worker.run_job(no_pipe, Job("video", path, ClipSpec(**spec), choice=choice))  # type: ignore[arg-type]
    return next(message for message in sent if isinstance(message, Clips)).batch


@pytest.mark.parametrize("choice", ["auto", "pyav"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
@pytest.mark.parametrize(
    ("pixel", "width"), [(Fraction(1, 1), 128), (Fraction(3, 2), 192), (Fraction(1, 2), 64), (Fraction(400, 401), 128)]
)
def test_frames_that_keep_their_shape_are_seen_as_they_are_displayed(
    pixel: Fraction, width: int, suffix: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / f"a.{suffix}", pixel)
    frames, info = read(path, choice=choice)
    assert numbers(frames) == list(range(20))
    assert info.size == frames[0].shape[:2] == (96, 192)  # as they are stored
    side = min(64, width)
    batch = clips(path, monkeypatch, choice, streams=("rgb",), rgb_short_side=side)
    assert batch["rgb"].shape[2:4] == (64, width)


def test_crops_are_taken_of_frames_as_they_are_displayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", Fraction(3, 2))
    batch = clips(path, monkeypatch, streams=("rgb", "flow"), crops=10)
    assert batch["rgb"].shape[2:4] == batch["flow"].shape[2:4] == (256, 768)


def test_squashed_frames_stay_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", Fraction(3, 2))
    seen = clips(path, monkeypatch, streams=("rgb",))["rgb"][0]
    assert all(np.array_equal(image, resize(frame)) for image, frame in zip(seen, read(path)[0], strict=False))


def test_of_a_turned_video_the_shape_of_pixels_is_turned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", Fraction(3, 2))
    unturned = b"".join(cell.to_bytes(4, "big") for cell in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join(cell.to_bytes(4, "big", signed=True) for cell in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    data = path.read_bytes()
    place = data.index(unturned, data.index(b"tkhd"))
    path.write_bytes(data[:place] + quarter + data[place + 36 :])
    assert read(path)[1].size == (192, 96)
    batch = clips(path, monkeypatch, streams=("rgb",), rgb_short_side=64)
    assert batch["rgb"].shape[2:4] == (192, 64)


@pytest.mark.parametrize("pixel", [Fraction(1, 65000), Fraction(65000, 1)])
def test_a_pixel_of_a_shape_that_nobody_has_is_square(
    pixel: Fraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mkv", pixel)
    assert clips(path, monkeypatch, streams=("rgb",), rgb_short_side=64)["rgb"].shape[2:4] == (64, 128)
