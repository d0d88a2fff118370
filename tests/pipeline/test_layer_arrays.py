"""What `extract.layers` promises in a work directory: an array of its own for each, and nothing else moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.projects import opened
from helpers.videos import write_video

import lad
from lad.config import ConfigError, load_config
from lad.features.recipe import make_recipe
from lad.pipeline.reporter import StageResult

RANDOM = ("extract.weights={rgb: random}", "device=cpu")
LAYERS = "extract.layers=[Mixed_3c,Mixed_4f]"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "videos" / "a.mp4", 20)


def extract(video: Path, work: Path, *options: str) -> StageResult:
    with opened(load_config(None, [f"data.root={video.parent}", *RANDOM, *options]), work) as run:
        (result,) = run.run("extract")
    assert not result.failed
    return result


@pytest.mark.slow
def test_layers_are_added_to_features_that_are_there_and_lie_beside_them(video: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    extract(video, work)
    rgb = work / "features/rgb/a.npy"
    made, rows = rgb.stat().st_mtime_ns, np.load(rgb)
    assert extract(video, work, LAYERS).done == 1
    assert rgb.stat().st_mtime_ns == made and np.array_equal(np.load(rgb), rows)
    for layer, numbers in {"Mixed_3c": 960, "Mixed_4f": 1664}.items():
        array = np.load(work / f"features/rgb.{layer}/a.npy")
        assert array.shape == (2, numbers) and array.dtype == np.float32
    assert extract(video, work, LAYERS).skipped == 1
    assert extract(video, work).skipped == 1, "without layers it is done as before"


@pytest.mark.slow
def test_the_library_gives_layers_beside_the_stream(video: Path) -> None:
    features = lad.extract_features(video, weights={"rgb": "random"}, layers=["Mixed_3c"], device="cpu")
    assert list(features) == ["rgb", "rgb.Mixed_3c"] and features["rgb.Mixed_3c"].shape == (2, 960)


def test_layers_are_no_part_of_what_features_depend_on_without_them() -> None:
    plain, with_layers = (
        make_recipe(load_config(None, [*RANDOM, *more]).extract, device="cpu", threads=1) for more in ((), (LAYERS,))
    )
    assert with_layers.facts("rgb") == plain.facts("rgb") and "layer" not in plain.facts("rgb")
    layers = [with_layers.facts(f"rgb.{layer}") for layer in ("Mixed_3c", "Mixed_4f")]
    assert layers[0] != layers[1] and layers[0] == {**plain.facts("rgb"), "layer": "Mixed_3c", "layer_code": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["extract.layers=[Mixed_3c]", "extract.backbone=tiny"], r"tiny gives none: set extract\.backbone to i3d"),
        (["extract.layers=[Mixed_3d]"], r"'Mixed_3d' is not one of .*did you mean"),
        (["extract.layers=[Mixed_3c,Mixed_3c]"], "a layer stands twice"),
        (
            ["extract.layers=[Mixed_3c]", "extract.streams=[]", "extract.motion=true"],
            r"no network .*leave them out with \[\]",
        ),
        (["extract.layers=[moving]", "extract.streams=[rgb,flow]", "extract.preset=wan2021"], "cannot tell what moves"),
    ],
)
def test_layers_that_there_cannot_be_are_refused_before_any_work(options: list[str], said: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=said),
        opened(load_config(None, [f"data.root={tmp_path}", *options]), tmp_path / "work"),
    ):
        pass
