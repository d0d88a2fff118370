"""Clips to features: `(clips, dim)` float32. Needs torch and numpy, and neither av, decord nor pydantic."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from lad.models.i3d import fold_batch_norm
from lad.models.registry import BACKBONES

FLOW_BOUND_PX = 20.0  # displacements beyond it are clamped, as in the data that I3D was trained on

Preset = Literal["kinetics", "wan2021"]


class FeatureExtractor:
    """A feature network for each stream, ready on its device.

    Args:
        networks: stream -> module `(clips, channels, 16, 224, 224)` -> `(clips, dim)`; taken over and changed.
        backbone: its name in `BACKBONES`, which says how pixels are scaled.
        preset: `kinetics` scales to what the network was trained on; `wan2021` feeds raw 0..255 and the horizontal
            flow in both flow channels, as the LAD2000 authors' released extractor does.
        device: where the networks run.
    """

    def __init__(
        self, networks: dict[str, nn.Module], *, backbone: str, preset: Preset = "kinetics", device: str = "cpu"
    ) -> None:
        self.backbone, self.preset, self.device = BACKBONES[backbone], preset, torch.device(device)
        self.networks = {
            stream: fold_batch_norm(network.eval()).to(self.device).to(memory_format=torch.channels_last_3d)
            for stream, network in networks.items()
        }

    def __call__(self, stream: str, clips: np.ndarray) -> np.ndarray:
        """Features of a batch of clips of one stream.

        Args:
            stream: `rgb` or `flow`.
            clips: `(n, 16, 224, 224, 3)` uint8 RGB, or `(n, 16, 224, 224, 2)` float32 flow in pixels.

        Returns:
            `(n, dim)` float32.
        """
        with torch.inference_mode():
            pixels = torch.from_numpy(clips).to(self.device).float()
            scaled = self._scale_rgb(pixels) if stream == "rgb" else self._scale_flow(pixels)
            # (n, frames, height, width, channels) seen as (n, channels, ...) is channels-last already: no copy.
            return self.networks[stream](scaled.permute(0, 4, 1, 2, 3)).float().cpu().numpy()

    def _scale_rgb(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.preset == "wan2021":
            return pixels
        return (pixels / 255 - self.backbone.rgb_mean) / self.backbone.rgb_std

    def _scale_flow(self, flow: torch.Tensor) -> torch.Tensor:
        unit = flow.clamp(-FLOW_BOUND_PX, FLOW_BOUND_PX) / FLOW_BOUND_PX
        if self.preset == "wan2021":
            # Theirs went through 8-bit images, and the horizontal one was read twice.
            grey = ((unit[..., :1] + 1) / 2 * 255).round()
            return grey.expand(*grey.shape[:-1], 2)
        return unit
