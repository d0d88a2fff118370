"""Make `lad/models/cpu/ranges.safetensors`, which `extract.dtype: int8` needs.

    python -m benchmarks.int8_ranges --data DIR/surveillance

It runs I3D in float32 on the middle clip of every third training video of the surveillance set, 224x224
pixels of rgb, and keeps the largest activation of each channel. No test video is looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save

from lad.clip import CLIP_FRAMES
from lad.config import load_config
from lad.dataset import Video
from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.extractor import Scaled
from lad.extract.readers import open_reader
from lad.files import replacing
from lad.models import weights
from lad.models.cpu.ranges import CHECKSUMS, FILE
from lad.models.i3d import ConvUnit, fold_batch_norm
from lad.models.registry import BACKBONES
from lad.pipeline.project import load_project

ROOT = Path(__file__).resolve().parents[1]
EVERY = 3  # so many training videos give one clip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the surveillance set")
    arguments = parser.parse_args()
    config = load_config(ROOT / "configs" / "surveillance.yaml", [f"data.root={arguments.data}"])
    videos = [video for video in load_project(config).videos if video.split == "train"][::EVERY]
    name = weights.default_name("i3d", "rgb")
    measure = Measure(weights.load(name, backbone="i3d", stream="rgb"))
    for video in track(videos, "clips"):
        measure(middle_clip(video))
    checksum = weights.identity(name, backbone="i3d", stream="rgb").rpartition(":")[2]
    found = {f"{name}/{unit}": ranges for unit, ranges in measure.ranges.items()}
    made = f"the largest activation of each channel in {len(videos)} clips"
    with replacing(FILE) as temporary:
        temporary.write_bytes(save(found, {CHECKSUMS: json.dumps({name: checksum}), "made": made}))
    return 0


def middle_clip(video: Video) -> np.ndarray:
    """The pixels of a video's middle clip, as a batch."""
    assert isinstance(video.path, Path) and video.n_frames is not None, video.id
    middle = video.n_frames // CLIP_FRAMES // 2
    return next(clip_batches(open_reader(video.path), ClipSpec(("rgb",), batch_clips=1), skip_clips=middle))["rgb"]


class Measure:
    """The largest activation of each channel in all clips that it is called with.

    Attributes:
        ranges: name of a `ConvUnit` -> `(channels,)` float32.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.ranges: dict[str, torch.Tensor] = {}
        fold_batch_norm(network)
        self.network = Scaled(network, BACKBONES["i3d"], "kinetics", "rgb", "float32").eval()
        for name, unit in units(network):
            unit.register_forward_hook(lambda _, __, maps, name=name: self._see(name, maps))

    def __call__(self, clips: np.ndarray) -> None:
        with torch.inference_mode():
            self.network(torch.from_numpy(clips))

    def _see(self, name: str, maps: torch.Tensor) -> None:
        largest = maps.amax(dim=(0, 2, 3, 4))
        self.ranges[name] = torch.maximum(self.ranges.get(name, largest), largest)


def units(network: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The convolutions with ReLU by their names in the network."""
    inception = network.net
    assert isinstance(inception, torch.nn.Module)
    return ((name, unit) for name, unit in inception.named_modules() if isinstance(unit, ConvUnit))


if __name__ == "__main__":
    sys.exit(main())
