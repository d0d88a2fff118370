"""The networks that turn clips into feature vectors: Inception-I3D, I3D-ResNet-50 and a tiny one for tests.

Inception-I3D is that of Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017.

Each network's `forward` takes pieces of video of `k` clips each, `(pieces, channels, 16 k, height, width)` float32. It
returns one vector for each clip, `(pieces * k, dim)` float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lad.clip import CLIP_FRAMES

BATCH_NORM_EPS = 1e-3  # the default of TensorFlow's Sonnet, with which the published weights were trained

# The blocks' names in DeepMind's code, in the order of `InceptionI3D.blocks`.
INCEPTION_BLOCKS = (
    "Conv3d_1a_7x7",
    "MaxPool3d_2a_3x3",
    "Conv3d_2b_1x1",
    "Conv3d_2c_3x3",
    "MaxPool3d_3a_3x3",
    "Mixed_3b",
    "Mixed_3c",
    "MaxPool3d_4a_3x3",
    "Mixed_4b",
    "Mixed_4c",
    "Mixed_4d",
    "Mixed_4e",
    "Mixed_4f",
    "MaxPool3d_5a_2x2",
    "Mixed_5b",
    "Mixed_5c",
    "Logits",
)

# Output channels of each convolution in the four branches: (1x1 | 1x1, 3x3 | 1x1, 3x3 | 1x1 after pooling). They are
# from the paper's figure 3 and DeepMind's code.
MIXED_CHANNELS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}

# The name, among the layers, of the last block's mean over the picture in which a cell counts as much as moves in it.
MOVING = "moving"
MOVING_SQUARE = 8  # pixels: in squares of that side the noise of a camera is small beside what moves
LEAST_MOVED = 1e-6  # in what enters the network, where black to white is 2: far less than noise


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one dimension, as in TensorFlow's SAME. If their number is odd, one more goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: torch.Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> torch.Tensor:
    """Zero-pad the last three dimensions as TensorFlow's SAME does."""
    pads: list[int] = []  # torch wants those of the last dimension first
    for size, along, step in zip(reversed(x.shape[-3:]), reversed(kernel), reversed(stride), strict=True):
        pads += same_padding(size, along, step)
    return F.pad(x, pads) if any(pads) else x


class ConvUnit(nn.Module):
    """A convolution with SAME padding, then batch norm, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        # At stride 1 an odd kernel has as much padding before as after. torch's convolution adds that itself, without
        # copying its input.
        self.pads_itself = stride == 1
        padding = kernel // 2 if self.pads_itself else 0
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.pads_itself:
            x = pad_same(x, self.kernel, self.stride)
        return F.relu(self.norm(self.conv(x)), inplace=not torch.is_grad_enabled())


class MaxPoolSame(nn.Module):
    """Max pooling with SAME padding. Its input comes from a ReLU, so zeros around it never win over a pixel."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An Inception block: four branches of the same input, whose results are concatenated over channels."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        c0, c1_reduce, c1, c2_reduce, c2, c3 = channels
        self.branch_0 = ConvUnit(in_channels, c0, 1)
        self.branch_1 = nn.Sequential(ConvUnit(in_channels, c1_reduce, 1), ConvUnit(c1_reduce, c1, 3))
        self.branch_2 = nn.Sequential(ConvUnit(in_channels, c2_reduce, 1), ConvUnit(c2_reduce, c2, 3))
        self.branch_3 = nn.Sequential(MaxPoolSame((3, 3, 3), (1, 1, 1)), ConvUnit(in_channels, c3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch_0(x), self.branch_1(x), self.branch_2(x), self.branch_3(x)], dim=1)


class PooledLogits(nn.Module):
    """The Kinetics classifier: the average over time and space, then one linear layer."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.mean(dim=(2, 3, 4)))


class InceptionI3D(nn.Module):
    """Inception-I3D: `(clips, input_channels, 16, 224, 224)` -> `(clips, num_classes)` logits.

    Block `i` is called `INCEPTION_BLOCKS[i]` in DeepMind's TensorFlow code. Padding, batch norm and pooling are those
    of that code, so its Kinetics-400 weights give the same numbers here. The list of blocks is called `blocks`, as in
    pytorchvideo's networks. Random weights are drawn as there: He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """

    def __init__(self, input_channels: int = 3, num_classes: int = 400) -> None:
        super().__init__()

        def mixed(name: str, in_channels: int) -> Mixed:
            return Mixed(in_channels, MIXED_CHANNELS[name])

        self.blocks = nn.ModuleList(
            [
                ConvUnit(input_channels, 64, 7, stride=2),
                MaxPoolSame((1, 3, 3), (1, 2, 2)),
                ConvUnit(64, 64, 1),
                ConvUnit(64, 192, 3),
                MaxPoolSame((1, 3, 3), (1, 2, 2)),
                mixed("Mixed_3b", 192),
                mixed("Mixed_3c", 256),
                MaxPoolSame((3, 3, 3), (2, 2, 2)),
                mixed("Mixed_4b", 480),
                mixed("Mixed_4c", 512),
                mixed("Mixed_4d", 512),
                mixed("Mixed_4e", 512),
                mixed("Mixed_4f", 528),
                MaxPoolSame((2, 2, 2), (2, 2, 2)),
                mixed("Mixed_5b", 832),
                mixed("Mixed_5c", 832),
                PooledLogits(1024, num_classes),
            ]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def by_clip(maps: torch.Tensor, frames: int) -> torch.Tensor:
    """Cut a network's output for pieces of video into the parts that belong to each clip.

    Args:
        maps: the output, `(pieces, channels, time, height, width)`.
        frames: number of frames of a piece, a multiple of 16.

    Returns:
        `(clips, channels, time of a clip, height, width)`, with the clips of a piece one after the other.
    """
    return maps.unflatten(2, (frames // CLIP_FRAMES, -1)).transpose(1, 2).flatten(0, 1)


class ClipPooling(nn.Module):
    """A network's output before its head, averaged over space and the time of each clip.

    Args:
        net: the network, whose last one of `blocks` is its head.

    Attributes:
        layers: what stands behind that in every row, in this order: the `over_time` of Inception blocks by name, or
            the output as `MOVING` has it.
    """

    layers: tuple[str, ...] = ()

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net  # torch's types do not know that it has `blocks`

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pieces, frames = x, x.shape[2]
        passed: dict[str, torch.Tensor] = {}
        wanted = {INCEPTION_BLOCKS.index(layer): layer for layer in self.layers if layer != MOVING}
        for number, block in enumerate(list(self.net.blocks)[:-1]):
            x = block(x)
            if number in wanted:
                passed[wanted[number]] = over_time(by_clip(x, frames).mean(dim=(3, 4), dtype=torch.float32).mT)
        pooled = by_clip(x, frames).mean(dim=(2, 3, 4))
        if MOVING in self.layers:
            shares = where_it_moves(pieces, *x.shape[3:])[:, None, None]
            passed[MOVING] = by_clip((x * shares).sum(dim=(3, 4), dtype=torch.float32), frames).mean(dim=2)
        return torch.cat([pooled, *(passed[layer] for layer in self.layers)], dim=1) if self.layers else pooled


def where_it_moves(pieces: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """How much of all movement in a piece of video is in each cell of the picture.

    Of rgb, movement is how much the brightness of squares of 8 x 8 pixels changes from frame to frame; of flow, its
    length. Where nothing moves at all, all cells have the same share.

    Args:
        pieces: `(pieces, channels, frames, height, width)`, as they enter the network: 3 channels of rgb, 2 of flow.
        rows, columns: of the network's output.

    Returns:
        `(pieces, rows, columns)` float32, the sum over the cells of a piece is 1. The picture is divided evenly among
        them, while the network's own cells are 32 pixels: in a picture of 256x455 they lie up to 20 pixels apart.
    """
    if pieces.shape[1] == 2:
        moved = pieces.float().norm(dim=1).mean(dim=1)
    else:
        grey = pieces.mean(dim=1, dtype=torch.float32)
        squares = F.avg_pool2d(grey, MOVING_SQUARE, ceil_mode=True, count_include_pad=False)
        moved = squares.diff(dim=1).abs().mean(dim=1)
    shares = F.adaptive_avg_pool2d(moved, (rows, columns)) + LEAST_MOVED
    return shares / shares.sum(dim=(1, 2), keepdim=True)


def over_time(maps: torch.Tensor) -> torch.Tensor:
    """Mean and deviation over a clip's time: `(clips, time, channels)` -> `(clips, 2 channels)`, the means first."""
    return torch.cat([maps.mean(dim=1), maps.std(dim=1, unbiased=False)], dim=1)


def inception_i3d_features(input_channels: int) -> ClipPooling:
    """Inception-I3D up to `Mixed_5c`, average-pooled: `(pieces, channels, 16 k, 224, 224)` -> `(pieces * k, 1024)`."""
    return ClipPooling(InceptionI3D(input_channels))


def i3d_r50_features(input_channels: int) -> ClipPooling:
    """pytorchvideo's I3D-ResNet-50 without its head: `(pieces, 3, 16 k, 224, 224)` rgb -> `(pieces * k, 2048)`.

    Raises:
        ValueError: `input_channels` is not 3.
    """
    if input_channels != 3:
        raise ValueError("i3d_r50 takes 3 channels: it has no flow stream")
    # This import takes two seconds, so only those who ask for this network pay for it.
    with warnings.catch_warnings():  # pytorchvideo 0.1.5 calls torch.jit.script at import, which torch deprecates now
        warnings.simplefilter("ignore")
        from pytorchvideo.models.hub import i3d_r50
    return ClipPooling(i3d_r50(pretrained=False))


class TinyNet(nn.Module):
    """A few layers on a coarsely sampled clip, about 4 MFLOP. It is made for tests of everything else.

    `(pieces, channels, 16 k, height, width)` -> `(pieces * k, 128)`.
    """

    def __init__(self, input_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(input_channels, 16, (2, 8, 8), stride=(2, 8, 8)),
            nn.ReLU(),
            nn.Conv3d(16, 64, (2, 2, 2), stride=(2, 2, 2)),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Every fourth pixel of every second frame is enough here, and a clip costs next to nothing.
        maps = by_clip(self.layers(x[:, :, ::2, ::4, ::4]), x.shape[2])
        return torch.cat([maps.mean(dim=(2, 3, 4)), maps.amax(dim=(2, 3, 4))], dim=1)


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Fold the batch norm of every `ConvUnit` into its convolution, in place, and return `net`. Only for inference."""
    for unit in net.modules():
        if isinstance(unit, ConvUnit) and isinstance(unit.norm, nn.BatchNorm3d):
            unit.conv = nn.utils.fusion.fuse_conv_bn_eval(unit.conv.eval(), unit.norm.eval())
            unit.norm = nn.Identity()
    return net
