"""Which of Kinetics' 400 actions features look like, by the classifier of the network that made them.

Inception-I3D ends with a linear layer on its pooled features, which are what `lad` keeps: nothing is computed again but
that layer. The names are in the order of its outputs, from data/label_map.txt of google-deepmind/kinetics-i3d.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.models.weights import load_tensors

LABELS = Path(__file__).with_name("kinetics400.txt")
WEIGHTS = "kinetics400-rgb"  # that have the classifier
LAYER = "blocks.16.linear"  # of `InceptionI3D`
SHOWN = 3


@dataclass(frozen=True)
class Actions:
    """The classifier.

    Attributes:
        names: of the actions.
        weight: `(actions, 1024)` float32.
        bias: `(actions,)` float32.
    """

    names: list[str]
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """`(clips, 1024)` features -> `(clips, actions)` float32."""
        return features @ self.weight.T + self.bias

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """`(clips, 1024)` features -> `(clips, actions)` float32, each row summing to 1."""
        logits = self.logits(features)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def likeliest(self, probabilities: np.ndarray) -> tuple[str, ...]:
        """The names of the likeliest three, the likeliest one first, of `(actions,)` numbers."""
        order = np.argsort(-probabilities, kind="stable")
        return tuple(self.names[index] for index in order[:SHOWN])


def load_actions() -> Actions:
    """The classifier of the weights `WEIGHTS`.

    Raises:
        WeightsError: they are not in the cache, or damaged there.
    """
    tensors = load_tensors(WEIGHTS)
    weight, bias = (tensors[f"{LAYER}.{name}"].numpy() for name in ("weight", "bias"))
    return Actions(LABELS.read_text(encoding="utf-8").splitlines(), weight, bias)
