"""The backbones and detectors by name. Nothing here imports torch until a network is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from lad.models.aed import AED
    from lad.models.linear import LinearDetector

    Detector = AED | LinearDetector

STREAM_CHANNELS = {"rgb": 3, "flow": 2}


@dataclass(frozen=True)
class Backbone:
    """A feature network: how it is built, what it takes and what it gives.

    Attributes:
        build: input channels -> a module `(clips, channels, 16, 224, 224)` -> `(clips, feature_dim)`.
        feature_dim: length of a feature vector of one stream.
        streams: the streams that it has a network for.
        rgb_mean, rgb_std: rgb pixels in [0,1] enter as `(pixel - mean) / std`.
    """

    build: Callable[[int], nn.Module]
    feature_dim: int
    streams: tuple[str, ...]
    rgb_mean: float = 0.5
    rgb_std: float = 0.5


def _i3d(input_channels: int) -> nn.Module:
    from lad.models.i3d import inception_i3d_features

    return inception_i3d_features(input_channels)


def _i3d_r50(input_channels: int) -> nn.Module:
    from lad.models.i3d import i3d_r50_features

    return i3d_r50_features(input_channels)


def _tiny(input_channels: int) -> nn.Module:
    from lad.models.i3d import TinyNet

    return TinyNet(input_channels)


BACKBONES: dict[str, Backbone] = {
    "i3d": Backbone(_i3d, 1024, ("rgb", "flow")),
    # 0.45 and 0.225 are the mean and deviation that pytorchvideo's Kinetics models were trained with.
    "i3d_r50": Backbone(_i3d_r50, 2048, ("rgb",), rgb_mean=0.45, rgb_std=0.225),
    "tiny": Backbone(_tiny, 128, ("rgb", "flow")),
}


def _aed(layers: int) -> Callable[..., AED]:
    def build(**sizes: Any) -> AED:
        from lad.models.aed import AED

        return AED(layers=layers, **sizes)

    return build


def _linear(*, hidden: int, **sizes: Any) -> LinearDetector:
    from lad.models.linear import LinearDetector

    return LinearDetector(**sizes)  # it has no hidden state


DETECTORS: dict[str, Callable[..., Detector]] = {"aed": _aed(1), "aed_t": _aed(2), "linear": _linear}
