"""What is in a work directory: its items and its detector."""

from __future__ import annotations

from pathlib import Path

import torch

from lad.work.manifest import Item, read_manifest

BEST = Path("checkpoints") / "best.pt"  # of a work directory


def items(work: Path, stage: str) -> dict[str, Item]:
    """What the manifest of a work directory says of a stage."""
    with read_manifest(work) as manifest:
        return {item: row for (_, item), row in manifest.items(stage).items()}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The detector in a checkpoint."""
    return torch.load(path, weights_only=True)["model"]


def same_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
