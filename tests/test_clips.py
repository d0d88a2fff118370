"""What cutting a video into clips promises, and what flow means."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from conftest import numbered_frame, read_number

from lad.extract.clips import CLIP_FRAMES, FRAME_SIZE, ClipBatch, clip_batches, resize, with_flow
from lad.extract.flow import FLOW_METHODS


def numbered(count: int) -> Iterator[np.ndarray]:
    return (numbered_frame(number, (64, 48)) for number in range(count))


def cut(
    frames: Iterator[np.ndarray], streams: tuple[str, ...] = ("rgb",), tail: str = "pad", batch_clips: int = 4
) -> list[ClipBatch]:
    return list(clip_batches(frames, streams=streams, flow="dis", tail=tail, batch_clips=batch_clips))  # type: ignore[arg-type]


def joined(batches: list[ClipBatch], stream: str) -> np.ndarray:
    return np.concatenate([batch[stream] for batch in batches])


def texture(width: int, height: int) -> np.ndarray:
    grain = np.random.default_rng(3).integers(0, 255, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    return cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(steps: list[tuple[int, int]], size: tuple[int, int] = (FRAME_SIZE, FRAME_SIZE)) -> list[np.ndarray]:
    """Frames of a texture that moves right and down by each (x, y) of `steps`, in its own pixels."""
    width, height = size
    image = texture(3 * width, 3 * height)
    frames, left, top = [], width, height
    for x, y in [(0, 0), *steps]:
        left, top = left - x, top - y
        frames.append(np.ascontiguousarray(image[top : top + height, left : left + width]))
    return frames


def median_flow(flow: np.ndarray) -> list[float]:
    inner = flow[40:-40, 40:-40]
    return [float(np.median(inner[..., axis])) for axis in (0, 1)]


@pytest.mark.parametrize("count", [1, 5, 15, 16, 17, 31, 32, 33, 50])
def test_pad_rounds_up_and_drop_rounds_down(count: int) -> None:
    padded = cut(numbered(count))
    assert sum(len(batch["rgb"]) for batch in padded) == -(-count // CLIP_FRAMES)
    dropped = cut(numbered(count), tail="drop")
    assert sum(len(batch["rgb"]) for batch in dropped) == count // CLIP_FRAMES


@pytest.mark.parametrize("tail", ["pad", "drop"])
def test_no_frame_gives_no_clip(tail: str) -> None:
    assert cut(iter(()), tail=tail) == []


def test_clip_i_covers_frames_16i_to_16i_plus_16_and_the_last_repeats_its_last_frame() -> None:
    clips = joined(cut(numbered(37)), "rgb")
    numbers = [[read_number(image) for image in clip] for clip in clips]
    assert numbers == [[*range(16)], [*range(16, 32)], [*range(32, 37)] + [36] * 11]


def test_clips_are_uint8_rgb_and_float_flow_of_224() -> None:
    (batch,) = cut(numbered(20), streams=("rgb", "flow"))
    assert list(batch) == ["rgb", "flow"]
    assert batch["rgb"].shape == (2, 16, 224, 224, 3)
    assert batch["rgb"].dtype == np.uint8
    assert batch["flow"].shape == (2, 16, 224, 224, 2)
    assert batch["flow"].dtype == np.float32


@pytest.mark.parametrize(("batch_clips", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (9, [5])])
def test_a_batch_holds_up_to_batch_clips(batch_clips: int, sizes: list[int]) -> None:
    batches = cut(numbered(70), batch_clips=batch_clips)
    assert [len(batch["rgb"]) for batch in batches] == sizes
    assert np.array_equal(joined(batches, "rgb"), joined(cut(numbered(70), batch_clips=3), "rgb"))


def test_batches_come_while_frames_are_read() -> None:
    """No stage ever holds a whole video in memory."""
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((8, 8, 3), np.uint8)

    batches = clip_batches(endless(), streams=("rgb",), flow="dis", tail="pad", batch_clips=2)
    next(batches)
    assert taken == 32


@pytest.mark.parametrize("count", [1, 16, 20])
def test_the_flow_stream_alone_equals_the_one_beside_rgb(count: int) -> None:
    alone = cut(numbered(count), streams=("flow",))
    assert [list(batch) for batch in alone] == [["flow"]]
    both = cut(numbered(count), streams=("rgb", "flow"))
    assert np.array_equal(joined(alone, "flow"), joined(both, "flow"))
    assert np.array_equal(joined(both, "rgb"), joined(cut(numbered(count)), "rgb"))


@pytest.mark.parametrize("method", ["dis", "tvl1"])
def test_flow_t_is_the_motion_from_frame_t_to_the_next_in_pixels(method: str) -> None:
    steps = [(3, 0), (0, 2), (-4, 1)]
    flows = [flow for _, flow in with_flow(moving(steps), method)]
    assert len(flows) == 4
    for flow, step in zip(flows, steps, strict=False):
        assert median_flow(flow) == pytest.approx(step, abs=0.3)
    assert np.array_equal(flows[3], flows[2]), "the last repeats its predecessor"


def test_every_flow_method_is_covered_here() -> None:
    assert set(FLOW_METHODS) == {"dis", "tvl1"}


def test_flow_is_in_pixels_of_the_224_frame_whatever_the_video_s_size() -> None:
    clips = joined(cut(iter(moving([(6, 4)], size=(448, 448))), streams=("flow",)), "flow")
    assert median_flow(clips[0, 0]) == pytest.approx((3, 2), abs=0.3)


def test_flow_crosses_clip_borders_and_padding_repeats_the_last_one() -> None:
    steps = [(1, 0)] * 15 + [(5, 0)] + [(0, 2)] * 2
    clips = joined(cut(iter(moving(steps)), streams=("flow",)), "flow")
    assert clips.shape[0] == 2
    assert median_flow(clips[0, 14]) == pytest.approx((1, 0), abs=0.3)
    assert median_flow(clips[0, 15]) == pytest.approx((5, 0), abs=0.3), "from frame 15 to frame 16"
    assert median_flow(clips[1, 0]) == pytest.approx((0, 2), abs=0.3)
    for padded in range(2, 16):
        assert np.array_equal(clips[1, padded], clips[1, 1])


def test_a_video_of_one_frame_has_no_flow() -> None:
    clips = joined(cut(numbered(1), streams=("flow",)), "flow")
    assert clips.shape == (1, 16, 224, 224, 2)
    assert not clips.any()


def test_the_full_field_of_view_is_squashed_to_224() -> None:
    small = resize(numbered_frame(0b10010110, (640, 360)))
    assert small.shape == (224, 224, 3)
    assert read_number(small) == 0b10010110


def test_a_frame_of_224_is_not_touched() -> None:
    frame = texture(224, 224)
    assert np.array_equal(resize(frame), frame)


def test_frames_of_several_sizes_fit_one_clip() -> None:
    frames = [numbered_frame(number, (64 + 16 * number, 48)) for number in range(3)]
    clip = joined(cut(iter(frames), streams=("rgb", "flow")), "rgb")[0]
    assert [read_number(image) for image in clip[:3]] == [0, 1, 2]
