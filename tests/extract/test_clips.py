"""What cutting a video into clips promises, and what flow means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.cutting import cut, joined, median_flow, moving, numbered, texture
from helpers.videos import numbered_frame, read_number

from lad.clip import CLIP_FRAMES
from lad.extract.clips import ClipSpec, clip_batches, resize
from lad.extract.flow import FLOW_METHODS, FlowMethod, FlowSolver


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
