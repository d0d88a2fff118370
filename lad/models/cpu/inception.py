"""The form of Inception-I3D that runs fastest on a CPU, in float32.

It gives the numbers of the plain network, but for the last digits. Four things make it fast:

- 3x3x3 and 7x7x7 convolutions use Winograd's method, see `lad.models.cpu.winograd`.
- Max pooling goes along one dimension after the other.
- A layer's frames are pooled while they are still in the cache.
- One clip is computed at a time, or one piece of video of several clips, with channels innermost.

Between the layers, a clip is `(frames, height, width, channels)` float32.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import nn

from lad.clip import CLIP_FRAMES
from lad.models.cpu.winograd import FRAMES, Convolution3x3x3, Convolution7x7x7
from lad.models.i3d import (
    INCEPTION_BLOCKS,
    MOVING,
    ClipPooling,
    ConvUnit,
    MaxPoolSame,
    Mixed,
    over_time,
    same_padding,
    where_it_moves,
)

# `tile` and `span` of the 3x3x3 convolutions in Mixed_3*, Mixed_4* and Mixed_5*. Frames of 224x224 have maps of 28x28,
# 14x14 and 7x7 there. Smaller maps share the reading of a kernel among fewer tiles, and smaller tiles have smaller
# kernels.
TILES = (4, 4), (2, 4), (2, 2)


def fast_form(network: nn.Module) -> nn.Module:
    """The fast form of Inception-I3D, whose batch norm must be folded. Any other network is returned as it is."""
    if isinstance(network, ClipPooling) and isinstance(network.net.blocks[0], ConvUnit):
        return FastInception(network)
    return network


def max_pool_same(clip: torch.Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> torch.Tensor:
    """Max pooling as `MaxPoolSame` does it, with `kernel` and `stride` along frames, rows and columns.

    torch's own takes twenty times as long when channels are innermost.
    """
    for dim in (2, 1, 0):
        if kernel[dim] > 1:
            clip = _max_along(clip, dim, kernel[dim], stride[dim])
    return clip


def _max_along(clip: torch.Tensor, dim: int, kernel: int, stride: int) -> torch.Tensor:
    size = clip.shape[dim]
    outputs = ceil(size / stride)
    before, _ = same_padding(size, kernel, stride)

    def seen(shift: int, first: int, last: int) -> torch.Tensor:
        """The pixels that lie `shift` beyond output `i`'s own, `i * stride`, for `i` from `first` to `last`."""
        return clip[(slice(None),) * dim + (slice(first * stride + shift, last * stride + shift + 1, stride),)]

    best = seen(0, 0, outputs - 1).clone()
    for shift in range(-before, kernel - before):
        if shift != 0:
            # The outputs for which such a pixel lies within the clip.
            first, last = max(-(shift // stride), 0), min(outputs - 1, (size - 1 - shift) // stride)
            part = best.narrow(dim, first, last - first + 1)
            torch.maximum(part, seen(shift, first, last), out=part)
    return best


def pool_neighbours(clip: torch.Tensor) -> torch.Tensor:
    """`max_pool_same` of 3x3x3 at stride 1, a few frames at a time, so that intermediate results stay small."""
    pooled = torch.empty_like(clip)
    for first in range(0, len(clip), FRAMES):
        before, last = max(first - 1, 0), min(first + FRAMES, len(clip))
        seen = max_pool_same(clip[before : last + 1], (3, 3, 3), (1, 1, 1))
        pooled[first:last] = seen[first - before : last - before]
    return pooled


def _pool_rows(clip: torch.Tensor) -> torch.Tensor:
    return max_pool_same(clip, (1, 1, 3), (1, 1, 2))


def _pool_columns(clip: torch.Tensor) -> torch.Tensor:
    return max_pool_same(clip, (1, 3, 1), (1, 2, 1))


class Pointwise(nn.Module):
    """One or several 1x1x1 convolutions of the same clip with ReLU, as one product of matrices."""

    weight: torch.Tensor  # (in, out)
    bias: torch.Tensor

    def __init__(self, *units: nn.Module) -> None:
        super().__init__()
        weights, biases = zip(*(parameters(unit) for unit in units), strict=True)
        self.register_buffer("weight", torch.cat([weight.flatten(1) for weight in weights]).t().contiguous())
        self.register_buffer("bias", torch.cat(biases))

    def forward(self, clip: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`(frames, height, width, in)` -> `out` `(frames, height, width, out)`, which may be some of more channels."""
        torch.addmm(self.bias, clip.flatten(0, 2), self.weight, out=out.flatten(0, 2))
        return out.relu_()


class FastMixed(nn.Module):
    """`Mixed`. Two branches have their first convolution in common, and each branch writes its own channels."""

    def __init__(self, mixed: Mixed, tile: int, span: int) -> None:
        super().__init__()
        reduced = mixed.branch_1[0], mixed.branch_2[0]
        self.reduced = [len(parameters(unit)[1]) for unit in reduced]
        self.branch_0, self.reduce = Pointwise(mixed.branch_0), Pointwise(*reduced)
        self.branch_1 = Convolution3x3x3(*parameters(mixed.branch_1[1]), tile, span)
        self.branch_2 = Convolution3x3x3(*parameters(mixed.branch_2[1]), tile, span)
        self.branch_3 = Pointwise(mixed.branch_3[1])
        self.widths = [len(branch.bias) for branch in (self.branch_0, self.branch_1, self.branch_2, self.branch_3)]

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        found = clip.new_empty(*clip.shape[:3], sum(self.widths))
        branch_0, branch_1, branch_2, branch_3 = found.split(self.widths, dim=-1)
        # The branch that needs the most memory beside its result comes first.
        self.branch_3(pool_neighbours(clip), branch_3)
        self.branch_0(clip, branch_0)
        reduced = self.reduce(clip, clip.new_empty(*clip.shape[:3], sum(self.reduced)))
        for_branch_1, for_branch_2 = reduced.split(self.reduced, dim=-1)
        self.branch_1(for_branch_1, branch_1)
        self.branch_2(for_branch_2, branch_2)
        return found


class Pool(nn.Module):
    """`MaxPoolSame` of a clip with channels innermost."""

    def __init__(self, pool: MaxPoolSame) -> None:
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return max_pool_same(clip, self.kernel, self.stride)


class FastInception(nn.Module):
    """`inception_i3d_features` with its batch norm folded.

    `forward` takes `(pieces, channels, 16 k, height, width)` and returns `(pieces * k, 1024)`, one vector a clip, or
    longer ones with what `ClipPooling.layers` adds.
    """

    def __init__(self, network: ClipPooling) -> None:
        super().__init__()
        stem, _, second, third, _, *rest = list(network.net.blocks)[:-1]
        self.stem, self.second = Convolution7x7x7(*parameters(stem)), Pointwise(second)
        self.third = Convolution3x3x3(*parameters(third))
        self.rest, stage = nn.ModuleList(), 0
        for block in rest:
            stage += isinstance(block, MaxPoolSame)
            self.rest.append(FastMixed(block, *TILES[stage]) if isinstance(block, Mixed) else Pool(block))
        self.layers, self.names = network.layers, INCEPTION_BLOCKS[-len(rest) - 1 : -1]

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._features(piece) for piece in pieces.permute(0, 2, 3, 4, 1)])

    def _features(self, piece: torch.Tensor) -> torch.Tensor:
        """`(16 k, height, width, channels)` -> `(k, 1024)`, and what its layers add."""
        clips = len(piece) // CLIP_FRAMES
        passed: dict[str, torch.Tensor] = {}
        maps = self._conv_2c_and_pool_3a(self._up_to_conv_2b(piece))
        for name, block in zip(self.names, self.rest, strict=True):
            maps = block(maps)
            if name in self.layers:
                passed[name] = over_time(maps.mean(dim=(1, 2)).unflatten(0, (clips, -1)))
        by_clip = maps.unflatten(0, (clips, -1))  # (k, frames of a clip, rows, columns, 1024)
        pooled = by_clip.mean(dim=(1, 2, 3))
        if MOVING in self.layers:
            (shares,) = where_it_moves(piece.permute(3, 0, 1, 2)[None], *maps.shape[1:3])
            passed[MOVING] = (by_clip * shares[..., None]).sum(dim=(2, 3)).mean(dim=1)
        return torch.cat([pooled, *(passed[layer] for layer in self.layers)], dim=1) if self.layers else pooled

    def _up_to_conv_2b(self, piece: torch.Tensor) -> torch.Tensor:
        """Conv3d_1a, MaxPool3d_2a and Conv3d_2b: half of the frames, a quarter of the rows and columns."""
        length, height, width, _ = piece.shape
        narrow = piece.new_empty(ceil(length / 2), ceil(height / 2), ceil(width / 4), len(self.stem.bias))
        self.stem(piece, narrow, _pool_rows)
        maps = piece.new_empty(len(narrow), ceil(height / 4), *narrow.shape[2:])
        for frame, out in zip(narrow, maps, strict=True):
            self.second(_pool_columns(frame[None]), out[None])
        return maps

    def _conv_2c_and_pool_3a(self, maps: torch.Tensor) -> torch.Tensor:
        """Conv3d_2c and MaxPool3d_3a: half of the rows and columns."""
        narrow = maps.new_empty(*maps.shape[:2], ceil(maps.shape[2] / 2), len(self.third.bias))
        self.third(maps, narrow, _pool_rows)
        return _pool_columns(narrow)


def parameters(unit: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a `ConvUnit`'s convolution, whose batch norm must be folded into it."""
    conv = unit.conv
    assert isinstance(conv, nn.Conv3d) and conv.bias is not None, "batch norm is not folded"
    return conv.weight.detach(), conv.bias.detach()
