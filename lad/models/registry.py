"""The backbones and detectors by name. Nothing here imports torch until a network is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lad.errors import LadError
from lad.files import file_sha256

if TYPE_CHECKING:
    import torch
    from torch import nn

STREAM_CHANNELS = {"rgb": 3, "flow": 2}


@dataclass(frozen=True)
class Backbone:
    """A feature network: how it is built, what it takes and what it gives.

    Attributes:
        build: input channels -> a module `(clips, channels, 16, 224, 224)` -> `(clips, feature_dim)`.
        feature_dim: length of a feature vector of one stream.
        streams: the streams that it has a network for.
        rgb_mean, rgb_std: rgb pixels in [0,1] enter as `(pixel - mean) / std`.
        layers: what else the network gives on the way to the feature vector -> how many numbers of a clip.
    """

    build: Callable[[int], nn.Module]
    feature_dim: int
    streams: tuple[str, ...]
    rgb_mean: float = 0.5
    rgb_std: float = 0.5
    layers: Mapping[str, int] = field(default_factory=dict)


def _i3d(input_channels: int) -> nn.Module:
    from lad.models.i3d import inception_i3d_features

    return inception_i3d_features(input_channels)


def _i3d_r50(input_channels: int) -> nn.Module:
    from lad.models.i3d import i3d_r50_features

    check_torchvision()  # pytorchvideo imports it
    return i3d_r50_features(input_channels)


class TorchvisionMissing(LadError):
    """A network needs torchvision, and that cannot be imported."""


def check_torchvision() -> None:
    """See that torchvision can be imported.

    Raises:
        TorchvisionMissing: it cannot, as where it is of another build than torch.
    """
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # of another build it lacks its own operators
        reason = str(error).splitlines()[0]
        raise TorchvisionMissing(
            f"torchvision cannot be imported: {reason}: it has to be of the same build as torch: see docs/install.md"
        ) from error


def _tiny(input_channels: int) -> nn.Module:
    from lad.models.i3d import TinyNet

    return TinyNet(input_channels)


# Twice the sums of the branches in `lad.models.i3d.MIXED_CHANNELS`, and once what is `MOVING` there, known here without
# torch.
INCEPTION_LAYERS = {
    "Mixed_3b": 512,
    "Mixed_3c": 960,
    "Mixed_4b": 1024,
    "Mixed_4c": 1024,
    "Mixed_4d": 1024,
    "Mixed_4e": 1056,
    "Mixed_4f": 1664,
    "Mixed_5b": 1664,
    "Mixed_5c": 2048,
    "moving": 1024,
}

BACKBONES: dict[str, Backbone] = {
    "i3d": Backbone(_i3d, 1024, ("rgb", "flow"), layers=INCEPTION_LAYERS),
    # 0.45 and 0.225 are the mean and deviation that pytorchvideo's Kinetics models were trained with.
    "i3d_r50": Backbone(_i3d_r50, 2048, ("rgb",), rgb_mean=0.45, rgb_std=0.225),
    "tiny": Backbone(_tiny, 128, ("rgb", "flow")),
}


class Detector(Protocol):
    """What a detector is: a torch module from windows of K clips to a category and a score for every frame.

    A detector from outside is any `torch.nn.Module` with these, named `package.module:Class` in `train.detector`.

    Attributes:
        feature_dim: length D of a clip's feature vector.
        classes: number of categories.
        window: K, clips in a window.
        feature_mean, feature_std: buffers `(D,)` float32, filled from the training videos; 0 and 1 at first.
    """

    feature_dim: int
    classes: int
    window: int
    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, *, feature_dim: int, classes: int, window: int, hidden: int, dropout: float) -> None: ...

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """What each clip contributes wherever it stands in a window: `(n, D)` -> `(n, ...)`."""

    def detect(self, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(K, batch, ...)` from `project` -> class logits `(batch, classes)`, scores `(batch, 16 K)` in [0,1]."""


class VideoDetector(Protocol):
    """What a detector is that sees whole videos, such as `mil`; it is built as any other one.

    Attributes:
        feature_dim: length D of a clip's feature vector.
        classes: number of categories.
        max_clips: consecutive clips that it takes at most; a longer video is scored in pieces.
        causal: what it says of a clip does not depend on later ones; a class that does not say depends on them.
        feature_mean, feature_std: buffers `(D,)` float32, filled from the training videos; 0 and 1 at first.
    """

    feature_dim: int
    classes: int
    max_clips: int
    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def by_clip(self, features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """`(batch, T, D)`, `(batch, T)` bool -> class logits and raw score of each clip `(batch, T, classes + 1)`."""


def is_causal(detector: object) -> bool:
    """Whether what a detector of whole videos says of a clip does not depend on later ones."""
    return getattr(detector, "causal", False)


# name -> the class, and those of its arguments that the name stands for
DETECTORS: dict[str, tuple[str, dict[str, int]]] = {
    "aed": ("lad.models.aed:AED", {"layers": 1}),
    "aed_t": ("lad.models.aed:AED", {"layers": 2}),
    "linear": ("lad.models.linear:LinearDetector", {}),
    "mil": ("lad.models.mil:MIL", {}),
    "mil_causal": ("lad.models.mil:MIL", {"causal": True}),
    "normality": ("lad.models.normality:Normality", {}),
}

# What labels are of, the strongest first; or that there are none.
Supervision = Literal["frames", "clicks", "videos", "normal"]

# What a detector can learn from: labels of videos need the method `by_clip`; clicks become labels of frames.
OF_FRAMES: tuple[Supervision, ...] = ("frames", "clicks")  # those that are not named here
LEARNS_FROM: dict[str, tuple[Supervision, ...]] = {
    "linear": (*OF_FRAMES, "videos"),
    "mil": ("clicks", "videos"),
    "mil_causal": ("clicks", "videos"),
    "normality": ("normal",),
}


class DetectorMissing(LadError):
    """A detector's class cannot be found."""


def is_outside(name: str) -> bool:
    """Whether a detector is a class of somebody else's, `package.module:Class`."""
    return name not in DETECTORS and ":" in name


def is_ours(detector: object) -> bool:
    """Whether a detector is one of `DETECTORS`: they keep nothing while they run, so several threads may ask them."""
    kind = type(detector)
    return f"{kind.__module__}:{kind.__name__}" in {place for place, _ in DETECTORS.values()}


def detector_class(name: str) -> type[Any]:
    """The class of a detector; one from outside is imported, which runs its module.

    Raises:
        DetectorMissing: there is no such class.
    """
    place = DETECTORS[name][0] if name in DETECTORS else name
    module, _, found = place.partition(":")
    try:
        return getattr(import_module(module), found)
    except (ImportError, AttributeError, ValueError) as error:
        raise DetectorMissing(f"train.detector {name}: it cannot be imported: {error}") from error


def sees_videos(name: str) -> bool:
    """Whether a detector takes whole videos, as a `VideoDetector`, and no windows."""
    return hasattr(detector_class(name), "max_clips")


def build_detector(name: str, **sizes: Any) -> Any:
    """A new detector; `sizes` are the arguments of `Detector`."""
    return detector_class(name)(**(DETECTORS[name][1] if name in DETECTORS else {}), **sizes)


def detector_source(name: str) -> str:
    """SHA-256 of the file that a detector's class stands in, so that an edited detector is trained anew.

    The class is not imported, which would bring torch where there may be nothing to do.

    Raises:
        DetectorMissing: there is no such file.
    """
    module = (DETECTORS[name][0] if name in DETECTORS else name).partition(":")[0]
    try:
        found = find_spec(module)
    except (ImportError, ValueError) as error:
        raise DetectorMissing(f"train.detector {name}: it cannot be found: {error}") from error
    if found is None or found.origin is None:
        raise DetectorMissing(f"train.detector {name}: there is no module {module}")
    return file_sha256(Path(found.origin))
