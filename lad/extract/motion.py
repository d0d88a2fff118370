"""How fast things move: for each frame, quantiles over the picture of how long the optical flow is.

A frame is cut into cells, and each cell has the flow's largest magnitude in it, after a blur. The highest cells tell of
the fastest thing in the picture, however small it is; the middle ones tell whether everything moves, as when a camera
shakes.
"""

from __future__ import annotations

import numpy as np

from lad.clip import CLIP_FRAMES

MOTION = "motion"  # what it is called among the streams
FLOW = "dis"  # the method of flow
SHORT_SIDE = 240  # of the frames that flow is computed on, which keep their shape: people are small at 224x224
BLUR = 6  # pixels of the box that the magnitude is averaged over: single wrong vectors vanish
CELL = 10  # pixels
SHARES = (0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)  # of the cells that are slower: the quantiles
DIM = CLIP_FRAMES * len(SHARES)  # numbers of a clip


def motion_of(flow: np.ndarray, blur: int = BLUR) -> np.ndarray:
    """Flow `(height, width, 2)` float32 -> the quantiles `SHARES` of its cells' speed, `(9,)` float32, in pixels."""
    return np.quantile(speed_of_cells(flow, blur), SHARES).astype(np.float32)


def speed_of_cells(flow: np.ndarray, blur: int = BLUR) -> np.ndarray:
    """Flow `(height, width, 2)` float32 -> its largest magnitude in each cell, `(rows, columns)` float32, in pixels.

    The cells at the right and at the bottom may be smaller than the others. `blur`: pixels of the box.
    """
    import cv2

    magnitude = cv2.blur(cv2.magnitude(flow[..., 0], flow[..., 1]), (blur, blur))
    height, width = magnitude.shape
    rows = np.maximum.reduceat(magnitude, np.arange(0, height, CELL), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, width, CELL), axis=1)
