"""The set of clips: which there are, their frames, and the files that hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from lad.dataset import DatasetError, Video, read_dataset, write_dataset
from lad.demo.camera import FPS, HEIGHT, WIDTH, Image
from lad.demo.events import EVENTS, LENGTHS, Stage
from lad.demo.people import Walker
from lad.demo.picture import draw
from lad.demo.scene import SCENES, Scene
from lad.events import Event
from lad.files import replacing

VERSION = 1  # part of every `source`: raise it when the pictures change, so that older clips are made anew


@dataclass(frozen=True)
class Clip:
    """One clip of the set, before it is drawn."""

    name: str
    category: str
    split: str
    event: Event | None
    n_frames: int
    key: tuple[int, ...]  # seeds everything in it

    def video(self, root: Path) -> Video:
        """The clip as a video of the dataset in `root`."""
        name = f"videos/{self.category}/{self.name}"
        events = (self.event,) if self.event else ()
        source = f"demo{VERSION}-seed{self.key[0]}-{self.category}-{self.name}"
        return Video(name, root / f"{name}.mp4", self.split, self.category, events, self.n_frames, FPS, source)


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
                event = None if normal else Event(start, start + length)
                clips.append(Clip(name, category, split, event, n_frames, key))
    return clips


def render_clip(clip: Clip) -> Iterator[Image]:
    """The frames of a clip: RGB, (240, 320, 3)."""
    rng = np.random.default_rng(clip.key)
    scene = Scene.build(clip.category, rng)
    stage = Stage(scene, rng, [Walker.enter(scene.area, rng) for _ in range(rng.integers(*scene.crowd))])
    noise = cv2.GaussianBlur(rng.normal(0, 5.5, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32), (3, 3), 0.6)
    exposure, tint, second = rng.uniform(0.9, 1.06), rng.uniform(-0.03, 0.03), int(rng.integers(7 * 3600, 17 * 3600))
    for n in range(clip.n_frames):
        if clip.event and n >= clip.event.start:
            end = clip.event.end
            length = 10**6 if end is None or end == clip.n_frames else end - clip.event.start
            EVENTS[clip.category](stage, n - clip.event.start, length)
        stage.step()
        gain = exposure * (1 + 0.012 * math.sin(n * 1.9) + rng.normal(0, 0.004)) * np.array([1 + tint, 1, 1 - tint])
        dx, dy = rng.integers(0, 64, 2)
        frame = draw(stage) * gain.astype(np.float32) + noise[dy : dy + HEIGHT, dx : dx + WIDTH]
        frame = np.clip(frame, 0, 255).astype(np.uint8)
        clock = second + n // FPS
        stamp = f"CAM {list(SCENES).index(clip.category) + 1}  {clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}"
        for place, colour in (((8, 16), (20, 20, 20)), ((7, 15), (235, 235, 230))):
            cv2.putText(frame, stamp, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1, cv2.LINE_AA)
        yield frame


def encode(path: Path, frames: Iterable[Image]) -> None:
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


def _lists(table: Path, videos: list[Video]) -> bool:
    try:
        return read_dataset(table) == videos
    except (OSError, DatasetError):
        return False


def make_clips(
    root: Path, *, seed: int = 0, per_category: int = 4, on_clip: Callable[[int, int], None] | None = None
) -> Path:
    """The clips and their `dataset.csv` under `root`; returns the path of the latter.

    What is there already is kept, so that a second call does nothing and an interrupted one is completed. `on_clip` is
    told how many clips are there, and of how many, each time another one was made.
    """
    clips = plan(seed, per_category)
    videos = [clip.video(root) for clip in clips]
    table = root / "dataset.csv"
    # The table is written before the clips: it tells the next call which set (seed, size, version) the clips belong to.
    if not _lists(table, videos):
        for video in videos:
            video.file.unlink(missing_ok=True)
        write_dataset(table, videos, root)
    for n, (clip, video) in enumerate(zip(clips, videos, strict=True), start=1):
        if not video.file.is_file():
            with replacing(video.file) as temporary:
                encode(temporary, render_clip(clip))
            if on_clip:
                on_clip(n, len(clips))
    return table
