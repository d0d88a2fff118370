"""What cutting a video into clips promises, and what flow means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.videos import numbered_frame, read_number

from lad.clip import CLIP_FRAMES
from lad.extract.clips import FRAME_SIZE, ClipBatch, ClipSpec, clip_batches, crop_views, resize, short_side_shape
from lad.extract.flow import FLOW_METHODS, FlowMethod, FlowSolver


def numbered(count: int) -> Iterator[np.ndarray]:
    return (numbered_frame(number, (64, 48)) for number in range(count))


def cut(
    frames: Iterator[np.ndarray],
    streams: tuple[str, ...] = ("rgb",),
    tail: str = "pad",
    batch_clips: int = 4,
    stride: int = 16,
    crops: int = 1,
    skip_clips: int = 0,
    rgb_short_side: int | None = None,
    together: int = 1,
) -> list[ClipBatch]:
    spec = ClipSpec(
        streams=streams,
        tail=tail,  # type: ignore[arg-type]
        batch_clips=batch_clips,
        stride=stride,
        crops=crops,
        rgb_short_side=rgb_short_side,
        together=together,
    )
    return list(clip_batches(frames, spec, skip_clips))


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

    batches = clip_batches(endless(), ClipSpec(("rgb",), batch_clips=2))
    next(batches)
    assert taken == 32


@pytest.mark.parametrize("count", [1, 16, 20])
def test_the_flow_stream_alone_equals_the_one_beside_rgb(count: int) -> None:
    alone = cut(numbered(count), streams=("flow",))
    assert [list(batch) for batch in alone] == [["flow"]]
    both = cut(numbered(count), streams=("rgb", "flow"))
    assert np.array_equal(joined(alone, "flow"), joined(both, "flow"))
    assert np.array_equal(joined(both, "rgb"), joined(cut(numbered(count)), "rgb"))


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


# Overlapping clips


def test_a_stride_of_8_begins_a_clip_at_every_eighth_frame() -> None:
    clips = joined(cut(numbered(37), stride=8), "rgb")
    numbers = [[read_number(image) for image in clip] for clip in clips]
    assert numbers == [[*range(16)], [*range(8, 24)], [*range(16, 32)], [*range(24, 37), 36, 36, 36]]
    dropped = joined(cut(numbered(37), stride=8, tail="drop"), "rgb")
    assert np.array_equal(dropped, clips[:3])


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 3, 8, 15, 16])
@pytest.mark.parametrize("count", [1, 16, 17, 35])
@pytest.mark.parametrize("tail", ["pad", "drop"])
def test_overlapping_clips_hold_the_frames_and_flows_of_the_video(stride: int, count: int, tail: str) -> None:
    frames = moving([(number % 5 - 2, number % 3 - 1) for number in range(count - 1)])
    batches = cut(iter(frames), ("rgb", "flow"), tail, batch_clips=3, stride=stride)
    whole = cut(iter(frames), ("rgb", "flow"), "pad")
    index = np.arange(0, max(count, 1), stride)[:, None] + np.arange(16)
    fitting = index[:, -1] < count
    needed = np.append(True, fitting[:-1] & (index[:-1, -1] < count - 1))  # until every frame is covered
    index = np.minimum(index[fitting if tail == "drop" else needed], count - 1)
    if not len(index):
        assert batches == []
        return
    for stream in ("rgb", "flow"):
        images = np.concatenate(list(joined(whole, stream)))
        assert np.array_equal(joined(batches, stream), images[index])
    assert all(len(batch["rgb"]) == 3 for batch in batches[:-1])


@pytest.mark.parametrize(("stride", "together"), [(32, 1), (48, 1), (32, 2)])
@pytest.mark.parametrize("count", [1, 16, 17, 31, 32, 33, 47, 48, 49, 50, 65, 97, 130])
@pytest.mark.parametrize("tail", ["pad", "drop"])
def test_clips_with_gaps_between_them_are_those_without_but_for_some(
    stride: int, together: int, count: int, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their flow too: none of their frames' flows leads into a gap."""
    monkeypatch.setitem(FLOW_METHODS, "dis", FlowMethod(difference))
    batches = cut(numbered(count), ("rgb", "flow"), tail, batch_clips=2, stride=stride, together=together)
    whole = cut(numbered(count), ("rgb", "flow"), tail)
    if not whole:
        assert batches == []
        return
    for stream in ("rgb", "flow"):
        clips = joined(whole, stream)
        kept = [clip for number, clip in enumerate(clips) if number // together % (stride // 16) == 0]
        assert np.array_equal(joined(batches, stream), kept)


def test_frames_between_clips_are_not_looked_at() -> None:
    seen: list[int] = []
    cut((Unseen(number, seen) for number in range(100)), stride=40)  # type: ignore[arg-type]
    assert seen == [*range(16), *range(40, 56), *range(80, 96)]


def test_flow_is_computed_once_a_pair_of_frames_within_clips(flow_calls: list[int]) -> None:
    cut(numbered(96), streams=("flow",), stride=48)
    assert len(flow_calls) == 16 + 17  # of the second clip that to its first frame, too


@pytest.fixture
def flow_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each pair of frames whose flow is computed; the flow itself is zero."""
    calls: list[int] = []

    def counting(_device: str, _weights: str | None) -> FlowSolver:
        return lambda first, second: calls.append(1) or np.zeros((*first.shape[:2], 2), np.float32)  # type: ignore[func-returns-value]

    monkeypatch.setitem(FLOW_METHODS, "dis", FlowMethod(counting))
    return calls


def test_flow_is_computed_once_a_pair_of_frames(flow_calls: list[int]) -> None:
    cut(numbered(40), streams=("flow",), stride=1)
    assert len(flow_calls) == 39


def test_overlapping_clips_come_while_frames_are_read() -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((8, 8, 3), np.uint8)

    next(clip_batches(endless(), ClipSpec(("rgb",), batch_clips=3, stride=4)))
    assert taken == 24


# Clips that are known already


def difference(_device: str, _weights: str | None) -> FlowSolver:
    """Stands for a flow method: another field for every pair of frames."""
    return lambda first, second: np.subtract(second[..., :2], first[..., :2], dtype=np.float32)


@pytest.mark.parametrize(("stride", "together"), [(3, 1), (8, 1), (16, 1), (20, 1), (32, 1), (32, 2)])
@pytest.mark.parametrize("count", [1, 16, 17, 32, 33, 40, 41, 65])  # 33 and 65: one frame alone begins a clip
@pytest.mark.parametrize("tail", ["pad", "drop"])
def test_after_skipped_clips_come_the_same_batches_as_without(
    stride: int, together: int, count: int, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FLOW_METHODS, "dis", FlowMethod(difference))
    how: dict[str, Any] = {"tail": tail, "batch_clips": 2, "stride": stride, "together": together}
    whole = cut(numbered(count), ("rgb", "flow"), **how)
    done = 0
    for number, batch in enumerate(whole):
        done += len(batch["rgb"])
        rest = cut(numbered(count), ("rgb", "flow"), skip_clips=done, **how)
        assert len(rest) == len(whole) - number - 1
        for again, expected in zip(rest, whole[number + 1 :], strict=True):
            for stream in ("rgb", "flow"):
                assert np.array_equal(again[stream], expected[stream]), (number, stream)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dis", "tvl1", "farneback"])
def test_the_flow_of_a_pair_does_not_depend_on_those_before(method: str) -> None:
    """Or clips that come after skipped ones would not be what they were."""
    frames = moving([(2, 1), (-3, 2), (1, 1)])
    fresh, used = (FLOW_METHODS[method].make("cpu", None) for _ in range(2))
    used(frames[0], frames[3])
    used(frames[3], frames[2])
    assert np.array_equal(used(frames[1], frames[2]), fresh(frames[1], frames[2]))


def test_skipped_frames_still_say_what_shape_the_others_have() -> None:
    frames = [numbered_frame(0, (320, 240))] + [numbered_frame(number, (240, 320)) for number in range(1, 40)]
    (batch,) = cut(iter(frames), crops=5, skip_clips=1)
    assert batch["rgb"].shape == (2, 16, 256, 341, 3)
    assert [read_number(image) for image in batch["rgb"][0]] == [*range(16, 32)]


def test_skipped_frames_are_neither_resized_nor_have_flow(flow_calls: list[int]) -> None:
    cut(numbered(160), streams=("flow",), skip_clips=8)
    assert len(flow_calls) == 32  # to frames 128 to 159


class Unseen:
    """A frame that numpy can make an image of, and that counts how often it does."""

    def __init__(self, number: int, seen: list[int]) -> None:
        self.number, self.seen = number, seen

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        self.seen.append(self.number)
        return numbered_frame(self.number, (64, 48))


@pytest.mark.parametrize(("crops", "first"), [(1, []), (5, [0])])
def test_skipped_frames_are_not_looked_at(crops: int, first: list[int]) -> None:
    seen: list[int] = []
    (batch,) = cut((Unseen(number, seen) for number in range(160)), crops=crops, skip_clips=8)  # type: ignore[arg-type]
    assert [read_number(image) for image in batch["rgb"].reshape(-1, *batch["rgb"].shape[2:])] == [*range(128, 160)]
    assert seen == [*first, *range(127, 160)]


@pytest.mark.parametrize(("option", "value"), [("stride", 0), ("crops", 3)])
def test_what_makes_no_clips_is_refused(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        cut(numbered(20), **{option: value})  # type: ignore[arg-type]


# Crops


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
