"""A detector in one safetensors file: its tensors, and all else that scoring needs as JSON in the file's header.

Nothing in such a file can run when it is read, and one checksum covers the whole detector, its threshold and its
calibration too. The format is https://huggingface.co/docs/safetensors/index#format; the JSON is the value of the key
`KEY` of its `__metadata__`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lad.errors import LadError
from lad.files import write_bytes

SUFFIX = ".safetensors"
KEY = "lad_detector"
MODEL = "model"  # key of the tensors among the parts
TO_RESUME = ("optimizer", "rng", "history")  # parts of a checkpoint that only its own training needs


class NotADetector(LadError):
    """A safetensors file is damaged, or holds no detector."""


def write_detector(path: Path, parts: Mapping[str, Any]) -> None:
    """Write a detector atomically; equal detectors are the same bytes.

    Args:
        path: of the file.
        parts: name -> plain data, and under `MODEL` name -> tensor.
    """
    from safetensors.torch import save

    said = {name: part for name, part in parts.items() if name not in (MODEL, *TO_RESUME)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in parts[MODEL].items()}
    write_bytes(path, save(tensors, {KEY: json.dumps(said, sort_keys=True, allow_nan=False)}))


def read_detector(path: Path) -> dict[str, Any]:
    """The parts that `write_detector` wrote; those that only training needs are empty.

    Raises:
        OSError: it cannot be read.
        NotADetector: it is damaged, or holds other tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(KEY, "null"))
            if not isinstance(said, dict):
                raise NotADetector("its header does not describe a detector")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise NotADetector(str(error)) from error
    return {"optimizer": None, "rng": {}, "history": [], **said, MODEL: tensors}
