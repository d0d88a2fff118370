"""Memory for intermediate results."""

from __future__ import annotations

import threading
from math import prod

import torch


class Scratch(threading.local):
    """Tensors that a thread uses again and again, so that they are still in its caches when it writes to them.

    The C library would give it any free memory, which a core has to fetch before it can write to it. Each thread has
    its own tensors.
    """

    def __init__(self) -> None:
        self.kept: dict[str, torch.Tensor] = {}

    def __call__(self, use: str, *shape: int) -> torch.Tensor:
        """A float32 tensor of this shape, not initialised. The last tensor given for the same use is overwritten."""
        numbers = prod(shape)
        if use not in self.kept or self.kept[use].numel() < numbers:
            with torch.inference_mode(False):  # so that it can be used again outside of this mode
                self.kept[use] = torch.empty(numbers)
        return self.kept[use][:numbers].view(shape)
