"""One frame: a scene with its people, its flames and its smoke, as its camera sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from lad.demo.camera import HEIGHT, SCALE, WIDTH, Camera, Image, Points, blend, times
from lad.demo.events import Stage
from lad.demo.scene import HEARTH

# Red, green and blue of a flame at five of 256 heats, and in between.
RED, GREEN, BLUE = [60, 190, 240, 255, 255], [10, 50, 120, 200, 245], [5, 10, 20, 70, 190]
HEAT = np.stack([np.interp(np.arange(256), [0, 60, 120, 190, 255], c) for c in (RED, GREEN, BLUE)], axis=1)


def puffs(
    cloud: Points,
    camera: Camera,
    shape: tuple[int, int],
    origin: tuple[int, int],
    scale: float,
    grow: float,
    weight: float,
) -> Any:
    """How dense a cloud of particles is at each pixel, 0..1: soft discs that add up.

    Args:
        cloud: the particles, as in `Stage`.
        camera: through which they are seen.
        shape: of the picture that is wanted, rows and columns.
        origin: x, y of its first pixel.
        scale: of its pixels to those of the canvas.
        grow: metres that a disc's radius gains in its life; 0: it shrinks.
        weight: how dense one disc is at its birth.
    """
    dense = np.zeros(shape, np.float32)
    disc = np.zeros(shape, np.float32)
    for (x, y, metre), (age, life) in zip(camera.project(cloud[:, :3]), cloud[:, 6:8], strict=True):
        old = age / life
        radius = max(1.0, (0.18 + grow * old) * metre * scale * (1 if grow > 0 else 1 - 0.65 * old))
        cx, cy, r = int(x * scale - origin[0]), int(y * scale - origin[1]), int(radius * 1.2) + 1
        window = slice(max(0, cy - r), max(0, cy + r + 1)), slice(max(0, cx - r), max(0, cx + r + 1))
        disc[window] = 0
        cv2.circle(disc, (cx, cy), int(radius), weight * (1 - old) * min(1.0, age / 4 + 0.3), -1)
        dense[window] += disc[window]
    return np.clip(cv2.GaussianBlur(dense, (0, 0), 0.09 * camera.focal / 16 * scale), 0, 1)


def draw_flames(stage: Stage, canvas: Image) -> None:
    """The flames, in the part of the canvas where they are."""
    camera = stage.scene.camera
    x, y, metre = camera.project(HEARTH[None])[0]
    x0, x1 = max(0, int(x - 2.2 * metre)), min(canvas.shape[1], int(x + 2.2 * metre))
    y0, y1 = max(0, int(y - 3.8 * metre)), min(canvas.shape[0], int(y + 0.5 * metre))
    heat = puffs(stage.flames, camera, (y1 - y0, x1 - x0), (x0, y0), scale=1.0, grow=0.0, weight=0.5)
    colour = HEAT[np.round(heat * 255).astype(np.uint8)].astype(np.float32)
    blend(canvas[y0:y1, x0:x1], colour, np.clip(heat * 3 - 0.35, 0, 1))


def draw(stage: Stage) -> Image:
    """The stage as its camera sees it, before the sensor."""
    scene = stage.scene
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for walker in stage.walkers:
        walker.cast(mask, scene.camera)
    light = cv2.resize(255 - cv2.GaussianBlur(mask, (5, 5), 0) // 2, (WIDTH * SCALE, HEIGHT * SCALE))
    canvas = times(scene.background, np.repeat(light[..., None], 3, axis=2).astype(np.uint8))
    things: list[tuple[float, Callable[[], None]]] = [
        *((prop.z, lambda prop=prop: prop.draw(canvas, scene.camera)) for prop in scene.props),
        *((walker.at[1], lambda walker=walker: walker.draw(canvas, scene.camera)) for walker in stage.walkers),
    ]
    if stage.blaze:
        things.append((HEARTH[2] - 0.6, lambda: draw_flames(stage, canvas)))
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    frame = np.asarray(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    if stage.blaze:
        x, y, metre = scene.camera.project(HEARTH[None])[0] / SCALE
        rows, columns = np.ogrid[:HEIGHT, :WIDTH]
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (2.2 * metre) ** 2)).astype(np.float32)
        glow = near[..., None] * stage.blaze * np.array([70, 34, 6], np.float32)
        frame = np.clip(frame + glow, 0, 255).astype(np.uint8)
        smoke = puffs(stage.smoke, scene.camera, (HEIGHT, WIDTH), (0, 0), scale=1 / SCALE, grow=0.5, weight=0.26)
        blend(frame, np.array([58, 56, 56], np.float32), 0.85 * smoke)
    return frame
