"""Memory for what a network computes in between."""

from __future__ import annotations

import threading
from math import prod

import torch


class Scratch(threading.local):
    """Tensors that a thread uses again and again, so that they are in its caches still when it writes to them.

    What the C library gives is any memory that is free, and a core has to fetch it before it can write to it.
    """

    def __init__(self) -> None:
        self.kept: dict[str, torch.Tensor] = {}

    def __call__(self, use: str, *shape: int) -> torch.Tensor:
        """Float32 in this shape, with any content: what was there for the same use before is lost."""
        numbers = prod(shape)
        if use not in self.kept or self.kept[use].numel() < numbers:
            with torch.inference_mode(False):  # for whoever comes next, in this mode or not
                self.kept[use] = torch.empty(numbers)
        return self.kept[use][:numbers].view(shape)
