"""Clips to features: `(clips, dim)` float32. Needs torch and numpy, and neither av, decord nor pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from lad.extract.clips import CROPS, crop_views
from lad.extract.failures import NotFinite
from lad.extract.motion import MOTION
from lad.extract.runtime import Context, Dtype, Preset, batches_at_once, float_type, has_fast_form, torch_function
from lad.models.cpu.inception import fast_form
from lad.models.cpu.int8 import Int8Inception, Ranges, int8_form
from lad.models.i3d import fold_batch_norm
from lad.models.registry import BACKBONES, Backbone

FLOW_BOUND_PX = 20.0  # displacements beyond it are clamped, as in the data that I3D was trained on


class FeatureExtractor:
    """A feature network for each stream, ready on its device. Several threads may call it.

    Args:
        networks: stream -> module `(pieces, channels, 16 k, height, width)` -> `(pieces * k, dim)`; taken over and
            changed.
        backbone: its name in `BACKBONES`, which says how pixels are scaled.
        preset: `kinetics` scales to what the network was trained on; `wan2021` feeds raw 0..255 and the horizontal
            flow in both flow channels, as the LAD2000 authors' released extractor does.
        device: where the networks run.
        crops: 1, 5 or 10 views of every clip, see `clips.crop_views`.
        context: what a network sees as one. `clip`: each clip by itself. `batch`: the clips that come together, which
            then have to follow one another in their video; a clip's features are of its own part of what the network
            makes of them.
        dtype: of weights and activations, see `runtime.choose_dtype`.
        threads: of a CPU, each with a piece of its own. They do not move features.
        layers: what else the networks give of a clip, see `i3d.ClipPooling`; features of their own.
        ranges: for `int8` alone: stream -> how large its network's activations become. One that is not named runs in
            float32.

    Raises:
        Int8Error: `dtype` is `int8`, and this machine cannot do that.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        *,
        backbone: str,
        preset: Preset = "kinetics",
        device: str = "cpu",
        crops: int = 1,
        context: Context = "clip",
        dtype: Dtype = "float32",
        threads: int = 1,
        layers: Sequence[str] = (),
        ranges: Mapping[str, Ranges] = MappingProxyType({}),
    ) -> None:
        if crops not in CROPS:
            raise ValueError(f"{crops} crops; choose from {CROPS}")
        self.layers = {layer: BACKBONES[backbone].layers[layer] for layer in layers}  # how many numbers each has
        for network in networks.values() if layers else ():
            network.layers = tuple(layers)  # type: ignore[assignment]  # torch takes what is set for one of its own
        self.crops, self.context, self.dtype = crops, context, dtype
        self.device, self.threads = device, threads
        folded = {stream: fold_batch_norm(network.eval()) for stream, network in networks.items()}
        self.in_int8 = set(ranges) if dtype == "int8" and has_fast_form(device, dtype) else set()
        if dtype == "int8" and not self.in_int8:
            raise ValueError("int8 is for a CPU, and for networks whose ranges are known")
        if has_fast_form(device, dtype):
            folded = {
                stream: int8_form(network, ranges[stream]) if stream in self.in_int8 else fast_form(network)
                for stream, network in folded.items()
            }
        self.networks = {
            stream: Scaled(network, BACKBONES[backbone], preset, stream, dtype).eval()
            for stream, network in folded.items()
        }
        self.functions = {
            stream: torch_function(network, device, dtype, threads) for stream, network in self.networks.items()
        }

    def __call__(self, stream: str, clips: np.ndarray) -> np.ndarray:
        """Features of a batch of clips of one stream.

        Args:
            stream: `rgb`, `flow` or `motion`.
            clips: `(n, 16, 224, 224, 3)` uint8 RGB, or `(n, 16, 224, 224, 2)` float32 flow in pixels; larger frames
                where there are several crops, and of `rgb` where it keeps its shape. `(n, 16, 9)` float32 of `motion`,
                which no network takes: its numbers are features already, the same for all crops.

        Returns:
            `(n, dim)` float32, or `(crops, n, dim)` where there are several: each as if it were the only one. What
            layers give stands behind the network's own features.

        Raises:
            NotFinite: some of them are no numbers.
            RuntimeError, MemoryError: the network failed.
        """
        if stream == MOTION:
            rows = clips.reshape(len(clips), -1)
            return rows if self.crops == 1 else np.stack([rows] * self.crops)
        # A copy even of one view: what torch returns lies among its temporaries, and kept for minutes, as features are,
        # it would leave of each batch's memory a hole that is too small for the next batch.
        views = np.stack([self.functions[stream](self._pieces(view)) for view in crop_views(clips, self.crops, stream)])
        if not np.isfinite(views).all():
            clip = int(np.flatnonzero(~np.isfinite(views).all(axis=(0, 2)))[0])
            in_float32 = self.dtype == "int8" and stream not in self.in_int8
            raise NotFinite(stream, clip, "float32" if in_float32 else self.dtype)
        return views[0] if self.crops == 1 else views

    def by_layer(self, stream: str, clips: np.ndarray) -> dict[str, np.ndarray]:
        """The same by what they are of: the stream, and each layer as `<stream>.<layer>`."""
        rows = self(stream, clips)
        if not self.layers or stream == MOTION:
            return {stream: rows}
        names = [stream, *(f"{stream}.{layer}" for layer in self.layers)]
        own = rows.shape[-1] - sum(self.layers.values())
        parts = np.split(rows, np.cumsum([own, *self.layers.values()])[:-1], axis=-1)
        return {name: np.ascontiguousarray(part) for name, part in zip(names, parts, strict=True)}

    def batches_at_once(self, clips: int) -> int:
        """How many batches of so many clips are to be computed at a time."""
        return batches_at_once(self.device, self.threads, 1 if self.context == "batch" else clips)

    def _pieces(self, clips: np.ndarray) -> np.ndarray:
        return clips if self.context == "clip" else clips.reshape(1, -1, *clips.shape[2:])


class Scaled(nn.Module):
    """A feature network from the pixels of clips, which it scales in float32 as the network needs them.

    One in 8-bit integers gets them as they are.

    `forward` takes `(n, 16 k, height, width, channels)`, uint8 RGB or float32 flow in pixels, and gives `(n * k, dim)`.
    """

    def __init__(self, network: nn.Module, backbone: Backbone, preset: Preset, stream: str, dtype: Dtype) -> None:
        super().__init__()
        self.network, self.backbone, self.preset, self.dtype = network, backbone, preset, float_type(dtype)
        self.scale = self.scale_rgb if stream == "rgb" else self.scale_flow

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        # (n, frames, height, width, channels) seen as (n, channels, ...) is channels-last already: no copy.
        if isinstance(self.network, Int8Inception):
            return self.network(clips.permute(0, 4, 1, 2, 3))
        scaled = self.scale(clips.float()).permute(0, 4, 1, 2, 3)
        return self.network(scaled.to(self.dtype))

    def scale_rgb(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.preset == "wan2021":
            return pixels
        return (pixels / 255).sub_(self.backbone.rgb_mean).div_(self.backbone.rgb_std)

    def scale_flow(self, flow: torch.Tensor) -> torch.Tensor:
        unit = flow.clamp(-FLOW_BOUND_PX, FLOW_BOUND_PX).div_(FLOW_BOUND_PX)
        if self.preset == "wan2021":
            # Theirs went through 8-bit images, and the horizontal one was read twice.
            grey = ((unit[..., :1] + 1) / 2 * 255).round()
            return grey.expand(*grey.shape[:-1], 2)
        return unit
