"""What our TV-L1 flow promises: OpenCV's flow, faster, and the same whatever it is computed together with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from test_clips import moving, texture

from lad.extract import tvl1 as module
from lad.extract.clips import resize, with_flow
from lad.extract.flow import FLOW_METHODS, FlowMethod
from lad.extract.tvl1 import tvl1_flow

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a decoder's process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def ours(*pairs: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    first, second = (torch.from_numpy(np.stack(frames)) for frames in zip(*pairs, strict=True))
    return tvl1_flow(first, second)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean end-point difference in pixels, compared with OpenCV's flow."""
    theirs = cv2.optflow.DualTVL1OpticalFlow.create().calc(first, second, None)
    return float(np.hypot(*(ours((first, second))[0].numpy() - theirs.transpose(2, 0, 1))).mean())


def bulge(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A texture, and the same moved by a field that turns and grows, up to some 4 pixels."""
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = (columns - width / 2) / width, (rows - height / 2) / height
    second = grey(texture(width, height))
    first = cv2.remap(second, columns + 4 * x - 5 * y, rows + 5 * x + 4 * y, cv2.INTER_CUBIC, None, cv2.BORDER_REFLECT)
    return first, second


@pytest.mark.parametrize("size", [(224, 224), (171, 100)])
def test_it_is_opencv_s_flow_of_generated_motion(size: tuple[int, int]) -> None:
    shifted = tuple(grey(frame) for frame in moving([(3, -2)], size=size))
    assert distance(*shifted) <= 0.1
    assert distance(*bulge(*size)) <= 0.1


@pytest.mark.real
@pytest.mark.parametrize(
    "path",
    [
        "samples/v_GGSY1Qvo990.mp4",
        "samples/v_ZNVhz7ctTq0.mp4",
        "surveillance/videos/Fighting/fi015.mp4",
        "surveillance/videos/Fighting/fi024.mp4",
    ],
)
def test_it_is_opencv_s_flow_of_real_videos(path: str, shared_data: Path) -> None:
    with av.open(str(shared_data / path)) as container:
        decoded = islice(container.decode(video=0), 20, 22)
        first, second = (grey(resize(frame.to_ndarray(format="rgb24"))) for frame in decoded)
    assert distance(first, second) <= 0.1


@pytest.mark.parametrize("step", [(3, 0), (0, -2), (-5, 4), (0.5, 0.25)])
def test_a_translation_is_found(step: tuple[float, float]) -> None:
    first = grey(texture(224, 224))
    second = cv2.warpAffine(first, np.float32([[1, 0, step[0]], [0, 1, step[1]]]), (224, 224), flags=cv2.INTER_CUBIC)
    inner = ours((first, second))[0, :, 40:-40, 40:-40]
    assert inner.flatten(1).median(dim=1).values.tolist() == pytest.approx(step, abs=0.05)
    assert (inner - torch.tensor(step).view(2, 1, 1)).norm(dim=0).mean() < 0.1


def test_equal_frames_do_not_move() -> None:
    still = grey(texture(90, 70))
    assert not ours((still, still)).any()


@pytest.mark.parametrize("size", [(64, 48), (31, 45), (224, 224)])
def test_a_pair_s_flow_is_the_same_to_the_bit_in_any_batch(size: tuple[int, int]) -> None:
    frames = [grey(frame) for frame in moving([(2, 0), (0, 3), (-1, 1)], size=size)]
    pairs = [*pairwise(frames), (frames[3], frames[0])]
    together = ours(*pairs)
    for flow, pair in zip(together, pairs, strict=True):
        assert torch.equal(flow, ours(pair)[0])
    assert torch.equal(ours(*reversed(pairs)), together.flip(0))


def test_pairs_computed_at_once_as_on_a_gpu_have_the_same_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [grey(frame) for frame in moving([(2, 0), (0, 3), (-1, 1)], size=(61, 47))]
    first, second = torch.from_numpy(np.stack(frames[:-1])), torch.from_numpy(np.stack(frames[1:]))
    at_once = torch.empty(3, 2, 47, 61)
    with torch.inference_mode():
        module._coarse_to_fine(at_once, first, second)
    torch.testing.assert_close(at_once, tvl1_flow(first, second), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (20, 20), (40, 20), (33, 150), (1, 1), (1, 30), (30, 1), (2, 3)])
def test_frames_of_any_size_have_a_flow(size: tuple[int, int]) -> None:
    first, second = (grey(frame) for frame in moving([(1, 0)], size=size))
    flow = ours((first, second))
    assert flow.shape == (1, 2, size[1], size[0])
    assert flow.isfinite().all()
    if min(size) >= 20:  # of less, little is known: OpenCV's own flow is another 0.15 px away with fewer iterations
        assert distance(first, second) <= 0.1


def test_floats_and_bytes_are_the_same() -> None:
    first, second = (torch.from_numpy(grey(frame))[None] for frame in moving([(1, 2)], size=(40, 50)))
    flow = tvl1_flow(first, second)
    assert flow.dtype == torch.float32 and flow.is_contiguous()
    assert torch.equal(tvl1_flow(first.float(), second.float()), flow)
    assert torch.equal(tvl1_flow(first, second), flow), "and every time"


@pytest.mark.parametrize(
    ("first", "second"), [((1, 8, 8), (1, 8, 9)), ((8, 8), (8, 8)), ((1, 0, 8), (1, 0, 8)), ((0, 8, 8), (0, 8, 8))]
)
def test_what_is_no_pair_of_frames_is_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frames of shape"):
        tvl1_flow(torch.zeros(first), torch.zeros(second))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_flow_of_several_pairs_at_once_is_the_flow_of_each(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `with_flow` does for a GPU, here on the CPU."""
    frames = moving([(1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (-1, 0)], size=(24, 20))[:count]
    labels = [np.array(number) for number in range(count)]  # what is given back need not be what flow is computed of
    one_by_one = list(with_flow(zip(labels, frames, strict=True), "tvl1"))
    monkeypatch.setattr(FlowMethod, "pairs_at_once", lambda method, device: 3)
    together = list(with_flow(zip(labels, frames, strict=True), "tvl1"))
    assert len(together) == len(one_by_one) == count
    for label, (given, flow), (expected, expected_flow) in zip(labels, together, one_by_one, strict=True):
        assert given is label and expected is label
        assert np.array_equal(flow, expected_flow)


def test_pairs_are_computed_together_only_where_that_is_faster() -> None:
    for name, method in FLOW_METHODS.items():
        at_once = {device: method.pairs_at_once(device) for device in ("cpu", "cuda", "cuda:1")}
        on_gpu = module.PAIRS_AT_ONCE if name == "tvl1" else 1
        assert at_once == {"cpu": 1, "cuda": on_gpu, "cuda:1": on_gpu}, name


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_cpu_s_flow_and_the_same_twice() -> None:
    frames = [grey(frame) for frame in moving([(3, 1), (-2, 2), (0, 4)])]
    first, second = torch.from_numpy(np.stack(frames[:-1])), torch.from_numpy(np.stack(frames[1:]))
    on_gpu = [tvl1_flow(first.cuda(), second.cuda()) for _ in range(2)]
    assert on_gpu[0].is_cuda and torch.equal(*on_gpu)
    difference = (on_gpu[0].cpu() - tvl1_flow(first, second)).norm(dim=1)
    assert difference.mean() <= 0.01
