"""Inception-I3D of rgb in 8-bit integers, for a CPU that multiplies them exactly (VNNI).

Activations are 0 to 255, weights -127 to 127, sums 32 bits. All a network needs beside its weights is how large the
activations of each channel become: `lad.models.cpu.ranges`. Three things keep its features close to those in float32:

- Each output channel of a convolution has a step of its own for its weights.
- Channels with small activations are made larger, and the weights that read them smaller. This is the equalisation of
  Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019. It goes a part of
  the way only, as in Xiao et al., "SmoothQuant", ICML 2023: weights would lose what activations gain.
- The last block gives float32, and features are averages of that.

The convolutions are oneDNN's, as torch's own compiler calls them for quantised networks. Results below 0 become 0 in
them, which is ReLU. Between the layers, a clip is `(frames, height, width, channels)` uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from lad.clip import CLIP_FRAMES
from lad.errors import LadError
from lad.models.cpu.inception import max_pool_same, parameters, pool_neighbours
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

# What an activation of each channel hardly ever exceeds, by the name of its `ConvUnit` in the network.
Ranges = Mapping[str, torch.Tensor]

LEVELS = 255  # the largest activation
WEIGHT_LEVELS = 127
SHAPES = 8  # of maps, for which weights are kept in memory: those of the last videos
ZERO = 128  # the level that stands for 0 in what enters the network, where there are negative numbers
EVENNESS = 0.75  # how far channels are made equal: 0 not at all, 1 entirely
QUIET = 0.02  # of the largest range: channels below it count as that

INSTEAD = "set extract.dtype to float32"
LAST = INCEPTION_BLOCKS[-2]  # whose averages are the features


class Int8Error(LadError):
    """The machine cannot compute networks in 8-bit integers."""


def int8_form(network: nn.Module, ranges: Ranges) -> nn.Module:
    """Inception-I3D in 8-bit integers.

    Args:
        network: with its batch norm folded.
        ranges: how large its activations become.

    Raises:
        Int8Error: this machine cannot compute it.
    """
    check_exact()
    assert isinstance(network, ClipPooling)
    return Int8Inception(network, ranges)


@dataclass(frozen=True)
class Scale:
    """What the levels of a map stand for: level `q` of channel `c` for `q * step * share[c]`."""

    step: float
    share: torch.Tensor  # (channels,)

    @classmethod
    def of(cls, ranges: torch.Tensor) -> Scale:
        """That of a map whose channels become so large."""
        floored = ranges.clamp_min(QUIET * float(ranges.max()))
        share = floored**EVENNESS
        return cls(float((floored / share).max()) / LEVELS, share)

    @classmethod
    def even(cls, step: float, channels: int) -> Scale:
        """That of a map whose channels are all alike."""
        return cls(step, torch.ones(channels))

    def split(self, widths: list[int]) -> list[Scale]:
        """That of some channels after the other."""
        return [Scale(self.step, share) for share in self.share.split(widths)]


class Int8Convolution(nn.Module):
    """A 3D convolution with ReLU.

    Args:
        weight: `(out, in, taps, taps, taps)`.
        bias: `(out,)`.
        taken: what the levels of its input stand for.
        given: what those of its output shall stand for. None: the output is float32, and ReLU is left to the caller.
        zero: the level of the input that stands for 0.
        stride: along frames, rows and columns. At 1 the padding is SAME, else the input is padded already.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        taken: Scale,
        given: Scale | None,
        *,
        zero: int = 0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        share = torch.ones(len(bias)) if given is None else given.share
        shared = weight * taken.share.view(1, -1, 1, 1, 1) / share.view(-1, 1, 1, 1, 1)
        self.steps = shared.abs().amax(dim=(1, 2, 3, 4)).clamp_min(torch.finfo().tiny) / WEIGHT_LEVELS
        self.levels = (shared / self.steps.view(-1, 1, 1, 1, 1)).round().to(torch.int8)
        self.bias = bias / share
        self.taken, self.zero, self.stride = taken.step, zero, [stride] * 3
        self.given, self.dtype = (1.0, torch.float32) if given is None else (given.step, torch.uint8)
        self.padding = [weight.shape[-1] // 2 if stride == 1 else 0] * 3
        # Weights have no level for 0 but 0 itself; torch wants to be told for every channel.
        self.weight_zeros = torch.zeros(len(bias), dtype=torch.int64)
        self.packed = lru_cache(SHAPES)(self._pack)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(frames, height, width, in)` uint8 -> `(frames, height, width, out)` uint8 or float32."""
        found = torch.ops.onednn.qconv3d_pointwise(
            maps[None].permute(0, 4, 1, 2, 3),
            self.taken,
            self.zero,
            self.packed(maps.shape),
            self.steps,
            self.weight_zeros,
            self.bias,
            self.stride,
            self.padding,
            [1, 1, 1],  # dilation
            1,  # groups
            self.given,
            0,  # the level of 0 in the output
            self.dtype,
            "none",  # nothing is done to the output
            [],
            "",
        )
        return found.permute(0, 2, 3, 4, 1)[0]

    def _pack(self, shape: torch.Size) -> torch.Tensor:
        """The weights as oneDNN lays them out for maps of this shape, on as many threads as there are.

        In any other layout it lays them out anew at each call, which can take twenty times as long as the convolution.
        """
        frames, height, width, channels = shape
        seen = [1, channels, frames, height, width]
        return torch.ops.onednn.qconv_prepack(
            self.levels, self.steps, self.taken, self.zero, self.stride, self.padding, [1, 1, 1], 1, seen
        )


class Int8Stem(nn.Module):
    """The first convolution, 7x7x7 at stride 2 with SAME padding, of a network that wants pixels scaled to -1 to 1.

    Its levels are those of the pixels themselves.
    """

    def __init__(self, unit: ConvUnit, given: Scale) -> None:
        super().__init__()
        weight, bias = parameters(unit)
        step = 2 / LEVELS
        bias = bias + weight.sum(dim=(1, 2, 3, 4)) * step / 2  # 0 lies half a level below `ZERO`
        taken = Scale.even(step, weight.shape[1])
        self.convolution = Int8Convolution(weight, bias, taken, given, zero=ZERO, stride=2)

    def forward(self, piece: torch.Tensor) -> torch.Tensor:
        """Pixels `(16 k, height, width, channels)` uint8 -> half of the frames, rows and columns, uint8."""
        padding = [pixels for size in reversed(piece.shape[:3]) for pixels in same_padding(size, 7, 2)]
        return self.convolution(F.pad(piece, [0, 0, *padding], value=ZERO))


class Int8Mixed(nn.Module):
    """`Mixed`. The maps of its four branches have one scale.

    Args:
        mixed: with its batch norm folded.
        name: of it in the network.
        ranges: of the network.
        taken: what the levels of its input stand for.
        is_last: whether it gives float32.

    Attributes:
        given: what the levels of its output stand for.
    """

    def __init__(self, mixed: Mixed, name: str, ranges: Ranges, taken: Scale, is_last: bool) -> None:
        super().__init__()
        found = [ranges[f"{name}.{branch}"] for branch in ("branch_0", "branch_1.1", "branch_2.1", "branch_3.1")]
        self.widths = [len(channels) for channels in found]
        self.given = Scale.even(1.0, sum(self.widths)) if is_last else Scale.of(torch.cat(found))
        scales = [None] * 4 if is_last else self.given.split(self.widths)
        reduced_1, reduced_2 = (Scale.of(ranges[f"{name}.{branch}"]) for branch in ("branch_1.0", "branch_2.0"))
        self.branch_0 = Int8Convolution(*parameters(mixed.branch_0), taken, scales[0])
        self.branch_1 = nn.Sequential(
            Int8Convolution(*parameters(mixed.branch_1[0]), taken, reduced_1),
            Int8Convolution(*parameters(mixed.branch_1[1]), reduced_1, scales[1]),
        )
        self.branch_2 = nn.Sequential(
            Int8Convolution(*parameters(mixed.branch_2[0]), taken, reduced_2),
            Int8Convolution(*parameters(mixed.branch_2[1]), reduced_2, scales[2]),
        )
        self.branch_3 = Int8Convolution(*parameters(mixed.branch_3[1]), taken, scales[3])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        found = maps.new_empty(*maps.shape[:3], sum(self.widths), dtype=self.branch_0.dtype)
        branch_0, branch_1, branch_2, branch_3 = found.split(self.widths, dim=-1)
        branch_0.copy_(self.branch_0(maps))
        branch_1.copy_(self.branch_1(maps))
        branch_2.copy_(self.branch_2(maps))
        branch_3.copy_(self.branch_3(pool_neighbours(maps)))
        return found


class Int8Pool(nn.Module):
    """`MaxPoolSame`, which levels pass as they are."""

    def __init__(self, pool: MaxPoolSame, given: Scale) -> None:
        super().__init__()
        self.kernel, self.stride, self.given = pool.kernel, pool.stride, given

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return max_pool_same(maps, self.kernel, self.stride)


class Int8Inception(nn.Module):
    """`inception_i3d_features` with its batch norm folded, in 8-bit integers.

    `forward` takes the pixels `(pieces, channels, 16 k, height, width)` uint8, which no other network does, and returns
    `(pieces * k, 1024)` float32, one vector a clip, or longer ones with what `ClipPooling.layers` adds.
    """

    def __init__(self, network: ClipPooling, ranges: Ranges) -> None:
        super().__init__()
        self.layers = network.layers
        blocks = list(network.net.blocks)[:-1]
        scale = Scale.of(ranges["blocks.0"])
        self.stem = Int8Stem(blocks[0], scale)
        self.rest = nn.ModuleDict()
        self.scales: dict[str, Scale] = {}
        for number, (name, block) in enumerate(zip(INCEPTION_BLOCKS, blocks, strict=False)):
            if number == 0:
                continue
            if isinstance(block, MaxPoolSame):
                made: nn.Module = Int8Pool(block, scale)
            elif isinstance(block, Mixed):
                made = Int8Mixed(block, f"blocks.{number}", ranges, scale, number == len(blocks) - 1)
                scale = made.given
            else:
                given = Scale.of(ranges[f"blocks.{number}"])
                made, scale = Int8Convolution(*parameters(block), scale, given), given
            self.rest[name], self.scales[name] = made, scale

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._features(piece) for piece in pieces.permute(0, 2, 3, 4, 1)])

    def _features(self, piece: torch.Tensor) -> torch.Tensor:
        """`(16 k, height, width, channels)` -> `(k, 1024)`, and what its layers add."""
        passed: dict[str, torch.Tensor] = {}
        maps = self.stem(piece)
        for name, block in self.rest.items():
            maps = block(maps)
            if name in self.layers:
                passed[name] = over_time(self._by_time(maps, name, len(piece)))
        pooled = self._by_time(maps, LAST, len(piece)).mean(dim=1)
        if MOVING in self.layers:
            scaled = (piece / LEVELS).sub_(0.5).div_(0.5)
            (shares,) = where_it_moves(scaled.permute(3, 0, 1, 2)[None], *maps.shape[1:3])
            passed[MOVING] = self._by_time(maps, LAST, len(piece), shares).mean(dim=1)
        return torch.cat([pooled, *(passed[layer] for layer in self.layers)], dim=1)

    def _by_time(self, maps: torch.Tensor, name: str, frames: int, shares: torch.Tensor | None = None) -> torch.Tensor:
        """A block's maps as `(k, time of a clip, channels)` float32: their mean over the picture, or by `shares`."""
        scale, real = self.scales[name], maps.float().relu_()
        means = real.mean(dim=(1, 2)) if shares is None else (real * shares[..., None]).sum(dim=(1, 2))
        means = means * (scale.step * scale.share)
        return means.unflatten(0, (frames // CLIP_FRAMES, -1))


@cache
def check_exact() -> None:
    """Check that this machine multiplies 8-bit integers as it should.

    Processors without VNNI add pairs of products in 16 bits, where large ones are cut off.

    Raises:
        Int8Error: it does not.
    """
    channels = 64
    kernel = torch.full((channels, channels, 1, 1, 1), float(WEIGHT_LEVELS))
    largest = torch.full((1, 4, 4, channels), LEVELS, dtype=torch.uint8)
    try:
        found = Int8Convolution(kernel, torch.zeros(channels), Scale.even(1.0, channels), None)(largest)
    except (AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise Int8Error(
            f"extract.dtype int8: torch {torch.__version__} has no 8-bit convolutions here ({reason}): {INSTEAD}"
        ) from error
    if not bool((found == LEVELS * WEIGHT_LEVELS * channels).all()):
        raise Int8Error(
            f"extract.dtype int8: this processor, without VNNI, multiplies 8-bit integers inexactly: {INSTEAD}"
        )
