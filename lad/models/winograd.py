"""Convolutions with a quarter of the multiplications: Winograd's minimal filtering, for inference on a CPU.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A map is cut into tiles; a tile's pixels
and a kernel's weights are each seen as polynomials and evaluated at a few points, where a convolution is one product a
point. Summed over channels those are products of matrices, one a point, and so are the changes to and from the points.
Time is left as it is: the taps of a kernel in time are summed as channels are.

Clips, and pieces of video of several, are `(frames, height, width, channels)` float32 here, channels innermost, and one
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

# Where polynomials are evaluated, infinity beside them, by the number of coefficients. Exact in binary, and kind to the
# last digits: the error is that of a plain convolution, with the usual 0, 1, -1, 2, -2, ... up to five times as much.
POINTS = {
    4: (0.0, 1.0, -1.0),
    6: (0.0, 0.75, -0.75, 1.5, -1.5),
    7: (0.375, -0.375, 0.875, -0.875, 1.625, -1.625),
}
# Work is done in blocks that stay in a core's cache: of frames of the result, of patches until they are evaluated, and
# of rows of products.
FRAMES = 8
PATCH_FLOATS = 2**17
PRODUCT_ROWS = 192

Frames = Callable[[torch.Tensor], torch.Tensor]


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


class TiledConvolution(nn.Module):
    """What both convolutions below share: a kernel over tiles of maps, its bias, and ReLU.

    Args:
        weight: `(out, in, taps in time, taps, taps)`.
        bias: `(out,)`.
        tile: pixels of the result that are computed together, along each side. More need fewer products, and factors
            of kernels that take more memory.
    """

    of_pixels: torch.Tensor  # (n * n, n * n)
    of_products: torch.Tensor  # (tile * tile, n * n)
    factors: torch.Tensor  # (taps in time * n * n, in, out): each tap's second factors
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, tile: int = 4) -> None:
        super().__init__()
        self.tile = tile
        out_channels, in_channels, _, taps, _ = weight.shape
        self.side = tile + taps - 1  # of the square of pixels that a tile of the result depends on
        # Both dimensions of a map at once: more arithmetic than one after the other, but half the traffic of memory.
        of_pixels, of_weights, of_products = (torch.kron(m, m) for m in winograd_matrices(tile, taps))
        by_tap = weight.detach().double().permute(2, 3, 4, 1, 0).flatten(3).flatten(1, 2)
        factors = (of_weights @ by_tap).float().reshape(-1, in_channels, out_channels)
        for name, tensor in (("of_pixels", of_pixels.float()), ("of_products", of_products.float()),
                             ("factors", factors), ("bias", bias.detach())):  # fmt: skip
            self.register_buffer(name, tensor)

    def first_factors(self, rows: torch.Tensor, out: torch.Tensor) -> None:
        """Evaluate the patches of a map.

        Args:
            rows: `(height, width, values)`, zeros around it, `tile * tiles + taps - 1` along each side.
            out: `(n * n, tiles)`, its rows apart as may be: receives the tiles' values in rows of the map.
        """
        patches = rows.unfold(0, self.side, self.tile).unfold(1, self.side, self.tile).permute(3, 4, 0, 1, 2)
        row = patches[:, :, 0].numel() // self.side**2
        step = max(1, PATCH_FLOATS // (row * self.side**2))
        for first in range(0, patches.shape[2], step):
            block = patches[:, :, first : first + step].reshape(self.side**2, -1)
            torch.mm(self.of_pixels, block, out=out[:, first * row : first * row + block.shape[1]])

    def frames(self, products: torch.Tensor, tiles: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """Products `(n * n, frames * tiles, out)` to frames of the result `(frames, height, width, out)`."""
        tall, wide = tiles
        pixels = (self.of_products @ products.flatten(1)).view(self.tile, self.tile, -1, tall, wide, len(self.bias))
        in_order = pixels.permute(2, 3, 0, 4, 1, 5)
        maps = torch.add(in_order, self.bias, out=torch.empty_like(in_order, memory_format=torch.contiguous_format))
        return maps.view(-1, tall * self.tile, wide * self.tile, len(self.bias))[:, : size[0], : size[1]].relu_()


class Convolution3x3x3(TiledConvolution):
    """A 3x3x3 convolution at stride 1 with SAME padding, and ReLU."""

    def forward(self, clip: torch.Tensor, out: torch.Tensor, then: Frames) -> None:
        """`clip` `(frames, height, width, in)` -> `out` `(frames, ...)`: what `then` makes of each few frames."""
        length, height, width, channels = clip.shape
        tall, wide = -(-height // self.tile), -(-width // self.tile)
        pads = (0, 0, 1, self.tile * wide - width + 1, 1, self.tile * tall - height + 1)
        few, step = min(FRAMES, length), -(-PRODUCT_ROWS // (tall * wide))
        factors = clip.new_empty(self.side**2, few + 2, tall * wide, channels)  # of the frames before and after, too
        for start in range(0, length, few):
            stop = min(start + few, length)
            if start > 0:
                factors[:, :2] = factors[:, few:]
            for place in range(2 if start > 0 else 0, stop - start + 2):
                if 0 <= (number := start - 1 + place) < length:
                    self.first_factors(F.pad(clip[number], pads), factors[:, place].flatten(1))
                else:
                    factors[:, place].zero_()
            for first in range(start, stop, step):
                last = min(first + step, stop)
                seen = factors[:, first - start : last - start + 2]
                # Where it is the only frame of these, the one before the first or after the last is nothing but zeros.
                taps = range(int(last == 1), 3 - int(first == length - 1))
                out[first:last] = then(self.frames(self._products(seen, taps), (tall, wide), (height, width)))

    def _products(self, factors: torch.Tensor, taps: range) -> torch.Tensor:
        """First factors `(n * n, frames + 2, tiles, in)` -> products `(n * n, frames * tiles, out)`."""
        by_tap = self.factors.unflatten(0, (3, -1))
        frames = factors.shape[1] - 2
        first, *others = ((factors[:, tap : tap + frames].flatten(1, 2), by_tap[tap]) for tap in taps)
        products = first[0] @ first[1]
        for block, second in others:
            torch.baddbmm(products, block, second, out=products)
        return products


class Convolution7x7x7(TiledConvolution):
    """A 7x7x7 convolution at stride 2 with SAME padding, and ReLU.

    Every second pixel of a map is a map of its own: of four times the channels, a 4x4 kernel at stride 1 does the same.
    A pixel's frames lie side by side, so that the seven of a result are the one inner dimension of its product.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        halves = F.pad(weight.detach(), (0, 1, 0, 1)).unflatten(4, (4, 2)).unflatten(3, (4, 2))
        super().__init__(halves.permute(0, 4, 6, 1, 2, 3, 5).flatten(1, 3), bias)

    def forward(self, clip: torch.Tensor) -> Iterator[torch.Tensor]:
        """`(frames, height, width, in)` -> `(frames / 2, height / 2, width / 2, out)`, rounded up, a few at a time."""
        length = len(clip)
        frames = -(-length // 2)
        earlier = ((frames - 1) * 2 + 7 - length) // 2
        for first in range(0, frames, FRAMES):
            starts = range(2 * first - earlier, 2 * min(first + FRAMES, frames) - earlier, 2)
            before = max(starts[0], 0)
            yield self._few(clip[before : starts[-1] + 7], [start - before for start in starts])

    def _few(self, clip: torch.Tensor, starts: Sequence[int]) -> torch.Tensor:
        """The frames of the result whose seven frames of `clip` begin at `starts`; those beyond it are zeros."""
        length, height, width, channels = clip.shape
        tall, wide = (-(-n // 2) for n in (height, width))
        above, left = (((-(-n // 2) - 1) * 2 + 7 - n) // 2 for n in (height, width))
        tiles_down, tiles_across = -(-tall // self.tile), -(-wide // self.tile)
        rows, columns = self.tile * tiles_down + 3, self.tile * tiles_across + 3
        padded = F.pad(clip, (0, 0, left, 2 * columns - width - left, above, 2 * rows - height - above))
        # In two steps, each of long runs of numbers: half the time of one.
        by_row = padded.view(length, rows, 2, columns, -1).transpose(0, 1).reshape(rows, 2 * length, columns, -1)
        halves = by_row.transpose(1, 2).reshape(rows, columns, -1)
        values = 4 * channels  # of a frame
        second = self.factors.unflatten(0, (7, -1)).transpose(0, 1).flatten(1, 2)
        found = clip.new_empty(len(starts), tall, wide, len(self.bias))
        step = -(-PRODUCT_ROWS // tiles_across)
        for top in range(0, tiles_down, step):
            block = halves[self.tile * top : self.tile * (top + step) + 3]
            tiles = (len(block) // self.tile, tiles_across)
            factors = clip.new_empty(self.side**2, tiles[0] * tiles[1], length * values)
            self.first_factors(block, factors.flatten(1))
            part = found[:, self.tile * top : self.tile * (top + step)]
            for number, start in enumerate(starts):
                first, last = max(start, 0), min(start + 7, length)
                seen = factors[:, :, first * values : last * values]
                products = seen @ second[:, (first - start) * values : (last - start) * values]
                part[number] = self.frames(products, tiles, (part.shape[1], wide))[0]
        return found
