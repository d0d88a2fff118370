"""Convolutions with a quarter of the multiplications: Winograd's minimal filtering, for inference on a CPU.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A map is cut into tiles; a tile's pixels
and a kernel's weights are each seen as polynomials and evaluated at a few points, where a convolution is one product a
point. Summed over channels those are products of matrices, one a point, and so are the changes to and from the points.
Time is a dimension like the others at stride 1; at stride 2 it is left as it is, and a kernel's taps in time are summed
as channels are.

Clips, and pieces of video of several, are `(frames, height, width, channels)` float32 here, channels innermost, and one
at a time. Convolutions give their result in bands, a few frames' rows of tiles, which are pooled while they are in the
cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lad.models.cpu.scratch import Scratch

# Where polynomials are evaluated, infinity beside them, by the number of coefficients. Exact in binary, and kind to the
# last digits: the error is that of a plain convolution, with the usual 0, 1, -1, 2, -2, ... up to five times as much.
POINTS = {
    4: (0.0, 1.0, -1.0),
    6: (0.0, 0.75, -0.75, 1.5, -1.5),
    7: (0.375, -0.375, 0.875, -0.875, 1.625, -1.625),
}
# Work is done in blocks that stay in the caches: of frames of the result, of patches until they are evaluated, and of
# rows of products.
FRAMES = 8
PATCH_FLOATS = 2**17
PRODUCT_ROWS = 100

scratch = Scratch()

# What is made of rows of a few frames, `(frames, rows, columns, channels)`, each row by itself; ReLU may come after it.
Rows = Callable[[torch.Tensor], torch.Tensor]


def _as_they_are(rows: torch.Tensor) -> torch.Tensor:
    return rows


def winograd_matrices(outputs: int, taps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Winograd's F(outputs, taps) along one dimension: `outputs` pixels by `n = outputs + taps - 1` products.

    Returns:
        What takes pixels to the products' first factors `(n, n)`, a kernel's weights to their second factors
        `(n, taps)`, and the products to the pixels of the result `(outputs, n)`; all float64.
    """
    coefficients = outputs + taps - 1
    points = torch.tensor(POINTS[coefficients], dtype=torch.float64)

    def powers(count: int) -> torch.Tensor:
        at_infinity = torch.eye(count, dtype=torch.float64)[-1:]
        return torch.cat([torch.linalg.vander(points, N=count), at_infinity])

    return torch.linalg.inv(powers(coefficients)).T, powers(taps), powers(outputs).T


def cut(clip: torch.Tensor, *bounds: tuple[int, int]) -> torch.Tensor:
    """What lies between two frames, two rows and two columns, which may lie outside of the clip: there it is zeros."""
    inside = [slice(max(low, 0), min(high, size)) for (low, high), size in zip(bounds, clip.shape[:3], strict=True)]
    frames, rows, columns = (
        (part.start - low, high - part.stop) for (low, high), part in zip(bounds, inside, strict=True)
    )
    return F.pad(clip[tuple(inside)], (0, 0, *columns, *rows, *frames))


class TiledConvolution(nn.Module):
    """What both convolutions below share: a kernel over tiles of maps, and its bias.

    Args:
        weight: `(out, in, taps in time, taps, taps)`, or second factors in place of the taps in time.
        bias: `(out,)`.
        tile: pixels of the result that are computed together, along each side. More need fewer products, and factors
            of kernels that take more memory.
    """

    of_pixels: torch.Tensor  # (n * n, n * n)
    of_products: torch.Tensor  # (tile * tile, n * n)
    factors: torch.Tensor  # (n * n * taps in time, in, out): the second factors
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, tile: int) -> None:
        super().__init__()
        self.tile = tile
        out_channels, in_channels, _, taps, _ = weight.shape
        self.side = tile + taps - 1  # of the square of pixels that a tile of the result depends on
        # Both dimensions of a map at once: more arithmetic than one after the other, but half the traffic of memory.
        of_pixels, of_weights, of_products = (torch.kron(m, m) for m in winograd_matrices(tile, taps))
        by_weight = weight.detach().double().permute(3, 4, 2, 1, 0).reshape(taps**2, -1)
        factors = (of_weights @ by_weight).float().reshape(-1, in_channels, out_channels)
        for name, tensor in (("of_pixels", of_pixels.float()), ("of_products", of_products.float()),
                             ("factors", factors), ("bias", bias.detach())):  # fmt: skip
            self.register_buffer(name, tensor)

    def patches(self, maps: torch.Tensor) -> torch.Tensor:
        """What tiles depend on: `(..., rows, columns, values)` -> `(n, n, ..., tiles down, tiles across, values)`."""
        unfolded = maps.unfold(-3, self.side, self.tile).unfold(-3, self.side, self.tile)
        return unfolded.movedim((-2, -1), (0, 1))

    def _block(self, patches: torch.Tensor) -> torch.Tensor:
        """`(n, n, ...)` as the columns of a matrix: `(n * n, numbers)`."""
        return scratch("patches", *patches.shape).copy_(patches).view(self.side**2, -1)


class Convolution3x3x3(TiledConvolution):
    """A 3x3x3 convolution at stride 1 with SAME padding.

    Args:
        weight: `(out, in, 3, 3, 3)`.
        bias: `(out,)`.
        tile: as `TiledConvolution` has it.
        span: frames of the result that are computed together, as a tile's pixels are.
    """

    of_frames: torch.Tensor  # (span + 2, span + 2)
    of_points: torch.Tensor  # (span, span + 2)

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, tile: int = 4, span: int = 4) -> None:
        of_frames, of_weights, of_points = winograd_matrices(span, 3)
        super().__init__(torch.einsum("pt,oithw->oiphw", of_weights, weight.detach().double()), bias, tile)
        self.span = span
        self.register_buffer("of_frames", of_frames.float())
        self.register_buffer("of_points", of_points.float())

    def forward(self, clip: torch.Tensor, out: torch.Tensor, then: Rows = _as_they_are) -> None:
        """`(frames, height, width, in)` -> `out` `(frames, height, ...)`: ReLU of what `then` makes of the result."""
        length, height, width, _ = clip.shape
        tall, wide = -(-height // self.tile), -(-width // self.tile)
        # As many frames as fill the rows of a product, or of one span's as many rows of tiles.
        few = self.span * max(1, round(PRODUCT_ROWS / (tall * wide)))
        rows = -(-tall // max(1, round(tall * wide / PRODUCT_ROWS)))
        for first in range(0, length, few):
            frames = min(few, length - first)
            for top in range(0, tall, rows):
                spans, bottom = -(-frames // self.span), min(top + rows, tall)
                band = scratch("band", spans, self.span, bottom - top, self.tile, wide, self.tile, len(self.bias))
                in_time = (first - 1, first + spans * self.span + 1)
                down, across = (self.tile * top - 1, self.tile * bottom + 1), (-1, self.tile * wide + 1)
                self._band(cut(clip, in_time, down, across), band)
                part = out[first : first + frames, self.tile * top : self.tile * bottom]
                in_order = band.flatten(4, 5).flatten(2, 3).flatten(0, 1)
                torch.clamp_min(then(in_order[:frames, : part.shape[1], :width]), 0, out=part)

    def _band(self, seen: torch.Tensor, band: torch.Tensor) -> None:
        """Fill a band of the result.

        Args:
            seen: `(spans * span + 2, rows, columns, in)`.
            band: `(spans, span, tiles down, tile, tiles across, tile, out)`.
        """
        spans, span, tall, tile, wide, _, out_channels = band.shape
        points, channels = span + 2, seen.shape[3]
        of_spans = seen.flatten(1).unfold(0, points, span).transpose(1, 2)
        in_time = torch.bmm(self.of_frames.expand(spans, -1, -1), of_spans).view(spans, points, *seen.shape[1:])
        patches = self.patches(in_time.transpose(0, 1))
        by_point = self.factors.unflatten(0, (-1, points))
        tiles = spans * tall * wide
        at_points = scratch("points", tile**2, points, tiles * out_channels)
        # All points at once where they are small.
        few = points if patches.numel() <= 2 * PATCH_FLOATS else 1
        for first in range(0, points, few):
            some = slice(first, first + few)
            block = self._block(patches[:, :, some])
            factors = torch.mm(self.of_pixels, block, out=scratch("factors", *block.shape))
            products = scratch("products", self.side**2 * few, tiles, out_channels)
            torch.bmm(factors.view(-1, tiles, channels), by_point[:, some].flatten(0, 1), out=products)
            torch.mm(self.of_products, products.view(self.side**2, -1), out=at_points[:, some].flatten(1))
        pixels = scratch("products", tile**2, span, tiles * out_channels)
        torch.bmm(self.of_points.expand(tile**2, -1, -1), at_points, out=pixels)
        in_order = pixels.view(tile, tile, span, spans, tall, wide, out_channels).permute(3, 2, 4, 0, 5, 1, 6)
        torch.add(in_order, self.bias, out=band)


class Convolution7x7x7(TiledConvolution):
    """A 7x7x7 convolution at stride 2 with SAME padding.

    Every second pixel of a map is a map of its own: of four times the channels, a 4x4 kernel at stride 1 does the same.
    A pixel's frames lie side by side, so that the seven of a result are the one inner dimension of its product.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        halves = F.pad(weight.detach(), (0, 1, 0, 1)).unflatten(4, (4, 2)).unflatten(3, (4, 2))
        super().__init__(halves.permute(0, 4, 6, 1, 2, 3, 5).flatten(1, 3), bias, tile=4)

    def forward(self, clip: torch.Tensor, out: torch.Tensor, then: Rows = _as_they_are) -> None:
        """As in `Convolution3x3x3`; the result has half of the clip's frames, rows and columns, rounded up."""
        length = len(clip)
        frames = -(-length // 2)
        earlier = ((frames - 1) * 2 + 7 - length) // 2
        for first in range(0, frames, FRAMES):
            starts = range(2 * first - earlier, 2 * min(first + FRAMES, frames) - earlier, 2)
            before = max(starts[0], 0)
            seen, starts_seen = clip[before : starts[-1] + 7], [start - before for start in starts]
            self._few(seen, starts_seen, out[first : first + FRAMES], then)

    def _few(self, clip: torch.Tensor, starts: Sequence[int], out: torch.Tensor, then: Rows) -> None:
        """The frames of the result whose seven frames of `clip` begin at `starts`; those beyond it are zeros."""
        length, height, width, channels = clip.shape
        tall, wide = (-(-n // (2 * self.tile)) for n in (height, width))
        values = 4 * channels  # of a frame
        second = self.factors.unflatten(0, (-1, 7)).flatten(1, 2)
        rows = -(-PRODUCT_ROWS // wide)
        for top in range(0, tall, rows):
            bottom = min(top + rows, tall)
            factors = self._first_factors(self._halves(clip, (top, bottom), (0, wide)))
            found = scratch("band", len(starts), bottom - top, self.tile, wide, self.tile, len(self.bias))
            for number, start in enumerate(starts):
                first, last = max(start, 0), min(start + 7, length)
                seen = factors[:, :, first * values : last * values]
                products = scratch("products", *seen.shape[:2], len(self.bias))
                torch.bmm(seen, second[:, (first - start) * values : (last - start) * values], out=products)
                pixels = scratch("points", self.tile**2, products[0].numel())
                torch.mm(self.of_products, products.flatten(1), out=pixels)
                in_order = pixels.view(self.tile, self.tile, -1, wide, len(self.bias)).permute(2, 0, 3, 1, 4)
                torch.add(in_order, self.bias, out=found[number])
            part = out[:, self.tile * top : self.tile * bottom]
            in_order = found.flatten(3, 4).flatten(1, 2)
            torch.clamp_min(then(in_order[:, : part.shape[1], : -(-width // 2)]), 0, out=part)

    def _halves(self, clip: torch.Tensor, *tiles: tuple[int, int]) -> torch.Tensor:
        """What tiles depend on, every second row and column side by side: `(rows, columns, values of all frames)`."""
        befores = (((-(-n // 2) - 1) * 2 + 7 - n) // 2 for n in clip.shape[1:3])
        down, across = (
            (2 * self.tile * first - before, 2 * (self.tile * last + 3) - before)
            for (first, last), before in zip(tiles, befores, strict=True)
        )
        seen = cut(clip, (0, len(clip)), down, across)
        length, rows, columns = len(clip), seen.shape[1] // 2, seen.shape[2] // 2
        # In two steps, each of long runs of numbers: half the time of one.
        by_row = seen.view(length, rows, 2, columns, -1).transpose(0, 1).reshape(rows, 2 * length, columns, -1)
        return by_row.transpose(1, 2).reshape(rows, columns, -1)

    def _first_factors(self, rows: torch.Tensor) -> torch.Tensor:
        """`(rows, columns, values)` -> `(n * n, tiles, values)`, a few rows of tiles at a time."""
        patches = self.patches(rows)
        _, _, tall, wide, values = patches.shape
        step = max(1, PATCH_FLOATS // (self.side**2 * wide * values))
        factors = scratch("factors", self.side**2, tall, wide * values)
        for top in range(0, tall, step):
            block = self._block(patches[:, :, top : top + step])
            torch.mm(self.of_pixels, block, out=factors[:, top : top + step].flatten(1))
        return factors.view(self.side**2, -1, values)
