"""What `extract.layers` promises: what blocks of I3D say of a clip, beside features that stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lad.extract.clips import ClipSpec, clip_batches
from lad.extract.extractor import FeatureExtractor
from lad.models import weights
from lad.models.i3d import INCEPTION_BLOCKS, MIXED_CHANNELS, MOVING, over_time, where_it_moves
from lad.models.registry import BACKBONES, INCEPTION_LAYERS

LAYERS = ("Mixed_4b", "Mixed_3c", "Mixed_5c")


def extractor(*layers: str, stream: str = "rgb", threads: int = 2, **options: object) -> FeatureExtractor:
    network = weights.load("random", backbone="i3d", stream=stream)
    return FeatureExtractor({stream: network}, backbone="i3d", layers=layers, threads=threads, **options)  # type: ignore[arg-type]


def clips_of(count: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, *size, 3), dtype=np.uint8)


def expected(clips: np.ndarray, layer: str, clips_as_one: int = 1) -> np.ndarray:
    """By the plain network, block after block."""
    plain = weights.load("random", backbone="i3d", stream="rgb").eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(clips).reshape(-1, 16 * clips_as_one, *clips.shape[2:])
        maps = pixels.permute(0, 4, 1, 2, 3) / 127.5 - 1
        for block in list(plain.net.blocks)[: INCEPTION_BLOCKS.index(layer) + 1]:
            maps = block(maps)
        of_clips = maps.unflatten(2, (clips_as_one, -1)).transpose(1, 2).flatten(0, 1)
        by_time = of_clips.mean(dim=(3, 4)).numpy()
    return np.hstack([by_time.mean(axis=2), by_time.std(axis=2)])


def test_a_layer_has_two_numbers_for_each_channel_of_its_branches() -> None:
    channels = {name: c0 + c1 + c2 + c3 for name, (c0, _, c1, _, c2, c3) in MIXED_CHANNELS.items()}
    assert {**{name: 2 * many for name, many in channels.items()}, MOVING: channels["Mixed_5c"]} == INCEPTION_LAYERS


def test_mean_and_deviation_are_over_a_clips_time() -> None:
    maps = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    assert over_time(maps).tolist() == [[2, 5, 1, 0]]


@pytest.mark.slow
@pytest.mark.parametrize(("context", "as_one"), [("clip", 1), ("batch", 3)])
def test_a_layer_is_what_the_plain_network_has_there(context: str, as_one: int) -> None:
    """In the form that is fast on a CPU, too, and in frames that are no square."""
    clips = clips_of(3)
    found = extractor(*LAYERS, context=context).by_layer("rgb", clips)
    assert list(found) == ["rgb", *(f"rgb.{layer}" for layer in LAYERS)]
    for layer in LAYERS:
        rows, wanted = found[f"rgb.{layer}"], expected(clips, layer, as_one)
        assert rows.shape == (3, BACKBONES["i3d"].layers[layer]) and rows.dtype == np.float32
        np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_beside_layers_are_the_same_bits(dtype: str) -> None:
    """In half precision the plain form runs, as on a GPU."""
    clips = clips_of(2)
    with_layers = extractor(*LAYERS, dtype=dtype).by_layer("rgb", clips)["rgb"]
    assert np.array_equal(with_layers, extractor(dtype=dtype)("rgb", clips))


@pytest.mark.slow
def test_the_last_layers_mean_is_the_networks_own_feature() -> None:
    found = extractor("Mixed_5c").by_layer("rgb", clips_of(2))
    assert found["rgb.Mixed_5c"][:, :1024] == pytest.approx(found["rgb"], rel=1e-5)


def moving_square(height: int = 64, width: int = 96, left: int = 70) -> np.ndarray:
    """One clip `(1, 16, height, width, 3)`: a bright square near the right edge goes down, and nothing else moves."""
    clip = np.full((1, 16, height, width, 3), 90, np.uint8)
    for number in range(16):
        clip[0, number, number * 2 : number * 2 + 12, left : left + 12] = 250
    return clip


def test_what_moves_counts_and_the_rest_of_the_picture_does_not() -> None:
    pieces = torch.from_numpy(moving_square()).permute(0, 4, 1, 2, 3) / 127.5 - 1
    (shares,) = where_it_moves(pieces, 2, 3)
    assert shares.sum().item() == pytest.approx(1)
    assert shares[:, 2].sum().item() > 0.99
    still = torch.zeros((1, 3, 16, 64, 96))
    assert where_it_moves(still, 2, 3).flatten().tolist() == pytest.approx([1 / 6] * 6)


def test_of_flow_its_length_says_where_it_moves() -> None:
    flow = torch.zeros((1, 2, 16, 64, 96))
    flow[:, 1, :, :32, :32] = -0.3
    assert where_it_moves(flow, 2, 3)[0, 0, 0].item() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("context", "as_one"), [("clip", 1), ("batch", 2)])
def test_features_of_what_moves_are_the_networks_output_there(context: str, as_one: int) -> None:
    """In the form that is fast on a CPU as in the plain one, beside a layer, and the pieces apart."""
    clips = np.concatenate([moving_square(left=70), moving_square(left=10)])
    found = extractor("Mixed_4b", MOVING, context=context).by_layer("rgb", clips)
    assert list(found) == ["rgb", "rgb.Mixed_4b", "rgb.moving"] and found["rgb.moving"].shape == (2, 1024)
    plain = weights.load("random", backbone="i3d", stream="rgb").eval()
    pixels = torch.from_numpy(clips).reshape(-1, 16 * as_one, *clips.shape[2:]).permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.inference_mode():
        maps = pixels
        for block in list(plain.net.blocks)[:-1]:
            maps = block(maps)
        weighted = (maps * where_it_moves(pixels, *maps.shape[3:])[:, None, None]).sum(dim=(3, 4))
    wanted = weighted.unflatten(2, (as_one, -1)).mean(dim=3).transpose(1, 2).flatten(0, 1).numpy()
    np.testing.assert_allclose(found["rgb.moving"], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    in_half = extractor(MOVING, context=context, dtype="bfloat16").by_layer("rgb", clips)["rgb.moving"]
    np.testing.assert_allclose(in_half, wanted, rtol=0, atol=0.05 * np.abs(wanted).max())


@pytest.mark.slow
def test_features_of_what_moves_are_the_same_bits_with_any_number_of_threads() -> None:
    clips = clips_of(3, (60, 107))
    one, two, four = (extractor(MOVING, context="batch", threads=threads)("rgb", clips) for threads in (1, 2, 4))
    assert np.array_equal(one, two) and np.array_equal(one, four)


@pytest.mark.slow
def test_every_crop_has_its_layers() -> None:
    clips = clips_of(2, (256, 256))
    found = extractor("Mixed_3c", crops=5).by_layer("rgb", clips)
    assert found["rgb"].shape == (5, 2, 1024) and found["rgb.Mixed_3c"].shape == (5, 2, 960)
    centre = extractor("Mixed_3c").by_layer("rgb", np.ascontiguousarray(clips[:, :, 16:240, 16:240]))
    assert np.array_equal(found["rgb.Mixed_3c"][4], centre["rgb.Mixed_3c"])


def test_a_layer_needs_no_pixels_of_its_own() -> None:
    frames = [np.full((40, 60, 3), number, np.uint8) for number in range(20)]
    (alone,) = clip_batches(frames, ClipSpec(("rgb.Mixed_3c", "motion")))
    (plain,) = clip_batches(frames, ClipSpec(("rgb", "motion")))
    assert list(alone) == ["rgb", "motion"]
    assert all(np.array_equal(alone[stream], plain[stream]) for stream in plain)
