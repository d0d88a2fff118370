"""What `extract.dtype: int8` promises: features near those in float32, always the same ones, or a line that says no."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.config import ExtractConfig, load_config
from lad.device import DeviceError
from lad.extract.extractor import FeatureExtractor
from lad.features.recipe import load_extractor, make_recipe, recipe_problems
from lad.files import fingerprint
from lad.models import weights
from lad.models.convert import WeightsError
from lad.models.cpu import int8, ranges
from lad.models.cpu.int8 import Int8Convolution, Int8Error, Int8Stem, Scale
from lad.models.i3d import ConvUnit, fold_batch_norm

NAME = weights.default_name("i3d", "rgb")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.fixture(scope="module")
def exact() -> None:
    if "vnni" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("NO 8-BIT INTEGERS ON THIS MACHINE: its processor has no VNNI")
    int8.check_exact()


def extractor(stream: str, dtype: str, **options: object) -> FeatureExtractor:
    extract = ExtractConfig(streams=[stream], dtype=dtype, **options)  # type: ignore[list-item, arg-type]
    return load_extractor(make_recipe(extract, device="cpu", threads=2))


@pytest.fixture(scope="module")
def real_clips(shared_data: Path) -> np.ndarray:
    return np.load(shared_data / "golden" / "i3d_rgb_kinetics400.npz")["clips_uint8"]


@pytest.mark.slow
def test_features_are_close_to_those_in_float32(exact: None, real_weights: str, real_clips: np.ndarray) -> None:
    found, expected = (extractor("rgb", dtype)("rgb", real_clips) for dtype in ("int8", "float32"))
    assert found.dtype == np.float32 and found.shape == (2, 1024)
    assert cosines(found, expected).min() >= 0.995
    assert not np.array_equal(found, expected)


@pytest.mark.slow
def test_flow_stays_in_float32_with_its_fingerprint(exact: None, real_weights: str) -> None:
    flow = np.random.default_rng(0).normal(0, 1, (1, 16, 64, 64, 2)).astype(np.float32)
    recipes = [
        make_recipe(ExtractConfig(streams=["rgb", "flow"], dtype=dtype), device="cpu", threads=1)  # type: ignore[arg-type]
        for dtype in ("int8", "float32")
    ]
    assert recipes[0].facts("flow") == recipes[1].facts("flow")
    found, expected = (load_extractor(recipe)("flow", flow) for recipe in recipes)
    assert np.array_equal(found, expected)


@pytest.mark.slow
def test_features_are_the_same_bits_whatever_comes_before_and_beside(
    exact: None, real_weights: str, real_clips: np.ndarray
) -> None:
    both = extractor("rgb", "int8")("rgb", real_clips)
    again = extractor("rgb", "int8")
    alone = np.concatenate([again("rgb", clip[None]) for clip in reversed(real_clips)])[::-1]
    assert np.array_equal(both, alone)


@pytest.mark.slow
def test_frames_of_any_shape_several_clips_as_one_and_layers(
    exact: None, real_weights: str, real_clips: np.ndarray
) -> None:
    clips = np.ascontiguousarray(real_clips[:, :, 20:161, :183])
    options = {"context": "batch", "layers": ["Mixed_3c", "Mixed_4f", "moving"]}
    found, expected = (extractor("rgb", dtype, **options).by_layer("rgb", clips) for dtype in ("int8", "float32"))
    assert {name: rows.shape for name, rows in found.items()} == {name: rows.shape for name, rows in expected.items()}
    for name, rows in found.items():
        assert cosines(rows, expected[name]).min() >= 0.99, name


def test_a_convolution_is_that_of_what_its_levels_stand_for(exact: None) -> None:
    torch.manual_seed(0)
    levels = torch.randint(0, 256, (4, 6, 5, 8), dtype=torch.uint8)
    weight, bias = torch.randn(16, 8, 3, 3, 3), torch.randn(16)
    taken, given = Scale.of(torch.rand(8) + 0.1), Scale.of(torch.rand(16) * 20 + 5)
    found = Int8Convolution(weight, bias, taken, given)(levels)
    maps = (levels * (taken.step * taken.share)).permute(3, 0, 1, 2)
    expected = torch.nn.functional.conv3d(maps[None], weight, bias, padding=1)[0].relu().permute(1, 2, 3, 0)
    step = given.step * given.share
    assert found.dtype == torch.uint8 and found.shape == (4, 6, 5, 16)
    expected = expected.minimum(255 * step)  # what is larger than its channel's range is cut off
    assert ((found * step - expected).abs() / step).max() < 3  # levels


def test_the_first_convolution_sees_pixels_as_they_are(exact: None) -> None:
    torch.manual_seed(0)
    unit = ConvUnit(3, 64, 7, stride=2).eval()
    fold_batch_norm(torch.nn.Sequential(unit))
    piece = torch.randint(0, 256, (16, 30, 41, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = unit((piece / 127.5 - 1).permute(3, 0, 1, 2)[None])[0].permute(1, 2, 3, 0)
        given = Scale.of(expected.amax(dim=(0, 1, 2)))
        found = Int8Stem(unit, given)(piece) * (given.step * given.share)
    assert found.shape == expected.shape
    assert cosines(found.flatten().numpy(), expected.flatten().numpy()) > 0.999


@pytest.mark.slow
def test_a_processor_without_vnni_is_refused_in_a_line(exact: None) -> None:
    """oneDNN is told that this one has nothing newer than AVX2: it adds pairs of products in 16 bits then."""
    call = "from lad.models.cpu.int8 import Int8Error, check_exact\ntry: check_exact()\nexcept Int8Error as e: print(e)"
    old = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", call], env=old, capture_output=True, text=True, timeout=300)
    expected = "extract.dtype int8: this processor, without VNNI, multiplies 8-bit integers inexactly: "
    assert done.stdout == f"{expected}set extract.dtype to float32\n", done.stderr


def test_a_torch_without_these_convolutions_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_operator(*_: object, **__: object) -> None:
        raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qconv_prepack'\nand more")

    monkeypatch.setattr(Int8Convolution, "__init__", no_such_operator)
    int8.check_exact.cache_clear()
    with pytest.raises(Int8Error, match=r"has no 8-bit convolutions here \(.*qconv_prepack'\): set extract\.dtype"):
        int8.check_exact()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    int8.check_exact.cache_clear()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["extract.preset=wan2021"], "extract.dtype: int8 is not known for preset wan2021, only for kinetics"),
        (["extract.backbone=tiny"], "extract.dtype: int8 is known for weights kinetics400-rgb, not for random"),
        (["extract.streams=[flow]"], "extract.dtype: int8 is for rgb, which extract.streams does not name"),
        (["extract.weights={rgb: random}"], "not for random: set extract.dtype to float32"),
    ],
)
def test_what_int8_is_not_known_for_is_refused_before_any_work(changes: list[str], problem: str) -> None:
    config = load_config(None, ["extract.dtype=int8", *changes])
    (found,) = recipe_problems(config.extract)
    assert re.search(problem, found)


def test_a_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"^extract\.dtype int8 is for a CPU"):
        make_recipe(ExtractConfig(dtype="int8"), device="cuda", threads=1)


def test_another_copy_of_the_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"^weights kinetics400-rgb: extract\.dtype int8 is known for another copy"):
        ranges.check("kinetics400-rgb", "0" * 64)


def test_there_are_ranges_for_every_convolution() -> None:
    assert list(ranges.known()) == [NAME]
    network = weights.load("random", backbone="i3d", stream="rgb").net
    units = {key: unit.conv.out_channels for key, unit in network.named_modules() if isinstance(unit, ConvUnit)}
    assert {key: len(channels) for key, channels in ranges.load(NAME).items()} == units
    assert all((channels > 0).any() for channels in ranges.load(NAME).values())


def test_fingerprints_of_other_precisions_stay_what_they_were_before_there_was_int8() -> None:
    """Computed by the commit before: work directories stay valid."""
    random = {"rgb": "random", "flow": "random"}
    plain = ExtractConfig(weights=random)
    rich = ExtractConfig(weights=random, streams=["rgb", "flow"], dtype="bfloat16", context="batch", rgb_short_side=256)
    found = [
        fingerprint(recipe.facts(stream))
        for recipe in (make_recipe(extract, device="cpu", threads=2) for extract in (plain, rich))
        for stream in recipe.streams
    ]
    assert found == [
        "7103cb8c0c135d9efb7b9122eb46baf72a97b9d63536c47aa90b835d494c8dfc",
        "b179e3695e33f33fbd6b07e13a2aa76113de590472dc4f3817fdafa9ee7a6a04",
        "278d93b9a7dd8de02fa468bb1df1e3f72b12eed395ca9e8d5b8576bf30afc89f",
    ]


def test_fingerprints_of_int8_name_the_ranges(real_weights: str) -> None:
    in_float, in_int = (
        make_recipe(ExtractConfig(dtype=dtype), device="cpu", threads=1).facts("rgb")  # type: ignore[arg-type]
        for dtype in ("float32", "int8")
    )
    assert in_int == {
        **in_float,
        "numerics": {"device": "cpu", "dtype": "int8", "threads": 2},
        "int8": f"1, ranges {ranges.identity()}",
    }
