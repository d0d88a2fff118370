"""`lad extract -o extract.still=skip`: what is said of it, what the manifest knows, and that it can be killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.filmed import HEIGHT, WIDTH, filmed

from lad.clip import CLIP_FRAMES
from lad.config import ExtractConfig
from lad.features.recipe import make_recipe
from lad.work import partial as partial_module
from lad.work.manifest import read_manifest
from lad.work.partial import Partial

Lad = Callable[..., tuple[int, str, str]]
CLIPS = 14
PASSES = 6 * CLIP_FRAMES  # somebody


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    path = tmp_path_factory.mktemp("still") / "yard.mp4"
    walks = lambda number: (number - PASSES) / 20 if PASSES <= number < PASSES + 20 else None  # noqa: E731
    return make_video(path, filmed(CLIPS * CLIP_FRAMES, walks=walks), size=(WIDTH, HEIGHT))


def words(video: Path, work: Path, *options: str) -> list[str]:
    settings = ("extract.backbone=tiny", "extract.streams=[rgb,flow]", "extract.still=skip", *options)
    return ["extract", "--work", str(work), *(word for one in settings for word in ("-o", one)), str(video)]


def features(work: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (work / "features").rglob("*.npy")}


def still_of(work: Path) -> list[list[int]]:
    with read_manifest(work) as manifest:
        rows = manifest.items("extract").values()
        found = [row.info["still"] for row in rows]
    assert found[0] == found[1]  # of both streams
    return found[0]


def test_the_share_is_said_and_the_manifest_knows_which(lad: Lad, video: Path, tmp_path: Path) -> None:
    status, out, err = lad(*words(video, tmp_path / "work"))
    assert status == 0, err
    still = still_of(tmp_path / "work")
    count = sum(end - start for start, end in still)
    assert 8 <= count <= 12
    assert len(still) == 2  # before and after somebody passed
    assert f"{count} of {CLIPS} clips still ({count / CLIPS:.0%}) and not seen" in out + err
    rows = np.load(next((tmp_path / "work" / "features" / "rgb").glob("*.npy")))
    assert len(rows) == CLIPS
    for start, end in still:
        assert (rows[start:end] == rows[start - 1]).all()
    status, out, err = lad(*words(video, tmp_path / "work"), "--json")
    assert "still" not in json.loads(out)["stages"]["extract"]  # nothing was done this time
    status, out, _ = lad(*words(video, tmp_path / "other"), "--json")
    assert json.loads(out)["stages"]["extract"]["still"] == count


class Killed(BaseException):
    """Stands for a signal that cannot be caught."""


def killed_after(batches: int, patch: pytest.MonkeyPatch) -> None:
    """The process dies when it has saved so many batches."""
    plain, count = Partial.add, 0

    def dying(self: Partial, *arguments: Any) -> None:
        nonlocal count
        plain(self, *arguments)
        count += 1
        if count == batches:
            raise Killed

    patch.setattr(Partial, "add", dying)
    patch.setattr(partial_module, "SAVE_SECONDS", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["clip", "batch"])
def test_a_video_killed_at_any_batch_gets_the_same_features(
    context: str, lad: Lad, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = f"extract.context={context}"
    assert lad(*words(video, tmp_path / "whole", option))[0] == 0
    for batches in range(1, CLIPS // 4 + 1):
        work = tmp_path / str(batches)
        with monkeypatch.context() as patch:
            killed_after(batches, patch)
            with pytest.raises(Killed):
                lad(*words(video, work, option))
        status, _, err = lad(*words(video, work, option))
        assert status == 0
        assert f"resumed at clip {4 * batches}" in err
        assert features(work) == features(tmp_path / "whole")
        assert still_of(work) == still_of(tmp_path / "whole")


def test_without_it_nothing_depends_on_it() -> None:
    recipes = {
        (still, context): make_recipe(
            ExtractConfig(backbone="tiny", still=still, context=context, motion=True), device="cpu", threads=1
        )
        for still in ("see", "skip")
        for context in ("clip", "batch")
    }
    for stream in ("rgb", "motion"):
        assert "still" not in recipes["see", "clip"].facts(stream)
        one, together = (recipes["skip", context].facts(stream)["still"] for context in ("clip", "batch"))
        assert one != together
