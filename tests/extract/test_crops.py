"""Crops of clips, and rgb that keeps its shape: of what frames they are taken, and which they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.cutting import cut, joined, median_flow, moving, numbered
from helpers.videos import numbered_frame, read_number

from lad.extract.clips import FRAME_SIZE, crop_views, short_side_shape


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((320, 240), (256, 341)),
        ((240, 320), (341, 256)),
        ((1920, 1080), (256, 455)),
        ((64, 64), (256, 256)),
        ((2000, 100), (256, 1024)),
        ((20, 4000), (1024, 256)),
    ],
)
def test_crops_are_taken_of_frames_whose_short_side_is_256(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert short_side_shape(size[1], size[0]) == shape
    frames = [numbered_frame(number, size) for number in range(3)]
    (batch,) = cut(iter(frames), ("rgb", "flow"), crops=10)
    assert batch["rgb"].shape == (1, 16, *shape, 3)
    assert batch["flow"].shape == (1, 16, *shape, 2)
    assert [read_number(image) for image in batch["rgb"][0]] == [0, 1] + [2] * 14
    expected = cv2.resize(frames[1], shape[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(batch["rgb"][0, 1], expected)


@pytest.mark.parametrize(("size", "shape"), [((96, 64), (240, 360)), ((64, 96), (360, 240)), ((400, 20), (240, 960))])
def test_rgb_keeps_its_shape_where_asked_and_flow_stays_as_it_is(size: tuple[int, int], shape: tuple[int, int]) -> None:
    frames = [numbered_frame(number, size) for number in range(40)]
    (plain,) = cut(iter(frames), ("rgb", "flow"))
    (larger,) = cut(iter(frames), ("rgb", "flow"), rgb_short_side=240)
    assert larger["rgb"].shape == (3, 16, *shape, 3) and larger["rgb"].dtype == np.uint8
    assert np.array_equal(larger["rgb"][1, 4], cv2.resize(frames[20], shape[::-1], interpolation=cv2.INTER_LINEAR))
    assert np.array_equal(larger["flow"], plain["flow"])
    (alone,) = cut(iter(frames), rgb_short_side=240)
    assert np.array_equal(alone["rgb"], larger["rgb"])
    (flow,) = cut(iter(frames), ("flow",), rgb_short_side=240)
    assert np.array_equal(flow["flow"], plain["flow"])
    (rest,) = cut(iter(frames), ("rgb", "flow"), rgb_short_side=240, skip_clips=2, batch_clips=2)
    assert all(np.array_equal(rest[stream], larger[stream][2:]) for stream in ("rgb", "flow"))


def test_crops_have_a_size_of_their_own() -> None:
    with pytest.raises(ValueError, match="choose one of crops and rgb_short_side"):
        cut(numbered(3), crops=5, rgb_short_side=240)


def test_flow_for_crops_is_in_pixels_of_the_larger_frames() -> None:
    clips = joined(cut(iter(moving([(6, 4)], size=(768, 512))), streams=("flow",), crops=5), "flow")
    assert median_flow(clips[0, 0]) == pytest.approx((3, 2), abs=0.3)


def test_the_first_frame_s_shape_is_every_frame_s() -> None:
    frames = [numbered_frame(0, (320, 240)), numbered_frame(1, (240, 320))]
    clips = joined(cut(iter(frames), crops=5), "rgb")
    assert clips.shape == (1, 16, 256, 341, 3)
    assert [read_number(image) for image in clips[0, :2]] == [0, 1]


def naive_crops(clips: np.ndarray, stream: str) -> list[np.ndarray]:
    height, width = clips.shape[2:4]
    size = FRAME_SIZE
    five = [
        clips[:, :, :size, :size],
        clips[:, :, :size, width - size :],
        clips[:, :, height - size :, :size],
        clips[:, :, height - size :, width - size :],
        clips[:, :, (height - size) // 2 :, (width - size) // 2 :][:, :, :size, :size],
    ]
    sign = np.array([-1, 1] if stream == "flow" else [1, 1, 1], clips.dtype)
    return five + [np.flip(view, axis=3) * sign for view in five]


@pytest.mark.parametrize("shape", [(256, 341), (300, 256), (256, 256), (224, 224)])
@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_ten_crops_are_corners_centre_and_their_mirror_images(shape: tuple[int, int], stream: str) -> None:
    rng = np.random.default_rng(0)
    if stream == "rgb":
        clips = rng.integers(0, 256, (2, 3, *shape, 3), dtype=np.uint8)
    else:
        clips = rng.normal(0, 5, (2, 3, *shape, 2)).astype(np.float32)
    before = clips.copy()
    views = list(crop_views(clips, 10, stream))
    assert len(views) == 10
    for number, (view, expected) in enumerate(zip(views, naive_crops(clips, stream), strict=True)):
        assert view.dtype == clips.dtype
        assert view.flags.c_contiguous
        assert np.array_equal(view, expected), number
    for view, expected in zip(crop_views(clips, 5, stream), views[:5], strict=True):
        assert np.array_equal(view, expected)
    assert np.array_equal(clips, before)


def test_one_crop_is_the_clip_itself() -> None:
    clips = np.zeros((1, 16, 224, 224, 3), np.uint8)
    (view,) = crop_views(clips, 1, "rgb")
    assert view is clips


def test_frames_too_small_for_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="224x224"):
        list(crop_views(np.zeros((1, 16, 224, 200, 3), np.uint8), 5, "rgb"))
