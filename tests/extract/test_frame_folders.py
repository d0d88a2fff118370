"""What reading a folder of images promises."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.reading import numbers, read, read_to_the_end, refusal
from helpers.videos import frame_folder, numbered_frame

from lad.files import frame_files, numeric_order
from lad.finding import find_videos


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
