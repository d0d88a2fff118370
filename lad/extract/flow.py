"""Optical flow between consecutive frames, in pixels of the frames that it is computed on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# A flow method makes its solver once; the solver takes two grey frames `(height, width)` uint8 and gives
# `(height, width, 2)` float32: the displacement (x, y) of each pixel from the first to the second.
FlowSolver = Callable[[np.ndarray, np.ndarray], np.ndarray]


def dis() -> FlowSolver:
    """Dense inverse search, OpenCV's medium preset (Kroeger et al., ECCV 2016)."""
    import cv2

    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return lambda first, second: solver.calc(first, second, None)


def tvl1() -> FlowSolver:
    """TV-L1 (Zach, Pock and Bischof, 2007) with OpenCV's defaults: what I3D's flow stream was trained on."""
    import cv2

    solver = cv2.optflow.DualTVL1OpticalFlow.create()
    return lambda first, second: solver.calc(first, second, None)


FLOW_METHODS: dict[str, Callable[[], FlowSolver]] = {"dis": dis, "tvl1": tvl1}
