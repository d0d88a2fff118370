"""The three places: a plaza, a walkway and a back yard, each as its fixed camera sees it when nobody is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lad.demo.camera import HEIGHT, SCALE, WIDTH, Box, Camera, Colour, Image, blend, fill, hang, shade, times

TEXELS = 32  # pixels a metre in the textures of ground and walls
HEARTH = np.array([3.2, 1.1, 13.7])  # where the fire breaks out: a bin of the yard

Area = tuple[float, float, float, float]  # of the ground: x from, to, z from, to


def grain(rng: np.random.Generator, colour: Colour, wide: float, high: float, amount: float) -> Image:
    """A rough surface of `wide` x `high` metres: stains of a metre, patches of a foot, fine grain."""
    w, h = int(wide * TEXELS), int(high * TEXELS)
    rough = np.zeros((h, w), np.float32)
    for cell, weight in ((48, 0.9), (10, 0.6), (2, 0.8)):
        small = rng.standard_normal((h // cell + 2, w // cell + 2), dtype=np.float32)
        rough += weight * cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.array(colour, np.float32) + amount * rough[..., None], 0, 255).astype(np.uint8)


def tile(texture: Image, wide: float, high: float, colour: Colour, brick: bool = False) -> None:
    """Joints between slabs or bricks of `wide` x `high` metres."""
    step_x, step_y = int(wide * TEXELS), int(high * TEXELS)
    for row, y in enumerate(range(0, texture.shape[0], step_y)):
        cv2.line(texture, (0, y), (texture.shape[1], y), colour, 1)
        for x in range((row % 2) * step_x // 2 if brick else 0, texture.shape[1], step_x):
            cv2.line(texture, (x, y), (x, y + step_y), colour, 1)


def windows(texture: Image, rng: np.random.Generator, glass: Colour) -> None:
    """Shop windows and awnings below, a row of windows above."""
    for left in np.arange(1.0, texture.shape[1] / TEXELS - 3, 4.0):
        for x, y, w, h in ((left, 4.4, 2.6, 2.2), (left, 0.6, 1.0, 1.7), (left + 1.7, 0.6, 1.0, 1.7)):
            at, to = (int(x * TEXELS), int(y * TEXELS)), (int((x + w) * TEXELS), int((y + h) * TEXELS))
            cv2.rectangle(texture, at, to, shade(glass, rng.uniform(0.6, 1.3)), -1)
            cv2.rectangle(texture, at, to, (196, 190, 180), 3)
        top, awning = int(3.9 * TEXELS), [(150, 58, 50), (52, 92, 80), (70, 78, 120)][rng.integers(3)]
        cv2.rectangle(texture, (int((left - 0.2) * TEXELS), top), (int((left + 2.8) * TEXELS), top + 22), awning, -1)


@dataclass(frozen=True)
class Scene:
    """A place: its camera, its empty picture, what stands in it, and where people walk."""

    camera: Camera
    background: Image
    props: list[Box]
    area: Area  # where people walk
    crowd: tuple[int, int]  # how many: from, to (exclusive)

    @classmethod
    def build(cls, kind: str, rng: np.random.Generator) -> Scene:
        """A scene as one camera sees it; every clip has its own small differences of camera and surface."""
        jitter = rng.uniform(-1, 1, 4) * [0.4, 0.25, 0.02, 0.05]
        x, height, pitch, yaw = np.array(CAMERAS[kind]) + jitter
        camera = Camera(x, height, pitch, yaw)
        canvas = np.zeros((HEIGHT * SCALE, WIDTH * SCALE, 3), np.uint8)
        props, area, crowd = SCENES[kind](canvas, camera, rng)
        dark = np.full(canvas.shape, 255, np.uint8)
        for prop in props:
            fill(dark, camera, prop.shadow(), (135, 138, 150))
        canvas = times(canvas, np.asarray(cv2.GaussianBlur(dark, (9, 9), 0), np.uint8))
        beyond = area[3]  # nobody walks behind what is further away: it is drawn once
        for prop in sorted(props, key=lambda prop: -prop.z):
            if prop.z > beyond:
                prop.draw(canvas, camera)
        return cls(camera, canvas, [prop for prop in props if prop.z <= beyond], area, crowd)


Place = tuple[list[Box], Area, tuple[int, int]]  # props, area, crowd as in Scene


def lay(canvas: Image, camera: Camera, ground: Image, wall: Image, depth: float) -> None:
    """The ground from below the camera to `depth`, and the wall that closes the view."""
    x, high = ground.shape[1] / TEXELS / 2, wall.shape[0] / TEXELS
    hang(canvas, camera, ground, np.array([[-x, 0, depth], [x, 0, depth], [x, 0, 2], [-x, 0, 2]]))
    hang(canvas, camera, wall, np.array([[-x, high, depth], [x, high, depth], [x, 0, depth], [-x, 0, depth]]))


def plaza(canvas: Image, camera: Camera, rng: np.random.Generator) -> Place:
    """A paved square before a row of shops, with trees, benches and a lamp post."""
    ground = grain(rng, (158, 150, 138), 34, 19, 5)
    tile(ground, 1.0, 1.0, (128, 121, 112))
    for x in (8, 17, 26):  # darker bands in the paving
        ground[:, x * TEXELS : (x + 1) * TEXELS] = (ground[:, x * TEXELS : (x + 1) * TEXELS] * 0.84).astype(np.uint8)
    ground[: int(1.6 * TEXELS)] = (ground[: int(1.6 * TEXELS)] * 0.75).astype(np.uint8)
    wall = grain(rng, (172, 150, 122), 34, 7, 4)
    windows(wall, rng, (62, 74, 86))
    lay(canvas, camera, ground, wall, 21)
    bench, trunk, stone = (118, 82, 52), (84, 66, 50), (128, 124, 118)
    props = [Box(x, 18.2, (0.3, 2.4, 0.3), trunk, crown=1.25) for x in (-6.5, 6.8)]
    props += [Box(x, 18.2, (1.8, 0.35, 1.8), stone) for x in (-6.5, 6.8)]
    props += [Box(x, 17.4, (2.0, 0.45, 0.6), bench) for x in (-2.6, 2.4)]
    props += [Box(4.6, 11.6, (0.14, 4.6, 0.14), (70, 74, 78)), Box(4.6, 11.6, (0.5, 0.2, 0.5), (235, 230, 205), 4.6)]
    return props, (-6.0, 6.0, 6.2, 15.5), (10, 13)


def walkway(canvas: Image, camera: Camera, rng: np.random.Generator) -> Place:
    """A tiled passage between two walls that ends in a flight of stairs."""
    ground = grain(rng, (132, 136, 138), 26, 20, 4)
    tile(ground, 0.6, 0.6, (112, 116, 119))
    for x in (-2.2, 2.2):  # the yellow guide strips
        strip = int((13 + x) * TEXELS)
        ground[:, strip - 6 : strip + 6] = (188, 158, 62)
    lay(canvas, camera, ground, grain(rng, (96, 98, 104), 26, 8, 3), 22)
    for side in (-1, 1):
        wall = grain(rng, (150, 158, 162) if side < 0 else (128, 136, 142), 20, 4.5, 3)
        tile(wall, 0.8, 0.4, (124, 131, 136))
        wall[-12:] = 70
        for at, colour in zip((4.2, 8.6, 13.0), ((46, 92, 140), (176, 70, 58), (214, 190, 120)), strict=True):
            x0, y0, x1, y1 = (int(v * TEXELS) for v in (at, 1.4, at + 1.6, 3.4))
            wall[y0:y1, x0:x1] = colour
            wall[y0 + 12 : y0 + 34, x0 + 8 : x1 - 8] = shade(colour, 1.35)
        far, near = [side * 4.2, 0, 22], [side * 4.2, 0, 2]
        top = np.array([0, 4.5, 0])
        hang(canvas, camera, wall, np.array([near + top, far + top, far, near]))
    props = [Box(0, 16.2 + 0.4 * n, (8.4, 0.17, 0.4), (158, 156, 150), 0.17 * n) for n in range(14)]
    props += [
        Box(x, 16.19 + 0.4 * n, (0.07, 0.75, 0.07), (70, 76, 84), 0.17 + 0.17 * n)
        for n in range(14)
        for x in (-1.5, 1.5)
    ]
    props += [Box(-3.7, 10.5, (0.5, 0.9, 0.5), (66, 78, 84)), Box(3.5, 13.2, (0.7, 0.45, 1.9), (120, 84, 56))]
    return props, (-2.9, 2.9, 6.0, 14.2), (5, 7)


def yard(canvas: Image, camera: Camera, rng: np.random.Generator) -> Place:
    """An asphalt yard behind a brick building, with waste bins, crates and a parked van."""
    ground = grain(rng, (98, 98, 100), 34, 17, 6)
    for x in (10.5, 13.3, 16.1):
        cv2.line(ground, (int(x * TEXELS), 20), (int(x * TEXELS), 5 * TEXELS), (186, 186, 180), 4)
    stains = np.zeros(ground.shape[:2], np.uint8)
    for x, y, r in zip(rng.uniform(13, 22, 7), rng.uniform(6, 13, 7), rng.uniform(6, 24, 7), strict=True):
        cv2.ellipse(stains, (int(x * TEXELS), int(y * TEXELS)), (int(r), int(r * 0.7)), x * 99, 0, 360, 70, -1)
    blend(ground, np.float32(50), cv2.GaussianBlur(stains, (0, 0), 5) / np.float32(255))
    wall = grain(rng, (132, 80, 64), 34, 7, 7)
    tile(wall, 0.5, 0.2, (150, 118, 102), brick=True)
    door = slice(int(14.6 * TEXELS), int(16.2 * TEXELS))
    wall[int(4.5 * TEXELS) :, door] = (70, 84, 92)
    wall[int(4.5 * TEXELS) : int(4.6 * TEXELS), door] = 160
    lay(canvas, camera, ground, wall, 17)
    green, blue, wood, white = (52, 92, 62), (54, 78, 122), (156, 120, 78), (206, 208, 210)
    bins = ((1.7, green), (3.2, blue), (4.7, green))
    props = [Box(x, 13.8, (1.2, 1.15, 0.9), colour) for x, colour in bins]
    props += [Box(x, 13.8, (1.26, 0.1, 0.96), shade(colour, 0.7), 1.15) for x, colour in bins]
    props += [Box(6.0, 12.8, (0.8, 0.6, 0.8), wood), Box(5.9, 12.8, (0.7, 0.5, 0.7), shade(wood, 1.1), 0.6)]
    van, dark = -5.1, (44, 46, 50)
    props += [Box(van, 14.3, (1.9, 0.4, 4.2), dark), Box(van, 14.3, (2.0, 0.9, 4.6), white, 0.35)]
    props += [Box(van, 14.3, (2.0, 0.9, 3.8), white, 1.25), Box(van, 12.4, (1.7, 0.55, 0.02), dark, 1.4)]
    props += [Box(van + side * 0.75, 12.0, (0.3, 0.2, 0.02), (236, 226, 180), 0.75) for side in (-1, 1)]
    props += [Box(van, 12.0, (1.0, 0.16, 0.02), dark, 0.5)]
    return props, (-4.2, 5.0, 6.0, 11.8), (4, 6)


SCENES: dict[str, Callable[[Image, Camera, np.random.Generator], Place]] = {
    "panic": plaza,
    "falling": walkway,
    "fire": yard,
}
CAMERAS = {  # x, height, pitch, yaw
    "panic": (0.0, 5.8, 0.43, 0.0),
    "falling": (0.0, 4.4, 0.36, 0.0),
    "fire": (0.4, 5.0, 0.38, 0.04),
}
