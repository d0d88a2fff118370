"""TV-L1 optical flow: total variation of the flow, and the L1 norm of what brightness it leaves unexplained.

The algorithm of C. Zach, T. Pock and H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow" (DAGM
2007), with the numerical scheme of J. Sanchez Perez, E. Meinhardt-Llopis and G. Facciolo, "TV-L1 Optical Flow
Estimation" (Image Processing On Line, 2013), the scale factor and the parameters of OpenCV's DualTVL1OpticalFlow.

It differs from OpenCV's in three things, for speed and so that a pair's flow never depends on the pairs beside it:
every warp takes 30 iterations, where OpenCV takes 1 to 300 until the flow changes little; two of the scales have three
warps, not five; no median filter is between iterations. On real videos the flows are 0.03 px apart on the average, and
below 0.1 px in each.
"""

from __future__ import annotations

import torch
from torch.nn import functional

# At each scale, the finest first. The coarsest ones find large displacements, the finest one makes them exact; between
# them fewer than OpenCV's five lose nothing.
WARPS = (5, 3, 3, 5, 5)
SCALE_STEP = 0.8  # from the size of one scale to that of the next
MIN_SIZE = 16  # pixels: no scale but the first is smaller
WARP_STEPS = 1024  # of a pixel: a warp's displacements are rounded to it
ITERATIONS = 30  # in each warp
TIGHTNESS = 0.3  # theta: how far the flow may be from what the data term wants
TIME_STEP = 0.25 / TIGHTNESS  # tau / theta, of the dual variables
STEP_LIMIT = 0.15 * TIGHTNESS  # lambda theta: the data term's step, over the gradient
FLAT = 1e-6  # a squared gradient (brightness a pixel) so small that there is nothing to follow
PAIRS_AT_ONCE = 64  # on an accelerator: more need more memory and gain nothing


def tvl1_flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The flow of each pair of frames. A pair's does not depend on the others': on a CPU not in a single bit.

    Args:
        first, second: `(n, height, width)` grey frames, float32 from 0 to 255 or uint8, on one device.

    Returns:
        `(n, 2, height, width)` float32 on that device: the displacement (x, y) of each pixel of the first frame to
        the second, in pixels.

    Raises:
        ValueError: the shapes differ, or are of no frames.
    """
    if first.shape != second.shape or first.ndim != 3 or 0 in first.shape:
        raise ValueError(
            f"frames of shape {tuple(first.shape)} and {tuple(second.shape)}, not two of (n, height, width)"
        )
    flows = torch.empty((first.shape[0], 2, *first.shape[1:]), device=first.device)
    # One pair stays in a CPU's cache: two together take longer than one after the other.
    at_once = 1 if first.device.type == "cpu" else PAIRS_AT_ONCE
    with torch.inference_mode():
        for some in zip(flows.split(at_once), first.split(at_once), second.split(at_once), strict=True):
            _coarse_to_fine(*some)
    return flows


def _coarse_to_fine(flow: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> None:
    """Fill `flow` `(n, 2, height, width)` of two `(n, height, width)`."""
    scales = [torch.stack((first, second), dim=1).float()]
    while len(scales) < len(WARPS):
        smaller = _shrink(scales[-1])
        if min(smaller.shape[2:]) < MIN_SIZE:
            break
        scales.append(smaller)
    estimate = torch.zeros_like(scales[-1])
    for frames, warps in reversed([*zip(scales, WARPS, strict=False)]):
        if estimate.shape != frames.shape:
            estimate = functional.interpolate(estimate, frames.shape[2:], mode="bilinear").mul_(1 / SCALE_STEP)
        _refine(estimate, frames[:, :1], frames[:, 1:], warps)
    flow.copy_(estimate)


def _shrink(frames: torch.Tensor) -> torch.Tensor:
    """The next scale, its sides rounded to the nearest.

    A pixel is exactly 1 / SCALE_STEP pixels of the finer scale, though the sides may be so only about: else the flows
    at moving edges are others than OpenCV's. `interpolate` rounds down, so it gets a pixel more, which is cut off.
    """
    height, width = (round(side * SCALE_STEP) for side in frames.shape[2:])
    padded = functional.pad(frames, (0, 1, 0, 1), mode="replicate")
    smaller = functional.interpolate(padded, scale_factor=SCALE_STEP, mode="bilinear", recompute_scale_factor=False)
    return smaller[:, :, :height, :width].contiguous()


def _refine(flow: torch.Tensor, first: torch.Tensor, second: torch.Tensor, warps: int) -> None:
    """Improve `flow` `(n, 2, height, width)` in place, at the scale of `first` and `second` `(n, 1, height, width)`."""
    height, width = flow.shape[2:]
    # Zeros to the right and below, as there are all around anyway: with sides that are powers of two, grid_sample's
    # coordinates (its borders are at -1 and 1) are exact. An error in their last digit would make equal frames move:
    # at a frame's edge, with zeros beyond, it grows from warp to warp.
    sides = [1 << (side - 1).bit_length() for side in (width, height)]
    margins = (0, sides[0] - width, 0, sides[1] - height)
    source = functional.pad(torch.cat((second, *_central_differences(second)), dim=1), margins)
    to_grid = torch.tensor([2 / side for side in sides], device=flow.device).view(2, 1, 1)
    rows, columns = (torch.arange(side, device=flow.device) for side in (height, width))
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy")) + 0.5
    dual = flow.new_zeros((2, *flow.shape))  # p along x and y, of each component of the flow
    for _ in range(warps):
        rounded = (flow * WARP_STEPS).round_().div_(WARP_STEPS)
        grid = rounded.add_(pixels).mul_(to_grid).sub_(1).permute(0, 2, 3, 1)
        warped = functional.grid_sample(source, grid, mode="bicubic", align_corners=False)
        gradient = warped[:, 1:].contiguous()
        squared = gradient[:, :1].square().addcmul_(gradient[:, 1:], gradient[:, 1:]).clamp_(min=FLAT)
        direction = gradient / squared
        # The residual over the squared gradient is linear in the flow: constant + direction . flow
        constant = (warped[:, :1] - first).div_(squared)
        for axis in (slice(1), slice(1, 2)):
            constant.addcmul_(direction[:, axis], flow[:, axis], value=-1)
        _iterate(flow, dual, gradient, direction, constant)


def _central_differences(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    padded = functional.pad(frames, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return across.div_(2), down.div_(2)


def _iterate(
    flow: torch.Tensor, dual: torch.Tensor, gradient: torch.Tensor, direction: torch.Tensor, constant: torch.Tensor
) -> None:
    """One warp's iterations, which change `flow` and `dual`.

    This is where all the time goes. Every operation runs over flat memory: the pixel to the right is one on, the one
    below a row on. What that reads over a border does no harm: differences there are set to 0, and so `dual` is 0, and
    taking away a border's `dual` on the opposite side changes nothing. Views are made once, not in every iteration.

    Args:
        flow: `(n, 2, height, width)`, contiguous.
        dual: `(2, n, 2, height, width)`, contiguous.
        gradient: `(n, 2, height, width)`, of the second frame, warped.
        direction: the same over its square.
        constant: `(n, 1, height, width)`.
    """
    one = torch.ones((), device=flow.device)
    residual, change, norm = torch.empty_like(constant), torch.empty_like(flow), torch.empty_like(flow)
    parts = [(direction[:, :1], flow[:, :1]), (direction[:, 1:], flow[:, 1:])]
    flat, flat_change = flow.view(-1), change.view(-1)
    down = flow.shape[3]
    dual_x, dual_y = dual
    dual_left, dual_above = dual_x.view(-1)[:-1], dual_y.view(-1)[:-down]
    flow_right, flow_left, change_x, last_column = flat[1:], flat[:-1], flat_change[:-1], change[..., -1]
    flow_below, flow_above, change_y, last_row = flat[down:], flat[:-down], flat_change[:-down], change[:, :, -1]
    for _ in range(ITERATIONS):
        # v = u - (residual / |gradient|^2, at most lambda theta) gradient
        torch.addcmul(constant, *parts[0], out=residual)
        residual.addcmul_(*parts[1]).clamp_(-STEP_LIMIT, STEP_LIMIT)
        flow.addcmul_(gradient, residual, value=-1)
        # u = v + theta div p
        flow.add_(dual_x, alpha=TIGHTNESS).add_(dual_y, alpha=TIGHTNESS)
        flow_right.sub_(dual_left, alpha=TIGHTNESS)
        flow_below.sub_(dual_above, alpha=TIGHTNESS)
        # p = (p + tau / theta grad u) / (1 + tau / theta |grad u|)
        torch.sub(flow_right, flow_left, out=change_x)
        last_column.zero_()
        dual_x.add_(change, alpha=TIME_STEP)
        torch.mul(change, change, out=norm)
        torch.sub(flow_below, flow_above, out=change_y)
        last_row.zero_()
        dual_y.add_(change, alpha=TIME_STEP)
        norm.addcmul_(change, change).sqrt_()
        dual.div_(torch.add(one, norm, alpha=TIME_STEP, out=norm))
