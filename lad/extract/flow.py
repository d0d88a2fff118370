"""Optical flow between consecutive frames, in pixels of the frames that it is computed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lad.device import kind_of

# Takes two frames `(height, width, 3)` uint8 RGB and gives `(height, width, 2)` float32: the displacement (x, y) of
# each pixel from the first to the second. Where `FlowMethod.pairs_at_once` says so, it takes and gives `(n, ...)` too.
FlowSolver = Callable[[np.ndarray, np.ndarray], np.ndarray]

RAFT_MIN_SIZE = 128  # its coarsest correlation map is 1/64 of the frame, and must have two pixels
RAFT_STEP = 8


def dis(_device: str, _weights: str | None) -> FlowSolver:
    """Dense inverse search, OpenCV's medium preset (Kroeger et al., ECCV 2016)."""
    import cv2

    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _from_grey(lambda first, second: solver.calc(first, second, None))


def tvl1(device: str, _weights: str | None) -> FlowSolver:
    """TV-L1 (Zach, Pock and Bischof, 2007) with OpenCV's parameters: what I3D's flow stream was trained on.

    Args:
        device: `cpu`, `cuda` or `cuda:<index>`.
    """
    import torch

    from lad.extract.tvl1 import tvl1_flow

    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        shape = first.shape
        stacks = (torch.from_numpy(grey).to(device).view(-1, *shape[-2:]) for grey in (first, second))
        return tvl1_flow(*stacks).permute(0, 2, 3, 1).contiguous().cpu().numpy().reshape(*shape, 2)

    return _from_grey(solve)


def farneback(_device: str, _weights: str | None) -> FlowSolver:
    """Polynomial expansion (Farneback, SCIA 2003) with the parameters of OpenCV's documentation."""
    import cv2

    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return cv2.calcOpticalFlowFarneback(
            first, second, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
        )

    return _from_grey(solve)


def raft(device: str, weights: str | None) -> FlowSolver:
    """Recurrent all-pairs field transforms, torchvision's `raft_large` (Teed and Deng, ECCV 2020), 12 updates.

    Args:
        device: `cpu`, `cuda` or `cuda:<index>`.
        weights: a name of `WEIGHTS` that fits it; `raft-large` by default. `random` has seed 0.

    Raises:
        WeightsError: the weights do not fit, are not in the cache, or are damaged there.
    """
    import torch
    from torch.nn import functional

    from lad.models import weights as registry

    name = weights or registry.default_name("raft", "flow")
    network = registry.load(name, backbone="raft", stream="flow").to(device)

    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape[:2]
        top, bottom = _raft_margins(height)
        left, right = _raft_margins(width)
        pair = torch.from_numpy(np.stack((first, second))).to(device).permute(0, 3, 1, 2)
        scaled = (pair.float() / 255 - 0.5) / 0.5  # as torchvision's weights were trained
        padded = functional.pad(scaled, (left, right, top, bottom), mode="replicate")
        with torch.inference_mode():
            flow = network(padded[:1], padded[1:])[-1][0]  # the last, best update
        inner = flow[:, top : top + height, left : left + width].permute(1, 2, 0)
        return inner.contiguous().cpu().numpy()

    return solve


def _raft_margins(size: int) -> tuple[int, int]:
    """Pixels to add before and after a side, so that RAFT takes it."""
    extra = max(RAFT_MIN_SIZE, -(-size // RAFT_STEP) * RAFT_STEP) - size
    return extra // 2, extra - extra // 2


def _from_grey(solve: FlowSolver) -> FlowSolver:
    """A solver of RGB frames from one of grey frames `(height, width)`, or `(n, height, width)`."""
    import cv2

    latest: tuple[np.ndarray, np.ndarray] | None = None  # a frame and its grey: the next pair begins with it

    def grey(frames: np.ndarray) -> np.ndarray:
        rows = frames.reshape(-1, *frames.shape[-2:])  # of several frames: one below the other
        return cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).reshape(frames.shape[:-1])

    def solve_rgb(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        nonlocal latest
        first_grey = latest[1] if latest and latest[0] is first else grey(first)
        second_grey = grey(second)
        latest = second, second_grey
        return solve(first_grey, second_grey)

    return solve_rgb


@dataclass(frozen=True)
class FlowMethod:
    """A way to compute flow.

    Attributes:
        make: (torch device, name of weights) -> its solver. Only methods in torch look at the device, and only networks
            at the weights; None: their default.
        in_torch: whether it runs in torch.
        pairs_on_gpu: how many pairs of frames its solver should be given together on a GPU: more than one only where
            that is faster.
    """

    make: Callable[[str, str | None], FlowSolver]
    in_torch: bool = False
    pairs_on_gpu: int = 1

    def pairs_at_once(self, device: str) -> int:
        """How many pairs of frames its solver should be given together."""
        return 1 if kind_of(device) == "cpu" else self.pairs_on_gpu


FLOW_METHODS: dict[str, FlowMethod] = {
    "dis": FlowMethod(dis),
    "tvl1": FlowMethod(tvl1, in_torch=True, pairs_on_gpu=64),
    "farneback": FlowMethod(farneback),
    "raft": FlowMethod(raft, in_torch=True),
}
