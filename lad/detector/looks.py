"""What an event looks like: the likeliest of Kinetics' actions over its clips, where its features can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lad.features.recipe import FeatureRecipe
from lad.features.video import ClipFeatures

if TYPE_CHECKING:
    from lad.models.actions import Actions

CLIPS_A_BLOCK = 4096  # whose features are in memory at a time


@dataclass(frozen=True)
class Looks:
    """Says what clips look like.

    Attributes:
        actions: the classifier.
        part: which part of a video's features it takes.
    """

    actions: Actions
    part: int

    def __call__(self, features: ClipFeatures, first: int, last: int) -> tuple[str, ...]:
        """The three likeliest actions by their mean probability over the clips `first` to `last`, and all crops."""
        part = features.parts[self.part]
        total = np.zeros(len(self.actions.names))
        for crop in range(features.crops):
            for start in range(first, last + 1, CLIPS_A_BLOCK):
                rows = np.asarray(part[crop, start : min(start + CLIPS_A_BLOCK, last + 1)], dtype=np.float32)
                total += self.actions.probabilities(rows).sum(axis=0)
        return self.actions.likeliest(total)


def looks_of(recipe: FeatureRecipe) -> Looks | None:
    """What tells it from features that are made so; None where they are not what the classifier takes.

    Raises:
        WeightsError: its weights are damaged.
    """
    from lad.models.actions import load_actions

    return Looks(load_actions(), recipe.streams.index("rgb")) if tell_looks(recipe) else None


def tell_looks(recipe: FeatureRecipe) -> bool:
    """Whether features that are made so are what the classifier takes, whose weights are `actions.WEIGHTS`."""
    from lad.models.actions import WEIGHTS

    return recipe.identities.get("rgb", "").startswith(f"{WEIGHTS}:") and recipe.preset == "kinetics"
