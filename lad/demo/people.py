"""The people: how they walk, run, fall and lie, what they wear, and how they are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lad.demo.camera import FPS, SCALE, SUN, Camera, Colour, Image, Points, fixed, shade
from lad.demo.scene import Area

# A side of the body: hip, knee, ankle, toe, shoulder, elbow, hand. The left is first, then the right, then the head.
SIDE_JOINTS, HEAD = 7, 14
LIMBS = [  # from, to, thickness in metres, worn colour
    (0, 1, 0.17, "trousers"),
    (1, 2, 0.13, "trousers"),
    (2, 3, 0.10, "shoes"),
    (4, 5, 0.115, "shirt"),
    (5, 6, 0.09, "sleeve"),
]
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
    def enter(cls, area: Area, rng: np.random.Generator) -> Walker:
        at, goal = somewhere(area, rng), somewhere(area, rng)
        shirt = SHIRTS[rng.integers(len(SHIRTS))]
        skin = SKINS[rng.integers(len(SKINS))]
        wear: dict[str, Colour] = {
            "shirt": shirt,
            "sleeve": shirt if rng.random() < 0.6 else skin,
            "skin": skin,
            "shoes": (34, 30, 28),
            "trousers": TROUSERS[rng.integers(len(TROUSERS))],
            "hair": HAIRS[rng.integers(len(HAIRS))],
        }
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

    def pose(self) -> Points:
        """The body's joints from its gait, before it falls: (15, 3) metres ahead, right, up."""
        run = min(1.0, max(0.0, (self.speed - 1.6) / 2.4))
        swing = 0.44 * min(1.0, self.speed / 1.2) + 0.35 * run
        crouch = math.sin(math.pi * self.fall)
        body = np.zeros((2 * SIDE_JOINTS + 1, 3))  # in body heights until its end
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
        return body

    def joints(self) -> Points:
        """The body's joints in the world: (15, 3)."""
        body = self.pose()
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
        parts = [  # how near, from, to, thickness, worn colour
            (j[[0, 4, 7, 11], 2].mean(), -1, -1, 0.19, "shirt"),
            (j[HEAD, 2], HEAD, HEAD, 0.0, "skin"),
        ]
        for s in (0, SIDE_JOINTS):
            parts += [((j[a + s, 2] + j[b + s, 2]) / 2, a + s, b + s, thick, worn) for a, b, thick, worn in LIMBS]
        for _, a, b, thick, worn in sorted(parts, key=lambda part: part[0]):
            if a == HEAD:
                self._draw_head(canvas, px[HEAD], 0.066 * self.size * j[HEAD, 2])
                continue
            colour = self.wear[worn]
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
                start, end = (px[a] + shift).tolist(), (px[b] + shift).tolist()
                cv2.line(canvas, start, end, shade(colour, 1.12), max(1, width // 3), cv2.LINE_AA, 4)

    def _draw_head(self, canvas: Image, at: Points, radius: float) -> None:
        cv2.circle(canvas, at.tolist(), int(radius * 16), shade(self.wear["skin"], 0.92), -1, cv2.LINE_AA, 4)
        if self.fall < 0.5:
            away = math.cos(self.heading)  # of somebody who walks away one sees the hair
            hair = np.round(at + np.array([-6 * math.sin(self.heading), -7 + 3 * away]) * radius).astype(int).tolist()
            cv2.circle(canvas, hair, int(radius * (14 + 2 * away)), self.wear["hair"], -1, cv2.LINE_AA, 4)

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
