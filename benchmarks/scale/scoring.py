"""What scoring and evaluation cost the process that they are asked of: by itself, and where actors of Ray do them.

Videos are made up: features of random numbers, with an event in every second one. They are scored by the detector that
comes with `lad`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.scale.driver import Watching
from lad.clip import CLIP_FRAMES
from lad.config import load_config
from lad.detector.checkpoint import load_checkpoint
from lad.detector.included import DEFAULT, find_detector
from lad.engine.ray_cluster import OnRay
from lad.pipeline.evaluate import evaluate_videos
from lad.pipeline.project import Asked
from lad.pipeline.run import open_project, ready_recipe
from lad.pipeline.score import score_videos

FPS, SECONDS_A_MINUTE = 25, 60
CLASSES = ["Falling", "Fighting"]  # of that detector


def scoring_runs(videos: int, minutes: float, actors: int, folder: Path | None) -> int:
    """Score and evaluate, and print what each costs this process.

    Args:
        videos: how many.
        minutes: of each.
        actors: of a Ray of this machine; 0: this process does it.
        folder: for all that is written; None: a temporary one.

    Returns:
        The exit status.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="lad-scoring-"))
    try:
        detector = find_detector(Path(DEFAULT))
        known = load_checkpoint(detector)
        assert known.config is not None
        made, clips = known.config["extract"], round(minutes * SECONDS_A_MINUTE * FPS / CLIP_FRAMES)
        _write_features(folder, videos, clips, known.network["sizes"]["feature_dim"])
        config = load_config(
            None,
            [],
            base={
                "data": {"dataset": str(folder / "dataset.csv"), "classes": CLASSES},
                "extract": {key: made[key] for key in ("backbone", "streams", "layers")},
                "score": {"checkpoint": str(detector)},
                "device": "cpu",
            },
        )
        watching, asked = Watching(), Asked(ray=OnRay(actors=actors) if actors else None)
        with open_project(config, folder / "work", reporter=watching, asked=asked) as (project, work):
            recipe = ready_recipe(project, watching)
            for stage in (score_videos, evaluate_videos):
                cpu, clock = time.process_time(), time.monotonic()
                result = stage(project, recipe, work, asked, watching)
                assert not result.failed, next(iter(result.failed.values()))
                cpu, clock = time.process_time() - cpu, time.monotonic() - clock
                print(f"{result.stage}, all of it: {cpu:.1f} s of CPU time, {clock:.1f} s by the clock")
        for what in ("score", "plots"):
            print(watching.after_the_first_tenth(what))
    finally:
        shutil.rmtree(folder)
    return 0


def _write_features(folder: Path, videos: int, clips: int, dim: int) -> None:
    (folder / "made").mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(0), ["video,path,split,label,events,n_frames"]
    for number in range(videos):
        rows = rng.standard_normal((clips, dim)).astype(np.float32)
        np.save(folder / "made" / f"{number}.npy", np.maximum(rows, 0))
        facts = f"{CLASSES[1]},0-{CLIP_FRAMES}" if number % 2 else f"{CLASSES[0]},"
        lines.append(f"{number},made/{number}.npy,test,{facts},{CLIP_FRAMES * clips}")
    (folder / "dataset.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
