"""A clip with one event, and a detector that sees it: fast enough for hours on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

import lad
from lad.config import load_config
from lad.detector.checkpoint import Checkpoint, save_checkpoint
from lad.models.linear import LinearDetector

FPS, SIZE = 25, (96, 64)
QUIET, LOUD = 150, 40  # frames before, and of, the event; as many quiet ones follow
EVENT = (QUIET / FPS, (QUIET + LOUD) / FPS)  # seconds


def make_clip(path: Path) -> Path:
    """Grey, then noise in colours, then grey again: 13.6 s, without B-frames, a key frame every second."""
    grain = np.random.default_rng(3)
    grey = np.full((SIZE[1], SIZE[0], 3), 100, np.uint8)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "25", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(2 * QUIET + LOUD):
            loud = QUIET <= number < QUIET + LOUD
            image = grain.integers(0, 255, grey.shape, dtype=np.uint8) if loud else grey
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def make_detector(path: Path, clip: Path) -> tuple[Path, float]:
    """A detector whose scores are high in the clip's event, and the threshold between those and all other scores."""
    import torch

    features = lad.extract_features(clip, device="cpu", backbone="tiny", weights={"rgb": "random"})["rgb"]
    quiet, loud = torch.from_numpy(features[1]), torch.from_numpy(features[(QUIET + LOUD // 2) // 16])
    config = load_config(None, ["extract.backbone=tiny", "train.detector=linear", "train.window=2"])
    detector = LinearDetector(feature_dim=len(quiet), classes=2, window=2)
    with torch.no_grad():
        direction = loud - quiet
        detector.linear.weight[-1] = 8 * direction / direction.square().sum()
        detector.linear.bias[-1] = -4 - detector.linear.weight[-1] @ quiet
    weights = {"rgb": "random:tiny:rgb:seed=0"}
    made = Checkpoint(
        model=detector.state_dict(),
        classes=["normal", "noise"],
        config=config.model_dump(mode="json"),
        calibration={"slope": 1.0, "offset": 0.0},
        threshold=0.5,
        weights=weights,
    )
    save_checkpoint(path, made)
    scores = lad.load(path, device="cpu").score(clip).frames
    low, high = scores[: QUIET - 32].max(), scores[QUIET : QUIET + LOUD].max()
    return path, float(low + 0.6 * (high - low))
