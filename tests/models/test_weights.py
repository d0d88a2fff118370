"""What `lad.models.weights` promises of weights that are there; how they are fetched is in test_weights_fetched.py."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.places import REPOSITORY

from lad.models import weights
from lad.models.registry import BACKBONES
from lad.models.weights import WeightsError, fetch, find, identity, load, load_inception_i3d

# The real weights


@pytest.fixture(scope="session")
def golden(shared_data: Path) -> dict[str, np.ndarray]:
    path = shared_data / "golden" / "i3d_rgb_kinetics400.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent (LAD_DATA names the folder)")
    with np.load(path) as arrays:
        return dict(arrays)


def _golden_clips(golden: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(golden["clips_uint8"]).permute(0, 4, 1, 2, 3).float()


@pytest.mark.slow
@pytest.mark.real
@torch.inference_mode()
def test_real_weights_give_the_published_networks_logits_and_features(
    golden: dict[str, np.ndarray], real_weights: str
) -> None:
    network = load_inception_i3d(real_weights)
    maps = _golden_clips(golden) / 127.5 - 1
    for block in list(network.blocks)[:-1]:
        maps = block(maps)
    np.testing.assert_allclose(maps.mean(dim=(2, 3, 4)).numpy(), golden["features"], atol=1e-3, rtol=0)
    logits = network.blocks[-1](maps)
    np.testing.assert_allclose(logits.numpy(), golden["logits"], atol=1e-2, rtol=0)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), golden["probabilities"], atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.real
@torch.inference_mode()
def test_real_weights_give_the_authors_features_on_raw_pixels(golden: dict[str, np.ndarray], real_weights: str) -> None:
    network = load(real_weights, backbone="i3d", stream="rgb")
    features = network(_golden_clips(golden)).numpy()
    np.testing.assert_allclose(features, golden["features_input_0_255"], atol=1e-3, rtol=1e-4)


# The other weights


@pytest.mark.slow
def test_pytorchvideos_file_is_checked_against_the_network_and_loaded(tmp_path: Path, cache: Path) -> None:
    state = BACKBONES["i3d_r50"].build(3).state_dict()
    state = {key.removeprefix("net."): tensor for key, tensor in state.items()}
    torch.save({"model_state": state}, tmp_path / "I3D_8x8_R50.pyth")
    fetch("kinetics400-r50", from_file=tmp_path / "I3D_8x8_R50.pyth")
    loaded = load("kinetics400-r50", backbone="i3d_r50", stream="rgb").state_dict()
    assert all(torch.equal(loaded[f"net.{key}"], tensor) for key, tensor in state.items())
    sha256 = hashlib.sha256((tmp_path / "I3D_8x8_R50.pyth").read_bytes()).hexdigest()
    assert json.loads((cache / "kinetics400-r50.json").read_text())["source_checksum"] == f"sha256:{sha256}"

    del state["blocks.0.conv.weight"]
    torch.save({"model_state": state}, tmp_path / "other.pyth")
    with pytest.raises(WeightsError, match=r"do not fit i3d_r50: blocks\.0\.conv\.weight is missing"):
        fetch("kinetics400-r50", from_file=tmp_path / "other.pyth")
    with pytest.raises(WeightsError, match="no public download"):
        cached = find("kinetics400-r50")
        assert cached is not None
        cached.path.unlink()
        fetch("kinetics400-r50")


def _parameters(stream: str, seed: int) -> list[torch.Tensor]:
    network = load("random", backbone="tiny", stream=stream, seed=seed)
    assert not network.training
    return list(network.state_dict().values())


def test_random_weights_follow_from_the_seed_alone_and_differ_per_stream() -> None:
    rgb = _parameters("rgb", 3)
    torch.rand(5)
    assert all(torch.equal(a, b) for a, b in zip(rgb, _parameters("rgb", 3), strict=True))
    assert not torch.equal(rgb[0], _parameters("rgb", 4)[0])
    # The last convolution has the same shape in both streams.
    assert not torch.equal(rgb[2], _parameters("flow", 3)[2])
    assert identity("random", backbone="i3d", stream="flow", seed=3) == "random:i3d:flow:seed=3"


def test_loading_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    load("random", backbone="tiny", stream="rgb")
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_do_not_fit_are_refused_with_those_that_do(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"not known .* choose from kinetics400-rgb, random"):
        weights.check("imagenet", backbone="i3d", stream="rgb")
    with pytest.raises(WeightsError, match=r"do not fit .* kinetics400-flow, kinetics400-rgb-cross-modality, random"):
        load("kinetics400-rgb", backbone="i3d", stream="flow")
    with pytest.raises(WeightsError, match="not in the cache: run `lad weights fetch kinetics400-rgb`"):
        identity("kinetics400-rgb", backbone="i3d", stream="rgb")
    for backbone, kind in BACKBONES.items():
        for stream in kind.streams:
            weights.check(weights.default_name(backbone, stream), backbone=backbone, stream=stream)


def test_listing_and_looking_up_weights_imports_no_torch(cache: Path) -> None:
    code = """
import sys
from lad.models import weights
listing = weights.list_weights()
assert [row["name"] for row in listing] == list(weights.WEIGHTS) and not any(row["cached"] for row in listing)
weights.check("kinetics400-rgb", backbone="i3d", stream="rgb")
weights.identity("random", backbone="tiny", stream="rgb")
print(sorted({"torch", "numpy", "av", "decord", "pydantic", "cv2", "safetensors"} & sys.modules.keys()))
"""
    # -S keeps out what other packages start at interpreter startup, which is no doing of ours.
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
