"""What the flow methods promise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_clips import median_flow, moving, texture
from torchvision.transforms._presets import OpticalFlow

from lad.extract.clips import crop_views, with_flow
from lad.extract.flow import FLOW_METHODS
from lad.extract.process_setup import prepare_torch
from lad.extract.tvl1 import tvl1_flow
from lad.models import weights

pytestmark = pytest.mark.slow

GREY_METHODS = ["dis", "tvl1", "farneback"]
OPENCV_METHODS = ["dis", "farneback"]


@pytest.fixture(autouse=True)
def _torch_is_set_up_as_in_a_decoder() -> Iterator[None]:
    """A decoder's process sets torch up for RAFT and TV-L1; here other tests come after."""
    threads, cudnn, matmul = torch.get_num_threads(), torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    prepare_torch.__wrapped__()  # it remembers that it was called
    yield
    torch.set_num_threads(threads)
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def test_every_flow_method_is_covered_here() -> None:
    assert set(FLOW_METHODS) == {*GREY_METHODS, "raft"}


@pytest.mark.parametrize("method", GREY_METHODS)
def test_flow_t_is_the_motion_from_frame_t_to_the_next_in_pixels(method: str) -> None:
    steps = [(3, 0), (0, 2), (-4, 1)]
    flows = [flow for _, flow in with_flow(((frame, frame) for frame in moving(steps)), method)]
    assert len(flows) == 4
    for flow, step in zip(flows, steps, strict=False):
        assert median_flow(flow) == pytest.approx(step, abs=0.3)
    assert np.array_equal(flows[3], flows[2]), "the last repeats its predecessor"


@pytest.mark.parametrize("method", OPENCV_METHODS)
def test_flow_is_that_of_the_frames_brightness(method: str) -> None:
    opencv = {
        "dis": lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc,
        "farneback": lambda: lambda a, b, _: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0),
    }
    first, second = moving([(2, -1)], size=(120, 80))
    flow = FLOW_METHODS[method].make("cpu", None)(first, second)
    assert flow.dtype == np.float32
    assert np.array_equal(flow, opencv[method]()(*greys(first, second), None))


def greys(*frames: np.ndarray) -> list[np.ndarray]:
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]


def test_tvl1_is_ours_of_the_frames_brightness() -> None:
    frames = moving([(2, -1)], size=(120, 80))
    solve = FLOW_METHODS["tvl1"].make("cpu", None)
    flow = solve(*frames)
    assert flow.dtype == np.float32 and flow.flags.c_contiguous
    ours = tvl1_flow(*(torch.from_numpy(grey)[None] for grey in greys(*frames)))[0]
    assert np.array_equal(flow, ours.permute(1, 2, 0).numpy())
    several = solve(*(np.stack((frame, frame)) for frame in frames))
    assert np.array_equal(several, np.stack((flow, flow)))


@pytest.mark.parametrize("method", [*GREY_METHODS, "raft"])
def test_flow_of_a_pair_does_not_depend_on_the_pairs_before(method: str) -> None:
    frames = [*moving([(2, 0), (0, 3)], size=(80, 60)), texture(80, 60)]
    solve = FLOW_METHODS[method].make("cpu", "random")
    for first, second in [(0, 1), (1, 2), (0, 3), (2, 1), (1, 1), (0, 1)]:
        fresh = FLOW_METHODS[method].make("cpu", "random")(frames[first].copy(), frames[second].copy())
        assert np.array_equal(solve(frames[first], frames[second]), fresh), (first, second)


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_mirrored_flow_is_about_the_flow_of_the_mirrored_video(method: str) -> None:
    first, second = moving([(4, 2)], size=(256, 256))
    flow = FLOW_METHODS[method].make("cpu", None)(first, second)
    flipped = [np.ascontiguousarray(frame[:, ::-1]) for frame in (first, second)]
    of_mirrored = FLOW_METHODS[method].make("cpu", None)(*flipped)
    mirrored_centre = list(crop_views(flow[None, None], 10, "flow"))[9][0, 0]
    assert median_flow(mirrored_centre) == pytest.approx((-4, 2), abs=0.3)
    differences = np.abs(mirrored_centre - of_mirrored[16:-16, 16:-16])
    assert np.median(differences) < 0.1


# RAFT, with random weights: the real ones cannot be had everywhere


@pytest.mark.parametrize("shape", [(224, 224), (256, 136), (64, 300), (131, 129), (1, 1)])
def test_raft_takes_frames_of_any_size(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(2))
    flow = FLOW_METHODS["raft"].make("cpu", "random")(first, second)
    assert flow.shape == (*shape, 2)
    assert flow.dtype == np.float32
    assert flow.flags.c_contiguous
    assert np.isfinite(flow).all()
    assert not np.array_equal(flow, FLOW_METHODS["raft"].make("cpu", "random")(first, first))


@pytest.mark.parametrize("shape", [(128, 160), (100, 171)])
def test_raft_is_torchvisions_on_the_frames_with_their_borders_repeated(shape: tuple[int, int]) -> None:
    frames = moving([(3, 1)], size=shape[::-1])
    flow = FLOW_METHODS["raft"].make("cpu", "random")(*frames)
    margins = [(14, 14), (2, 3)] if shape == (100, 171) else [(0, 0), (0, 0)]
    padded = [np.pad(frame, [*margins, (0, 0)], mode="edge") for frame in frames]
    tensors = OpticalFlow()(*(torch.from_numpy(frame).permute(2, 0, 1)[None] for frame in padded))
    with torch.inference_mode():
        (x, y) = weights.load("random", backbone="raft", stream="flow")(*tensors)[-1][0].numpy()
    (top, _), (left, _) = margins
    expected = np.stack((x, y), axis=-1)[top : top + shape[0], left : left + shape[1]]
    np.testing.assert_allclose(flow, expected, atol=1e-3)


def test_raft_without_its_weights_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="run `lad weights fetch raft-large`"):
        FLOW_METHODS["raft"].make("cpu", None)
    with pytest.raises(weights.WeightsError, match="do not fit backbone raft, stream flow: choose from raft-large"):
        FLOW_METHODS["raft"].make("cpu", "kinetics400-flow")


@pytest.mark.gpu
def test_raft_on_a_gpu_gives_the_cpu_s_flow_and_the_same_twice() -> None:
    frames = moving([(3, 1)])
    on_gpu = [FLOW_METHODS["raft"].make("cuda", "random")(*frames) for _ in range(2)]
    assert np.array_equal(*on_gpu)
    np.testing.assert_allclose(on_gpu[0], FLOW_METHODS["raft"].make("cpu", "random")(*frames), atol=0.05)


@pytest.mark.parametrize("method", ["tvl1", "raft"])
def test_flow_leaves_the_threads_of_torch_as_they_are(method: str) -> None:
    """They are the business of whoever owns the process: a decoder takes one."""
    torch.set_num_threads(2)
    frames = moving([(1, 0)], size=(64, 48))
    FLOW_METHODS[method].make("cpu", "random")(*frames)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("method", OPENCV_METHODS)
def test_opencv_s_methods_need_no_torch(method: str) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np; from lad.extract.clips import ClipSpec, clip_batches\n"
        "frames = np.zeros((3, 64, 64, 3), np.uint8)\n"
        f"next(clip_batches(frames, ClipSpec(('rgb', 'flow'), flow={method!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
