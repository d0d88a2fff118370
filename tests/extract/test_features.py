"""What `FeatureExtractor` promises; the real network's golden numbers are in test_weights.py."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from lad.extract.clips import crop_views
from lad.extract.extractor import FeatureExtractor
from lad.models import weights
from lad.models.i3d import InceptionI3D, fold_batch_norm, pad_same
from lad.models.registry import BACKBONES


def clips(n: int, stream: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if stream == "rgb":
        return rng.integers(0, 256, (n, 16, 224, 224, 3), dtype=np.uint8)
    return rng.normal(0, 15, (n, 16, 224, 224, 2)).astype(np.float32)


class Recorder(torch.nn.Module):
    """Keeps what a network is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x.clone()
        return x.mean(dim=(2, 3, 4))


def seen_by_network(stream: str, values: np.ndarray, preset: str, backbone: str = "i3d") -> torch.Tensor:
    network = Recorder()
    FeatureExtractor({stream: network}, backbone=backbone, preset=preset)(stream, values)  # type: ignore[arg-type]
    return network.seen


def test_rgb_is_scaled_to_minus_one_to_one():
    values = np.zeros((1, 16, 224, 224, 3), np.uint8)
    values[..., 1], values[..., 2] = 255, 51
    seen = seen_by_network("rgb", values, "kinetics")
    assert seen.shape == (1, 3, 16, 224, 224)
    assert seen[0, :, 3, 5, 7].tolist() == pytest.approx([-1, 1, -0.6])


def test_i3d_r50_is_scaled_by_its_own_mean_and_deviation():
    seen = seen_by_network("rgb", np.full((1, 16, 224, 224, 3), 255, np.uint8), "kinetics", "i3d_r50")
    assert float(seen.mean()) == pytest.approx((1 - 0.45) / 0.225)


def test_flow_is_clamped_to_20_pixels_and_scaled():
    values = np.zeros((1, 16, 224, 224, 2), np.float32)
    values[..., 0], values[..., 1] = 35, -5
    assert seen_by_network("flow", values, "kinetics")[0, :, 0, 0, 0].tolist() == pytest.approx([1, -0.25])


def test_preset_wan2021_is_raw_and_reads_the_horizontal_flow_twice():
    assert seen_by_network("rgb", np.full((1, 16, 224, 224, 3), 200, np.uint8), "wan2021").unique().tolist() == [200]
    values = np.zeros((1, 16, 224, 224, 2), np.float32)
    values[..., 0], values[..., 1] = 20, -20
    assert seen_by_network("flow", values, "wan2021")[0, :, 0, 0, 0].tolist() == [255, 255]


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_features_of_a_clip_do_not_depend_on_its_neighbours(stream):
    extractor = FeatureExtractor({stream: weights.load("random", backbone="tiny", stream=stream)}, backbone="tiny")
    together = extractor(stream, clips(3, stream))
    alone = np.concatenate([extractor(stream, clips(3, stream)[i : i + 1]) for i in range(3)])
    assert together.shape == (3, BACKBONES["tiny"].feature_dim) and together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.parametrize("crops", [5, 10])
@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_features_of_a_crop_are_as_if_it_were_the_only_one(stream, crops):
    rng = np.random.default_rng(1)
    larger = rng.normal(0, 15, (2, 16, 256, 300, 2)).astype(np.float32)
    if stream == "rgb":
        larger = rng.integers(0, 256, (2, 16, 256, 300, 3), dtype=np.uint8)

    def extractor(crops: int) -> FeatureExtractor:
        network = weights.load("random", backbone="tiny", stream=stream)
        return FeatureExtractor({stream: network}, backbone="tiny", crops=crops)

    found = extractor(crops)(stream, larger)
    assert found.shape == (crops, 2, BACKBONES["tiny"].feature_dim) and found.dtype == np.float32
    alone = extractor(1)
    for view, features in zip(crop_views(larger, crops, stream), found, strict=True):
        assert np.array_equal(alone(stream, view), features)
    assert len(np.unique(found[:, 0], axis=0)) == crops


def test_the_mirrored_flow_goes_the_other_way():
    values = np.zeros((1, 16, 256, 256, 2), np.float32)
    values[..., 0], values[..., 1] = 5, -10
    found = FeatureExtractor({"flow": Recorder()}, backbone="i3d", crops=10)("flow", values)
    np.testing.assert_allclose(found[:, 0], [[0.25, -0.5]] * 5 + [[-0.25, -0.5]] * 5, rtol=1e-5)


def test_other_numbers_of_crops_are_refused():
    with pytest.raises(ValueError, match="choose from"):
        FeatureExtractor({}, backbone="tiny", crops=3)


def test_features_that_are_kept_keep_nothing_of_the_network() -> None:
    """They are kept for minutes, and memory between the temporaries of a pass would break up the heap."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.given: list[torch.Tensor] = []

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            self.given.append(clips.mean(dim=(2, 3, 4)))
            return self.given[-1]

    network = Network()
    extractor = FeatureExtractor({"rgb": network}, backbone="tiny")
    features = extractor("rgb", np.ones((2, 16, 224, 224, 3), np.uint8))
    assert np.array_equal(features, torch.cat(network.given).numpy())
    assert not any(np.shares_memory(features, given.numpy()) for given in network.given)


def test_folding_batch_norm_changes_nothing_but_the_cost():
    torch.manual_seed(0)
    net = InceptionI3D(input_channels=2, num_classes=5).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 2, 16, 64, 64)
    with torch.inference_mode():
        before = net(x)
        after = fold_batch_norm(net)(x)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in net.modules())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_padding_is_tensorflows_same():
    # 16 frames, kernel 7, stride 2: 8 come out, so 5 rows are added, 2 before and 3 after.
    x = torch.ones(1, 1, 16, 224, 15)
    padded = pad_same(x, (7, 7, 3), (2, 2, 2))
    assert padded.shape == (1, 1, 21, 229, 17)
    assert padded[0, 0, :, 100, 8].tolist() == [0] * 2 + [1] * 16 + [0] * 3


def test_every_backbone_gives_the_length_it_promises():
    for name, backbone in BACKBONES.items():
        for stream in backbone.streams:
            network = backbone.build({"rgb": 3, "flow": 2}[stream]).eval()
            with torch.inference_mode():
                out = network(torch.zeros(1, {"rgb": 3, "flow": 2}[stream], 16, 224, 224))
            assert out.shape == (1, backbone.feature_dim), name


def test_the_tiny_backbone_is_tiny():
    from torch.utils.flop_counter import FlopCounterMode

    network = BACKBONES["tiny"].build(3)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 16, 224, 224))
    assert 0 < counter.get_total_flops() < 50e6


def test_networks_import_where_only_torch_is():
    blocked = ["av", "decord", "pydantic", "cv2", "yaml", "rich", "click"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import lad.extract.extractor, lad.extract.sampling\n"
        "import lad.models.aed, lad.models.i3d, lad.models.registry, lad.models.weights"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_inception_does_not_wait_for_what_only_other_networks_need() -> None:
    """torchvision imports torch's compiler: two seconds at the start of every extraction, and its memory."""
    code = (
        "import sys; import lad.extract.extractor; from lad.models.registry import BACKBONES\n"
        "BACKBONES['i3d'].build(3)\n"
        "print(sorted({'torchvision', 'pytorchvideo', 'torch._dynamo'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=120).strip() == "[]"
