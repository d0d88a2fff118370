"""Convolutions for inference on a CPU that need a quarter of the usual multiplications, or fewer.

The method is that of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A result is
computed in tiles of `tile x tile` pixels. A tile depends on a patch of `n x n` pixels, where `n = tile + taps - 1` and
the kernel has `taps x taps` weights. Patches overlap, tiles do not. Every tile takes four steps:

1. Cut. Take the tile's patch out of the map.
2. Evaluate. Turn the patch's `n * n` pixels into `n * n` other numbers, one for each of the method's points. The
   kernel's weights were turned into `n * n` numbers once, when the network was built.
3. Multiply. At a point, a convolution is a plain product, summed over the input channels. For all tiles and output
   channels together that is one product of matrices a point, `(tiles, in) @ (in, out)`.
4. Assemble. Turn the products at the points into the tile's pixels, and put the tiles side by side.

Steps 2 and 4 are linear, so each of them is a product of matrices too. `winograd_matrices` says what the points are.
The 3x3x3 convolution cuts time into tiles as well. The 7x7x7 convolution does not: it sums over a kernel's taps in time
as it sums over input channels.

A clip is `(frames, height, width, channels)` float32 here, channels innermost. A piece of video of several clips is
handled as one long clip. The result is computed in bands, each of a few rows of tiles in a few frames. A band is pooled
and written while it is still in the cache.

In the shapes below, `in` and `out` are channels, `rows` and `columns` count pixels, `down` and `across` count tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import nn

from lad.models.cpu.scratch import Scratch
from lad.models.i3d import same_padding

# The points, by the number of coefficients; infinity comes beside them. They are exact in binary and lose few digits:
# the error is that of a plain convolution, where the usual 0, 1, -1, 2, -2, ... give up to five times as much.
POINTS = {
    4: (0.0, 1.0, -1.0),
    6: (0.0, 0.75, -0.75, 1.5, -1.5),
    7: (0.375, -0.375, 0.875, -0.875, 1.625, -1.625),
}
# Work is done in blocks that stay in the caches.
FRAMES = 8  # frames of a result that the 7x7x7 convolution and pooling compute at once
PATCH_FLOATS = 2**17  # numbers in the patches that are evaluated at once
PRODUCT_ROWS = 100  # rows of a product in step 3, which are the tiles of a band: about as many
KERNELS = 2**13  # kernels, one for each input and output channel, that are turned into numbers at the points at once

scratch = Scratch()

# Max pooling of `(frames, rows, columns, channels)` that takes each row by itself. So a band can be pooled alone, and
# ReLU may come after it.
RowPool = Callable[[torch.Tensor], torch.Tensor]
# A range of frames, or of pixels along one side: the first, and the one after the last.
Bounds = tuple[int, int]


def no_pool(rows: torch.Tensor) -> torch.Tensor:
    return rows


def winograd_matrices(outputs: int, taps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The matrices of Winograd's F(outputs, taps) for one dimension.

    It computes `outputs` pixels of a result by `n = outputs + taps - 1` products, as
    `points_to_pixels @ ((pixels_to_points @ pixels) * (weights_to_points @ weights))`.

    The idea is that of Toom and Cook. Two polynomials can be multiplied by multiplying their values at `n` points, one
    of which is infinity, where a polynomial's value is its leading coefficient. A kernel's weights are the coefficients
    of such a polynomial. A convolution is the transpose of multiplying by it, so pixels go through the transposed
    inverse of an evaluation, and products go through a transposed evaluation.

    Returns:
        `pixels_to_points` `(n, n)`, `weights_to_points` `(n, taps)` and `points_to_pixels` `(outputs, n)`, float64.
        The paper calls them B^T, G and A^T.
    """
    coefficients = outputs + taps - 1
    points = torch.tensor(POINTS[coefficients], dtype=torch.float64)

    def evaluation(count: int) -> torch.Tensor:
        """What evaluates a polynomial of `count` coefficients: `(n, count)`."""
        at_infinity = torch.eye(count, dtype=torch.float64)[-1:]
        return torch.cat([torch.linalg.vander(points, N=count), at_infinity])

    return torch.linalg.inv(evaluation(coefficients)).T, evaluation(taps), evaluation(outputs).T


def at_points(weight: torch.Tensor, weights_to_points: torch.Tensor) -> torch.Tensor:
    """A convolution's kernels at the method's points.

    They are computed in float64, a few at a time: all of them together would take several times their memory.

    Args:
        weight: `(out, in, taps in time, taps, taps)` float32.
        weights_to_points: `(points, taps * taps * taps in time)` float64.

    Returns:
        `(points, in, out)` float32.
    """
    kernels = weight.detach().permute(3, 4, 2, 1, 0).flatten(3).flatten(0, 2)  # (taps, in * out)
    found = torch.empty(len(weights_to_points), kernels.shape[1])
    for some, out in zip(kernels.split(KERNELS, dim=1), found.split(KERNELS, dim=1), strict=True):
        out.copy_(weights_to_points @ some.double())
    return found.view(len(found), weight.shape[1], weight.shape[0])


def zero_padded(clip: torch.Tensor, frames: Bounds, rows: Bounds, columns: Bounds) -> torch.Tensor:
    """A copy of some frames, rows and columns of a clip. Where a range goes beyond the clip, there are zeros."""
    inside: list[slice] = []
    zeros = [0, 0]  # before and after each dimension, the last one first
    for (first, end), size in zip((frames, rows, columns), clip.shape[:3], strict=True):
        part = slice(max(first, 0), min(end, size))
        inside.append(part)
        zeros[2:2] = part.start - first, end - part.stop
    return F.pad(clip[tuple(inside)], zeros)


class TiledConvolution(nn.Module):
    """What the two convolutions below have in common: the four steps in space, and the kernel at the points.

    Args:
        weight: `(out, in, taps in time, taps, taps)`.
        bias: `(out,)`.
        tile: pixels along a side of a tile. Larger tiles need fewer products, but kernels that take more memory.
        weights_in_time: `(points in time, taps in time)` float64, what is done to the weights along time.
    """

    pixels_to_points: torch.Tensor  # (n * n, n * n)
    points_to_pixels: torch.Tensor  # (tile * tile, n * n)
    kernels: torch.Tensor  # (n * n, points in time * in, out): the weights at the points
    bias: torch.Tensor  # (out,)

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, tile: int, weights_in_time: torch.Tensor) -> None:
        super().__init__()
        taps = weight.shape[-1]
        self.tile, self.n = tile, tile + taps - 1
        # Height and width at once: more arithmetic than one after the other, but half of the memory traffic.
        pixels_to_points, weights_to_points, points_to_pixels = (
            torch.kron(matrix, matrix) for matrix in winograd_matrices(tile, taps)
        )
        kernels = at_points(weight, torch.kron(weights_to_points, weights_in_time))
        self.register_buffer("pixels_to_points", pixels_to_points.float())
        self.register_buffer("points_to_pixels", points_to_pixels.float())
        self.register_buffer("kernels", kernels.view(self.n**2, -1, len(bias)))
        self.register_buffer("bias", bias.detach())

    def cut(self, maps: torch.Tensor) -> torch.Tensor:
        """Step 1: `(..., rows, columns, values)` -> a view of the patches `(n, n, ..., down, across, values)`."""
        bars = maps.unfold(-3, self.n, self.tile)  # (..., down, columns, values, n)
        patches = bars.unfold(-3, self.n, self.tile)  # (..., down, across, values, n, n)
        return patches.movedim((-2, -1), (0, 1))  # (n, n, ..., down, across, values)

    def evaluate(self, patches: torch.Tensor, out: torch.Tensor) -> None:
        """Step 2: `(n, n, ...)` -> `out` `(n * n, numbers)`."""
        pixels = scratch("patches", *patches.shape).copy_(patches)  # (n, n, ...), contiguous
        torch.mm(self.pixels_to_points, pixels.view(self.n**2, -1), out=out)

    def multiply(self, values: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
        """Step 3: `(points, tiles, in)` of patches by `(points, in, out)` of kernels -> `(points, tiles, out)`."""
        products = scratch("products", *values.shape[:2], len(self.bias))
        return torch.bmm(values, kernels, out=products)

    def assemble(self, products: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Step 4, its product of matrices: `(n * n, ...)` -> `out` `(tile * tile, numbers)`."""
        return torch.mm(self.points_to_pixels, products.view(self.n**2, -1), out=out)

    def write(self, band: torch.Tensor, out: torch.Tensor, columns: int, pool: RowPool) -> None:
        """Pool a band of the result, and write its ReLU. What its tiles have beyond the clip is left out.

        Args:
            band: `(frames, down, tile, across, tile, out)`.
            out: where it belongs in the pooled result, `(frames, rows, pooled columns, out)`.
            columns: of the result before pooling.
            pool: what pools rows.
        """
        in_order = band.flatten(3, 4).flatten(1, 2)  # (frames, rows, columns, out)
        torch.clamp_min(pool(in_order[: len(out), : out.shape[1], :columns]), 0, out=out)


class Convolution3x3x3(TiledConvolution):
    """A 3x3x3 convolution at stride 1 with SAME padding.

    Args:
        weight: `(out, in, 3, 3, 3)`.
        bias: `(out,)`.
        tile: as for `TiledConvolution`.
        span: frames along a tile's side in time. A span depends on `span + 2` frames, and has as many points in time.
    """

    frames_to_points: torch.Tensor  # (span + 2, span + 2)
    points_to_frames: torch.Tensor  # (span, span + 2)

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, tile: int = 4, span: int = 4) -> None:
        frames_to_points, weights_to_points, points_to_frames = winograd_matrices(span, 3)
        super().__init__(weight, bias, tile, weights_to_points)
        self.span = span
        self.register_buffer("frames_to_points", frames_to_points.float())
        self.register_buffer("points_to_frames", points_to_frames.float())

    def forward(self, clip: torch.Tensor, out: torch.Tensor, pool: RowPool = no_pool) -> None:
        """`(frames, height, width, in)` -> `out` `(frames, height, pooled width, out)`, with ReLU."""
        length, height, width, _ = clip.shape
        down, across = ceil(height / self.tile), ceil(width / self.tile)
        # Where maps are small, a band has several spans; where they are large, a few rows of the tiles of one.
        frames = self.span * max(1, round(PRODUCT_ROWS / (down * across)))
        rows = ceil(down / max(1, round(down * across / PRODUCT_ROWS)))
        for first in range(0, length, frames):
            last = min(first + frames, length)
            spans = ceil((last - first) / self.span)
            for top in range(0, down, rows):
                bottom = min(top + rows, down)
                seen = zero_padded(
                    clip,
                    (first - 1, first + spans * self.span + 1),
                    (self.tile * top - 1, self.tile * bottom + 1),
                    (-1, self.tile * across + 1),
                )
                band = self._band(seen, (spans, bottom - top, across))
                self.write(band, out[first:last, self.tile * top : self.tile * bottom], width, pool)

    def _band(self, seen: torch.Tensor, tiles: tuple[int, int, int]) -> torch.Tensor:
        """A band of the result.

        Args:
            seen: `(spans * span + 2, rows, columns, in)`, the pixels that it depends on.
            tiles: its `(spans, down, across)`.

        Returns:
            `(spans * span, down, tile, across, tile, out)`.
        """
        points = self.span + 2  # in time
        kernels = self.kernels.view(self.n**2, points, -1, len(self.bias))  # (n * n, points, in, out)
        patches = self.cut(self._evaluate_in_time(seen, tiles[0]))  # (n, n, points, *tiles, in)
        pixels = scratch("pixels", self.tile**2, points, prod(tiles) * len(self.bias))
        # All points in time at once where patches are few, otherwise one after the other.
        at_once = points if patches.numel() <= 2 * PATCH_FLOATS else 1
        for first in range(0, points, at_once):
            some = slice(first, first + at_once)
            values = scratch("values", self.n**2 * at_once, prod(tiles), seen.shape[3])  # (n * n * at_once, tiles, in)
            self.evaluate(patches[:, :, some], values.view(self.n**2, -1))
            products = self.multiply(values, kernels[:, some].flatten(0, 1))  # (n * n * at_once, tiles, out)
            self.assemble(products, pixels[:, some].flatten(1))
        return self._assemble_in_time(pixels, tiles)

    def _evaluate_in_time(self, seen: torch.Tensor, spans: int) -> torch.Tensor:
        """Steps 1 and 2 along time: `(spans * span + 2, rows, columns, in)` -> `(points, spans, rows, columns, in)`."""
        matrix = self.frames_to_points.expand(spans, -1, -1)  # (spans, points, span + 2)
        frames = seen.flatten(1).unfold(0, self.span + 2, self.span)  # (spans, rows * columns * in, span + 2)
        values = torch.bmm(matrix, frames.transpose(1, 2))  # (spans, points, rows * columns * in)
        return values.view(spans, -1, *seen.shape[1:]).transpose(0, 1)  # (points, spans, rows, columns, in)

    def _assemble_in_time(self, pixels: torch.Tensor, tiles: tuple[int, int, int]) -> torch.Tensor:
        """Step 4 along time and in order: `(tile * tile, points, tiles * out)` -> what `_band` returns."""
        tile, span, (spans, down, across), out_channels = self.tile, self.span, tiles, len(self.bias)
        matrix = self.points_to_frames.expand(tile**2, -1, -1)  # (tile * tile, span, points)
        frames = scratch("products", tile**2, span, pixels.shape[2])  # in place of the products, which have been used
        torch.bmm(matrix, pixels, out=frames)
        by_tile = frames.view(tile, tile, span, spans, down, across, out_channels)
        in_order = by_tile.permute(3, 2, 4, 0, 5, 1, 6)  # (spans, span, down, tile, across, tile, out)
        band = torch.add(in_order, self.bias, out=scratch("band", *in_order.shape))
        return band.flatten(0, 1)  # (spans * span, down, tile, across, tile, out)


class Convolution7x7x7(TiledConvolution):
    """A 7x7x7 convolution at stride 2 with SAME padding.

    First, every square of 2x2 pixels becomes one pixel of four times the channels. On those a kernel of 4x4 taps at
    stride 1 does what 7x7 taps at stride 2 do on the clip. Along time there are no points. A pixel's values in all
    frames lie side by side instead, and step 3 sums over the channels of seven frames as one inner dimension.

    Args:
        weight: `(out, in, 7, 7, 7)`.
        bias: `(out,)`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        padded = F.pad(weight.detach(), (0, 1, 0, 1))  # (out, in, 7, 8, 8)
        halves = padded.unflatten(4, (4, 2)).unflatten(3, (4, 2))  # (out, in, 7, 4, 2, 4, 2)
        by_square = halves.permute(0, 4, 6, 1, 2, 3, 5)  # (out, 2, 2, in, 7, 4, 4)
        super().__init__(by_square.flatten(1, 3), bias, tile=4, weights_in_time=torch.eye(7, dtype=torch.float64))

    def forward(self, clip: torch.Tensor, out: torch.Tensor, pool: RowPool = no_pool) -> None:
        """As for `Convolution3x3x3`, but the result has half as many frames, rows and columns, rounded up."""
        frames = ceil(len(clip) / 2)
        before, _ = same_padding(len(clip), 7, 2)
        for first in range(0, frames, FRAMES):
            starts = [2 * frame - before for frame in range(first, min(first + FRAMES, frames))]
            origin = max(starts[0], 0)
            seen = clip[origin : starts[-1] + 7]
            self._frames(seen, [start - origin for start in starts], out[first : first + FRAMES], pool)

    def _frames(self, clip: torch.Tensor, starts: list[int], out: torch.Tensor, pool: RowPool) -> None:
        """Compute a few frames of the result.

        Args:
            clip: the frames that they depend on, `(length, height, width, in)`.
            starts: where in `clip` the seven frames of each begin. Those before its first and after its last frame are
                zeros.
            out: `(len(starts), rows, pooled columns, out)`.
            pool: what pools rows.
        """
        tile, (height, width) = self.tile, clip.shape[1:3]
        down, across = ceil(height / (2 * tile)), ceil(width / (2 * tile))
        rows = ceil(PRODUCT_ROWS / across)
        for top in range(0, down, rows):
            bottom = min(top + rows, down)
            maps = self._squares(clip, (tile * top, tile * bottom), (0, tile * across))
            values = self._evaluate_in_parts(self.cut(maps))
            band = scratch("band", len(starts), bottom - top, tile, across, tile, len(self.bias))
            for start, frame in zip(starts, band, strict=True):
                products = self._multiply_frames(values, start)
                pixels = self.assemble(products, scratch("pixels", tile**2, products[0].numel()))
                by_tile = pixels.view(tile, tile, bottom - top, across, len(self.bias))
                torch.add(by_tile.permute(2, 0, 3, 1, 4), self.bias, out=frame)  # (down, tile, across, tile, out)
            self.write(band, out[:, tile * top : tile * bottom], ceil(width / 2), pool)

    def _squares(self, clip: torch.Tensor, rows: Bounds, columns: Bounds) -> torch.Tensor:
        """What some rows and columns of the result depend on, with each square of 2x2 pixels as one pixel.

        Returns:
            `(rows + 3, columns + 3, length * 4 * in)`.
        """
        length, height, width, _ = clip.shape

        def seen_by(pixels: Bounds, size: int) -> Bounds:
            before, _ = same_padding(size, 7, 2)
            return 2 * pixels[0] - before, 2 * (pixels[1] + 3) - before

        seen = zero_padded(clip, (0, length), seen_by(rows, height), seen_by(columns, width))
        tall, wide = seen.shape[1] // 2, seen.shape[2] // 2  # rows + 3, columns + 3
        # Two copies of long runs of numbers take half as long as one copy of short runs.
        pairs = seen.view(length, tall, 2, wide, -1)  # (length, tall, 2, wide, 2 * in)
        by_row = pairs.transpose(0, 1).reshape(tall, length * 2, wide, -1)  # (tall, length * 2, wide, 2 * in)
        return by_row.transpose(1, 2).reshape(tall, wide, -1)  # (tall, wide, length * 2 * 2 * in)

    def _evaluate_in_parts(self, patches: torch.Tensor) -> torch.Tensor:
        """Step 2, a few rows of tiles at a time.

        Args:
            patches: `(n, n, down, across, length * 4 * in)`.

        Returns:
            `(n * n, tiles, length * 4 * in)`.
        """
        _, _, down, across, numbers = patches.shape
        step = max(1, PATCH_FLOATS // (self.n**2 * across * numbers))
        values = scratch("values", self.n**2, down, across * numbers)
        for top in range(0, down, step):
            some = slice(top, top + step)
            self.evaluate(patches[:, :, some], values[:, some].flatten(1))
        return values.view(self.n**2, -1, numbers)  # (n * n, tiles, length * 4 * in)

    def _multiply_frames(self, values: torch.Tensor, start: int) -> torch.Tensor:
        """Step 3 for the seven frames from `start`: `(n * n, tiles, length * 4 * in)` -> `(n * n, tiles, out)`."""
        channels = self.kernels.shape[1] // 7  # 4 * in
        first, last = max(start * channels, 0), min((start + 7) * channels, values.shape[2])
        kernels = self.kernels[:, first - start * channels : last - start * channels]
        return self.multiply(values[:, :, first:last], kernels)
