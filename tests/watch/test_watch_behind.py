"""Cameras that send more than the network can compute: what goes, what is counted, and who gets his turn."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.videos import read_number, write_video

from lad.detector.checkpoint import scoring_config
from lad.detector.online import FrameScores
from lad.extract.clips import ClipBatch
from lad.watch.address import address_of
from lad.watch.cameras import Camera
from lad.watch.events import Events, Rule
from lad.watch.metrics import Metrics
from lad.watch.online import Eye, StretchScorer, open_eye
from lad.watch.outbox import Outbox
from lad.watch.payload import Notice
from lad.watch.stop import Stop
from lad.watch.watch import Watch
from lad.watch.watched import Watched

CLIP_SECONDS, FPS, FRAMES = 0.3, 100, 640


@dataclass(frozen=True)
class SlowEye(Eye):
    """Its network takes its time, and its features are the number in the first frame of a clip."""

    stretches: list[list[int]] = field(default_factory=list)

    def features(self, piece: ClipBatch, clips: int) -> dict[str, np.ndarray]:
        time.sleep(CLIP_SECONDS)
        found = np.zeros((1, clips, 128), np.float32)
        found[0, :, 0] = [read_number(clip[0]) for clip in piece["rgb"][-clips:]]
        return {"rgb": found}

    def stretch(self) -> StretchScorer:
        made = super().stretch()
        seen: list[int] = []
        self.stretches.append(seen)
        add = made.clips.add

        def noted(rows: np.ndarray):  # type: ignore[no-untyped-def]
            seen.extend(rows[0, :, 0].astype(int).tolist())
            return add(rows)

        made.clips.add = noted  # type: ignore[method-assign]
        return made


@dataclass
class Heard:
    lines: list[str] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def event(self, notice: Notice) -> None:
        pass

    def scores(self, camera: str, frames: FrameScores) -> None:
        self.times.setdefault(camera, []).extend(frames.times.tolist())


@pytest.mark.slow
def test_what_is_too_much_is_dropped_in_whole_clips_counted_and_never_spliced(detector: Path, tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{name}.mp4", FRAMES, size=(64, 48), fps=FPS) for name in ("yard", "door")]
    config = scoring_config(detector, ["extract.batch_clips=1"], {"device": "cpu"})
    eye = SlowEye(**vars(open_eye(detector, config, "exact", lambda _: None)))
    heard, metrics = Heard(), Metrics(["yard", "door"])
    cameras = [Camera(path.stem, address_of(str(path), paced=True), clips=False) for path in paths]
    watched = [Watched(one, eye, Events(one.name, Rule(2.0, 2.0), eye.scorer.classes, "")) for one in cameras]
    outbox = Outbox({}, tmp_path / "queue", max_bytes=1000)
    assert Watch(watched, outbox, heard, Stop(), metrics=metrics).run() == {}

    dropped = {
        name: metrics.registry.get_sample_value("lad_dropped_clips_total", {"camera": name}) for name in heard.times
    }
    scored = {name: len(times) for name, times in heard.times.items()}
    for name in ("yard", "door"):
        assert dropped[name] >= 5, "the network was fast enough"
        assert scored[name] + 16 * dropped[name] == FRAMES
        assert (np.diff(heard.times[name]) > 0).all()
    assert abs(scored["yard"] - scored["door"]) <= 3 * 16  # each had its turn
    assert any("falls behind" in line for line in heard.lines)
    assert len(eye.stretches) > 4
    for clips in eye.stretches:
        assert all((after - before) % 256 == 16 for before, after in pairwise(clips)), clips


@dataclass(frozen=True)
class BlindEye(Eye):
    """Of its features the detector makes scores that are not finite."""

    def features(self, piece: ClipBatch, clips: int) -> dict[str, np.ndarray]:
        return {"rgb": np.full((1, clips, 128), 3e38, np.float32)}


@pytest.mark.parametrize("paced", [False, True])
def test_scores_that_are_not_finite_fail_a_file_and_end_nothing_else(
    detector: Path, tmp_path: Path, paced: bool
) -> None:
    path = write_video(tmp_path / "yard.mp4", 40, size=(64, 48), fps=FPS)
    config = scoring_config(detector, [], {"device": "cpu"})
    eye = BlindEye(**vars(open_eye(detector, config, "exact", lambda _: None)))
    camera = Camera("yard", address_of(str(path), paced=paced), clips=False)
    watched = Watched(camera, eye, Events("yard", Rule(0.5, 0.5), eye.scorer.classes, ""))
    heard = Heard()
    failed = Watch([watched], Outbox({}, tmp_path / "queue", max_bytes=1000), heard, Stop()).run()
    assert any("scores that are not finite" in line for line in heard.lines)
    assert failed.keys() == (set() if paced else {"yard"})
