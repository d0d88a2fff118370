"""The videos of `lad demo`: short labelled clips of small surveillance scenes, drawn here frame by frame.

Three fixed cameras, a category each: a plaza (`panic`), a walkway (`falling`) and a back yard (`fire`). As in LAD2000
there is no normal class: a clip in which people only walk about keeps the category of its scene. Everything stands in
one 3-D world in metres (x right, y up, z away from the camera) and is seen through a pinhole camera, so that sizes,
shadows and who hides whom agree without further care.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

VERSION = 1  # part of every `source`: raise it when the pictures change, so that older clips are made anew
WIDTH, HEIGHT, FPS = 320, 240, 25
SCALE = 2  # the canvas is larger than the frame by this factor; shrinking it smooths the edges
TEXELS = 32  # pixels a metre in the textures of ground and walls
SUN = np.array([0.55, 0.22])  # where the shadow of a point one metre up falls, in x and z
COLUMNS = ("video", "path", "split", "label", "events", "n_frames", "fps", "source")

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
Area = tuple[float, float, float, float]  # of the ground: x from, to, z from, to


# ---------------------------------------------------------------- the world and its camera


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
        return np.array([[self.x + i * wide / 2, low + j * high, near + k * deep]
                         for i in (-1, 1) for j in (0, 1) for k in (0, 1)])  # fmt: skip

    def draw(self, canvas: Image, camera: Camera) -> None:
        c = self.corners()
        side = [4, 5, 7, 6] if self.x < camera.place[0] else [0, 1, 3, 2]
        fill(canvas, camera, c[side], shade(self.colour, 0.62 if side[0] == 4 else 0.8))
        fill(canvas, camera, c[[0, 4, 6, 2]], shade(self.colour, 0.78))
        fill(canvas, camera, c[[2, 6, 7, 3]], shade(self.colour, 1.1))
        for n in range(26 if self.crown else 0):  # leaves: a spiral of blobs, the sunny ones lighter and later
            angle, lift = n * 2.4, (n % 13) / 13
            spread = self.crown * math.sqrt(1 - (lift - 0.4) ** 2)
            at = [[self.x + spread * math.cos(angle) * 0.8, self.base + self.size[1] + self.crown * 1.5 * lift,
                   self.z + spread * math.sin(angle) * 0.8]]  # fmt: skip
            px, py, scale = camera.project(np.array(at))[0]
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


# ---------------------------------------------------------------- the scenes


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
    hearth: tuple[float, float, float] = (0.0, 0.0, 0.0)  # where a fire breaks out

    @classmethod
    def build(cls, kind: str, rng: np.random.Generator) -> "Scene":
        """A scene as one camera sees it; every clip has its own small differences of camera and surface."""
        jitter = rng.uniform(-1, 1, 4) * [0.4, 0.25, 0.02, 0.05]
        x, height, pitch, yaw = np.array(CAMERAS[kind]) + jitter
        camera = Camera(x, height, pitch, yaw)
        canvas = np.zeros((HEIGHT * SCALE, WIDTH * SCALE, 3), np.uint8)
        props, area, crowd, hearth = SCENES[kind](canvas, camera, rng)
        dark = np.full(canvas.shape, 255, np.uint8)
        for prop in props:
            fill(dark, camera, prop.shadow(), (135, 138, 150))
        canvas = times(canvas, np.asarray(cv2.GaussianBlur(dark, (9, 9), 0), np.uint8))
        beyond = area[3]  # nobody walks behind what is further away: it is drawn once
        for prop in sorted(props, key=lambda prop: -prop.z):
            if prop.z > beyond:
                prop.draw(canvas, camera)
        return cls(camera, canvas, [prop for prop in props if prop.z <= beyond], area, crowd, hearth)


Place = tuple[list[Box], Area, tuple[int, int], tuple[float, float, float]]  # as in Scene


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
    return props, (-6.0, 6.0, 6.2, 15.5), (10, 13), (0.0, 0.0, 0.0)


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
    props += [Box(x, 16.19 + 0.4 * n, (0.07, 0.75, 0.07), (70, 76, 84), 0.17 + 0.17 * n)
              for n in range(14) for x in (-1.5, 1.5)]  # fmt: skip
    props += [Box(-3.7, 10.5, (0.5, 0.9, 0.5), (66, 78, 84)), Box(3.5, 13.2, (0.7, 0.45, 1.9), (120, 84, 56))]
    return props, (-2.9, 2.9, 6.0, 14.2), (5, 7), (0.0, 0.0, 0.0)


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
    return props, (-4.2, 5.0, 6.0, 11.8), (4, 6), (3.2, 1.1, 13.7)


SCENES: dict[str, Callable[[Image, Camera, np.random.Generator], Place]] = {
    "panic": plaza,
    "falling": walkway,
    "fire": yard,
}
LENGTHS = {"panic": (40, 54), "falling": (44, 68), "fire": (46, 70)}  # of an event, in frames
CAMERAS = {  # x, height, pitch, yaw
    "panic": (0.0, 5.8, 0.43, 0.0),
    "falling": (0.0, 4.4, 0.36, 0.0),
    "fire": (0.4, 5.0, 0.38, 0.04),
}


# ---------------------------------------------------------------- the people

# A side of the body: hip, knee, ankle, toe, shoulder, elbow, hand. The left is first, then the right, then the head.
SIDE_JOINTS, HEAD = 7, 14
LIMBS = [  # from, to, thickness in metres, worn colour
    (0, 1, 0.17, "trousers"), (1, 2, 0.13, "trousers"), (2, 3, 0.10, "shoes"),
    (4, 5, 0.115, "shirt"), (5, 6, 0.09, "sleeve"),
]  # fmt: skip
SHIRTS = [(176, 52, 48), (46, 84, 150), (222, 216, 204), (60, 110, 74), (206, 160, 52), (92, 66, 116), (52, 56, 64)]
TROUSERS = [(44, 52, 78), (52, 50, 50), (104, 90, 72), (70, 84, 110), (30, 32, 36)]
SKINS = [(226, 180, 150), (190, 138, 104), (132, 90, 64), (240, 200, 172)]
HAIRS = [(40, 30, 24), (86, 58, 34), (22, 20, 20), (170, 160, 150), (160, 118, 62)]


@dataclass
class Walker:
    """A person: where they are and go, how their body is held, what they wear."""

    at: Points  # x, z
    goal: Points
    pace: float  # metres a second wanted
    size: float  # body height in metres
    wear: dict[str, Colour]
    heading: float = 0.0  # 0 is away from the camera, in radians, to the right
    speed: float = 0.0
    stride: float = 0.0  # phase of the gait
    fear: float = 0.0  # 0 calm .. 1 arms flung up
    fall: float = 0.0  # 0 upright .. 1 lying
    twitch: float = 0.0

    @classmethod
    def enter(cls, area: Area, rng: np.random.Generator) -> "Walker":
        at, goal = somewhere(area, rng), somewhere(area, rng)
        shirt = SHIRTS[rng.integers(len(SHIRTS))]
        skin = SKINS[rng.integers(len(SKINS))]
        wear: dict[str, Colour] = {
            "shirt": shirt, "sleeve": shirt if rng.random() < 0.6 else skin, "skin": skin, "shoes": (34, 30, 28),
            "trousers": TROUSERS[rng.integers(len(TROUSERS))], "hair": HAIRS[rng.integers(len(HAIRS))],
        }  # fmt: skip
        pace = rng.uniform(0.95, 1.5)
        heading = math.atan2(*(goal - at))
        return cls(at, goal, pace, rng.uniform(1.58, 1.88), wear, heading, pace, rng.uniform(0, 6.28))

    def step(self) -> None:
        """One frame later."""
        turn = (math.atan2(*(self.goal - self.at)) - self.heading + math.pi) % (2 * math.pi) - math.pi
        agility = 0.09 + 0.2 * self.fear
        self.heading += max(-agility, min(agility, turn)) * (1 - self.fall)
        self.speed += (self.pace * (1 - self.fall) ** 2 - self.speed) * (0.12 + 0.2 * min(1.0, 2 * self.fear))
        self.at = self.at + np.array([math.sin(self.heading), math.cos(self.heading)]) * self.speed / FPS
        self.stride += 2 * math.pi * self.speed / (0.82 * self.size + 0.4 * max(0.0, self.speed - 1.4)) / FPS

    def joints(self) -> Points:
        """The body's joints in the world, from its gait: (15, 3)."""
        run = min(1.0, max(0.0, (self.speed - 1.6) / 2.4))
        swing = 0.44 * min(1.0, self.speed / 1.2) + 0.35 * run
        crouch = math.sin(math.pi * self.fall)
        body = np.zeros((2 * SIDE_JOINTS + 1, 3))  # ahead, right, up, in body heights
        lean = 0.04 + 0.24 * run + 0.5 * crouch
        neck = np.array([math.sin(lean), 0, math.cos(lean)])
        for side in (-1, 1):
            phase = self.stride + (math.pi if side > 0 else 0)
            jerk = self.fall * self.twitch * math.sin(side + self.stride)
            thigh = swing * math.sin(phase) * (1 - self.fall) + 0.9 * crouch
            thigh += self.fall * (0.12 + 0.1 * side) + 0.5 * jerk
            knee = 0.1 + (0.6 + 0.9 * run) * max(0.0, math.cos(phase)) * min(1.0, self.speed) + 1.5 * crouch
            knee = knee * (1 - 0.5 * self.fall) + self.fall * (0.45 + 0.4 * side + 0.7 * jerk)
            arm = -1.05 * swing * math.sin(phase) * (1 - self.fall) + (2.3 + 0.3 * math.sin(2 * phase)) * self.fear
            arm += self.fall * (1.7 + 0.5 * side + 0.9 * jerk)
            elbow = 0.25 + 1.1 * run * (1 - self.fear) + 0.4 * self.fall
            hip = np.array([0, 0.055 * side, 0])
            j = [hip]
            for length, angle in ((0.245, thigh), (0.24, thigh - knee), (0.09, thigh - knee + 1.35)):
                j.append(j[-1] + length * np.array([math.sin(angle), 0, -math.cos(angle)]))
            j.append(0.31 * neck + [0, 0.115 * side, 0])
            out = 0.12 + 0.35 * self.fear + 0.5 * self.fall
            for length, angle in ((0.165, arm), (0.155, arm + elbow)):
                j.append(j[-1] + length * np.array([math.sin(angle), side * math.sin(out), -math.cos(angle)]))
            body[SIDE_JOINTS * (side > 0) :][:SIDE_JOINTS] = j
        body[HEAD] = 0.44 * neck
        body *= self.size
        body[:, 2] -= body[:, 2].min() - 0.03 - 0.05 * run * abs(math.sin(self.stride))  # the lower foot stands
        tilt = self.fall**1.5 * 1.5
        ahead, up = body[:, 0].copy(), body[:, 2].copy()
        body[:, 0] = ahead * math.cos(tilt) + up * math.sin(tilt)
        body[:, 2] = np.maximum(up * math.cos(tilt) - ahead * math.sin(tilt), 0.07)
        sin_h, cos_h = math.sin(self.heading), math.cos(self.heading)
        x = self.at[0] + body[:, 0] * sin_h + body[:, 1] * cos_h
        z = self.at[1] + body[:, 0] * cos_h - body[:, 1] * sin_h
        return np.stack([x, body[:, 2], z], axis=1)

    def draw(self, canvas: Image, camera: Camera) -> None:
        """The body, its far parts first."""
        j = camera.project(self.joints())
        px = fixed(j)
        parts: list[tuple[float, tuple[int, int, float, str]]] = [(j[[0, 4, 7, 11], 2].mean(), (-1, -1, 0.19, "shirt"))]
        parts.append((j[HEAD, 2], (HEAD, HEAD, 0.0, "skin")))
        parts += [(j[a + s, 2] + j[b + s, 2], (a + s, b + s, w, c)) for s in (0, SIDE_JOINTS) for a, b, w, c in LIMBS]
        parts[2:] = [(near / 2, part) for near, part in parts[2:]]
        for _, (a, b, thick, worn) in sorted(parts, key=lambda part: part[0]):
            colour = self.wear[worn]
            if a == HEAD:
                radius = 0.066 * self.size * j[HEAD, 2]
                cv2.circle(canvas, px[HEAD].tolist(), int(radius * 16), shade(colour, 0.92), -1, cv2.LINE_AA, 4)
                away = math.cos(self.heading)  # of somebody who walks away one sees the hair
                hair = px[HEAD] + np.array([-6 * math.sin(self.heading), -7 + 3 * away]) * radius
                if self.fall < 0.5:
                    cv2.circle(canvas, np.round(hair).astype(int).tolist(), int(radius * (14 + 2 * away)),
                               self.wear["hair"], -1, cv2.LINE_AA, 4)  # fmt: skip
                continue
            width = max(1, round(thick * j[a, 2]))
            if a < 0:  # the trunk: between shoulders and hips
                trunk = px[[0, 4, 11, 7]]
                cv2.fillConvexPoly(canvas, trunk, shade(colour, 0.88), cv2.LINE_AA, 4)
                cv2.polylines(canvas, [trunk], True, shade(colour, 0.88), width, cv2.LINE_AA, 4)
                a, b = (4, 0) if px[4, 0] < px[11, 0] else (11, 7)
            else:
                cv2.line(canvas, px[a].tolist(), px[b].tolist(), shade(colour, 0.84), width, cv2.LINE_AA, 4)
            if width > 3:  # the light comes from the left
                shift = [int(-4 * width), 0]
                cv2.line(canvas, (px[a] + shift).tolist(), (px[b] + shift).tolist(), shade(colour, 1.12),
                         max(1, width // 3), cv2.LINE_AA, 4)  # fmt: skip

    def cast(self, mask: Image, camera: Camera) -> None:
        """The shadow: the same body, flattened along the sun."""
        j = self.joints()
        j[:, [0, 2]] += j[:, 1:2] * SUN
        j[:, 1] = 0
        flat = camera.project(j)
        px, scale = fixed(flat / SCALE), flat[HEAD, 2] / SCALE
        for s in (0, SIDE_JOINTS):
            for a, b, thick, _ in LIMBS:
                cv2.line(mask, px[a + s].tolist(), px[b + s].tolist(), 255, max(1, int(thick * scale)), cv2.LINE_8, 4)
        cv2.fillConvexPoly(mask, px[[0, 4, 11, 7]], 255, cv2.LINE_8, 4)
        cv2.line(mask, px[0].tolist(), px[HEAD].tolist(), 255, max(1, int(0.2 * scale)), cv2.LINE_8, 4)


def somewhere(area: Area, rng: np.random.Generator) -> Points:
    """A point of the ground where people walk."""
    return rng.uniform([area[0], area[2]], [area[1], area[3]])


# ---------------------------------------------------------------- the events


@dataclass
class Stage:
    """A scene in play: its people and its fire."""

    scene: Scene
    rng: np.random.Generator
    walkers: list[Walker]
    flames: Points = field(default_factory=lambda: np.zeros((0, 8)))  # x y z, their speeds, age, life (frames)
    smoke: Points = field(default_factory=lambda: np.zeros((0, 8)))
    blaze: float = 0.0  # 0 no fire .. 1 full
    victim: int = 0

    def step(self) -> None:
        """One frame later: people go where they want, round each other; sparks and smoke rise."""
        for walker in self.walkers:
            if not walker.fear and np.hypot(*(walker.goal - walker.at)) < 0.5:
                walker.goal = somewhere(self.scene.area, self.rng)
            walker.step()
        for i, one in enumerate(self.walkers):
            for other in self.walkers[:i]:
                gap = one.at - other.at
                far = float(np.hypot(*gap)) + 1e-6
                room = 0.7 + 0.5 * max(one.fall, other.fall)
                if far < room:
                    push = gap / far * (room - far) * 0.15
                    one.at, other.at = one.at + push * (1 - one.fall), other.at - push * (1 - other.fall)
        for cloud in (self.flames, self.smoke):
            cloud[:, :3] += cloud[:, 3:6] / FPS
            cloud[:, 6] += 1
        self.flames = self.flames[self.flames[:, 6] < self.flames[:, 7]]
        self.smoke = self.smoke[self.smoke[:, 6] < self.smoke[:, 7]]


def panic(stage: Stage, age: int, length: int) -> None:
    """All run apart, each from their own moment on; those still in the picture afterwards calm down."""
    middle, centre = np.array([0.0, 10.5]), np.mean([walker.at for walker in stage.walkers], axis=0)
    for n, walker in enumerate(stage.walkers):
        if age == n % 4 * 2:
            away = math.atan2(*(walker.at - centre)) + stage.rng.uniform(-0.6, 0.6) + (math.pi if n % 3 == 2 else 0)
            walker.goal = centre + 40 * np.array([math.sin(away), math.cos(away)])
            walker.pace, walker.fear = stage.rng.uniform(3.6, 5.4), float(stage.rng.choice([0.35, 0.6, 1.0]))
        if age >= 8 and walker.at[1] > stage.scene.area[3] + 0.5:  # the houses are in the way
            walker.goal = np.array([math.copysign(40, walker.at[0]), stage.scene.area[3]])
        if n % 3 and (abs(walker.at[0]) > 5 or walker.at[1] < 6):  # most run back and forth: the plaza is never empty
            walker.goal = middle + 5 * (middle - walker.at)
        if age == length:
            walker.pace, walker.fear, walker.goal = 1.4, 0.0, somewhere(stage.scene.area, stage.rng)


def falling(stage: Stage, age: int, length: int) -> None:
    """Somebody in front, whom nobody hides, falls, lies there, and at the end gets up again."""
    if age == 0:
        stage.victim = int(np.argmin([abs(walker.at[1] - 7.4) + 0.1 * abs(walker.at[0]) for walker in stage.walkers]))
    walker = stage.walkers[stage.victim]
    down, rise = min(1.0, age / 13) ** 1.6, min(1.0, max(0, length - age) / 20)
    walker.fall = min(down, rise)
    walker.twitch = math.sin(age * 1.1) * (math.sin(age * 0.23) > 0)
    walker.stride += 0.25 * walker.fall * math.sin(age * 0.7)


def fire(stage: Stage, age: int, length: int) -> None:
    """A fire grows out of a bin, with smoke; those who are near walk away from it."""
    stage.blaze = min(1.0, 0.15 + age / 38) * stage.rng.uniform(0.85, 1.0)
    rng, (x, y, z) = stage.rng, stage.scene.hearth
    for name, count, spread, rise, life in (("flames", 16, 0.62, 2.9, 22), ("smoke", 5, 0.55, 2.2, 75)):
        n = rng.poisson(count * stage.blaze)
        born = np.zeros((n, 8))
        born[:, :3] = [x, y + (1.3 * stage.blaze if name == "smoke" else 0), z]
        born[:, 0] += rng.normal(0, spread * (0.35 + 0.65 * stage.blaze), n)
        born[:, 3] = (x - born[:, 0]) * (1.2 if name == "flames" else -0.2) + rng.normal(0.25, 0.25, n)
        born[:, 4] = rise * rng.uniform(0.6, 1.2, n) * (0.5 + 0.5 * stage.blaze)
        born[:, 7] = life * rng.uniform(0.6, 1.2, n)
        setattr(stage, name, np.concatenate([getattr(stage, name), born]))
    for walker in stage.walkers:
        if age == 12 and np.hypot(*(walker.at - [x, z])) < 6:
            walker.goal, walker.pace = np.array([-9.0, walker.at[1] - 2]), 1.9


EVENTS: dict[str, Callable[[Stage, int, int], None]] = {"panic": panic, "falling": falling, "fire": fire}


# ---------------------------------------------------------------- the picture

HEAT = np.stack([np.interp(np.arange(256), [0, 60, 120, 190, 255], c) for c in
                 ([60, 190, 240, 255, 255], [10, 50, 120, 200, 245], [5, 10, 20, 70, 190])], axis=1)  # fmt: skip


def blend(image: Image, colour: Any, alpha: Any) -> None:
    """Colour over the image, in place; alpha 0..1 a pixel."""
    image[:] = image + (colour - image.astype(np.float32)) * alpha[..., None]


def puffs(cloud: Points, camera: Camera, shape: tuple[int, int], origin: tuple[int, int], scale: float, grow: float,
          weight: float) -> Any:  # fmt: skip
    """How dense a cloud of particles is at each pixel, 0..1: soft discs that add up."""
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
    x, y, metre = camera.project(np.array([stage.scene.hearth]))[0]
    x0, x1 = max(0, int(x - 2.2 * metre)), min(canvas.shape[1], int(x + 2.2 * metre))
    y0, y1 = max(0, int(y - 3.8 * metre)), min(canvas.shape[0], int(y + 0.5 * metre))
    heat = puffs(stage.flames, camera, (y1 - y0, x1 - x0), (x0, y0), 1.0, 0.0, 0.5)
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
        things.append((scene.hearth[2] - 0.6, lambda: draw_flames(stage, canvas)))
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    frame = np.asarray(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    if stage.blaze:
        x, y, metre = scene.camera.project(np.array([scene.hearth]))[0] / SCALE
        rows, columns = np.ogrid[:HEIGHT, :WIDTH]
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (2.2 * metre) ** 2)).astype(np.float32)
        glow = near[..., None] * stage.blaze * np.array([70, 34, 6], np.float32)
        frame = np.clip(frame + glow, 0, 255).astype(np.uint8)
        blend(frame, np.array([58, 56, 56], np.float32),
              0.85 * puffs(stage.smoke, scene.camera, (HEIGHT, WIDTH), (0, 0), 1 / SCALE, 0.5, 0.26))  # fmt: skip
    return frame


@dataclass(frozen=True)
class Clip:
    """One clip of the set, before it is drawn."""

    name: str
    category: str
    split: str
    event: tuple[int, int] | None
    n_frames: int
    key: tuple[int, ...]  # seeds everything in it

    @property
    def video(self) -> str:
        return f"videos/{self.category}/{self.name}"

    def row(self) -> tuple[str | int, ...]:
        events = "{}-{}".format(*self.event) if self.event else ""
        source = f"demo{VERSION}-seed{self.key[0]}-{self.category}-{self.name}"
        return (self.video, f"{self.video}.mp4", self.split, self.category, events, self.n_frames, FPS, source)


def render_clip(clip: Clip) -> Iterator[Image]:
    """The frames of a clip: RGB, (240, 320, 3)."""
    rng = np.random.default_rng(clip.key)
    scene = Scene.build(clip.category, rng)
    stage = Stage(scene, rng, [Walker.enter(scene.area, rng) for _ in range(rng.integers(*scene.crowd))])
    noise = cv2.GaussianBlur(rng.normal(0, 5.5, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32), (3, 3), 0.6)
    exposure, tint, second = rng.uniform(0.9, 1.06), rng.uniform(-0.03, 0.03), int(rng.integers(7 * 3600, 17 * 3600))
    for n in range(clip.n_frames):
        if clip.event and n >= clip.event[0]:
            to_the_end = clip.event[1] == clip.n_frames
            EVENTS[clip.category](stage, n - clip.event[0], 10**6 if to_the_end else clip.event[1] - clip.event[0])
        stage.step()
        gain = exposure * (1 + 0.012 * math.sin(n * 1.9) + rng.normal(0, 0.004)) * np.array([1 + tint, 1, 1 - tint])
        dx, dy = rng.integers(0, 64, 2)
        frame = draw(stage) * gain.astype(np.float32) + noise[dy : dy + HEIGHT, dx : dx + WIDTH]
        frame = np.clip(frame, 0, 255).astype(np.uint8)
        clock = second + n // FPS
        stamp = f"CAM {list(SCENES).index(clip.category) + 1}  {clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"
        cv2.putText(frame, stamp, (8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (20, 20, 20), 1, cv2.LINE_AA)
        cv2.putText(frame, stamp, (7, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (235, 235, 230), 1, cv2.LINE_AA)
        yield frame


# ---------------------------------------------------------------- the files


def plan(seed: int = 0, per_category: int = 4) -> list[Clip]:
    """The clips: in each category `per_category` with an event and as many without, half of each for the test."""
    clips = []
    for c, category in enumerate(SCENES):
        for normal in (0, 1):
            for k in range(per_category):
                key = (seed, c, normal, k)
                rng = np.random.default_rng((*key, 1))
                n_frames, length = int(rng.integers(112, 145)), int(rng.integers(*LENGTHS[category]))
                start = n_frames - length  # a fire is not put out, and every other event goes on too when the clip ends
                if category != "fire" and k % 2:
                    start = int(rng.integers(28, start - 11))
                name = f"normal_{c * per_category + k + 1:02}" if normal else f"{category}_{k + 1:02}"
                split = "train" if k < per_category - per_category // 2 else "test"
                event = None if normal else (start, start + length)
                clips.append(Clip(name, category, split, event, n_frames, key))
    return clips


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; afterwards the file is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def encode(path: Path, frames: Iterator[Image]) -> None:
    """H.264 in an MP4; the same frames give the same bytes."""
    # One thread is not enough for that: with B-frames, x264's macroblock tree varies with where its memory lies.
    options = {"crf": "23", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_clips(
    root: Path, *, seed: int = 0, per_category: int = 4, on_clip: Callable[[int, int], None] | None = None
) -> Path:
    """The clips and their `dataset.csv` under `root`; returns the path of the latter.

    What is there already is kept, so that a second call does nothing and an interrupted one is completed. `on_clip` is
    told how many clips are there, and of how many, each time another one was made.
    """
    clips = plan(seed, per_category)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(clip.row() for clip in clips)])
    table, rows = root / "dataset.csv", text.getvalue().encode()
    # The table is written before the clips: it tells the next call which set (seed, size, version) the clips belong to.
    if not table.is_file() or table.read_bytes() != rows:
        for clip in clips:
            (root / f"{clip.video}.mp4").unlink(missing_ok=True)
        with whole(table) as part:
            part.write_bytes(rows)
    for n, clip in enumerate(clips):
        path = root / f"{clip.video}.mp4"
        if not path.is_file():
            with whole(path) as part:
                encode(part, render_clip(clip))
            if on_clip:
                on_clip(n + 1, len(clips))
    return table
