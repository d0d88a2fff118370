"""The score drawn into the picture: its curve with a cursor, the threshold, the category, the time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from lad.text import timecode

BAND, LEAST_BAND = 0.18, 56  # of the picture's height, and pixels
SHADE = 0.3  # how much of the picture is left below the curve
MARGIN = 0.02  # of the picture's width, left and right
CURVE, ALARM, LINE, CURSOR, INK = (120, 200, 255), (255, 90, 70), (190, 190, 190), (255, 255, 255), (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_HEIGHT = 22.0  # pixels of a letter at scale 1


@dataclass(frozen=True)
class Overlay:
    """What is drawn into the frames of a piece of a video.

    Attributes:
        first: number of its first frame.
        times: `(frames,)` float64, seconds of each frame since the first of the video.
        scores: `(frames,)` float64.
        threshold: what a frame has to exceed to be part of an event.
        events: start, end (frames of the video, half-open) and category of each.
    """

    first: int
    times: np.ndarray
    scores: np.ndarray
    threshold: float
    events: tuple[tuple[int, int, str], ...]

    def draw(self, image: np.ndarray, number: int) -> np.ndarray:
        """A frame with its score; `number` is the frame's, in the video."""
        height, width = image.shape[:2]
        band = min(max(round(height * BAND), LEAST_BAND), height)
        place = number - self.first
        score = float(self.scores[place])
        drawn = np.array(image)
        part = drawn[height - band :]
        part[:] = (part * SHADE).astype(np.uint8)
        letter = max(min(band * 0.21, width * 0.045), 8.0)  # pixels high
        box = (round(width * MARGIN), round(letter * 1.7), width - 1 - round(width * MARGIN), band - 3)
        thick = max(round(band / 60), 1)
        self._draw_curve(part, box, place, thick)
        now = next((category for start, end, category in self.events if start <= number < end), "")
        ink = ALARM if score > self.threshold else INK
        left = f"{score:.2f} {_plain(now)}".rstrip()
        right = timecode(float(self.times[place]))
        room = box[2] - box[0]
        taken = _write(part, right, (box[2], round(letter * 1.35)), letter, INK, thick, from_right=True)
        _write(part, left, (box[0], round(letter * 1.35)), letter, ink, thick, room=room - taken - round(letter))
        return drawn

    def _draw_curve(self, part: np.ndarray, box: tuple[int, int, int, int], place: int, thick: int) -> None:
        x0, y0, x1, y1 = box
        across = self._places * (x1 - x0) + x0
        up = y1 - np.clip(self.scores, 0, 1) * (y1 - y0)
        level = round(y1 - min(max(self.threshold, 0.0), 1.0) * (y1 - y0))
        for x in range(x0, x1, 8 * thick):
            cv2.line(part, (x, level), (min(x + 4 * thick, x1), level), LINE, thick)
        points = np.stack([across, up], axis=1).round().astype(np.int32)
        cv2.polylines(part, [points], False, CURVE, thick, cv2.LINE_AA)
        for start, end in self._above:
            cv2.polylines(part, [points[start:end]], False, ALARM, thick + 1, cv2.LINE_AA)
        x, y = (int(n) for n in points[place])
        cv2.line(part, (x, y0), (x, y1), CURSOR, thick)
        cv2.circle(part, (x, y), 2 * thick + 1, CURSOR, -1, cv2.LINE_AA)

    @cached_property
    def _places(self) -> np.ndarray:
        """Where each frame is on the curve, from 0 to 1: by its time."""
        length = self.times[-1] - self.times[0]
        return (self.times - self.times[0]) / length if length > 0 else np.zeros(len(self.times))

    @cached_property
    def _above(self) -> list[tuple[int, int]]:
        inside = [(start - self.first, end - self.first) for start, end, _ in self.events]
        return [(max(start, 0), min(end, len(self.scores))) for start, end in inside]


def _plain(text: str) -> str:
    """What OpenCV's letters can say of a text."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _write(
    part: np.ndarray,
    text: str,
    at: tuple[int, int],
    letter: float,
    colour: tuple[int, int, int],
    thick: int,
    *,
    room: int | None = None,
    from_right: bool = False,
) -> int:
    """Write a line, cut to `room` pixels; returns how many it takes."""
    scale = letter / FONT_HEIGHT

    def wide(words: str) -> int:
        return int(cv2.getTextSize(words, FONT, scale, thick)[0][0])

    while room is not None and text and wide(text) > room:
        text = text[:-1]
    x = at[0] - wide(text) if from_right else at[0]
    cv2.putText(part, text, (x, at[1]), FONT, scale, colour, thick, cv2.LINE_AA)
    return wide(text)
