"""A small detector, made without training: enough to score with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lad.config import load_config
from lad.detector.checkpoint import Checkpoint, save_checkpoint
from lad.models.registry import build_detector

CLASSES = ["fall", "fight"]


def write_detector(
    path: Path, *, streams: tuple[str, ...] = ("rgb",), seed: int = 0, name: str = "linear", **more: Any
) -> Path:
    """A checkpoint of a detector with random weights, for features of the tiny backbone; returns `path`.

    `more`: other parts of a `Checkpoint`.
    """
    overrides = ["extract.backbone=tiny", f"extract.streams=[{', '.join(streams)}]", f"train.detector={name}"]
    overrides += ["train.adapt=source"] if more.get("known_cameras") else []
    config = load_config(None, [*overrides, "train.window=2"])
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    sizes = {"feature_dim": 128 * len(streams), "classes": len(CLASSES), "window": 2}
    detector = build_detector(name, hidden=128, **sizes)
    head = detector.linear if name == "linear" else detector.head
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
    checkpoint = Checkpoint(
        model=detector.state_dict(),
        classes=CLASSES,
        config=config.model_dump(mode="json"),
        calibration={"slope": 0.7, "offset": 0.1},
        threshold=0.4,
        network={"name": name, "sizes": sizes | {"hidden": 128}},
        weights={stream: f"random:tiny:{stream}:seed=0" for stream in streams},
        **more,
    )
    save_checkpoint(path, checkpoint)
    return path
