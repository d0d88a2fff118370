"""What happens in a scene: people walk about, until a panic, a fall or a fire."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lad.demo.camera import FPS, Points
from lad.demo.people import Walker, somewhere
from lad.demo.scene import HEARTH, Scene


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
    rng, (x, y, z) = stage.rng, HEARTH
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
LENGTHS = {"panic": (40, 54), "falling": (44, 68), "fire": (46, 70)}  # frames: from, to (exclusive)
