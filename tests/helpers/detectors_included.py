"""A small detector in the place of those that come with `lad`, so that no large network runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.detectors import CLASSES, write_detector
from lad.detector import included
from lad.files import file_sha256

NAME = included.DEFAULT


def include_small_detector(
    folder: Path, monkeypatch: pytest.MonkeyPatch, taught_by: tuple[Path, ...] = (), **more: Any
) -> str:
    """Let a small detector in a new folder be the one that comes with `lad`; returns its checksum.

    Its card is the real one but for what is about the file. `more`: other parts of its `Checkpoint`.
    """
    card = json.loads((included.FOLDER / f"{NAME}.json").read_text())
    folder.mkdir()
    path = write_detector(folder / f"{NAME}.safetensors", **more)
    card |= {"sha256": file_sha256(path), "bytes": path.stat().st_size, "categories": CLASSES}
    card["taught_by"] = [file_sha256(one)[: included.DIGITS] for one in taught_by]
    (folder / f"{NAME}.json").write_text(json.dumps(card))
    monkeypatch.setattr(included, "FOLDER", folder)
    return card["sha256"]
