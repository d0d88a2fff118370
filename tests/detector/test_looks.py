"""What an event looks like: Kinetics' actions, as the feature network itself would call it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.config import ExtractConfig
from lad.detector.calibration import Calibration
from lad.detector.looks import Looks, looks_of
from lad.detector.scoring import Scorer
from lad.extract.sampling import evenly_spaced
from lad.features.recipe import make_recipe
from lad.features.video import ClipFeatures
from lad.models.actions import LABELS, Actions, load_actions
from lad.models.linear import LinearDetector

NAMES = ["cooking", "running", "sleeping", "falling"]
IDENTITY = Actions(NAMES, np.eye(4, dtype=np.float32) * 9, np.zeros(4, dtype=np.float32))


def showing(actions: list[int]) -> np.ndarray:
    """`(1, clips, 4)` features of clips that show these actions."""
    return np.eye(4, dtype=np.float32)[actions][None]


def test_the_likeliest_actions_of_the_clips_come_first() -> None:
    looks = Looks(IDENTITY, part=0)
    features = ClipFeatures([showing([0, 1, 1, 1, 3, 3, 2])])
    assert looks(features, 1, 5)[:2] == ("running", "falling") and len(looks(features, 1, 5)) == 3
    assert looks(features, 6, 6)[0] == "sleeping"


def test_of_several_streams_the_one_with_colours_is_looked_at() -> None:
    features = ClipFeatures([showing([0, 0]), showing([3, 3])])
    assert Looks(IDENTITY, part=1)(features, 0, 1)[0] == "falling"


def test_a_long_event_is_not_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from lad.detector import looks

    features = ClipFeatures([showing([0, 1, 1, 2, 1, 3])])
    whole = Looks(IDENTITY, part=0)(features, 0, 5)
    monkeypatch.setattr(looks, "CLIPS_A_BLOCK", 2)
    assert Looks(IDENTITY, part=0)(features, 0, 5) == whole


def test_an_event_says_what_its_own_clips_look_like() -> None:
    detector = LinearDetector(feature_dim=4, classes=2, window=1)
    with torch.no_grad():
        detector.linear.weight[-1] = torch.tensor([-9.0, 9.0, -9.0, 9.0])
    scorer = Scorer(detector.eval(), Calibration(), 0.5, ["a", "b"], "mean", looks=Looks(IDENTITY, 0))
    features = ClipFeatures([showing([0, 0, 1, 1, 0, 0, 3, 0])])
    timeline = evenly_spaced(8 * 16, 25.0, None, 16)
    first, second = scorer(features, timeline).events
    assert (first.looks_like[0], second.looks_like[0]) == ("running", "falling")
    assert all(event.looks_like == () for event in replace(scorer, looks=None)(features, timeline).events)


def test_features_of_another_network_look_like_nothing() -> None:
    extract = ExtractConfig(backbone="tiny", streams=["rgb"])
    assert looks_of(make_recipe(extract, device="cpu", threads=1)) is None


@pytest.mark.real
def test_the_actions_are_those_of_the_published_network(shared_data: Path, real_weights: str) -> None:
    golden = np.load(shared_data / "golden" / "i3d_rgb_kinetics400.npz")
    actions = load_actions()
    assert actions.names == (shared_data / "golden" / "kinetics400_labels.txt").read_text().splitlines()
    assert np.allclose(actions.logits(golden["features"]), golden["logits"], atol=1e-3)
    assert np.allclose(actions.probabilities(golden["features"]), golden["probabilities"], atol=1e-4)
    as_published = make_recipe(ExtractConfig(streams=["flow", "rgb"]), device="cpu", threads=1)
    found = looks_of(as_published)
    assert found is not None and found.part == 1
    assert looks_of(replace(as_published, preset="wan2021")) is None  # its pixels have another scale


def test_the_names_are_four_hundred() -> None:
    assert len(set(LABELS.read_text(encoding="utf-8").splitlines())) == 400
