"""How fast things move: for each frame, quantiles over the picture of how long the optical flow is.

Speed is averaged over a box the size of a person, around each pixel, and only pixels that move count. A swinging leg is
faster than its walker; a small box would see the leg alone. A frame is cut into cells, and each cell has the highest
speed in it. The highest cells tell of the fastest thing in the picture. The middle ones tell whether everything moves,
as when a camera shakes.
"""

from __future__ import annotations

import numpy as np

from lad.clip import CLIP_FRAMES

MOTION = "motion"  # what it is called among the streams
FLOW = "dis"  # the method of flow
SHORT_SIDE = 240  # of the frames that flow is computed on, which keep their shape: people are small at 224x224
BODY = (20, 50)  # pixels, width and height, of the box that speed is averaged over
MOVES_PX = 0.5  # pixels per frame; slower pixels count as still
LEAST = 0.25  # smaller moving parts of the box get a lower speed, so that single wrong vectors vanish
CELL = 10  # pixels
SHARES = (0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)  # of the cells that are slower: the quantiles
DIM = CLIP_FRAMES * len(SHARES)  # numbers of a clip


def motion_of(flow: np.ndarray, body: tuple[int, int] = BODY) -> np.ndarray:
    """Flow `(height, width, 2)` float32 -> the quantiles `SHARES` of its cells' speed, `(9,)` float32, in pixels."""
    return np.quantile(speed_of_cells(flow, body), SHARES).astype(np.float32)


def speed_of_cells(flow: np.ndarray, body: tuple[int, int] = BODY) -> np.ndarray:
    """Flow `(height, width, 2)` float32 -> the highest speed in each cell, `(rows, columns)` float32, in pixels.

    The cells at the right and at the bottom may be smaller than the others. `body`: width and height of the box.
    """
    import cv2

    lengths = cv2.magnitude(flow[..., 0], flow[..., 1])
    moving = (lengths > MOVES_PX).astype(np.float32)
    speed = cv2.blur(lengths * moving, body) / np.maximum(cv2.blur(moving, body), LEAST)
    height, width = speed.shape
    rows = np.maximum.reduceat(speed, np.arange(0, height, CELL), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, width, CELL), axis=1)
