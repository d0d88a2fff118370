"""What the stream `motion` promises: how fast things move, for each frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lad.clip import CLIP_FRAMES
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.extractor import FeatureExtractor
from lad.extract.motion import DIM, SHARES, motion_of

SIZE = (360, 240)  # of the frames that motion is computed on, where they are three by two


def texture(width: int, height: int) -> np.ndarray:
    grain = np.random.default_rng(3).integers(0, 255, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    return cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)


def passing(steps: list[int], size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A still picture through which a box goes to the right by each of `steps` pixels."""
    width, height = size
    box = texture(3 * width, height)[: height // 5, : width // 6]
    frames, left = [], 20
    for step in [0, *steps]:
        left += step
        frame = texture(width, height)
        frame[height // 3 : height // 3 + box.shape[0], left : left + box.shape[1]] = box
        frames.append(frame)
    return frames


def cut(frames: list[np.ndarray], *streams: str, skip_clips: int = 0) -> np.ndarray:
    spec = ClipSpec(streams or ("motion",), batch_clips=1)
    return np.concatenate([batch["motion"] for batch in clip_batches(frames, spec, skip_clips)])


def test_quantiles_of_a_flow_that_is_the_same_everywhere_are_its_length() -> None:
    flow = np.zeros((240, 427, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -4
    assert motion_of(flow) == pytest.approx([5] * len(SHARES))


def test_what_moves_in_a_corner_counts_in_the_highest_quantiles_alone() -> None:
    flow = np.zeros((240, 360, 2), np.float32)
    flow[200:, 330:, 0] = 6
    levels = motion_of(flow)
    assert levels[SHARES.index(0.95)] == 0
    assert levels[SHARES.index(1.0)] == pytest.approx(6)


def test_each_frame_of_a_clip_has_the_speed_of_what_moves_fastest() -> None:
    clips = cut(passing([2] * 9 + [6] * 8))
    assert clips.shape == (2, CLIP_FRAMES, len(SHARES)) and clips.dtype == np.float32
    fastest = clips.reshape(32, -1)[:18, -1]
    assert np.median(fastest[:9]) == pytest.approx(2, abs=0.5)
    assert np.median(fastest[9:17]) == pytest.approx(6, abs=0.8)
    assert fastest[17] == fastest[16], "the last frame repeats what led to it"


def test_speed_is_in_pixels_of_a_picture_240_high() -> None:
    small, large = passing([3] * 4), passing([6] * 4, size=(720, 480))
    fastest = [np.median(cut(frames)[0, :4, -1]) for frames in (small, large)]
    assert fastest[1] == pytest.approx(fastest[0], abs=0.5)


@pytest.mark.parametrize("beside", [("rgb",), ("rgb", "flow")])
def test_motion_is_the_same_beside_other_streams_and_they_are_as_without_it(beside: tuple[str, ...]) -> None:
    frames = passing([2] * 5)
    (both,) = clip_batches(frames, ClipSpec((*beside, "motion")))
    (without,) = clip_batches(frames, ClipSpec(beside))
    assert list(both) == [*beside, "motion"]
    assert np.array_equal(both["motion"], cut(frames))
    assert all(np.array_equal(both[stream], without[stream]) for stream in beside)


def test_after_skipped_clips_comes_the_same_motion_as_without() -> None:
    frames = passing([1, 2, 3] * 14)
    assert np.array_equal(cut(frames, skip_clips=1), cut(frames)[1:])


def test_a_picture_that_stands_still_has_no_motion() -> None:
    assert not cut(passing([0] * 5))[..., SHARES.index(0.99)].any()
    assert not cut(passing([])).any()


@pytest.mark.parametrize(("crops", "shape"), [(1, (2, DIM)), (5, (5, 2, DIM))])
def test_its_features_are_its_numbers_whatever_the_crops(crops: int, shape: tuple[int, ...]) -> None:
    clips = np.random.default_rng(0).random((2, CLIP_FRAMES, len(SHARES))).astype(np.float32)
    features = FeatureExtractor({}, backbone="i3d", crops=crops)("motion", clips)
    assert features.shape == shape
    assert np.array_equal(features.reshape(-1, 2, DIM)[-1], clips.reshape(2, DIM))


def walker(legs: float, size: tuple[int, int] = (20, 50), at: tuple[int, int] = (100, 80)) -> np.ndarray:
    """The flow of somebody who walks at 2 pixels a frame, whose `legs` are as fast as that; all else stands still."""
    flow = np.zeros((240, 360, 2), np.float32)
    (left, top), (width, height) = at, size
    flow[top : top + height, left : left + width, 0] = 2
    flow[top + height * 4 // 5 : top + height, left : left + width // 2, 0] = legs
    return flow


def test_a_leg_that_swings_forward_counts_with_the_body() -> None:
    walking, swinging, cycling = (motion_of(flow)[-1] for flow in (walker(2), walker(6), 3 * walker(2)))
    assert walking == pytest.approx(2)
    assert walking < swinging < 4, "the leg alone moves by 6"
    assert cycling == pytest.approx(6)


def test_who_fills_a_quarter_of_the_box_counts_as_fast_as_they_are_and_smaller_things_as_slower() -> None:
    far = walker(2, size=(10, 26))
    assert motion_of(far)[-1] == pytest.approx(2)
    wrong = np.zeros((240, 360, 2), np.float32)
    wrong[100, 100, 0] = 30
    assert motion_of(wrong)[-1] == pytest.approx(30 / 250, rel=0.01), "a single wrong vector"


def test_what_is_slower_than_half_a_pixel_a_frame_stands_still() -> None:
    noise = np.full((240, 360, 2), 0.3, np.float32)
    assert not motion_of(noise).any()
