"""How large the activations of Inception-I3D become, for its form in 8-bit integers. Importing this imports no torch.

They were measured once, on videos that are no test of anything, and come with `lad`. So features in 8 bits depend on
nothing but a video, its recipe and this file. `benchmarks/int8_ranges.py` made it.

`ranges.safetensors` holds, for each set of weights, the largest activation of each channel behind each convolution,
`<weights>/<name of the ConvUnit>` `(channels,)` float32. Its metadata name the checksum of each set of weights.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lad.models.convert import WeightsError

if TYPE_CHECKING:
    import torch

FILE = Path(__file__).with_name("ranges.safetensors")
CHECKSUMS = "weights"  # key of the metadata: name of weights -> SHA-256 of their file in the cache, as JSON
DIGITS = 16  # of a checksum that fingerprints keep


@cache
def known() -> dict[str, str]:
    """The weights whose ranges come with `lad`: name -> SHA-256 of their file in the cache."""
    from safetensors import safe_open

    with safe_open(FILE, framework="np") as file:
        checksums: dict[str, str] = json.loads(file.metadata()[CHECKSUMS])
    return checksums


@cache
def identity() -> str:
    """What fingerprints call the file."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:DIGITS]


def check(name: str, sha256: str) -> None:
    """Check that the ranges are those of a copy of weights.

    Args:
        name: of `known` ones.
        sha256: of the file in the cache.

    Raises:
        WeightsError: they are of another copy.
    """
    if known()[name] != sha256:
        raise WeightsError(
            f"weights {name}: extract.dtype int8 is known for another copy of them (sha256 {known()[name][:12]}..., "
            f"not {sha256[:12]}...): set extract.dtype to float32"
        )


def load(name: str) -> dict[str, torch.Tensor]:
    """The ranges of `known` weights by the names of the network's units."""
    from safetensors.torch import load_file

    return {key.partition("/")[2]: value for key, value in load_file(FILE).items() if key.partition("/")[0] == name}
