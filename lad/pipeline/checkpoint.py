"""Checkpoints: what is in them, written atomically, read without running anything."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lad.config import Config, load_config
from lad.files import replacing
from lad.pipeline.stage import StageError

if TYPE_CHECKING:
    from lad.models.aed import AED

FORMAT = 1


@dataclass
class Checkpoint:
    """A detector and all that is needed to go on training it or to use it.

    Attributes:
        model: the detector's state dict.
        classes: category names in the order of their index; empty where the file does not say (released ones).
        config: the resolved configuration that made it, or None.
        step: training steps done.
        metrics: of the validation videos at this step.
        weights: stream -> identity of the feature weights.
        fingerprint: of the training run; another run's checkpoint is never resumed.
        optimizer, rng, history: to go on exactly where it was.
    """

    model: Mapping[str, Any]
    classes: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    optimizer: dict[str, Any] | None = None
    rng: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def detector(self) -> AED:
        """The network, ready for scoring."""
        from lad.models.aed import detector_from_state

        return detector_from_state(self.model)


def scoring_config(path: Path, overrides: list[str]) -> Config:
    """The configuration to score other videos with a checkpoint: features are made as those that it was trained on.

    Raises:
        StageError: the checkpoint cannot be read, or does not say how its features were made.
        ConfigError: an override is wrong.
    """
    made_with = load_checkpoint(path).config
    if made_with is None:
        raise StageError(f"{path}: does not say how its features were made: give -c CONFIG as well")
    kept = {key: made_with[key] for key in ("extract", "train", "threads")}
    kept["score"] = {**made_with["score"], "checkpoint": None}
    return load_config(None, overrides, base={"name": "score", **kept})


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; all of it but tensors is plain Python data."""
    import torch

    with replacing(path) as temporary:
        torch.save({"format": FORMAT, **vars(checkpoint)}, temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this project, or a bare state dict as the authors' training code writes it.

    Raises:
        StageError: the file is missing, damaged, would run code, or is of another format.
    """
    import torch

    try:
        with warnings.catch_warnings():  # of odd pickles: whatever is wrong with the file comes as an error
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StageError(f"{path}: no such checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StageError(f"{path}: not a checkpoint that can be read safely: {reason}") from error
    if not isinstance(data, Mapping):
        raise StageError(f"{path}: not a checkpoint: it holds a {type(data).__name__}")
    if "format" not in data:
        checkpoint = Checkpoint(model=data)
    elif data["format"] == FORMAT:
        checkpoint = Checkpoint(**{key: value for key, value in data.items() if key != "format"})
    else:
        raise StageError(f"{path}: its format is {data['format']}, this lad reads {FORMAT}")
    try:
        checkpoint.detector()
    except (ValueError, AttributeError) as error:
        raise StageError(f"{path}: {error}") from error
    return checkpoint
