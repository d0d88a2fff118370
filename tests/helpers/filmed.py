"""What a fixed camera films of a place where mostly nothing happens: with noise, and under all sorts of light."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

WIDTH, HEIGHT = 192, 144
PERSON = (10, 28)  # pixels


def place(seed: int = 0) -> np.ndarray:
    """`(HEIGHT, WIDTH, 3)` uint8: a room with things of many sizes and shades in it."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.uniform(60, 190, (5, 7, 3)).astype(np.float32), (WIDTH, HEIGHT))
    for x, y, width, height in rng.integers(4, 60, (25, 4)) * (3, 2, 1, 1):
        cv2.rectangle(
            picture, (int(x), int(y)), (int(x + width), int(y + height)), rng.uniform(20, 230, 3).tolist(), -1
        )
    return np.clip(picture, 0, 255).astype(np.uint8)


def filmed(
    count: int,
    *,
    noise: float = 2.0,
    light: Callable[[int], np.ndarray | float] = lambda number: 1.0,
    rain: int = 0,
    walks: Callable[[int], float | None] = lambda number: None,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Frames of a place.

    Args:
        count: how many.
        noise: grey levels, its standard deviation.
        light: of a frame: what brightness is multiplied with, `(HEIGHT, 1, 1)` or one number.
        rain: streaks in a frame.
        walks: of a frame: how far across the picture somebody is, from 0 to 1; None: nobody is there.
    """
    rng = np.random.default_rng(seed)
    empty = place().astype(np.float32)
    for number in range(count):
        picture = empty.copy()
        if (where := walks(number)) is not None:
            left = where * (WIDTH - PERSON[0])
            shift = np.array([[1, 0, left], [0, 1, HEIGHT / 3]], np.float32)
            person = cv2.warpAffine(np.ones(PERSON[::-1], np.float32), shift, (WIDTH, HEIGHT))[..., None]
            picture += person * (np.float32([60, 90, 40]) - picture)
        for x, y in rng.integers(0, (WIDTH, HEIGHT), (rain, 2)):
            cv2.line(picture, (int(x), int(y)), (int(x) + 1, int(y) + 9), (210, 210, 210), 1)
        picture = picture * light(number) + rng.normal(0, noise, (HEIGHT, WIDTH, 1))
        yield np.clip(picture, 0, 255).astype(np.uint8)
