"""The camera through which a scene is seen, and what can be drawn through it: polygons, textures, blocks.

Everything stands in one 3-D world in metres (x right, y up, z away from the camera), so that sizes, shadows and who
hides whom agree without further care.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FPS = 320, 240, 25
SCALE = 2  # the canvas is larger than the frame by this factor; shrinking it smooths the edges
SUN = np.array([0.55, 0.22])  # where the shadow of a point one metre up falls, in x and z

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Colour = tuple[float, float, float]


class Camera:
    """A pinhole camera `height` metres above the ground, tilted down by `pitch` and turned by `yaw` (radians)."""

    focal = 0.98 * WIDTH * SCALE

    def __init__(self, x: float, height: float, pitch: float, yaw: float) -> None:
        sin_p, cos_p, sin_y, cos_y = math.sin(pitch), math.cos(pitch), math.sin(yaw), math.cos(yaw)
        self.place = np.array([x, height, 0.0])
        self.axes = np.array(
            [[cos_y, 0, -sin_y], [-sin_y * sin_p, -cos_p, -cos_y * sin_p], [sin_y * cos_p, -sin_p, cos_y * cos_p]]
        )

    def project(self, points: Points) -> Points:
        """World points (n, 3) to canvas x, canvas y and canvas pixels a metre there (more is nearer)."""
        right, down, ahead = self.axes @ (np.asarray(points, float) - self.place).T
        scale = self.focal / np.maximum(ahead, 0.5)
        return np.stack([WIDTH * SCALE / 2 + right * scale, HEIGHT * SCALE / 2 + down * scale, scale], axis=1)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, lighter or darker."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def fixed(points: Points) -> Any:
    """Canvas points as OpenCV's fixed-point integers (4 fractional bits): motion is smooth below one pixel."""
    return np.round(points[..., :2] * 16).astype(np.int32)


def times(image: Image, light: Image) -> Image:
    """The image under a light of 0 (dark) to 255 (as it is)."""
    return np.asarray(cv2.multiply(image, light, scale=1 / 255), np.uint8)


def blend(image: Image, colour: Any, alpha: Any) -> None:
    """Colour over the image, in place; alpha 0..1 a pixel."""
    image[:] = image + (colour - image.astype(np.float32)) * alpha[..., None]


def fill(canvas: Image, camera: Camera, corners: Points, colour: Colour) -> None:
    """A flat convex polygon."""
    cv2.fillConvexPoly(canvas, fixed(camera.project(corners)), colour, cv2.LINE_AA, shift=4)


def hang(canvas: Image, camera: Camera, texture: Image, corners: Points) -> None:
    """A texture onto a rectangle of the world; corners: top left, top right, bottom right, bottom left."""
    high, wide = texture.shape[:2]
    flat = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    warp = cv2.getPerspectiveTransform(flat, camera.project(corners)[:, :2].astype(np.float32))
    size = (canvas.shape[1], canvas.shape[0])
    cv2.warpPerspective(texture, warp, size, canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)


@dataclass(frozen=True)
class Box:
    """A block that stands on the ground (or `base` above it): bins, benches, steps, posts, a van, a tree's trunk."""

    x: float
    z: float
    size: tuple[float, float, float]  # along x, y, z
    colour: Colour
    base: float = 0.0
    crown: float = 0.0  # radius of the leaves on top, for a tree

    def corners(self) -> Points:
        wide, high, deep = self.size
        low, near = self.base, self.z - deep / 2
        return np.array(
            [[self.x + i * wide / 2, low + j * high, near + k * deep] for i in (-1, 1) for j in (0, 1) for k in (0, 1)]
        )

    def draw(self, canvas: Image, camera: Camera) -> None:
        c = self.corners()
        side = [4, 5, 7, 6] if self.x < camera.place[0] else [0, 1, 3, 2]
        fill(canvas, camera, c[side], shade(self.colour, 0.62 if side[0] == 4 else 0.8))
        fill(canvas, camera, c[[0, 4, 6, 2]], shade(self.colour, 0.78))
        fill(canvas, camera, c[[2, 6, 7, 3]], shade(self.colour, 1.1))
        for n in range(26 if self.crown else 0):  # leaves: a spiral of blobs, the sunny ones lighter and later
            angle, lift = n * 2.4, (n % 13) / 13
            spread = self.crown * math.sqrt(1 - (lift - 0.4) ** 2)
            x, z = self.x + spread * math.cos(angle) * 0.8, self.z + spread * math.sin(angle) * 0.8
            y = self.base + self.size[1] + self.crown * 1.5 * lift
            px, py, scale = camera.project(np.array([[x, y, z]]))[0]
            green = shade((62, 96, 46), 0.7 + 0.5 * lift - 0.12 * math.cos(angle))
            cv2.circle(canvas, (int(px), int(py)), int(self.crown * 0.42 * scale), green, -1, cv2.LINE_AA)

    def shadow(self) -> Points:
        """The outline of its shadow, on the ground."""
        c = self.corners()
        if self.crown:
            ring = np.arange(16) * math.pi / 8
            blob = np.stack([np.cos(ring), np.zeros(16), np.sin(ring)], 1) * self.crown
            c = np.concatenate([c, blob + np.array([self.x, self.size[1] + self.crown * 0.6, self.z])])
        flat = (c[:, [0, 2]] + c[:, 1:2] * SUN).astype(np.float32)
        hull = cv2.convexHull(flat)[:, 0]
        return np.stack([hull[:, 0], np.zeros(len(hull)), hull[:, 1]], axis=1).astype(float)
