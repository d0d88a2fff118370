"""Where an event is: what moves faster than in normal footage, looked at again in the frames around its peak."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.detector.checkpoint import Checkpoint, by_camera
from lad.evaluation.plots import draw_heat
from lad.evaluation.results import ScoredVideo
from lad.extract.clips import resize, short_side_shape
from lad.extract.flow import FLOW_METHODS
from lad.extract.motion import FLOW, SHORT_SIDE, speed_of_cells
from lad.extract.readers import open_reader
from lad.extract.sampling import Timeline, sample_indices
from lad.extract.video import VideoError
from lad.features.video import VideoFeatures
from lad.remote.url import Url
from lad.text import timecode
from lad.work.journal import Item

MAX_EVENTS = 100  # of a run that are drawn: the highest
REACH = CLIP_FRAMES  # sampled frames on each side of the peak that are looked at


@dataclass(frozen=True)
class Peak:
    """An event to be drawn.

    Attributes:
        video: of it.
        event: as the row of its scores tells it.
        frames: numbers of the frames that are looked at, rising, as motion was computed on them.
        shown: the one that is shown.
        camera: whose detector found it; empty: one for all.
    """

    video: ScoredVideo
    event: Mapping[str, Any]
    frames: Sequence[int]
    shown: int
    camera: str


def draw_events(
    folder: Path,
    scored: Sequence[ScoredVideo],
    rows: Mapping[str, Item],
    features: Mapping[str, VideoFeatures],
    checkpoint: Checkpoint,
    folder_fps: Mapping[str, float],
    say: Callable[[str], None],
) -> list[Path]:
    """A heat map for each event that a detector of normal motion found, at most `MAX_EVENTS`; returns the files.

    Args:
        folder: for `<video id>_<first frame>.png`.
        scored: the videos.
        rows: of their scores, by video id.
        features: of the videos.
        checkpoint: that scored them.
        folder_fps: frames a second of a folder of images, by video id.
        say: gets a line for a video that cannot be read, and where events are left out.
    """
    normal = {camera: _normal_speed(one) for camera, one in by_camera(checkpoint).items()}
    speeds = {camera: known for camera, known in normal.items() if known}
    found = [
        (one, event)
        for one in scored
        if not one.video.is_features and rows[one.video.id].info.get("camera", "") in speeds
        for event in rows[one.video.id].info["events"]
    ]
    highest = sorted(found, key=lambda pair: -pair[1]["peak"])[:MAX_EVENTS]
    if len(found) > MAX_EVENTS:
        say(f"evaluate: heat maps of the {MAX_EVENTS} highest events, of {len(found)}")
    drawn = []
    for one in scored:
        events = [event for video, event in highest if video is one]
        if not events:
            continue
        if isinstance(one.video.path, Url):
            say(f"warning: no heat map of {one.video.id}: it is at a URL")
            continue
        camera, timeline = rows[one.video.id].info.get("camera", ""), features[one.video.id].timeline()
        peaks = [_peak(one, event, timeline, camera) for event in sorted(events, key=lambda event: event["start"])]
        try:
            for peak, picture, speed in _looked_at(one.video.path, peaks, folder_fps[one.video.id]):
                mean, deviation = speeds[camera]
                name, start = one.video.id, peak.event["start"]
                title = f"{name}, frame {peak.shown}, {timecode(float(timeline.times[peak.shown]))}"
                excess = (np.log(np.maximum(speed, 1e-6)) - mean) / deviation
                drawn.append(draw_heat(folder / f"{name}_{start}.png", picture, excess, title))
        except VideoError as error:
            say(f"warning: no heat map of {one.video.id}: {error}")
    return drawn


def _normal_speed(checkpoint: Checkpoint) -> tuple[float, float] | None:
    """Mean and deviation of the logarithm of normal speed; None: the detector knows no motion."""
    if not checkpoint.network.get("sizes", {}).get("motion"):
        return None
    return float(checkpoint.model["motion_mean"]), float(checkpoint.model["motion_std"])


def _peak(one: ScoredVideo, event: Mapping[str, Any], timeline: Timeline, camera: str) -> Peak:
    sampled = np.unique(sample_indices(timeline.times, timeline.fps, timeline.rate))
    highest = event["start"] + int(one.scores[event["start"] : event["end"]].argmax())
    place = int(np.searchsorted(sampled, highest, side="right")) - 1
    begin = max(place - REACH, int(np.searchsorted(sampled, event["start"])) - 1, 0)
    end = min(place + REACH, int(np.searchsorted(sampled, event["end"])))
    return Peak(one, event, sampled[begin : end + 1].tolist(), int(sampled[place]), camera)


def _looked_at(path: Path, peaks: Sequence[Peak], folder_fps: float) -> Iterator[tuple[Peak, np.ndarray, np.ndarray]]:
    """Each with the frame that is shown, 240 pixels high, and the highest speed of each cell, in pixels a frame.

    The video is read once, from its beginning.

    Raises:
        VideoError: it cannot be read.
    """
    solve = FLOW_METHODS[FLOW].make("cpu", None)
    waiting, held = deque(peaks), dict[int, np.ndarray]()
    needed = {number for peak in peaks for number in peak.frames}
    reader = open_reader(path, choice="pyav", lazy=True, folder_fps=folder_fps)
    for number, frame in enumerate(islice(reader, max(needed, default=-1) + 1)):
        if number not in needed:
            continue
        pixels = np.asarray(frame)
        height, width = pixels.shape[:2]
        held[number] = resize(pixels, short_side_shape(height, width * reader.info.pixel_aspect, SHORT_SIDE))
        while waiting and number == waiting[0].frames[-1]:
            peak = waiting.popleft()
            pairs = pairwise(held[one] for one in peak.frames)
            speeds = [speed_of_cells(solve(first, second)) for first, second in pairs]
            if speeds:
                yield peak, held[peak.shown], np.maximum.reduce(speeds)
            held = {one: image for one, image in held.items() if waiting and one >= waiting[0].frames[0]}
