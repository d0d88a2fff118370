"""What reading a folder of images promises."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from helpers.reading import numbers, read, refusal
from helpers.videos import frame_folder, numbered_frame

from lad.files import numeric_order


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
